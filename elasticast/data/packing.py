"""Packed batches: clips of any length and resolution, one after another, without padding.

The paper packs clips into rows of at most L' = 2,048 tokens and masks attention to each clip. Block-diagonal
attention over one flat sequence computes the same (NaViT, Dehghani et al. 2023), so there are no rows here;
L' is the length of the position table (no longer clip fits) and the unit of the token budget.

Shape legend: B clips, N tokens of all clips, P patch edge, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from elasticast.config import ModelSettings
from elasticast.data.features import patchify


@dataclass
class PackedClip:
    """One clip as tokens: `patches` `[n, P*P]`, `freq` and `time` `[n]` int64 grid indices, `target` `[C]`.

    `time_patches` are those of its grid, whatever tokens are left out; unless given, its tokens reach the grid's end.
    """

    index: int
    patches: Tensor
    freq: Tensor
    time: Tensor
    target: Tensor
    time_patches: int = 0

    def __post_init__(self):
        self.time_patches = self.time_patches or int(self.time.max()) + 1

    def only(self, keep: Tensor) -> "PackedClip":
        """The clip with some of its tokens, `keep` their indices; its grid stays."""
        tokens = self.patches[keep], self.freq[keep], self.time[keep]
        return PackedClip(self.index, *tokens, self.target, self.time_patches)


@dataclass
class PackedBatch:
    """A batch of clips as one flat token sequence.

    Attributes
    ----------
    patches : Tensor
        `[N, P*P]`, normalised log-mel.
    freq, time : Tensor
        `[N]` int64, place of each token on its clip's grid.
    seqlens : list of int
        Tokens of each clip, in order; they sum to N.
    targets : Tensor
        `[B, C]`, 1 for the classes of the clip.
    index : list of int
        Place of each clip in its dataset.
    clip_time_patches : list of int
        Time patches of each clip's grid; known here, so that a model need not wait for the GPU to check them.
    """

    patches: Tensor
    freq: Tensor
    time: Tensor
    seqlens: list[int]
    targets: Tensor
    index: list[int]
    clip_time_patches: list[int]

    @property
    def time_patches(self) -> int:
        """Time patches of the longest clip."""
        return max(self.clip_time_patches)

    def grid_lengths(self) -> Tensor:
        """`[N]` int64, time patches of the clip that each token is of."""
        lengths = torch.tensor(self.clip_time_patches).repeat_interleave(torch.tensor(self.seqlens))
        return lengths.to(self.patches.device)

    def to(self, device: torch.device | str) -> "PackedBatch":
        """The batch on another device; a copy from pinned memory does not wait."""
        return self._each_tensor(lambda tensor: tensor.to(device, non_blocking=tensor.is_pinned()))

    def pin_memory(self) -> "PackedBatch":
        """The batch in page-locked memory; a `DataLoader` with `pin_memory` calls this."""
        return self._each_tensor(Tensor.pin_memory)

    def _each_tensor(self, change: Callable[[Tensor], Tensor]) -> "PackedBatch":
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return PackedBatch(**{k: change(v) if isinstance(v, Tensor) else v for k, v in values.items()})

    def __len__(self) -> int:
        return len(self.seqlens)


def grid_positions(freq_patches: int, time_patches: int) -> tuple[Tensor, Tensor]:
    """Frequency and time index of each patch, in the order of :func:`~elasticast.data.features.patchify`."""
    freq = torch.arange(freq_patches).repeat_interleave(time_patches)
    return freq, torch.arange(time_patches).repeat(freq_patches)


def pack_clip(
    index: int, spectrogram: Tensor, target: Tensor, model: ModelSettings, grid_frames: int | None = None
) -> PackedClip:
    """Tokens of a normalised spectrogram `[F, T]`, the first T of `grid_frames` frames; none: all of them."""
    freq, time = grid_positions(*map(model.patches, spectrogram.shape))
    patches = patchify(spectrogram, model.patch, model.stride)
    return PackedClip(index, patches, freq, time, target, model.patches(grid_frames or spectrogram.shape[1]))


def kept_count(tokens: int, dropout: float) -> int:
    """How many of so many tokens stay: ``round((1 - dropout) * tokens)``, at least one."""
    return max(1, round((1 - dropout) * tokens))


def kept_tokens(tokens: int, dropout: float, generator: Generator) -> Tensor:
    """Sorted indices of the tokens that stay, see :func:`kept_count`, drawn at random."""
    return torch.randperm(tokens, generator=generator)[: kept_count(tokens, dropout)].sort().values


def pack(clips: list[PackedClip]) -> PackedBatch:
    """Join clips into one batch, in the order given."""
    return PackedBatch(
        patches=torch.cat([c.patches for c in clips]),
        freq=torch.cat([c.freq for c in clips]),
        time=torch.cat([c.time for c in clips]),
        seqlens=[len(c.patches) for c in clips],
        targets=torch.stack([c.target for c in clips]),
        index=[c.index for c in clips],
        clip_time_patches=[c.time_patches for c in clips],
    )
