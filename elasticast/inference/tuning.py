"""Choose by held-out clips how events follow from the scores of a model: `elasticast tune-events`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import yaml

from elasticast.config import Evaluation
from elasticast.config.evaluation import Boxes, Detection
from elasticast.data.dataset import Clips
from elasticast.data.manifest import read_data_hash
from elasticast.errors import ConfigError, Problem
from elasticast.evaluation.event_f1 import event_counts
from elasticast.evaluation.frames import FrameScores, detected
from elasticast.evaluation.postprocessing import detections
from elasticast.evaluation.sweep import frame_scores, sweep
from elasticast.files import write_text
from elasticast.inference.events import check_frames
from elasticast.inference.length_sweep import on_task
from elasticast.models.device import default_device
from elasticast.models.pretrained import Pretrained, load_model
from elasticast.progress import track

Method = Literal["boxes", "median"]
SPLIT = "dev"
"""Split of the clips that decide; the others are not read."""
WINDOWS = (0.32, 0.48, 0.64)
ABSOLUTE, RELATIVE = (0.15, 0.2, 0.3), (1.5, 2.0, 3.0)
"""Windows (s) and thresholds of boxes; while one threshold is tried, the other is off (Ebbers et al. 2024)."""
OFF = {"absolute": 2.0, "relative": 1.0e4}
"""Thresholds that no two scores reach."""
PATCHES = (1, 3, 5, 7, 9, 13, 17)
"""Lengths of median filters, in time patches."""


def tune_events(
    source: str,
    data: Path,
    out: Path,
    *,
    method: Method = "boxes",
    threshold: float = 0.5,
    task: str | None = None,
    trust_code: bool = False,
) -> pd.DataFrame:
    """Choose for each class the boxes, or the median filter, with the highest event F1 on split dev; write them.

    Parameters
    ----------
    source : str
        Any weights that :func:`elasticast.models.pretrained.load_model` accepts, with a frame head.
    data : Path
        Folder of a prepared dataset with a split dev.
    out : Path
        YAML file to write: the settings `detection` of an evaluation.
    method : {"boxes", "median"}
        What is chosen.
    threshold : float
        Score above which a class counts as detected.
    task : str, optional
        Task of the labels, as in :func:`~elasticast.inference.length_sweep.length_sweep`.
    trust_code : bool
        Whether to run the code of a model that brings its own.

    Returns
    -------
    DataFrame
        One row per class: ``label``, ``events`` (their number in split dev), ``before`` (event F1 without
        post-processing), ``after``, and the settings that were chosen. Classes without events keep the defaults.

    Raises
    ------
    DataError
        If the model or the data cannot be read, or if the data have no split dev.
    ConfigError
        If the task has no events.
    """
    model = on_task(load_model(source, trust_code=trust_code), source, data, SPLIT, task)
    check_frames(model.config, source)
    if model.kind != "frames":
        raise ConfigError([Problem("--task", (), f"has labels of clips, not events ({data})", model.config.task)])
    clips = Clips(data, SPLIT, model.config.task)
    scores = _scores(model, clips)
    tried = list(_candidates(method, threshold, scores.layout.step))
    f1 = np.stack([_f1(scores, clips, one) for one in track(tried, len(tried), "tune-events")])
    chosen = [tried[best] for best in np.nan_to_num(f1, nan=-1.0).argmax(0)]  # the first of equals
    settings = [_settings(one) for one in chosen]
    found = _merged(settings, method, threshold, clips.classes)
    write_text(out, _text(found, source, model, data))
    events = np.bincount(clips.events.until(scores.layout.seconds).label, minlength=len(clips.classes))
    table = {"label": clips.classes, "events": events, "before": _f1(scores, clips, Detection(threshold=threshold))}
    return pd.DataFrame({**table, "after": f1.max(0)}).join(pd.DataFrame(settings))


def _scores(model: Pretrained, clips: Clips) -> FrameScores:
    """Scores of the time patches of all clips, at whole length."""
    x = model.config.default_compression
    view = Evaluation(x_name="compression", x=[x], split=SPLIT)
    frames = frame_scores(clips, model.config, view, None, torch.empty)
    sweep(model.model.to(default_device()), clips, model.config, model.norm, view, None, frames=frames)
    return frames[x]


def _candidates(method: Method, threshold: float, step: float) -> Iterator[Detection]:
    """What is tried, the defaults first."""
    if method == "median":
        for patches in PATCHES:
            yield Detection(median_seconds=0.0 if patches == 1 else round(patches * step, 6), threshold=threshold)
        return
    yield Detection(boxes=Boxes(), threshold=threshold)
    for window in WINDOWS:
        for name, values in (("absolute", ABSOLUTE), ("relative", RELATIVE)):
            for value in values:
                yield Detection(boxes=Boxes(**{**OFF, name: value, "window": window}), threshold=threshold)


def _f1(scores: FrameScores, clips: Clips, detection: Detection) -> np.ndarray:
    """Event F1 of each class `[C]`; NaN without events."""
    found = detections(detected(scores, clips.classes, detection), detection.threshold)
    return event_counts(found, clips.events.until(scores.layout.seconds), len(clips.classes)).f1()


def _settings(detection: Detection) -> dict[str, float]:
    if detection.boxes is not None:
        return detection.boxes.model_dump()
    return {"median_seconds": detection.median_seconds}


def _merged(settings: list[dict[str, float]], method: Method, threshold: float, classes: list[str]) -> Detection:
    """The settings of all classes as one."""
    by_class: dict[str, Any] = {
        name: {label: of_class[name] for label, of_class in zip(classes, settings, strict=True)} for name in settings[0]
    }
    parts = {"boxes": Boxes(**by_class)} if method == "boxes" else by_class
    return Detection(**parts, threshold=threshold)


def _text(detection: Detection, source: str, model: Pretrained, data: Path) -> str:
    """The file, with its origin as a comment."""
    head = f"# Chosen by `elasticast tune-events {source} {data}` on split {SPLIT}.\n"
    head += f"# Weights: sha256 {model.sha256}\n# Data: sha256 {read_data_hash(data)}\n"
    return head + yaml.safe_dump(detection.model_dump(exclude_defaults=True), sort_keys=False, allow_unicode=True)
