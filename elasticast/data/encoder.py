"""Encode a waveform as tokens: log-mel, cropping or padding to the view, normalisation, patches.

Training, sweeps and inference all encode clips with :class:`ClipEncoder`, so a model gets the same kind of input in all
of them.

Shape legend: S samples, F mel bins, T frames, n tokens, P patch edge, C classes.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from elasticast.config import PatchSize, RunConfig
from elasticast.data.features import log_mel
from elasticast.data.norm import Norm
from elasticast.data.packing import PackedClip, pack_clip, patch_labels
from elasticast.data.views import ClipView, Fill

NO_TARGET = torch.empty(0)
Array = TypeVar("Array", Tensor, np.ndarray)

KEPT_BYTES = 512 * 2**20
"""Memory that a training process uses to keep log-mels, or with several compressions waveforms: at each of 16
compressions, log-mels would take 12 times the memory of the waveforms, and most would not be used twice. For the small
models, reading clips and computing log-mels takes a sixth to a third of the time of a training step on a CPU."""


class ClipEncoder:
    """Encode waveforms as tokens, following the settings of a run.

    Parameters
    ----------
    config : RunConfig
        Settings of the run. `front_end`, `view.resolution` and `model` are used.
    norm : Norm
        Normalisation statistics.
    """

    def __init__(self, config: RunConfig, norm: Norm):
        self.config, self.norm = config, norm

    def spectrogram(self, waveform: Tensor, compression: float = 1.0, *, whole: bool = True) -> Tensor:
        """Log-mel `[F, T]` of a waveform.

        With `view.resolution: hop`, compression lengthens the hop. With `max_pool`, it takes the maximum over every
        `compression` frames (a whole number). An incomplete group of frames at the end is pooled too.

        Parameters
        ----------
        waveform : Tensor
            `[S]`, float32 in [-1, 1], at `front_end.sample_rate`.
        compression : float
            The paper's time compression.
        whole : bool
            See :func:`~elasticast.data.features.log_mel`.
        """
        front_end = self.config.front_end
        if self.config.view.resolution == "hop":
            return log_mel(waveform, front_end, compression, whole=whole)
        frames = log_mel(waveform, front_end, whole=whole)
        return torch.nn.functional.max_pool1d(frames, int(compression), ceil_mode=True)

    def encode(
        self,
        spectrogram: Tensor,
        view: ClipView,
        *,
        index: int = 0,
        target: Tensor = NO_TARGET,
        start: float = 0.0,
        augment: Callable[[Tensor], Tensor] | None = None,
        patch_size: PatchSize | None = None,
        labels: Tensor | None = None,
        pseudo_labels: Tensor | None = None,
        warp: Callable[[Tensor], Tensor] | None = None,
    ) -> PackedClip:
        """Tokens of a clip.

        Parameters
        ----------
        spectrogram : Tensor
            `[F, T]`, the log-mel of the clip at the compression of the view, see :meth:`spectrogram`.
        view : ClipView
            The part of the clip to encode.
        index : int
            Index of the clip in its dataset.
        target : Tensor
            `[C]`, 1 for each class of the clip.
        start : float
            Where to crop a clip longer than the view, see :func:`crop_or_pad`.
        augment : callable, optional
            Function applied to the normalised log-mel `[F, view.frames]`.
        patch_size : PatchSize, optional
            Size of the patches, `model.patch` by default.
        labels, pseudo_labels : Tensor, optional
            `[C, T]`, share of each frame of the spectrogram that each class covers, and probabilities by other models.
            They are cropped or padded as the spectrogram is.
        warp : callable, optional
            Function applied to the labels `[C, view.frames]`, before `augment` is called.
        """
        segment = self.config.view.segment
        part = crop_or_pad(spectrogram[:, view.first :], view.frames, start, view.fill, segment)

        def of_patches(labels: Tensor | None) -> Tensor | None:
            if labels is None:
                return None
            labels = crop_or_pad(labels[:, view.first :], view.frames, start, view.fill, segment)
            return patch_labels(warp(labels) if warp else labels, self.config.model, view.grid_frames)

        frame_target, pseudo_target = of_patches(labels), of_patches(pseudo_labels)
        visible = self.norm(part)
        if augment:
            visible = augment(visible)
        clip = pack_clip(index, visible, target, self.config.model, view.grid_frames, patch_size)
        clip.frame_target, clip.pseudo_target = frame_target, pseudo_target
        return clip


class LogMels:
    """Log-mels of clips. What is needed again in later epochs is kept, up to :data:`KEPT_BYTES`.

    With one compression, log-mels are kept, else waveforms.

    Parameters
    ----------
    read : callable
        Samples `[S]` of a clip, 16-bit integers, given its index.
    encoder : ClipEncoder
        Computes the log-mels.
    keep : bool
        Whether to keep anything.
    """

    def __init__(self, read: Callable[[int], np.ndarray], encoder: ClipEncoder, *, keep: bool):
        self.read, self.encoder = read, encoder
        self._several = len(encoder.config.view.compression) > 1
        self._kept: dict[int, Tensor | np.ndarray] = {}
        self._room = KEPT_BYTES if keep else 0

    def __call__(self, index: int, compression: float, mixed: Tensor | None = None) -> Tensor:
        """Log-mel `[F, T]` of a clip, or of the waveform `[S]` that it was mixed to."""
        if mixed is not None:
            return self.encoder.spectrogram(mixed, compression)
        if self._several:
            return self.encoder.spectrogram(self.waveform(index), compression)
        read = self.waveform
        return self._keep(index, lambda: self.encoder.spectrogram(read(index), compression).contiguous())

    def waveform(self, index: int) -> Tensor:
        """Waveform `[S]` of a clip, float32 in [-1, 1]."""
        return as_waveform(self._keep(index, lambda: self.read(index)) if self._several else self.read(index))

    def _keep(self, index: int, compute: Callable[[], Array]) -> Array:
        if index in self._kept:
            return self._kept[index]
        array = compute()
        if array.nbytes <= self._room:
            self._kept[index] = array
            self._room -= array.nbytes
        return array


def as_waveform(samples: np.ndarray) -> Tensor:
    """Waveform `[S]`, float32 in [-1, 1], of 16-bit samples."""
    return torch.from_numpy(samples.astype(np.float32) / 32768.0)


def crop_or_pad(
    log_mel: Tensor, frames: int, start: float = 0.0, fill: Fill = "zeros", segment: int | None = None
) -> Tensor:
    """Crop or pad `[F, T]` to `[F, frames]`.

    Parameters
    ----------
    log_mel : Tensor
        `[F, T]`, before normalisation.
    frames : int
        Number of frames to return.
    start : float
        Where to crop: 0 keeps the first `frames` frames, 1 the last.
    fill : {"zeros", "edge", "repeat", "mask"}
        How to pad: with zeros *before* normalisation (as AST's data loader), with the last frame (as EPIC-SOUNDS' data
        loader), or by repeating the clip. With "mask", only the rest of the last patch is padded, with zeros.
    segment : int, optional
        If given, `start` chooses among the segments of this many frames, and the result is the beginning of a segment.
    """
    surplus = log_mel.shape[1] - frames
    if surplus < 0 and fill == "repeat":
        return log_mel.repeat(1, -(-frames // log_mel.shape[1]))[:, :frames]
    if surplus <= 0:
        return torch.nn.functional.pad(log_mel, (0, -surplus), "replicate" if fill == "edge" else "constant")
    if segment is not None:
        surplus = max(0, log_mel.shape[1] - max(segment, frames))
    first = round(start * surplus)
    return log_mel[:, first : first + frames]
