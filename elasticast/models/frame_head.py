"""The frame head: logits of every time patch of packed clips.

Shapes: N tokens of all clips, R time patches of all clips, B clips, D width, C classes.
"""

from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elasticast.data.packing import Lengths, PackedBatch
from elasticast.models.pooling import split_prefix
from elasticast.models.token_merging import MergedTokens


class FrameLogits(NamedTuple):
    """Logits of clips, and of their time patches.

    Attributes
    ----------
    clips : Tensor
        `[B, C]`.
    frames : Tensor
        `[R, C]`, the time patches of each clip's grid, one clip after the other.
    seen : Tensor
        `[R]` bool, whether a time patch has any token; logits of the others mean nothing.
    """

    clips: Tensor
    frames: Tensor
    seen: Tensor


class FrameHead(nn.Linear):
    """Mean over the frequency patches of each time patch, and a linear layer."""

    def forward(self, x: Tensor, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """Logits `[R, C]` of tokens `[N, D]`, and whether each time patch has a token, `[R]`."""
        means, seen = time_means(x, batch)
        return super().forward(means), seen


def time_means(x: Tensor, batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """Mean `[R, D]` over the tokens `[N, D]` of each time patch, and whether it has any, `[R]`; 0 if it has none."""
    first = torch.tensor([0, *accumulate(batch.clip_time_patches)]).to(x.device, non_blocking=True)
    row = first[:-1].index_select(0, batch.lengths.owners()) + batch.time
    rows = sum(batch.clip_time_patches)
    tokens = torch.zeros(rows, dtype=x.dtype, device=x.device).index_add(0, row, torch.ones_like(x[:, 0]))
    sums = torch.zeros(rows, x.shape[1], dtype=x.dtype, device=x.device).index_add(0, row, x)
    return sums / tokens.clamp(min=1)[:, None], tokens > 0


def clip_time_means(x: Tensor, batch: PackedBatch) -> list[Tensor]:
    """Mean `[time patches, D]` over the tokens `[N, D]` of each time patch, of each clip; 0 without tokens."""
    return list(time_means(x, batch)[0].split(batch.clip_time_patches))


def patch_tokens(tokens: MergedTokens, lengths: Lengths, prefix: int) -> Tensor:
    """The last states `[N, D]` of the patches: without prefix tokens, and before tokens were merged.

    Patches that were merged have the state of their merged token.

    Parameters
    ----------
    tokens : MergedTokens
        Tokens after the last block.
    lengths : Lengths
        Number of patches of each clip.
    prefix : int
        Number of prefix tokens of each clip.
    """
    x = tokens.x if tokens.sources is None else tokens.x.index_select(0, tokens.sources)
    return split_prefix(x, lengths, prefix)[1] if prefix else x


def split_clips(logits: FrameLogits, time_patches: list[int]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Logits `[C]`, logits of time patches, and whether these have tokens, of each clip of a batch, on the CPU."""
    frames, seen = (part.float().cpu().split(time_patches) for part in (logits.frames, logits.seen))
    return list(zip(logits.clips.float().cpu(), frames, (part.bool() for part in seen), strict=True))
