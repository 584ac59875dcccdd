"""Views: how much of a clip a model is given, and at which resolution.

The two models differ here and nowhere else in the pipeline: a fixed-length AST takes every clip at N frames (cropped or
padded), ElasticAST takes each clip's native length up to a limit.

Native length in frames is rounded *up* to a whole patch at compression 1 (the last patch is filled up, with zeros as
AST pads or with the clip's last frame, so that nothing of a short clip is lost; with `view.tail: drop` it is rounded
down), and to `view.min_frames` at least. At compression c it is ``floor(L / c / P) * P`` of that L, at least one patch,
as in the paper's resolution sweep.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from elasticast.config import RunConfig
from elasticast.config.frames import compressed_frames, native_frames

Fill = Literal["zeros", "edge", "repeat", "mask"]


@dataclass(frozen=True)
class ClipView:
    """The part of one clip that a model is given: `frames` frames at `compression`; a shorter clip is filled up to it.

    Attributes
    ----------
    frames : int
        Frames.
    compression : float
        The paper's time compression.
    fill : {"zeros", "edge", "repeat", "mask"}
        What a shorter clip is filled up with.
    full : int or None
        If padding is left out: the frames that positions are counted in, with the padding.
    first : int
        First frame of the clip in the view, for windows.
    """

    frames: int
    compression: float
    fill: Fill = "zeros"
    full: int | None = None
    first: int = 0

    @property
    def grid_frames(self) -> int:
        """Frames that the positions of the clip's patches are counted in."""
        return self.full or self.frames


def view_tokens(config: RunConfig, view: ClipView) -> int:
    """Tokens of a view, before token dropout."""
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
        self.view = config.view
        self.compressions = self.view.compression if compression is None else [compression]
        self.fixed = self.view.frames != "native"
        self.span = self.view.span(max_frames)

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
        return max(native_frames(samples, self.front_end, *self.steps, self.view.tail), self.view.min_frames or 0)

    def largest(self, samples: int) -> ClipView:
        """The view with the most frames that training may draw."""
        return self.at(samples, min(self.compressions))

    def most_frames(self, samples: np.ndarray) -> np.ndarray:
        """Frames `[n]` int64 of the largest view of each clip, `samples` `[n]` their lengths in samples."""
        lengths, place = np.unique(samples, return_inverse=True)
        return np.array([self.largest(int(length)).frames for length in lengths], np.int64)[place]
