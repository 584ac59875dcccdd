"""From scores over time to events: median filter, thresholds, and change-point boxes (cSEBBs).

J. Ebbers, F. G. Germain, G. Wichern, J. Le Roux: Sound event bounding boxes, Interspeech 2024 (arXiv 2406.04212),
written from the paper.

Shape legend: n clips, T intervals, C classes.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.ndimage import median_filter

from elasticast.data.events import Events
from elasticast.evaluation.psds import StepScores

_EPSILON = 1e-3
"""Added to scores before their ratio is compared."""


def filter_length(seconds: float, interval: float) -> int:
    """Odd number of intervals of `interval` s that is nearest to `seconds`, at least 1."""
    return 2 * max(0, round((seconds / interval - 1) / 2)) + 1


def median_filtered(scores: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Median filter over time, with a length per class. Beyond the ends, the scores are mirrored.

    Parameters
    ----------
    scores : ndarray
        `[T, C]`, scores of one clip.
    lengths : ndarray
        `[C]`, odd numbers of intervals; 1 leaves the scores as they are.
    """
    filtered = scores.copy()
    for length in np.unique(lengths[lengths > 1]):
        columns = lengths == length
        filtered[:, columns] = median_filter(scores[:, columns], (int(length), 1), mode="reflect")
    return filtered


def detections(scores: list[StepScores], threshold: float) -> Events:
    """Maximal runs of intervals with scores above a threshold.

    Parameters
    ----------
    scores : list of StepScores
        Scores of each class.
    threshold : float
        The threshold.
    """
    rows = []
    for label, one in enumerate(scores):
        active = np.pad(one.values > threshold, ((0, 0), (1, 1)))
        change = np.diff(active.astype(np.int8), axis=1)
        (clip, first), (_, end) = np.nonzero(change == 1), np.nonzero(change == -1)
        rows.append(np.stack([clip, np.full(len(clip), label), one.edges[clip, first], one.edges[clip, end]], 1))
    return Events.of(np.concatenate(rows))


class Box(NamedTuple):
    """An event with the mean of the scores within it, its confidence. Times in s."""

    onset: float
    offset: float
    confidence: float


def boxes(values: np.ndarray, edges: np.ndarray, window: float, absolute: float, relative: float) -> list[Box]:
    """Change-point boxes of one class in one clip (section 3.2 of the paper).

    The change at time t is the mean score over the next half window minus that over the previous half, with scores of 0
    outside the clip. Onsets are local maxima of the change, and offsets the local minima that follow. Two neighbouring
    events are then merged if, for both, their largest score is near the smallest score of the gap between them.

    Parameters
    ----------
    values : ndarray
        `[T]`, scores in [0, 1].
    edges : ndarray
        `[T + 1]`, increasing times. [s]
    window : float
        Length of the window. [s]
    absolute, relative : float
        Events are merged if the largest score of each exceeds the smallest score of the gap by less than `absolute`,
        and by less than this factor.
    """
    area = np.concatenate([[0.0], (values * np.diff(edges)).cumsum()])

    def total(time: np.ndarray) -> np.ndarray:
        return np.interp(time, edges, area)

    half = window / 2
    times = np.unique(np.concatenate([edges, edges - half, edges + half]).round(9))
    times = times[(times >= edges[0]) & (times <= edges[-1])]
    change = ((total(times + half) - 2 * total(times) + total(times - half)) / half).round(9)
    spans = _spans(times, change)
    spans = _merged(spans, values, edges, absolute, relative)
    return [Box(a, b, float((total(b) - total(a)) / (b - a))) for a, b in spans]


def _spans(times: np.ndarray, change: np.ndarray) -> list[tuple[float, float]]:
    """Alternate local maxima and minima of the change.

    Of equal values in a row, a maximum is at the last one and a minimum at the first one, which are the edges of an
    event that is shorter than half a window.
    """
    slope = np.sign(np.diff(change))
    before, after = np.append(1.0, slope), np.append(slope, -1.0)
    for i in range(1, len(before)):  # along equal values, the last slope counts
        before[i] = before[i] or before[i - 1]
    after_min = np.append(slope, 1.0)
    for i in range(len(after_min) - 2, -1, -1):
        after_min[i] = after_min[i] or after_min[i + 1]
    is_maximum = (before > 0) & (after < 0) & (change > 0)
    is_minimum = (np.append(-1.0, slope) < 0) & (after_min > 0) & (change < 0)
    spans, onset = [], None
    for i, time in enumerate(times):
        if onset is None and is_maximum[i]:
            onset = time
        elif onset is not None and is_minimum[i]:
            spans.append((float(onset), float(time)))
            onset = None
    return spans if onset is None or onset >= times[-1] else [*spans, (float(onset), float(times[-1]))]


def _merged(
    spans: list[tuple[float, float]], values: np.ndarray, edges: np.ndarray, absolute: float, relative: float
) -> list[tuple[float, float]]:
    """Merge neighbouring events until no gap is left that is nearly as high as both."""

    def within(begin: float, end: float) -> np.ndarray:
        return values[(edges[:-1] < end - 1e-9) & (edges[1:] > begin + 1e-9)]

    while len(spans) > 1:
        highest = np.array([within(*span).max() for span in spans])
        lowest = np.array([within(a[1], b[0]).min(initial=1.0) for a, b in pairwise(spans)])
        peak = np.maximum(highest[:-1], highest[1:])
        near = (peak - lowest < absolute) & ((peak + _EPSILON) / (lowest + _EPSILON) < relative)
        if not near.any():
            break
        first, last = np.append(True, ~near), np.append(~near, True)
        spans = list(zip([s[0] for s, f in zip(spans, first, strict=True) if f],
                         [s[1] for s, f in zip(spans, last, strict=True) if f], strict=True))  # fmt: skip
    return spans


def box_scores(scores: list[StepScores], settings: list[tuple[float, float, float]]) -> list[StepScores]:
    """Replace the scores of each class by boxes: the confidence within a box, and no score elsewhere.

    Parameters
    ----------
    scores : list of StepScores
        Scores in [0, 1] of each class.
    settings : list of tuple
        For each class `window`, `absolute` and `relative`, see :func:`boxes`.
    """
    replaced = []
    for one, of_class in zip(scores, settings, strict=True):
        found = []
        for values, edges in zip(one.values, one.edges, strict=True):
            count = int(np.isfinite(values).sum())
            found.append(boxes(values[:count], edges[: count + 1], *of_class))
        replaced.append(_as_scores(found))
    return replaced


def _as_scores(clips: list[list[Box]]) -> StepScores:
    """Boxes alternate with gaps that have no score."""
    intervals = 2 * max(1, *map(len, clips))
    values, edges = np.full((len(clips), intervals), -np.inf), np.zeros((len(clips), intervals + 1))
    for row, found in enumerate(clips):
        for k, box in enumerate(found):
            values[row, 2 * k], edges[row, 2 * k : 2 * k + 2] = box.confidence, box[:2]
        edges[row, 2 * len(found) :] = found[-1].offset if found else 0.0
    return StepScores(values, edges)
