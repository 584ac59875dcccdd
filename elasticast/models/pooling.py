"""Masked attention pooling: one learned query a clip (paper, section 3; NaViT, section 2.2)."""

import torch
from torch import Tensor, nn

from elasticast.models.attention import AttentionScale, ClipMask


class AttentionPooling(nn.Module):
    """A learned query attends to its clip's tokens; no residual.

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
