"""F1 scores of events: with collars around their times, and in segments.

A. Mesaros, T. Heittola, T. Virtanen: Metrics for polyphonic sound event detection. Applied Sciences 6 (6), 2016.

Scores of a class are F1 = 2 TP / (2 TP + FP + FN). Means are over the classes that have events; such a class without
any detection has F1 = 0, as with ``empty_system_output_handling="zero_score"`` in sed_eval.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from elasticast.data.events import Events

COLLAR_SECONDS = 0.2
OFFSET_SHARE = 0.2
"""Tolerance of an offset, as a share of the length of the event; the collar if that is longer (DCASE)."""
SEGMENT_SECONDS = 1.0


class Counts(NamedTuple):
    """True positives, detections and events of each class, `[C]`."""

    hits: np.ndarray
    detected: np.ndarray
    events: np.ndarray

    def f1(self) -> np.ndarray:
        """F1 of each class `[C]`; NaN for classes without events."""
        with np.errstate(invalid="ignore"):
            return np.where(self.events > 0, 2 * self.hits / (self.detected + self.events), np.nan)

    def macro(self) -> float:
        """Mean F1 of the classes that have events; NaN if none has."""
        return float(np.nanmean(self.f1())) if (self.events > 0).any() else np.nan

    def micro(self) -> float:
        """F1 of the sums over classes; NaN if there are neither events nor detections."""
        total = self.detected.sum() + self.events.sum()
        return float(2 * self.hits.sum() / total) if total else np.nan


def event_counts(
    detections: Events, events: Events, classes: int, collar: float = COLLAR_SECONDS, share: float = OFFSET_SHARE
) -> Counts:
    """Count detections that match an event, each detection and event at most once (as many pairs as possible).

    A detection matches an event of the same class and clip if its onset is within the collar, and its offset within the
    collar or the share of the event's length.

    Parameters
    ----------
    detections, events : Events
        Detections, and events of the annotation, of the same clips.
    classes : int
        Number of classes C.
    collar : float
        Collar. [s]
    share : float
        Tolerance of an offset, as a share of the event's length.
    """
    rows, columns = _pairs(detections, events)
    tolerance = np.maximum(collar, share * (events.offset - events.onset))[columns]
    near = np.abs(detections.onset[rows] - events.onset[columns]) <= collar
    near &= np.abs(detections.offset[rows] - events.offset[columns]) <= tolerance
    rows, columns = rows[near], columns[near]
    graph = csr_array((np.ones(len(rows)), (rows, columns)), shape=(max(len(detections), 1), max(len(events), 1)))
    match = maximum_bipartite_matching(graph, perm_type="row")
    hits = events.label[np.flatnonzero(match[: len(events)] >= 0)] if len(events) else events.label
    return Counts(*(np.bincount(label, minlength=classes) for label in (hits, detections.label, events.label)))


def _pairs(detections: Events, events: Events) -> tuple[np.ndarray, np.ndarray]:
    """Index of the detection and of the event of every pair of the same clip and class."""
    classes = 1 + max(one.label.max(initial=0) for one in (detections, events))
    keys = [one.clip * classes + one.label for one in (detections, events)]
    order = np.argsort(keys[1], kind="stable")
    first, last = (np.searchsorted(keys[1][order], keys[0], side) for side in ("left", "right"))
    counts = last - first
    rows = np.repeat(np.arange(len(detections)), counts)
    within = np.arange(len(rows)) - np.repeat(counts.cumsum() - counts, counts)
    return rows, order[np.repeat(first, counts) + within]


def segment_counts(detections: Events, events: Events, classes: int, seconds: float = SEGMENT_SECONDS) -> Counts:
    """Count segments in which a class is detected, annotated, and both.

    A class is active in a segment if one of its events overlaps it.

    Parameters
    ----------
    detections, events : Events
        Detections, and events of the annotation, of the same clips.
    classes : int
        Number of classes C.
    seconds : float
        Length of a segment. [s]
    """
    active = [_segments(one, seconds) for one in (detections, events)]
    both = active[0] & active[1]
    return Counts(*(_by_class(found, classes) for found in (both, *active)))


def _segments(events: Events, seconds: float) -> set[tuple[int, int, int]]:
    """Class, clip and number of each segment that an event overlaps."""
    first, last = np.floor(events.onset / seconds), np.ceil(events.offset / seconds)
    spans = zip(events.label.tolist(), events.clip.tolist(), first.astype(int), last.astype(int), strict=True)
    return {(label, clip, segment) for label, clip, begin, end in spans for segment in range(begin, end)}


def _by_class(segments: set[tuple[int, int, int]], classes: int) -> np.ndarray:
    return np.bincount(np.array([label for label, *_ in segments], np.int64), minlength=classes)
