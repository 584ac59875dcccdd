"""Token merging (Bolya et al. 2023, "Token Merging: Your ViT But Faster", section 3), in packed batches.

In each block, between attention and MLP, the tokens of a clip are divided alternately into sets A and B. Each token of
A selects the token of B whose key is most similar. The most similar pairs are merged. A merged token is the mean of
its tokens, and its size says how many they are. Attention adds the logarithm of the size to the scores of a key
("proportional attention"), so that a token of size 2 counts like two equal tokens.

Instead of merging, a block can prune: the tokens that receive the least attention are left out at the same place.

Shapes: N tokens of all clips, M those that are left, B clips, D width, H heads, E channels per head. Tokens stay in
order, and the prefix tokens of a clip come first; they are never merged.
"""

import copy
from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elasticast.config import TokenMerging
from elasticast.data.packing import Lengths
from elasticast.models.attention import ClipMask, Rotation
from elasticast.models.transformer import Trunk

LEVELS = 2**16
"""Similarities are rounded to steps of 1 / LEVELS, so that rounding errors do not decide between equal pairs."""


@dataclass
class MergedTokens:
    """Tokens after the last block.

    Attributes
    ----------
    x : Tensor
        `[M, D]`.
    lengths : Lengths
        Number of tokens that are left of each clip, without prefix tokens.
    sizes : Tensor or None
        `[M]` float32, number of tokens that each token is the mean of; 0 for padding. None if all are 1.
    sources : Tensor or None
        `[N]` int64, index of the merged token that holds each token of the input. None if no tokens were merged, or
        if some were pruned.
    """

    x: Tensor
    lengths: Lengths
    sizes: Tensor | None = None
    sources: Tensor | None = None


def with_merging(model: nn.Module, merging: TokenMerging | None) -> nn.Module:
    """A model with the same weights, in the same memory, that merges or prunes as `merging` says, or does neither."""
    other = copy.copy(model)
    other.settings = model.settings.model_copy(update={"merge": merging})
    return other


def merged_trunk(
    trunk: Trunk,
    x: Tensor,
    mask: ClipMask,
    merging: TokenMerging,
    prefix: int,
    rotation: Rotation | None = None,
) -> MergedTokens:
    """Run the blocks of a trunk, and merge or prune tokens in each of them. It is never compiled.

    Parameters
    ----------
    trunk : Trunk
        The trunk.
    x : Tensor
        `[N, D]`.
    mask : ClipMask
        Mask of N tokens, prefix tokens included.
    merging : TokenMerging
        How many tokens are merged or pruned.
    prefix : int
        Number of prefix tokens of each clip.
    rotation : Rotation, optional
        Rotation of queries and keys. A merged token keeps the position of its token in set B.
    """
    lengths, sizes, sources = mask.q, None, torch.arange(len(x), device=x.device)
    prunes = merging.method == "prune"
    plans = [merging.counts(n - prefix, len(trunk.blocks)) for n in lengths.counts]
    for block, left in zip(trunk.blocks, zip(*plans, strict=True), strict=True):
        after, normed = [n + prefix for n in left], block.norm1(x)
        changes = after != lengths.counts
        attention = block.attn.with_received if prunes and changes else block.attn.with_keys
        attended, measured = attention(normed, mask, rotation)
        x = x + block.adapted("attn", normed, attended, mask)
        if changes:
            fewer = Lengths.of(after, x.device)
            if prunes:
                kept = most_attended(measured, lengths, fewer, prefix)
                x, sources = x[kept], None
            else:
                into, kept = match(measured, lengths, after, prefix)
                x, sizes = merge(x, sizes, into, len(kept))
                sources = into[sources]
            lengths = fewer
            mask = ClipMask(lengths, lengths, mask.backend, sizes)
            if rotation is not None:
                rotation = Rotation(rotation.cos[kept], rotation.sin[kept])
        x = block.feed_forward(x, mask)
    return MergedTokens(trunk.norm(x), lengths.plus(-prefix), sizes, sources)


def merge(x: Tensor, sizes: Tensor | None, into: Tensor, left: int) -> tuple[Tensor, Tensor]:
    """Replace tokens that merge by their mean, weighted by size.

    Parameters
    ----------
    x : Tensor
        `[N, D]`.
    sizes : Tensor or None
        `[N]` float32, or None if all are 1.
    into : Tensor
        `[N]` int64, index of the new token of each token.
    left : int
        Number M of new tokens.

    Returns
    -------
    Tensor, Tensor
        `[M, D]`, and sizes `[M]` float32.
    """
    sizes = torch.ones(len(x), device=x.device) if sizes is None else sizes
    total = sizes.new_zeros(left).index_add(0, into, sizes)
    share = (sizes / total[into]).to(x.dtype)
    return x.new_zeros(left, x.shape[1]).index_add(0, into, x * share[:, None]), total


