"""The convolutional recurrent frame head of sound event detection.

Convolutions of the spectrogram and the last states of a transformer are joined for every time patch, and a recurrent
network reads them in both directions, as in the baseline of DCASE 2024 task 4 and in Schmid et al. 2024 (arXiv
2408.00791). No layer mixes clips: a LayerNorm over channels replaces BatchNorm, and clips have zeros after their end.

Shapes: N tokens of all clips, R time patches of all clips, B clips, F mel bins, T frames of the longest clip, c
channels, D width, C classes.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from elasticast.config import TransformerSettings
from elasticast.data.packing import PackedBatch
from elasticast.models.frame_head import FrameHead, time_means


def build_frame_head(settings: TransformerSettings, rows: int, classes: int) -> FrameHead:
    """The frame head of a model with `rows` frequency patches: a :class:`CRNNHead` if `model.crnn` is set."""
    return FrameHead(settings.dim, classes) if settings.crnn is None else CRNNHead(settings, rows, classes)


class CRNNHead(FrameHead):
    """Logits of time patches from the spectrogram and the last states.

    Parameters
    ----------
    settings : TransformerSettings
        Settings of the model, with `crnn`.
    rows : int
        Number of frequency patches.
    classes : int
        Number of classes C.
    """

    def __init__(self, settings: TransformerSettings, rows: int, classes: int):
        crnn = settings.crnn
        super().__init__(2 * crnn.width, classes)
        self.patch, self.rows = settings.patch, rows
        channels = [1, *crnn.channels]
        self.convolutions = nn.ModuleList(GatedConvolution(*pair) for pair in pairwise(channels))
        self.recurrent = nn.GRU(settings.dim + channels[-1], crnn.width, crnn.layers, bidirectional=True)
        self.dropout = nn.Dropout(crnn.dropout)

    def forward(self, x: Tensor, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """Logits `[R, C]` of tokens `[N, D]`, and whether each time patch has a token, `[R]`."""
        means, seen = time_means(x, batch)
        states = torch.cat([means.float(), self._convolved(batch).float()], 1)
        with torch.autocast(x.device.type, enabled=False):
            read = self.dropout(self._read(states, batch.clip_time_patches))
        return F.linear(read, self.weight, self.bias), seen

    def _convolved(self, batch: PackedBatch) -> Tensor:
        """Convolutions of the spectrogram, `[R, c]`: mean over the frames and bands of each time patch."""
        x = spectrograms(batch, self.patch, self.rows)
        counts = torch.tensor(batch.clip_time_patches).to(x.device, non_blocking=True)
        inside = torch.arange(batch.time_patches, device=x.device) < counts[:, None]
        for convolution in self.convolutions:
            pools = [2 if size % 2 == 0 else 1 for size in (x.shape[2], x.shape[3] // batch.time_patches)]
            x = self.dropout(convolution(x, pools))
            # what a clip has after its end would reach it through the next convolution
            x = x * inside.repeat_interleave(x.shape[3] // batch.time_patches, 1)[:, None, None]
        return x.mean(2).unflatten(2, (batch.time_patches, -1)).mean(3).transpose(1, 2)[inside]

    def _read(self, states: Tensor, counts: list[int]) -> Tensor:
        """The states `[R, D + c]` of clips of `counts` time patches, read in both directions: `[R, 2 * width]`."""
        packed = pack_sequence(states.split(counts), enforce_sorted=False)
        clips, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
        return torch.cat([clip[:count] for clip, count in zip(clips, counts, strict=True)])


class GatedConvolution(nn.Module):
    """A 3 x 3 convolution, pooling, a LayerNorm over channels, and a gate for each channel (Dauphin et al. 2017)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm, self.gate = nn.LayerNorm(outputs), nn.Linear(outputs, outputs)

    def forward(self, x: Tensor, pools: list[int]) -> Tensor:
        """`[B, c, F, T]` to `[B, c', F / pools[0], T / pools[1]]`."""
        x = self.norm(F.avg_pool2d(self.conv(x), pools).movedim(1, -1))
        return (x * self.gate(x).sigmoid()).movedim(-1, 1)


def spectrograms(batch: PackedBatch, patch: int, rows: int) -> Tensor:
    """The spectrograms `[B, 1, F, T]` that a batch was cut from; 0, the mean, where a clip has no token.

    Parameters
    ----------
    batch : PackedBatch
        Clips, with patches that do not overlap.
    patch, rows : int
        Edge of a patch, and number of frequency patches.
    """
    size = len(batch), rows, batch.time_patches, patch * patch
    grid = torch.zeros(size, dtype=batch.patches.dtype, device=batch.patches.device)
    grid[batch.lengths.owners(), batch.freq, batch.time] = batch.patches
    return grid.unflatten(3, (patch, patch)).transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, None]
