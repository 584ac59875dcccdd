"""A small convolutional network for packed clips, such as a teacher that is no transformer.

Shapes: B clips, N tokens of all clips, P patch edge, F and T mel bins and frames, W channels.
"""

import itertools

import torch
from torch import Tensor, nn

from elasticast.config import CNNSettings
from elasticast.config.model.cnn import GROUPS
from elasticast.data.packing import PackedBatch, equally_long


class Stage(nn.Module):
    """Two convolutions, the first of which halves both axes, with a residual connection around the second.

    Batch normalisation would mix clips. GroupNorm takes its place: its statistics are those of one clip.
    """

    def __init__(self, inputs: int, outputs: int, eps: float):
        super().__init__()
        self.halve = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.conv = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, outputs, eps) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, V, F, T]` to `[B, W, F / 2, T / 2]`."""
        x = torch.relu(self.norms[0](self.halve(x)))
        return torch.relu(x + self.norms[1](self.conv(x)))


class CNN(nn.Module):
    """Convolutional network for packed batches of clips of different lengths.

    The clips of a batch are computed together with those of the same length, so that none is padded. Pooling is the
    mean over frequency, and over time the sum of mean and maximum, as in PANNs (Kong et al. 2020).

    Parameters
    ----------
    settings : CNNSettings
        Settings of the model.
    grid : tuple of int
        Number of frequency patches, and of time patches of the longest view, which is not used.
    classes : int
        Number of classes C.
    """

    Settings = CNNSettings

    def __init__(self, settings: CNNSettings, *, grid: tuple[int, int], classes: int):
        super().__init__()
        self.settings, self.freq_patches = settings, grid[0]
        widths = [1, *settings.widths]
        self.stages = nn.Sequential(*(Stage(*pair, settings.norm_eps) for pair in itertools.pairwise(widths)))
        self.hidden = nn.Linear(widths[-1], widths[-1])
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, batch: PackedBatch) -> Tensor:
        """Compute logits `[B, C]`, in the order of the clips.

        Raises
        ------
        ValueError
            If tokens of a clip are missing.
        """
        order, pooled = [], []
        for clips, spectrograms in self._equally_long(batch):
            x = self.stages(spectrograms).mean(2)
            order += clips
            pooled.append(x.mean(2) + x.amax(2))
        places = torch.tensor(order).argsort().to(pooled[0].device, non_blocking=True)
        return self.head(torch.relu(self.hidden(torch.cat(pooled).index_select(0, places))))

    def _equally_long(self, batch: PackedBatch) -> list[tuple[list[int], Tensor]]:
        """The places in the batch of clips of one length, and their spectrograms `[B, 1, F, T]`, for each length."""
        for clip, tokens in enumerate(batch.seqlens):
            if tokens != batch.clip_time_patches[clip] * self.freq_patches:
                raise ValueError(f"clip {clip} has {tokens} tokens: a CNN takes no clips of which tokens are left out")
        parts, side = batch.patches.split(batch.seqlens), self.settings.patch
        return [
            (clips, torch.stack([_spectrogram(parts[i], self.freq_patches, side) for i in clips])[:, None])
            for clips in equally_long(batch.seqlens)
        ]


def _spectrogram(patches: Tensor, freq_patches: int, side: int) -> Tensor:
    """Join the patches `[n, P*P]` of a clip, in the order of `patchify`, to a spectrogram `[F, T]`."""
    return patches.unflatten(0, (freq_patches, -1)).unflatten(2, (side, side)).transpose(1, 2).flatten(2).flatten(0, 1)