@torch.no_grad()
def match(keys: Tensor, lengths: Lengths, after: list[int], prefix: int = 0) -> tuple[Tensor, Tensor]:
    """Bipartite soft matching of the tokens of each clip.

    Parameters
    ----------
    keys : Tensor
        `[N, H, E]`; their mean over heads is compared by cosine.
    lengths : Lengths
        Number of tokens of each clip, prefix tokens included.
    after : list of int
        Number of tokens of each clip that are left. At most half of the tokens after the prefix can merge.
    prefix : int
        Number of tokens at the start of each clip that are not merged.

    Returns
    -------
    Tensor
        `[N]` int64, index of the new token of each token.
    Tensor
        `[M]` int64, index of the token in whose place each new token is.
    """
    device, tokens = keys.device, len(keys)
    target = torch.arange(tokens + 1, device=device)  # the last one takes what is written for padding
    with torch.autocast(device.type, enabled=False):  # 16 bits would make many pairs equal
        keys = nn.functional.normalize(keys.float().mean(1), dim=-1)
        for clips in _groups(lengths, after):
            counts = [lengths.counts[clip] - prefix for clip in clips]
            merged = [lengths.counts[clip] - after[clip] for clip in clips]
            index, *numbers = (torch.tensor(n).to(device, non_blocking=True) for n in (clips, counts, merged))
            first = lengths.bounds[index].long() + prefix
            rows, values = _pairs(keys, first, *numbers, max(counts))
            target[torch.where(rows < 0, tokens, rows).flatten()] = values.flatten()
    target = target[:tokens]
    kept = target == torch.arange(tokens, device=device)
    order = kept.cumsum(0) - 1
    into = order[target]
    # all tokens of a new token write the same number
    return into, torch.empty(sum(after), dtype=torch.int64, device=device).scatter_(0, into, target)


@torch.no_grad()
def most_attended(received: Tensor, lengths: Lengths, fewer: Lengths, prefix: int = 0) -> Tensor:
    """Indices of the tokens that pruning leaves, in order.

    Parameters
    ----------
    received : Tensor
        `[N]`, attention that each token receives, see :func:`~elasticast.models.attention.received`. Of equals, the
        first ones stay.
    lengths, fewer : Lengths
        Number of tokens of each clip now and afterwards, prefix tokens included.
    prefix : int
        Number of tokens at the start of each clip that always stay.

    Returns
    -------
    Tensor
        `[M]` int64.
    """
    owners = lengths.owners()
    in_prefix = torch.arange(len(owners), device=owners.device) - lengths.bounds[owners] < prefix
    scores = (received * LEVELS).round().masked_fill(in_prefix, torch.inf)
    order = scores.argsort(descending=True, stable=True)
    order = order[owners[order].argsort(stable=True)]  # clip by clip, the most attended first
    places = torch.arange(sum(fewer.counts), device=owners.device)
    return order[places + (lengths.bounds - fewer.bounds)[fewer.owners()]].sort().values


def _groups(lengths: Lengths, after: list[int]) -> list[list[int]]:
    """Clips with merges, in groups in which none is twice as long as another, so that little memory is padding."""
    groups = defaultdict(list)
    for clip, (count, left) in enumerate(zip(lengths.counts, after, strict=True)):
        if left < count:
            groups[0 if lengths.equal else count.bit_length()].append(clip)
    return list(groups.values())


def _pairs(keys: Tensor, first: Tensor, counts: Tensor, merged: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Tokens of set A of some clips, and the tokens that they become.

    Parameters
    ----------
    keys : Tensor
        `[N, E]`, of length 1.
    first, counts, merged : Tensor
        `[B]` int64: the first token of each clip that may merge, how many may, and how many are merged.
    longest : int
        Largest of `counts`.

    Returns
    -------
    Tensor
        `[B, A]` int64, indices of the tokens; -1 for padding.
    Tensor
        `[B, A]` int64, indices of their tokens in B, or of themselves if they do not merge.
    """
    place = torch.arange(longest, device=keys.device)
    rows = torch.where(place < counts[:, None], first[:, None] + place, -1)
    a, b = rows[:, ::2], rows[:, 1::2]
    likeness = keys[a] @ keys[b].transpose(1, 2)  # -1, the padding, is a token like any other until the next line
    likeness = (likeness * LEVELS).round().masked_fill(b[:, None] < 0, -torch.inf)
    best, partner = likeness.max(-1)  # the first of equals
    order = best.masked_fill(a < 0, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(a.shape[1], device=a.device).expand_as(order))
    return a, torch.where(rank < merged[:, None], b.gather(1, partner), a)
