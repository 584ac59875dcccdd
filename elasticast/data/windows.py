"""Windows: a clip of any length as views that a model takes.

A clip that the model's view holds is one window, as in evaluation. A longer one is cut into windows of the view's
length. The last window ends with the clip, so that every frame is heard and none is padded: windows of T frames with a
step of s frames over a clip of n frames make ``1 + ceil((n - T) / s)``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from elasticast.config.frames import frame_count, hop_samples, margins, spectrogram_frames, window_samples
from elasticast.data.views import ClipView, ViewRule

OVERLAP = 0.5
"""Share of a window that the next one covers again, unless something else is asked for."""


@dataclass(frozen=True)
class Windows:
    """Where the windows of a clip lie.

    Attributes
    ----------
    view : ClipView
        What each is shown as.
    frames : int
        Frames of the whole clip, before any padding.
    starts : ndarray
        `[W]` int64, first sample of each, `margins` zeros before the clip counted.
    span : int
        Samples of each.
    weights : ndarray
        `[W]`, share of the clip that each speaks for; they sum to 1.
    margins : tuple of int
        Zeros to put before and after the clip, see `elasticast.config.frames.margins`; none of a clip that is one
        window, whose log-mel is made as of any clip.
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
        """The clip `[S]`, given in blocks, with its margins."""
        yield torch.zeros(self.margins[0])
        yield from blocks
        yield torch.zeros(self.margins[1])


def window_starts(frames: int, window: int, overlap: float) -> np.ndarray:
    """First frame `[W]` of each window of `window` frames over a clip of `frames`; the last one ends with the clip.

    Parameters
    ----------
    overlap : float
        Share of a window that the next one covers again, in [0, 1).
    """
    step = max(1, round(window * (1 - overlap)))
    last = max(0, frames - window)
    return np.append(np.arange(0, last, step), last)


def window_weights(starts: np.ndarray, window: int) -> np.ndarray:
    """Share of the clip `[W]` that each window speaks for: a frame that lies in k windows counts 1/k in each."""
    ends = starts + window
    edges = np.unique(np.concatenate([starts, ends]))
    count = np.searchsorted(starts, edges[:-1], "right") - np.searchsorted(ends, edges[:-1], "right")
    shares = np.concatenate([[0.0], np.cumsum(np.diff(edges) / count)])
    return (shares[np.searchsorted(edges, ends)] - shares[np.searchsorted(edges, starts)]) / ends[-1]


def cut_windows(samples: int, rule: ViewRule, compression: float, overlap: float) -> Windows:
    """Windows of a clip of `samples` samples at the front end's rate."""
    front_end = rule.front_end
    # frames that are pooled into one, at which compression; those left over at the end of a long clip are not heard
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
    """A clip's first `frames` frames as windows of the view's length, each with the share of them it speaks for.

    They lie as those of :func:`cut_windows`, but the log-mel is made of the whole clip first. A clip that is no longer
    than the view is that view.
    """
    view = rule.at(samples, compression)
    frames = min(frames, spectrogram_frames(samples, rule.front_end, compression, rule.view.resolution))
    if frames <= view.grid_frames:
        return [(view, 1.0)]
    starts = window_starts(frames, view.frames, overlap)
    views = [replace(view, first=start) for start in starts.tolist()]
    return list(zip(views, window_weights(starts, view.frames).tolist(), strict=True))
