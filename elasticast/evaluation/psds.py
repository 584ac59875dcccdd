"""PSDS, the polyphonic sound detection score, over all thresholds.

C. Bilen et al.: A framework for the robust evaluation of sound event detection. ICASSP 2020 (criteria and score).
J. Ebbers et al.: Threshold independent evaluation of sound event detection scores. ICASSP 2022 (all thresholds).

Scores of a class are constant on intervals. At threshold v, a *detection* is a maximal run of intervals with scores of
at least v. A run is a detection for a range of thresholds: from just above the scores around it up to its lowest score.
There are at most as many runs as intervals, so counts at all thresholds are sums of steps at the ends of these ranges.

Shape legend: n clips, T intervals, R runs, E events, C classes.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from elasticast.data.events import Events

DECIMALS = 6
"""Decimals of s to which overlaps and the shares that they must reach are rounded, as in sed_scores_eval."""


class Criteria(NamedTuple):
    """The parameters of a PSDS.

    Attributes
    ----------
    dtc : float
        A detection is relevant if at least this share of it is on events of its class.
    gtc : float
        An event is found if relevant detections cover at least this share of it.
    cttc : float or None
        A detection that is not relevant is a cross trigger with another class if at least this share of it is on events
        of that class. None ignores cross triggers.
    alpha_ct, alpha_st : float
        Weights of cross triggers, and of the standard deviation over classes.
    e_max : float
        Largest effective rate of false positives (per hour).
    """

    dtc: float
    gtc: float
    cttc: float | None = None
    alpha_ct: float = 0.0
    alpha_st: float = 0.0
    e_max: float = 100.0


PSDS1 = Criteria(0.7, 0.7, alpha_st=1.0)
"""The first scenario of DCASE: exact times."""
PSDS2 = Criteria(0.1, 0.1, 0.3, alpha_ct=0.5, alpha_st=1.0)
"""The second scenario of DCASE: classes that are not confused."""


@dataclass(frozen=True)
class StepScores:
    """Scores of one class in n clips, constant on intervals.

    Attributes
    ----------
    values : ndarray
        `[n, T]`; -inf where a clip has no interval, or no score.
    edges : ndarray
        `[n, T + 1]`, where the intervals begin and end. [s]
    """

    values: np.ndarray
    edges: np.ndarray


class Runs(NamedTuple):
    """Maximal runs of intervals, each a detection at the thresholds in (low, high]; arrays `[R]`."""

    clip: np.ndarray
    onset: np.ndarray
    offset: np.ndarray
    high: np.ndarray
    low: np.ndarray


class Steps(NamedTuple):
    """Counts that change at thresholds: the counts at v are the sums of `change` with threshold >= v.

    Attributes
    ----------
    threshold : ndarray
        `[S]`.
    clip : ndarray
        `[S]` int64.
    change : ndarray
        `[S, 2 + C]`: found events, false positives, and cross triggers with each class.
    """

    threshold: np.ndarray
    clip: np.ndarray
    change: np.ndarray


def runs(scores: StepScores) -> Runs:
    """All runs of intervals that are a detection at some threshold."""
    values = np.pad(scores.values, ((0, 0), (1, 1)), constant_values=-np.inf)
    before, after = _nearest_below(values), _nearest_below(values[:, ::-1])
    after = values.shape[1] - 1 - after[:, ::-1]
    rows = np.arange(len(values))[:, None]
    # of equal scores in a run, the first one stands for the run
    equal_before = _nearest_below(values, or_equal=True)
    kept = np.isfinite(values) & (values[rows, equal_before] < values)
    clip, place = np.nonzero(kept)
    first, last = before[clip, place] + 1, after[clip, place] - 1  # in padded columns
    low = np.maximum(values[clip, first - 1], values[clip, last + 1])
    return Runs(clip, scores.edges[clip, first - 1], scores.edges[clip, last], values[clip, place], low)


def _nearest_below(values: np.ndarray, *, or_equal: bool = False) -> np.ndarray:
    """Column of the nearest smaller value to the left of each value `[n, T]`, in all rows at once.

    The first column is -inf and ends every search.
    """
    rows, found = np.arange(len(values)), np.zeros(values.shape, np.int64)
    for column in range(1, values.shape[1]):
        candidate = np.full(len(values), column - 1)
        while True:
            other = values[rows, candidate]
            larger = other > values[:, column] if or_equal else other >= values[:, column]
            larger &= candidate > 0
            if not larger.any():
                break
            candidate = np.where(larger, found[rows, candidate], candidate)
        found[:, column] = candidate
    return found


def _overlaps(runs: Runs, events: Events) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run, event and seconds of every overlap."""
    first, last = (np.searchsorted(events.clip, runs.clip, side) for side in ("left", "right"))
    counts = last - first
    run = np.repeat(np.arange(len(runs.clip)), counts)
    event = np.arange(len(run)) - np.repeat(counts.cumsum() - counts, counts) + np.repeat(first, counts)
    seconds = np.minimum(runs.offset[run], events.offset[event]) - np.maximum(runs.onset[run], events.onset[event])
    positive = seconds > 0
    return run[positive], event[positive], seconds[positive]


