"""Cut a clip of any length into windows that a model can take.

A clip that fits in the model's view is a single window, as in evaluation. A longer clip is cut into windows of the
view's length. The last window ends with the clip, so that every frame is used and none is padded: a clip of n frames
has ``1 + ceil((n - T) / s)`` windows of T frames with a step of s frames.
"""

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from elasticast.config import RunConfig
from elasticast.config.frames import frame_count, hop_samples, margins, spectrogram_frames, window_samples
from elasticast.data.views import ClipView, ViewRule
from elasticast.errors import ElasticASTError

OVERLAP = 0.5
"""Default share of a window that overlaps the next one."""


@dataclass(frozen=True)
class Windows:
    """The windows of a clip.

    Attributes
    ----------
    view : ClipView
        View of each window.
    frames : int
        Number of frames of the whole clip, without padding.
    starts : ndarray
        `[W]` int64, first sample of each window, counted from the start of the margin before the clip.
    span : int
        Samples per window.
    weights : ndarray
        `[W]`, weight of each window in the mean over the clip; they sum to 1. See :func:`window_weights`.
    margins : tuple of int
        Number of zeros to add before and after the clip, see `elasticast.config.frames.margins`. (0, 0) for a clip with
        a single window, because its log-mel adds the margins.
    """

    view: ClipView
    frames: int
    starts: np.ndarray
    span: int
    weights: np.ndarray
    margins: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return len(self.starts)

    def stream(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Add the margins to a clip `[S]` that is given in blocks."""
        yield torch.zeros(self.margins[0])
        yield from blocks
        yield torch.zeros(self.margins[1])


def window_rule(config: RunConfig, window: float | None, compression: float, name: str = "window") -> ViewRule:
    """The rule that limits how much of a clip is processed in one window.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    window : float or None
        Length of a window (s), rounded to whole patches. None for the length that the model was trained at.
    compression : float
        The paper's time compression.
    name : str
        Name of `window` in messages.

    Raises
    ------
    ElasticASTError
        If it is no length above 0, or above what the positions of the model cover.
    """
    if window is None:
        return ViewRule(config, compression=compression)
    if not 0 < window < math.inf:
        raise ElasticASTError(f"{name} = {window} s: expected a length above 0")
    view, model, hop_ms = config.view, config.model, config.front_end.hop_ms
    # a fixed view counts frames at its compression, a native view at compression 1
    frames = 1000 * window / hop_ms / (view.compression[0] if view.frames != "native" else 1.0)
    frames = max(1, round(frames / model.patch)) * model.patch
    rule = ViewRule(config, max_frames=frames, compression=compression)
    needed = rule.at(sys.maxsize, compression).frames
    if model.limit is not None and needed > model.limit:
        longest = model.limit * hop_ms * compression / 1000
        raise ElasticASTError(
            f"{name} = {window} s: needs {needed} frames, but the position table of the model has {model.limit}; "
            f"expected at most {longest:g} s"
        )
    return rule


def window_starts(frames: int, window: int, overlap: float) -> np.ndarray:
    """First frame of each window, `[W]` int64. The last window ends with the clip.

    Parameters
    ----------
    frames : int
        Number of frames of the clip.
    window : int
        Frames per window.
    overlap : float
        Share of a window that overlaps the next one, in [0, 1).
    """
    step = max(1, round(window * (1 - overlap)))
    last = max(0, frames - window)
    return np.append(np.arange(0, last, step), last)


def window_weights(starts: np.ndarray, window: int) -> np.ndarray:
    """Weight of each window in the mean over the clip, `[W]`: a frame that is part of k windows counts 1/k in each."""
    ends = starts + window
    edges = np.unique(np.concatenate([starts, ends]))
    count = np.searchsorted(starts, edges[:-1], "right") - np.searchsorted(ends, edges[:-1], "right")
    shares = np.concatenate([[0.0], np.cumsum(np.diff(edges) / count)])
    return (shares[np.searchsorted(edges, ends)] - shares[np.searchsorted(edges, starts)]) / ends[-1]


def cut_windows(samples: int, rule: ViewRule, compression: float, overlap: float) -> Windows:
    """Cut a clip of `samples` samples, at the sample rate of the front end, into windows."""
    front_end = rule.front_end
    # `pooled` frames at compression `finest` are pooled to one. Frames left over at the end of a long clip are unused.
    pooled, finest = (int(compression), 1.0) if rule.view.resolution == "max_pool" else (1, compression)
    view, frames = rule.at(samples, compression), frame_count(samples, front_end, finest) // pooled
    if frame_count(samples, front_end) <= rule.span:
        return Windows(view, frames, np.zeros(1, np.int64), samples, np.ones(1))
    starts = window_starts(frames, view.frames, overlap)
    hop = hop_samples(front_end, finest)
    zeros = margins(front_end)
    span = min(samples + sum(zeros), (view.frames * pooled - 1) * hop + window_samples(front_end))
    return Windows(view, frames, starts * hop * pooled, span, window_weights(starts, view.frames), zeros)


def window_views(
    samples: int, rule: ViewRule, compression: float, frames: int, overlap: float = OVERLAP
) -> list[tuple[ClipView, float]]:
    """Cut the first `frames` frames of a clip into windows of the view's length. Returns each with its weight.

    The positions of the windows are those of :func:`cut_windows`, but the log-mel is computed from the whole clip
    before it is cut. A clip that fits in the view is a single window.
    """
    view = rule.at(samples, compression)
    frames = min(frames, spectrogram_frames(samples, rule.front_end, compression, rule.view.resolution))
    if frames <= view.grid_frames:
        return [(view, 1.0)]
    starts = window_starts(frames, view.frames, overlap)
    views = [replace(view, first=start) for start in starts.tolist()]
    return list(zip(views, window_weights(starts, view.frames).tolist(), strict=True))
