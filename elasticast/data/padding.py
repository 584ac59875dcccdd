"""Padded batches, for models that take no packed ones.

Shape legend: B clips, N tokens of all clips, L tokens of the longest clip, P patch edge.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from elasticast.config import PatchSize
from elasticast.data.packing import PackedBatch


@dataclass
class PaddedBatch:
    """A batch of clips, each padded with zeros to the longest one.

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


def padded(batch: PackedBatch) -> PaddedBatch:
    """Pad the clips of a packed batch to the longest one."""
    lengths = torch.tensor(batch.seqlens)
    mask = (torch.arange(max(batch.seqlens)) < lengths[:, None]).to(batch.patches.device)

    def pad(x: Tensor) -> Tensor:
        return x.new_zeros(*mask.shape, *x.shape[1:]).index_put((mask,), x)

    tokens = pad(batch.patches), pad(batch.freq), pad(batch.time)
    return PaddedBatch(*tokens, mask, batch.clip_time_patches, batch.patch_size)
