"""Pooling: tokens of all clips, one after another, to one vector a clip.

Shape legend: B clips, N tokens of all clips, p leading tokens of each clip, D width.
"""

import torch
from torch import Tensor, nn

from elasticast.models.attention import AttentionScale, ClipMask


def lead(first: Tensor, x: Tensor, lengths: list[int]) -> Tensor:
    """`[B*p + N, ...]`: before the tokens of each clip in `x` `[N, ...]` those in `first` `[B, p, ...]`."""
    clips = zip(first.unbind(0), x.split(lengths), strict=True)
    return torch.cat([part for clip in clips for part in clip])


def leading(x: Tensor, lengths: list[int], count: int) -> tuple[Tensor, Tensor]:
    """What :func:`lead` has joined, taken apart: `[B, p, D]` and `[N, D]`, for p = `count`."""
    clips = [clip.tensor_split([count]) for clip in x.split([n + count for n in lengths])]
    return torch.stack([first for first, _ in clips]), torch.cat([rest for _, rest in clips])


def mean_pooling(x: Tensor, lengths: list[int]) -> Tensor:
    """Mean `[B, D]` over each clip's tokens of `[N, D]`."""
    if len(set(lengths)) == 1:  # equal clips are one call
        return x.unflatten(0, (len(lengths), -1)).mean(1)
    return torch.stack([clip.mean(0) for clip in x.split(lengths)])


class AttentionPooling(nn.Module):
    """A learned query attends to its clip's tokens; no residual (paper, section 3; NaViT, section 2.2).

    Parameters
    ----------
    dim, heads : int
        Width D and heads.
    scale : str
        See `AttentionScale`.
    """

    def __init__(self, dim: int, heads: int, scale: str):
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.randn(dim) / dim**0.5)
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.attend = AttentionScale(scale, dim // heads)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: ClipMask) -> Tensor:
        """Tokens `[N, D]` to one vector a clip `[B, D]`; `mask` has one query a clip."""
        q = self.q(self.query).expand(len(mask.q_lens), -1).unflatten(-1, (self.heads, -1))
        k, v = self.kv(x).unflatten(-1, (2, self.heads, -1)).unbind(1)
        return self.proj(self.attend(q, k, v, mask).flatten(1))
