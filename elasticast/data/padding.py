"""Padded batches, for models that take no packed ones.

Shape legend: B clips, N tokens of all clips, L tokens of each clip, padding included, P patch edge.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from elasticast.config import PatchSize
from elasticast.data.packing import PackedBatch


@dataclass
class PaddedBatch:
    """A batch of clips, padded with zeros to the same number of tokens.

    Attributes
    ----------
    patches : Tensor
        `[B, L, P*P]`, normalised log-mel.
    freq, time : Tensor
        `[B, L]` int64, position of each token on the grid of its clip.
    mask : Tensor
        `[B, L]` bool, True for the tokens of the clip, False for padding.
    clip_time_patches : list of int
        Number of time patches of each clip's grid.
    patch_size : PatchSize or None
        Size of the patches before they were resized to P x P. None if they were not.
    """

    patches: Tensor
    freq: Tensor
    time: Tensor
    mask: Tensor
    clip_time_patches: list[int]
    patch_size: PatchSize | None = None

    def __len__(self) -> int:
        return len(self.mask)

    def rows(self) -> PackedBatch:
        """The clips with their padding, as packed clips of L tokens each; without targets."""
        clips, length = self.mask.shape
        tokens = (x.flatten(0, 1) for x in (self.patches, self.freq, self.time))
        targets = self.patches.new_zeros(clips, 0)
        rows = PackedBatch(*tokens, [length] * clips, targets, list(range(clips)), self.clip_time_patches)
        return replace(rows, patch_size=self.patch_size)


def padded(batch: PackedBatch, length: int | None = None) -> PaddedBatch:
    """Pad the clips of a packed batch to `length` tokens, by default those of the longest clip."""
    lengths = torch.tensor(batch.seqlens)
    mask = (torch.arange(length or max(batch.seqlens)) < lengths[:, None]).to(batch.patches.device)

    def pad(x: Tensor) -> Tensor:
        return x.new_zeros(*mask.shape, *x.shape[1:]).index_put((mask,), x)

    tokens = pad(batch.patches), pad(batch.freq), pad(batch.time)
    return PaddedBatch(*tokens, mask, batch.clip_time_patches, batch.patch_size)