def _reaches(overlap: np.ndarray, share: float, seconds: np.ndarray) -> np.ndarray:
    return np.round(overlap, DECIMALS) >= np.round(share * seconds, DECIMALS)


def steps(scores: StepScores, events: Events, label: int, classes: int, criteria: Criteria) -> Steps:
    """Changes of the counts of one class at all thresholds.

    Parameters
    ----------
    scores : StepScores
        Scores of the class.
    events : Events
        Events of all classes; those of a class do not overlap or touch.
    label, classes : int
        Index of the class, and number of classes C.
    criteria : Criteria
        Parameters of the score.
    """
    found = runs(scores)
    target, seconds = events.select(events.label == label), found.offset - found.onset
    run, event, overlap = _overlaps(found, target)
    relevant = _reaches(np.bincount(run, overlap, len(seconds)), criteria.dtc, seconds)
    change = np.zeros((len(seconds), 2 + classes))
    change[:, 1] = ~relevant
    if criteria.cttc is not None:
        change[:, 2:] = _cross_triggers(found, events, label, classes, criteria) & ~relevant[:, None]
    dies = np.isfinite(found.low)
    threshold, clip = np.concatenate([found.high, found.low[dies]]), np.concatenate([found.clip, found.clip[dies]])
    counts = Steps(threshold, clip, np.concatenate([change, -change[dies]]))
    covering = relevant[run]
    covered = _found_events(found, target, run[covering], event[covering], overlap[covering], criteria.gtc)
    hits = np.zeros((len(covered[0]), 2 + classes))
    hits[:, 0] = covered[2]
    return Steps(*(np.concatenate(pair) for pair in zip(counts, (*covered[:2], hits), strict=True)))


def _cross_triggers(found: Runs, events: Events, label: int, classes: int, criteria: Criteria) -> np.ndarray:
    """Whether each run is a cross trigger with each class, `[R, C]`, if it is not relevant."""
    others = events.select(events.label != label)
    run, event, overlap = _overlaps(found, others)
    total = np.bincount(run * classes + others.label[event], overlap, len(found.clip) * classes)
    present = np.zeros((events.clip.max(initial=-1) + 1, classes), bool)
    present[others.clip, others.label] = True
    present = np.pad(present, ((0, max(0, found.clip.max(initial=-1) + 1 - len(present))), (0, 0)))
    enough = _reaches(total.reshape(-1, classes), criteria.cttc, (found.offset - found.onset)[:, None])
    return enough & present[found.clip]


