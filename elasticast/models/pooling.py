"""Pooling: from the tokens of packed clips to one vector per clip.

Shapes: B clips, N tokens of all clips, p prefix tokens per clip, D width.
"""

import torch
from torch import Tensor, nn

from elasticast.config import TransformerSettings
from elasticast.data.packing import Lengths
from elasticast.models.attention import AttentionScale, ClipMask


def prepend_tokens(prefix: Tensor, x: Tensor, lengths: Lengths) -> Tensor:
    """Insert `prefix` `[B, p, ...]` before the tokens of each clip in `x` `[N, ...]`; returns `[B*p + N, ...]`."""
    clips, count = prefix.shape[:2]
    if lengths.equal:
        return torch.cat([prefix, x.unflatten(0, (clips, -1))], 1).flatten(0, 1)
    first, tokens = _prefix_order(lengths, count)
    order = torch.empty(len(first) + len(tokens), dtype=torch.int64, device=x.device)
    order[first] = torch.arange(len(first), device=x.device)
    order[tokens] = torch.arange(len(first), len(order), device=x.device)
    return torch.cat([prefix.flatten(0, 1), x]).index_select(0, order)


def split_prefix(x: Tensor, lengths: Lengths, count: int) -> tuple[Tensor, Tensor]:
    """Undo :func:`prepend_tokens`: returns prefix tokens `[B, p, D]` and other tokens `[N, D]`, for p = `count`."""
    if lengths.equal:
        first, tokens = x.unflatten(0, (len(lengths), -1)).tensor_split([count], 1)
        return first, tokens.flatten(0, 1)
    first, tokens = (x.index_select(0, rows) for rows in _prefix_order(lengths, count))
    return first.unflatten(0, (len(lengths), count)), tokens


def _prefix_order(lengths: Lengths, count: int) -> tuple[Tensor, Tensor]:
    """Rows of the prefix tokens `[B*p]` and of the other tokens `[N]` of clips with `count` prefix tokens each."""
    begin = lengths.plus(count).bounds[:-1].long()
    first = begin[:, None] + torch.arange(count, device=begin.device)
    tokens = torch.arange(sum(lengths.counts), device=begin.device) + count * (lengths.owners() + 1)
    return first.flatten(), tokens


def mean_pooling(x: Tensor, lengths: Lengths, sizes: Tensor | None = None) -> Tensor:
    """Mean `[B, D]` over the tokens `[N, D]` of each clip, weighted by `sizes` `[N]` if they were merged."""
    if sizes is not None:
        weights = sizes.to(x.dtype)[:, None]
        return mean_pooling(x * weights, lengths) / mean_pooling(weights, lengths)
    if lengths.equal:
        return x.unflatten(0, (len(lengths), -1)).mean(1)
    # `unsafe` skips checks that would wait for a GPU
    return torch.segment_reduce(x, "mean", lengths=lengths.bounds.diff().long(), unsafe=True)


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
        q = self.q(self.query).expand(mask.queries, -1).unflatten(-1, (self.heads, -1))
        k, v = self.kv(x).unflatten(-1, (2, self.heads, -1)).unbind(1)
        return self.proj(self.attend(q, k, v, mask).flatten(1))
