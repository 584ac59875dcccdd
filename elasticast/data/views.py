"""Views: how long a clip is shown to a model, and at which resolution.

The two models differ here and nowhere else in the pipeline: a fixed-length AST sees every clip at N frames
(cropped or padded), ElasticAST sees each clip's native length up to a limit.

Native length in frames is rounded *up* to a whole patch at compression 1 (the last patch is filled up, with zeros as
AST pads or with the clip's last frame, so that nothing of a short clip is lost; with `view.tail: drop` it is rounded
down), and to `view.min_frames` at least. At compression c it is ``floor(L / c / P) * P`` of that L, at least one patch,
as in the paper's resolution sweep.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from elasticast.config import FrontEnd, RunConfig
from elasticast.data.features import frame_count, log_mel

Fill = Literal["zeros", "edge", "repeat", "mask"]


@dataclass(frozen=True)
class ClipView:
    """What one clip is shown as: `frames` frames at `compression`; a shorter clip is filled up to it.

    `full` are the frames of a view whose padding is left out: those that positions count, none where it is all shown.
    `first` is the clip's first frame that is shown, of a window.
    """

    frames: int
    compression: float
    fill: Fill = "zeros"
    full: int | None = None
    first: int = 0

    @property
    def grid_frames(self) -> int:
        """Frames that the places of the clip's patches are counted in."""
        return self.full or self.frames

    def cut(self, log_mel: Tensor, start: float = 0.0) -> Tensor:
        """The clip's log-mel `[F, T]` as it is shown, `[F, frames]`; see :func:`crop_or_pad`."""
        return crop_or_pad(log_mel[:, self.first :], self.frames, start, self.fill)


def spectrogram(
    waveform: Tensor, front_end: FrontEnd, compression: float, resolution: str, *, whole: bool = True
) -> Tensor:
    """Log-mel `[F, T]` of a waveform `[S]` at a compression.

    Parameters
    ----------
    compression : float
        The paper's time compression.
    resolution : {"hop", "max_pool"}
        By a longer hop; or by the maximum of every `compression` frames, a whole number (what is left over at the end
        is pooled too).
    whole : bool
        See :func:`~elasticast.data.features.log_mel`.
    """
    if resolution == "hop":
        return log_mel(waveform, front_end, compression, whole=whole)
    frames = log_mel(waveform, front_end, whole=whole)
    return torch.nn.functional.max_pool1d(frames, int(compression), ceil_mode=True)


def spectrogram_frames(samples: int, front_end: FrontEnd, compression: float, resolution: str) -> int:
    """Frames T that :func:`spectrogram` makes of S samples."""
    if resolution == "hop":
        return frame_count(samples, front_end, compression)
    return math.ceil(frame_count(samples, front_end) / compression)


def native_frames(samples: int, front_end: FrontEnd, patch: int, stride: int | None = None) -> int:
    """Frames of a clip at compression 1, rounded up to a whole patch."""
    stride = stride or patch
    return patch + max(0, math.ceil((frame_count(samples, front_end) - patch) / stride)) * stride


def compressed_frames(frames: float, compression: float, patch: int, stride: int | None = None) -> int:
    """``floor(frames / compression / patch) * patch``, at least one patch.

    With a `stride` below `patch` the same holds of overlapping patches: as many frames as whole patches cover.
    The small constant undoes float noise: 768 / 1.2 / 16 is 40.00000000000001 or 39.99999999999999.
    """
    stride = stride or patch
    return patch + max(0, math.floor((frames / compression - patch) / stride + 1e-6)) * stride


def clip_tokens(config: RunConfig, view: ClipView) -> int:
    """Tokens of a view, before any is left out."""
    return config.model.patches(view.frames) * config.model.patches(config.front_end.mel_bins)


class ViewRule:
    """Maps a clip's number of samples to its :class:`ClipView`.

    Parameters
    ----------
    config : RunConfig
        The run; `view` and `model` decide.
    max_frames : int, optional
        A length sweep's x: ElasticAST takes native length up to it, AST takes exactly it.
    compression : float, optional
        A resolution sweep's x.
    """

    def __init__(self, config: RunConfig, *, max_frames: int | None = None, compression: float | None = None):
        self.front_end, self.steps = config.front_end, (config.model.patch, config.model.stride)
        view = self.view = config.view
        self.compressions = view.compression if compression is None else [compression]
        self.fixed = view.frames != "native"
        # a fixed view trained at another hop covers frames x compression frames at compression 1
        frames = max_frames or (view.frames if self.fixed else view.max_frames)
        self.span = frames * view.compression[0] if self.fixed else frames

    def __call__(self, samples: int, draw: float = 0.0, length: float = 1.0) -> ClipView:
        """View of a clip of `samples` samples; `draw` in [0, 1) picks among several compressions.

        `length` in [0, 1) picks among the lengths, in whole patches, from `view.cut_from` to the clip's own; 1 is that.
        """
        return self.at(samples, self.compressions[int(draw * len(self.compressions))], length)

    def at(self, samples: int, compression: float, length: float = 1.0) -> ClipView:
        """View of a clip of `samples` samples at a compression."""
        masked = self.view.fill == "mask"
        frames = self.span if self.fixed and not masked else min(self.span, self._native(samples))
        if length < 1:
            frames = self._cut(frames, length)
        full = compressed_frames(self.span, compression, *self.steps) if masked else None
        return ClipView(compressed_frames(frames, compression, *self.steps), compression, self.view.fill, full)

    def _cut(self, frames: int, length: float) -> int:
        """A length of a clip of `frames` frames; one that `view.cut_from` does not reach keeps its own."""
        stride, shortest = self.steps[1], self.view.cut_from
        longer = max(0, (frames - shortest) // stride)
        return min(frames, shortest + int(length * (longer + 1)) * stride)

    def _native(self, samples: int) -> int:
        if self.view.tail == "fill":
            own = native_frames(samples, self.front_end, *self.steps)
        else:
            own = compressed_frames(frame_count(samples, self.front_end), 1.0, *self.steps)
        return max(own, self.view.min_frames or 0)

    def largest(self, samples: int) -> ClipView:
        """The view with the most frames that training may draw."""
        return self.at(samples, min(self.compressions))


def crop_or_pad(log_mel: Tensor, frames: int, start: float = 0.0, fill: Fill = "zeros") -> Tensor:
    """Cut or pad `[F, T]` to `[F, frames]`.

    Parameters
    ----------
    start : float
        Where to cut, 0 the first possible place, 1 the last.
    fill : {"zeros", "edge", "repeat", "mask"}
        Pad with zeros *before* normalisation, as in AST's data loader, or with the last frame, as in EPIC-SOUNDS', or
        with the clip from its begin on. Where padding is masked, what is left of the last patch is zeros.
    """
    surplus = log_mel.shape[1] - frames
    if surplus < 0 and fill == "repeat":
        return log_mel.repeat(1, -(-frames // log_mel.shape[1]))[:, :frames]
    if surplus <= 0:
        return torch.nn.functional.pad(log_mel, (0, -surplus), "replicate" if fill == "edge" else "constant")
    first = round(start * surplus)
    return log_mel[:, first : first + frames]
