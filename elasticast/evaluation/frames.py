"""Scores of time patches: where they are in time, and the scores of events that follow from them.

Shape legend: n clips, T time patches of the longest clip, R time patches of all clips, C classes.
"""

from dataclasses import dataclass, replace

import h5py
import numpy as np
import torch
from torch import Tensor

from elasticast.config import RunConfig
from elasticast.config.base import Settings
from elasticast.config.evaluation import Boxes, Detection
from elasticast.config.frames import frame_seconds
from elasticast.data.events import Events
from elasticast.data.views import ClipView
from elasticast.errors import ConfigError, Problem, did_you_mean
from elasticast.evaluation.event_f1 import Counts, event_counts, segment_counts
from elasticast.evaluation.postprocessing import box_scores, detections, filter_length, median_filtered
from elasticast.evaluation.psds import PSDS1, PSDS2, StepScores, psds

CRITERIA = {"PSDS1": PSDS1, "PSDS2": PSDS2}
BOX_SETTINGS = ("window", "absolute", "relative")


@dataclass(frozen=True)
class Layout:
    """Where the time patches of some clips are.

    Time patch i stands for the `step` s in the middle of its frames, from ``lead + i * step`` s on. The first one
    begins with the clip.

    Attributes
    ----------
    first : ndarray
        `[n + 1]` int64. The time patches of clip i are those from ``first[i]`` up to ``first[i + 1]``.
    seconds : ndarray
        `[n]`, where the part of each clip ends that the model is given. [s]
    step, lead : float
        Time from one time patch to the next, and where the first one would begin. [s]
    """

    first: np.ndarray
    seconds: np.ndarray
    step: float
    lead: float

    def edges(self) -> np.ndarray:
        """Where the time patches begin and end, `[n, T + 1]`; those after the end of a clip have no length."""
        edges = self.lead + np.arange(np.diff(self.first).max() + 1) * self.step
        edges[0] = 0.0
        edges = np.minimum(edges, self.seconds[:, None])
        last = np.diff(self.first)
        edges[np.arange(len(last)), last] = self.seconds
        return np.maximum.accumulate(edges, 1)


def layout_of(config: RunConfig, views: list[ClipView], samples: np.ndarray) -> Layout:
    """Layout of clips of `samples` `[n]` samples, which all have a view at the same compression."""
    model, rate = config.model, config.front_end.sample_rate
    hop = frame_seconds(config.front_end, views[0].compression, config.view.resolution)
    counts = [model.patches(view.frames) for view in views]
    seconds = np.minimum(np.asarray(samples) / rate, [view.frames * hop for view in views])
    lead = (model.patch - model.stride) // 2 * hop
    return Layout(np.concatenate([[0], np.cumsum(counts)]), seconds, model.stride * hop, lead)


@dataclass(frozen=True)
class FrameScores:
    """Logits `[R, C]` of the time patches of all clips, float32, and their layout."""

    layout: Layout
    logits: Tensor

    @classmethod
    def read(cls, group: h5py.Group) -> "FrameScores":
        """Read the scores that :class:`~elasticast.evaluation.saved_predictions.Predictions` wrote."""
        numbers = (float(group.attrs[name]) for name in ("step", "lead"))
        layout = Layout(group["first"][:], group["seconds"][:], *numbers)
        return cls(layout, torch.from_numpy(group["scores"][:].astype(np.float32)))

    def put(self, clip: int, logits: Tensor, seen: Tensor) -> None:
        """Store the logits of a clip; time patches without tokens have those of the nearest one that has some."""
        first, end = self.layout.first[clip : clip + 2]
        self.logits[first:end] = nearest_seen(logits, seen)[: end - first]

    def chance(self, clip: int) -> np.ndarray:
        """Probabilities of the classes in a clip, `[time patches, C]` float64."""
        logits = self.logits[self.layout.first[clip] : self.layout.first[clip + 1]]
        return logits.double().sigmoid().numpy()

    def by_class(self, lengths: np.ndarray | None = None) -> list[StepScores]:
        """Probabilities of each class over time.

        Parameters
        ----------
        lengths : ndarray, optional
            `[C]`, lengths of a median filter, see :func:`~elasticast.evaluation.postprocessing.median_filtered`.
        """
        edges, counts = self.layout.edges(), np.diff(self.layout.first)
        values = np.full((self.logits.shape[1], *edges[:, 1:].shape), -np.inf)
        for clip, count in enumerate(counts):
            chance = self.chance(clip)
            values[:, clip, :count] = (chance if lengths is None else median_filtered(chance, lengths)).T
        values[:, np.diff(edges) <= 0] = -np.inf
        return [StepScores(one, edges) for one in values]


