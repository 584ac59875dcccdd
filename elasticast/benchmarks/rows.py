"""ElasticAST on padded rows, as needed without packed attention. Only benchmarks use padded rows.

Shapes: R rows, L tokens per row, Q clips in the fullest row, B clips, H heads, E channels per head, C classes.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elasticast.benchmarks.batching import Layout
from elasticast.data.packing import PackedBatch, PackedClip, pack
from elasticast.models.attention import AttentionScale, ClipMask, Rotation
from elasticast.models.elasticast import ElasticAST


@dataclass
class RowMask:
    """Attention mask for rows, used in place of a :class:`~elasticast.models.attention.ClipMask`.

    Attributes
    ----------
    allowed : Tensor
        Booleans `[R, 1, queries per row, L]`, True where a query may attend to a key. A size of 1 along the queries
        applies to all queries of the row.
    queries : int
        Number of pooling queries; 0 for self-attention.
    """

    allowed: Tensor
    queries: int = 0

    def attend(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Softmax attention from queries `[queries, H, E]` to keys and values `[R*L, H, E]`."""
        split = [x.unflatten(0, (len(self.allowed), -1)).transpose(1, 2) for x in (q, k, v)]
        return F.scaled_dot_product_attention(*split, attn_mask=self.allowed, scale=scale).transpose(1, 2).flatten(0, 1)


@dataclass
class RowIndices:
    """Positions of clips in rows.

    Attributes
    ----------
    owner : Tensor
        `[R, L]` int64, index of the clip that each token belongs to, within the pass; -1 for padding.
    tokens : Tensor
        int64, index in the flattened rows of each token of the clips, in order.
    queries : Tensor
        `[R, Q]` int64, index of the clip of each pooling query; -1 for unused queries of rows with fewer clips.
    """

    owner: Tensor
    tokens: Tensor
    queries: Tensor

    @classmethod
    def from_layout(cls, layout: Layout, lengths: list[int], device: torch.device | str = "cpu") -> "RowIndices":
        """Compute the indices of a layout whose clips have `lengths` tokens."""
        rows = torch.arange(len(layout.row_clips)).repeat_interleave(torch.tensor(layout.row_clips))
        counts, ends = torch.tensor(lengths), torch.tensor(lengths).cumsum(0)
        first = torch.tensor([0, *layout.row_clips]).cumsum(0)[rows]  # first clip of the row of each clip
        begin = rows * layout.length + (ends - counts) - (ends - counts)[first]
        tokens = torch.cat([torch.arange(n) + start for n, start in zip(lengths, begin.tolist(), strict=True)])
        owner = torch.full((len(layout.row_clips), layout.length), -1)
        owner.view(-1)[tokens] = torch.arange(len(lengths)).repeat_interleave(counts)
        queries = torch.full((len(layout.row_clips), max(layout.row_clips)), -1)
        queries[rows, torch.arange(len(lengths)) - first] = torch.arange(len(lengths))
        return cls(*(x.to(device) for x in (owner, tokens, queries)))

    def mask(self) -> RowMask:
        """Mask for self-attention: tokens attend to their clip, and padding to padding.

        With one clip per row, the mask of its keys applies to all queries, also to padding.
        """
        if self.queries.shape[1] == 1:
            return RowMask((self.owner >= 0)[:, None, None])
        return RowMask((self.owner[:, :, None] == self.owner[:, None])[:, None])

    def pooling(self) -> RowMask:
        """Mask for pooling queries; unused queries attend to all tokens, because softmax needs at least one."""
        allowed = (self.queries[:, :, None] == self.owner[:, None]) | (self.queries < 0)[:, :, None]
        return RowMask(allowed[:, None], self.queries.numel())


def row_batch(clips: list[PackedClip], layout: Layout) -> PackedBatch:
    """Pack clips with padding clips that fill up their rows, `R*L` tokens in total."""
    parts, rest = [], list(clips)
    for count in layout.row_clips:
        row, rest = rest[:count], rest[count:]
        padding = layout.length - sum(len(clip.patches) for clip in row)
        parts += row if not padding else [*row, _padding_clip(padding, clips[0])]
    return pack(parts)


def _padding_clip(tokens: int, like: PackedClip) -> PackedClip:
    positions = torch.zeros(tokens, dtype=torch.int64)
    return PackedClip(-1, like.patches.new_zeros(tokens, like.patches.shape[1]), positions, positions, 0 * like.target)


class RowAttention(nn.Module):
    """Attention of a layer that accepts a :class:`RowMask` too."""

    def __init__(self, attention: AttentionScale):
        super().__init__()
        self.attention = attention

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, mask: ClipMask | RowMask, rotation: Rotation | None = None
    ) -> Tensor:
        """Compute attention, see :class:`~elasticast.models.attention.AttentionScale`."""
        if isinstance(mask, ClipMask):
            return self.attention(q, k, v, mask, rotation)
        q, k = self.attention.q_norm(q), self.attention.k_norm(k)
        if rotation is not None:
            q, k = rotation(q), rotation(k)
        return mask.attend(q.to(v.dtype), k.to(v.dtype), v, self.attention.scale)


class RowElasticAST(ElasticAST):
    """ElasticAST that accepts packed batches and rows, so that both use the same weights."""

    def __init__(self, *args: Any, **sizes: Any):
        super().__init__(*args, **sizes)
        for layer in [*(block.attn for block in self.trunk.blocks), self.pool]:
            layer.attend = RowAttention(layer.attend)

    def rows(self, batch: PackedBatch, indices: RowIndices) -> Tensor:
        """Compute logits `[B, C]` of a :func:`row_batch`. Padding goes through all layers; each mask is built once."""
        x, rotation = self._embedded(batch)
        x = self.trunk(x, indices.mask(), rotation)
        x = self.pool(x, indices.pooling())[indices.queries.flatten() >= 0]
        return self.head(self.head_norm(x))
