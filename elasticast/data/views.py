"""Views: how much of a clip a model is given, and at which resolution.

The pipelines of the two models differ only in their views: a fixed-length AST crops or pads every clip to N frames,
ElasticAST uses the native length of each clip up to a limit.

At compression 1, the native length L in frames is rounded *up* to whole patches, so that no part of a short clip is
lost. The last patch is padded with zeros, as in AST, or with the last frame of the clip. With `view.tail: drop`, L is
rounded down instead. L is at least `view.min_frames`. At compression c, the length is ``floor(L / c / P) * P`` (P patch
edge) but at least one patch, as in the paper's resolution sweep.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from elasticast.config import PatchSize, RunConfig
from elasticast.config.frames import compressed_frames, native_frames

Fill = Literal["zeros", "edge", "repeat", "mask"]


@dataclass(frozen=True)
class ClipView:
    """The part of a clip that is given to a model.

    Attributes
    ----------
    frames : int
        Number of frames. Longer clips are cropped, shorter ones padded.
    compression : float
        The paper's time compression.
    fill : {"zeros", "edge", "repeat", "mask"}
        How to pad shorter clips.
    full : int or None
        Number of frames of the clip's grid if it includes padding that is not encoded as tokens. None if the grid has
        `frames` frames.
    first : int
        Index of the clip's frame at which the view starts; nonzero for windows.
    """

    frames: int
    compression: float
    fill: Fill = "zeros"
    full: int | None = None
    first: int = 0

    @property
    def grid_frames(self) -> int:
        """Number of frames of the grid on which the patches have their positions."""
        return self.full or self.frames


def view_tokens(config: RunConfig, view: ClipView, patch_size: PatchSize | None = None) -> int:
    """Number of tokens of a view, before token dropout; by default with patches of `model.patch`."""
    if patch_size is not None:
        rows, columns = patch_size.grid(config.front_end.mel_bins, view.frames)
        return rows * columns
    return config.model.patches(view.frames) * config.model.patches(config.front_end.mel_bins)


class ViewRule:
    """Map the number of samples of a clip to its :class:`ClipView`.

    Parameters
    ----------
    config : RunConfig
        Settings of the run. `front_end`, `view` and `model` are used.
    max_frames : int, optional
        Point of a length sweep, in frames at compression 1: the maximum length for ElasticAST, the fixed length for
        AST.
    compression : float, optional
        Point of a resolution sweep.
    """

    def __init__(self, config: RunConfig, *, max_frames: int | None = None, compression: float | None = None):
        self.front_end, self.steps = config.front_end, (config.model.patch, config.model.stride)
        self.view = config.view
        self.compressions = self.view.compression if compression is None else [compression]
        self.fixed = self.view.frames != "native"
        self.span = self.view.span(max_frames)

    def __call__(self, samples: int, draw: float = 0.0, length: float = 1.0) -> ClipView:
        """View of a clip.

        Parameters
        ----------
        samples : int
            Length of the clip in samples.
        draw : float
            Number in [0, 1) that selects one of the compressions.
        length : float
            Number in [0, 1) that selects a length in whole patches, from `view.cut_from` to the full length of the
            view. 1 selects the full length.
        """
        return self.at(samples, self.compressions[int(draw * len(self.compressions))], length)

    def at(self, samples: int, compression: float, length: float = 1.0) -> ClipView:
        """View of a clip of `samples` samples at a given compression; see :meth:`__call__` for `length`."""
        masked = self.view.fill == "mask"
        frames = self.span if self.fixed and not masked else min(self.span, self._native(samples))
        if length < 1:
            frames = self._cut(frames, length)
        full = compressed_frames(self.span, compression, *self.steps) if masked else None
        return ClipView(compressed_frames(frames, compression, *self.steps), compression, self.view.fill, full)

    def _cut(self, frames: int, length: float) -> int:
        """Select a length between `view.cut_from` and `frames`. A view shorter than `view.cut_from` is not cut."""
        stride, shortest = self.steps[1], self.view.cut_from
        steps = max(0, (frames - shortest) // stride)
        return min(frames, shortest + int(length * (steps + 1)) * stride)

    def _native(self, samples: int) -> int:
        return max(native_frames(samples, self.front_end, *self.steps, self.view.tail), self.view.min_frames or 0)

    def largest(self, samples: int) -> ClipView:
        """The longest view of a clip that can occur in training."""
        return self.at(samples, min(self.compressions))

    def most_frames(self, samples: np.ndarray) -> np.ndarray:
        """Number of frames of each clip's largest view, `[n]` int64. `samples` `[n]` are the lengths of the clips."""
        lengths, index = np.unique(samples, return_inverse=True)
        return np.array([self.largest(int(length)).frames for length in lengths], np.int64)[index]
