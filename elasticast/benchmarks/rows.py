"""ElasticAST on padded rows, as a user without packed attention would run it; the suite itself has no padded rows.

Shape legend: R rows, L tokens of a row, Q clips of the fullest row, B clips, H heads, E head dim, C classes.
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
    """Which key each query of a row may see, handed down in place of a :class:`~elasticast.models.attention.ClipMask`.

    Attributes
    ----------
    allowed : Tensor
        Booleans `[R, 1, queries of a row, L]`; 1 query stands for all.
    q_lens : list of int
        As many as there are queries, where a clip has one.
    """

    allowed: Tensor
    q_lens: list[int]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Softmax attention of `[queries, H, E]` to `[R*L, H, E]`."""
        split = [x.unflatten(0, (len(self.allowed), -1)).transpose(1, 2) for x in (q, k, v)]
        return F.scaled_dot_product_attention(*split, attn_mask=self.allowed, scale=scale).transpose(1, 2).flatten(0, 1)


@dataclass
class RowPlaces:
    """Where clips lie in rows.

    Attributes
    ----------
    owner : Tensor
        `[R, L]` int64, the clip that each token is of, counted within the pass; -1: padding.
    tokens : Tensor
        int64, place in the flat rows of each token of the clips, in their order.
    queries : Tensor
        `[R, Q]` int64, the clip that each pooling query is of; -1: none, the row has fewer.
    """

    owner: Tensor
    tokens: Tensor
    queries: Tensor

    @classmethod
    def of(cls, layout: Layout, lengths: list[int], device: torch.device | str = "cpu") -> "RowPlaces":
        """Those of a layout whose clips have `lengths` tokens."""
        rows = torch.arange(len(layout.row_clips)).repeat_interleave(torch.tensor(layout.row_clips))
        counts, ends = torch.tensor(lengths), torch.tensor(lengths).cumsum(0)
        first = torch.tensor([0, *layout.row_clips]).cumsum(0)[rows]  # clip that its row begins with
        begin = rows * layout.length + (ends - counts) - (ends - counts)[first]
        tokens = torch.cat([torch.arange(n) + start for n, start in zip(lengths, begin.tolist(), strict=True)])
        owner = torch.full((len(layout.row_clips), layout.length), -1)
        owner.view(-1)[tokens] = torch.arange(len(lengths)).repeat_interleave(counts)
        queries = torch.full((len(layout.row_clips), max(layout.row_clips)), -1)
        queries[rows, torch.arange(len(lengths)) - first] = torch.arange(len(lengths))
        return cls(*(x.to(device) for x in (owner, tokens, queries)))

    def mask(self) -> RowMask:
        """Tokens see those of their clip; a row of one clip needs to know its keys only. Padding sees padding."""
        if self.queries.shape[1] == 1:
            return RowMask((self.owner >= 0)[:, None, None], [])
        return RowMask((self.owner[:, :, None] == self.owner[:, None])[:, None], [])

    def pooling(self) -> RowMask:
        """Queries see their clip's tokens; one that is no clip's sees all, for nothing is no softmax."""
        allowed = (self.queries[:, :, None] == self.owner[:, None]) | (self.queries < 0)[:, :, None]
        return RowMask(allowed[:, None], [1] * self.queries.numel())


def row_batch(clips: list[PackedClip], layout: Layout) -> PackedBatch:
    """Clips and what fills their rows up, as clips that nobody asks for: `[R*L]` tokens."""
    parts, rest = [], list(clips)
    for count in layout.row_clips:
        row, rest = rest[:count], rest[count:]
        filling = layout.length - sum(len(clip.patches) for clip in row)
        parts += row if not filling else [*row, _nothing(filling, clips[0])]
    return pack(parts)


def _nothing(tokens: int, like: PackedClip) -> PackedClip:
    places = torch.zeros(tokens, dtype=torch.int64)
    return PackedClip(-1, like.patches.new_zeros(tokens, like.patches.shape[1]), places, places, 0 * like.target)


class RowAttention(nn.Module):
    """A layer's attention, `own`, that takes a :class:`RowMask` too."""

    def __init__(self, own: AttentionScale):
        super().__init__()
        self.own = own

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, mask: ClipMask | RowMask, rotation: Rotation | None = None
    ) -> Tensor:
        """As :class:`~elasticast.models.attention.AttentionScale`."""
        if isinstance(mask, ClipMask):
            return self.own(q, k, v, mask, rotation)
        q, k = self.own.q_norm(q), self.own.k_norm(k)
        if rotation is not None:
            q, k = rotation(q), rotation(k)
        return mask.attend(q.to(v.dtype), k.to(v.dtype), v, self.own.scale)


class RowElasticAST(ElasticAST):
    """ElasticAST that takes rows too: the same weights for all that is compared."""

    def __init__(self, *args: Any, **sizes: Any):
        super().__init__(*args, **sizes)
        for layer in [*(block.attn for block in self.trunk.blocks), self.pool]:
            layer.attend = RowAttention(layer.attend)

    def rows(self, batch: PackedBatch, places: RowPlaces) -> Tensor:
        """Logits `[B, C]` of a :func:`row_batch`; padding goes through all layers, masks are built once."""
        x, rotation = self._embedded(batch)
        x = self.trunk(x, places.mask(), rotation)
        x = self.pool(x, places.pooling())[places.queries.flatten() >= 0]
        return self.head(self.head_norm(x))