def nearest_seen(logits: Tensor, seen: Tensor) -> Tensor:
    """Replace the rows of `logits` that are not `seen` by the nearest row that is."""
    if seen.all():
        return logits
    rows = seen.nonzero().flatten()
    place = torch.arange(len(seen), device=seen.device)
    return logits[rows[(place[:, None] - rows).abs().argmin(1)]]


def detected(scores: FrameScores, classes: list[str], detection: Detection) -> list[StepScores]:
    """Scores of each class over time, after the median filter or as boxes.

    Raises
    ------
    ConfigError
        If `detection` names a class that does not exist.
    """
    check_classes(detection, classes, "", "detection")
    lengths = median_lengths(detection, classes, scores.layout.step)
    by_class = scores.by_class(lengths)
    return by_class if detection.boxes is None else box_scores(by_class, box_settings(detection.boxes, classes))


def resampled_f1(
    scores: FrameScores, events: Events, classes: list[str], detection: Detection, weights: np.ndarray
) -> np.ndarray:
    """Event F1 `[D]` of draws that count each clip `weights` `[n, D]` times; see :func:`event_metrics`."""
    found = detections(detected(scores, classes, detection), detection.threshold)
    # a class of each clip of its own, so that clips are counted one by one
    by_clip = [replace(e, label=e.clip * len(classes) + e.label) for e in (found, events.until(scores.layout.seconds))]
    counts = event_counts(*by_clip, len(weights) * len(classes))
    sums = [weights.T @ count.reshape(len(weights), -1) for count in counts]
    return np.array([Counts(*draw).macro() for draw in zip(*sums, strict=True)])


def check_classes(detection: Detection, classes: list[str], file: str, *section: str) -> None:
    """Check that `detection` names no other classes than those of a model.

    Parameters
    ----------
    detection : Detection
        How events follow from scores.
    classes : list of str
        The classes of the model.
    file : str
        Where the settings are from.
    *section : str
        Keys from the top of this file to the settings.

    Raises
    ------
    ConfigError
        If it does. All of them are named.
    """
    given, problems = {("median_seconds",): detection.median_seconds}, []
    if detection.boxes is not None:
        given |= {("boxes", name): getattr(detection.boxes, name) for name in BOX_SETTINGS}
    for key, value in given.items():
        for label in value if isinstance(value, dict) else ():
            if label not in classes:
                meant = did_you_mean(label, classes).strip() or f"expected some of: {', '.join(classes)}"
                problems.append(Problem(file, (*section, *key), f"the model has no such class; {meant}", label))
    if problems:
        raise ConfigError(problems)


def median_lengths(detection: Detection, classes: list[str], step: float) -> np.ndarray:
    """Length of the median filter of each class, in time patches of `step` s, `[C]`."""
    seconds = _by_class(detection, "median_seconds", classes)
    return np.array([filter_length(value, step) for value in seconds])


def box_settings(boxes: Boxes, classes: list[str]) -> list[tuple[float, float, float]]:
    """Window, absolute and relative threshold of each class."""
    return list(zip(*(_by_class(boxes, name, classes) for name in BOX_SETTINGS), strict=True))


def _by_class(settings: Settings, name: str, classes: list[str]) -> list[float]:
    """A setting of each class. It may be given for all classes or by class; the others have the default."""
    value, default = getattr(settings, name), type(settings).model_fields[name].default
    if not isinstance(value, dict):
        return [value] * len(classes)
    return [value.get(one, default) for one in classes]


def event_metrics(
    scores: FrameScores, events: Events, classes: list[str], detection: Detection, *, only_f1: bool = False
) -> dict[str, float]:
    """Scores of events of the parts of the clips that the model was given.

    Parameters
    ----------
    scores : FrameScores
        Logits of the time patches.
    events : Events
        Events of the whole clips.
    classes : list of str
        Names of the classes.
    detection : Detection
        How events follow from scores.
    only_f1 : bool
        Whether to leave out PSDS, which takes some minutes for thousands of clips and a hundred classes.

    Returns
    -------
    dict
        ``PSDS1`` and ``PSDS2`` over all thresholds; ``event_F1`` and ``segment_F1`` at `detection.threshold`, mean over
        classes.
    """
    seconds = scores.layout.seconds
    events, by_class = events.until(seconds), detected(scores, classes, detection)
    criteria = {} if only_f1 else CRITERIA
    values = {name: psds(by_class, events, float(seconds.sum()), c)[0] for name, c in criteria.items()}
    found = detections(by_class, detection.threshold)
    values["event_F1"] = event_counts(found, events, len(classes)).macro()
    return {**values, "segment_F1": segment_counts(found, events, len(classes)).macro()}
