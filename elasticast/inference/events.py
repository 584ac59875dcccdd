"""Events in audio files, from the scores that a model gives to time patches."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from elasticast.config import RunConfig
from elasticast.config.evaluation import Detection
from elasticast.config.frames import frame_seconds
from elasticast.config.reading import read_yaml, validate
from elasticast.data.windows import Windows
from elasticast.errors import ElasticASTError
from elasticast.evaluation.frames import box_settings, check_classes, median_lengths
from elasticast.evaluation.postprocessing import box_scores, detections, median_filtered
from elasticast.evaluation.psds import StepScores
from elasticast.files import write_text
from elasticast.text import csv_cell


class EventScore(NamedTuple):
    """An event in a clip: onset and offset (s), label, and the mean of the scores within it."""

    onset: float
    offset: float
    label: str
    score: float


def check_frames(config: RunConfig, description: str) -> None:
    """Raise an error if a model computes no logits of time patches."""
    if not config.model.traits.frames:
        raise ElasticASTError(
            f"{description}: model.frame_head = false: it says what is in a clip, not when; train it on a task of kind "
            "`frames`"
        )


def read_detection(path: Path | None) -> Detection:
    """How events follow from scores, from a file with the keys of `detection` in an evaluation; None has the defaults.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a setting is wrong.
    """
    return Detection() if path is None else validate(Detection, read_yaml(path), str(path))


def joined(windows: list[Tensor], first: np.ndarray, config: RunConfig) -> np.ndarray:
    """Probabilities of the classes in each frame of a clip, the mean over the windows that contain it.

    Parameters
    ----------
    windows : list of Tensor
        `[time patches, C]`, logits of each window.
    first : ndarray
        `[W]`, frame at which each window begins.
    config : RunConfig
        Settings of the model.

    Returns
    -------
    ndarray
        `[T, C]`. Frames before the middle of the first patch have the scores of that patch.
    """
    lead, stride = (config.model.patch - config.model.stride) // 2, config.model.stride
    last = max(start + lead + len(logits) * stride for start, logits in zip(first, windows, strict=True))
    total, count = np.zeros((last, windows[0].shape[1])), np.zeros((last, 1))
    for start, logits in zip(first, windows, strict=True):
        chance = logits.double().sigmoid().repeat_interleave(stride, 0)
        chance = torch.cat([chance[:1].expand(lead, -1), chance]).numpy()
        total[start : start + len(chance)] += chance
        count[start : start + len(chance)] += 1
    return total / count.clip(min=1)


def find_events(
    windows: Windows, logits: list[Tensor], seconds: float, config: RunConfig, classes: list[str], detection: Detection
) -> list[EventScore]:
    """Events of a clip, sorted by onset.

    Parameters
    ----------
    windows : Windows
        The windows of the clip.
    logits : list of Tensor
        `[time patches, C]`, logits of each window.
    seconds : float
        Length of the clip. [s]
    config : RunConfig
        Settings of the model.
    classes : list of str
        Names of the classes.
    detection : Detection
        How events follow from scores.

    Raises
    ------
    ConfigError
        If `detection` names a class that does not exist.
    """
    check_classes(detection, classes, "", "detection")
    hop = frame_seconds(config.front_end, windows.view.compression, config.view.resolution)
    chance = joined(logits, np.round(windows.starts / config.front_end.sample_rate / hop).astype(int), config)
    edges = np.minimum(np.arange(len(chance) + 1) * hop, seconds)
    edges[-1] = seconds
    chance = median_filtered(chance, median_lengths(detection, classes, hop))
    inside = np.diff(edges) > 0
    scores = [StepScores(column[inside][None], np.append(edges[:-1][inside], seconds)[None]) for column in chance.T]
    found = scores if detection.boxes is None else box_scores(scores, box_settings(detection.boxes, classes))
    events = detections(found, detection.threshold)
    rows = zip(events.label, events.onset, events.offset, strict=True)
    return [EventScore(on, off, classes[c], _mean(scores[c], on, off)) for c, on, off in rows]


def _mean(scores: StepScores, onset: float, offset: float) -> float:
    edges = scores.edges[0]
    seconds = (np.minimum(edges[1:], offset) - np.maximum(edges[:-1], onset)).clip(min=0)
    return float((scores.values[0] * seconds).sum() / seconds.sum())


def write_events(clips: Iterable[tuple[str, list[EventScore]]], path: Path) -> None:
    """Write events as CSV with the columns ``path``, ``onset``, ``offset``, ``label`` and ``score``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", *EventScore._fields])
    for name, events in clips:
        rows = [[f"{e.onset:.3f}", f"{e.offset:.3f}", csv_cell(e.label), f"{e.score:.4f}"] for e in events]
        writer.writerows([csv_cell(name), *row] for row in rows)
    write_text(path, text.getvalue())
