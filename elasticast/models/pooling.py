"""Pooling: from the tokens of packed clips to one vector per clip.

Shapes: B clips, N tokens of all clips, p prefix tokens per clip, D width.
"""

import torch
from torch import Tensor, nn

from elasticast.config import TransformerSettings
from elasticast.models.attention import AttentionScale, ClipMask


def prepend_tokens(prefix: Tensor, x: Tensor, lengths: list[int]) -> Tensor:
    """Insert `prefix` `[B, p, ...]` before the tokens of each clip in `x` `[N, ...]`; returns `[B*p + N, ...]`."""
    clips = zip(prefix.unbind(0), x.split(lengths), strict=True)
    return torch.cat([part for clip in clips for part in clip])


def split_prefix(x: Tensor, lengths: list[int], count: int) -> tuple[Tensor, Tensor]:
    """Undo :func:`prepend_tokens`: returns prefix tokens `[B, p, D]` and other tokens `[N, D]`, for p = `count`."""
    clips = [clip.tensor_split([count]) for clip in x.split([n + count for n in lengths])]
    return torch.stack([first for first, _ in clips]), torch.cat([rest for _, rest in clips])


def mean_pooling(x: Tensor, lengths: list[int]) -> Tensor:
    """Mean `[B, D]` over the tokens `[N, D]` of each clip."""
    if len(set(lengths)) == 1:  # clips of equal length: one call
        return x.unflatten(0, (len(lengths), -1)).mean(1)
    return torch.stack([clip.mean(0) for clip in x.split(lengths)])


class AttentionPooling(nn.Module):
    """A learned query attends to the tokens of each clip; no residual (paper, section 3; NaViT, section 2.2).

    Parameters
    ----------
    settings : TransformerSettings
        Width D, number and scaling of heads, and the initial query.
    """

    def __init__(self, settings: TransformerSettings):
        super().__init__()
        dim, self.heads = settings.dim, settings.heads
        query = torch.randn(dim)
        self.query = nn.Parameter(query if settings.query_init == "normal" else query / dim**0.5)
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.attend = AttentionScale(settings.attention_scale, dim // settings.heads)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: ClipMask) -> Tensor:
        """Pool tokens `[N, D]` to one vector per clip `[B, D]`; `mask` has one query per clip."""
        q = self.q(self.query).expand(len(mask.q_lens), -1).unflatten(-1, (self.heads, -1))
        k, v = self.kv(x).unflatten(-1, (2, self.heads, -1)).unbind(1)
        return self.proj(self.attend(q, k, v, mask).flatten(1))