def _found_events(
    found: Runs, target: Events, run: np.ndarray, event: np.ndarray, overlap: np.ndarray, gtc: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Threshold, clip and change (+1 or -1) of every change of whether an event is found."""
    dies = np.isfinite(found.low[run])
    event = np.concatenate([event, event[dies]])
    threshold = np.concatenate([found.high[run], found.low[run[dies]]])
    delta = np.concatenate([overlap, -overlap[dies]])
    order = np.lexsort((-threshold, event))
    event, threshold, delta = event[order], threshold[order], delta[order]
    first = np.diff(event, prepend=-1) > 0
    total = delta.cumsum()
    base = (total - delta)[first]
    covered = total - base[first.cumsum() - 1]
    last = np.append((np.diff(event) > 0) | (np.diff(threshold) < 0), True)[: len(event)]
    event, threshold, covered = event[last], threshold[last], covered[last]
    is_found = _reaches(covered, gtc, (target.offset - target.onset)[event]).astype(np.int64)
    change = np.diff(is_found, prepend=0)
    first = np.diff(event, prepend=-1) > 0
    change[first] = is_found[first]
    changed = change != 0
    return threshold[changed], target.clip[event[changed]], change[changed]


class Curve(NamedTuple):
    """ROC curve of one class, a staircase: from each `rate` on, the share `found` of the events is found."""

    rate: np.ndarray
    found: np.ndarray


def curve(steps: Steps, label: int, events: Events, classes: int, seconds: float, criteria: Criteria) -> Curve:
    """Best share of found events at each effective rate of false positives (per hour).

    The effective rate is that of false positives, plus `alpha_ct` times the mean over the other classes of their cross
    triggers per hour of their events.
    """
    order = np.argsort(-steps.threshold, kind="stable")
    threshold, counts = steps.threshold[order], steps.change[order].cumsum(0)
    counts = counts[np.append(np.diff(threshold) < 0, True)[: len(threshold)]]
    rate = counts[:, 1] / seconds
    if criteria.alpha_ct and classes > 1:
        other = np.arange(classes) != label
        lengths = np.bincount(events.label, events.offset - events.onset, classes)
        crossed = counts[:, 2:][:, other] / np.maximum(lengths[other], 1e-12)
        rate = rate + criteria.alpha_ct * crossed.mean(1)
    rate, share = 3600 * rate, counts[:, 0] / (events.label == label).sum()
    within = rate <= criteria.e_max
    order = np.lexsort((share[within], rate[within]))
    return Curve(rate[within][order], np.maximum.accumulate(share[within][order]))


def area(curves: list[Curve], criteria: Criteria) -> float:
    """Area under the effective curve: mean minus `alpha_st` standard deviations over classes, at least 0."""
    grid = np.unique(np.concatenate([[0.0], *(c.rate for c in curves)]))
    shares = np.zeros((len(curves), len(grid)))
    for row, c in zip(shares, curves, strict=True):
        place = np.searchsorted(c.rate, grid, "right")
        row[place > 0] = c.found[place[place > 0] - 1]
    effective = np.maximum(shares.mean(0) - criteria.alpha_st * shares.std(0), 0)
    return float((effective * np.diff(grid, append=criteria.e_max)).sum() / criteria.e_max)


def psds(
    scores: list[StepScores], events: Events, seconds: float, criteria: Criteria = PSDS1
) -> tuple[float, np.ndarray]:
    """Polyphonic sound detection score.

    Parameters
    ----------
    scores : list of StepScores
        Scores of each of the C classes. Only their order within a class matters.
    events : Events
        Events of the same clips; those of a class do not overlap or touch, see
        :meth:`~elasticast.data.events.Events.merged`.
    seconds : float
        Length of all clips together. [s]
    criteria : Criteria
        Parameters of the score.

    Returns
    -------
    float
        The score, in [0, 1], over the classes that have events; NaN if none has.
    ndarray
        `[C]`, score of each class alone; NaN for classes without events.
    """
    present, label = np.unique(events.label, return_inverse=True)
    single = np.full(len(scores), np.nan)
    if not len(present):
        return np.nan, single
    events, classes = replace(events, label=label), len(present)
    curves = [
        curve(steps(scores[name], events, c, classes, criteria), c, events, classes, seconds, criteria)
        for c, name in enumerate(present)
    ]
    single[present] = [area([one], criteria._replace(alpha_st=0.0)) for one in curves]
    return area(curves, criteria), single
