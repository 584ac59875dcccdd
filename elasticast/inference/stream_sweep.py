"""Stream the clips of a prepared dataset with chunks of several lengths and contexts: `elasticast sweep --chunks`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from elasticast.data.dataset import Clips
from elasticast.evaluation.metrics import metrics, ranking_scores
from elasticast.inference.classifier import AudioClassifier
from elasticast.inference.length_sweep import on_task, write_sweep
from elasticast.inference.stream import StreamPlan, plan_stream
from elasticast.models.device import default_device
from elasticast.models.pretrained import load_model
from elasticast.progress import Progress

TABLE = "stream.csv"
_CODE = ("data/live.py", "data/pieces.py", "inference/stream.py")


@dataclass
class _Point:
    """A length of chunks and a context.

    Attributes
    ----------
    options : dict
        Arguments of `AudioClassifier.stream`.
    plan : StreamPlan
        What follows from them.
    logits : list of Tensor
        `[C]` of each clip.
    cpu_seconds, seconds : float
        Time of all cores, and length of the audio.
    """

    options: dict[str, float]
    plan: StreamPlan
    logits: list[torch.Tensor]
    cpu_seconds: float = 0.0
    seconds: float = 0.0


def stream_sweep(
    source: str,
    data: Path,
    chunks: list[float],
    contexts: list[float],
    out: Path,
    *,
    split: str = "test",
    task: str | None = None,
    trust_code: bool = False,
) -> pd.DataFrame:
    """Stream all clips of a split at each length of chunks and each context; write a table and its record.

    The logits of a clip are the mean over its scores, weighted by the audio that is new in each. Each clip is a stream.

    Parameters
    ----------
    source : str
        Any weights that :func:`elasticast.models.pretrained.load_model` accepts.
    data : Path
        Folder of a prepared dataset.
    chunks, contexts : list of float
        Lengths of chunks, and how far they attend into the past (s), see `AudioClassifier.stream`.
    out : Path
        Folder to write `stream.csv` and `stream.json` into.
    split, task, trust_code
        See :func:`elasticast.inference.length_sweep.length_sweep`.

    Returns
    -------
    DataFrame
        One row per chunk, context and metric: ``model``, ``dataset``, ``task``, ``split``, ``chunk`` and ``context``
        (s, as rounded), ``delay`` (s, without computing), ``real_time_factor`` (processor time of all cores per second
        of audio), ``metric``, ``value``, ``n`` (number of clips).

    Raises
    ------
    DataError
        If the model or the data cannot be read, or if the classes do not fit.
    ElasticASTError
        If a chunk or context is not possible with the model; before any clip is read.
    """
    model = on_task(load_model(source, trust_code=trust_code), source, data, split, task)
    config, points = model.config, _points(model.config, chunks, contexts)
    model.model.to(default_device())
    classifier, clips = AudioClassifier(model), Clips(data, split, config.task)
    with Progress("sweep", len(clips) * len(points)) as progress:
        for number, point in enumerate(points):
            for clip in range(len(clips)):
                _stream_clip(classifier, clips.waveform(clip), point)
                progress.update(number * len(clips) + clip + 1)
    head = {"model": source, "dataset": config.dataset, "task": config.task, "split": split}
    table = pd.DataFrame([head | row for point in points for row in _rows(point, clips, config.train.loss)])
    write_sweep(table, out / TABLE, model, source, data, *_CODE)
    return table


def _points(config, chunks: list[float], contexts: list[float]) -> list[_Point]:
    """Chunks and contexts that differ after rounding."""
    points: dict[tuple[float, float], _Point] = {}
    for options in ({"chunk": chunk, "context": context} for chunk in chunks for context in contexts):
        plan = plan_stream(config, config.front_end.sample_rate, **options)
        points.setdefault((plan.length, plan.context), _Point(options, plan, []))
    return list(points.values())


def _stream_clip(classifier: AudioClassifier, waveform: torch.Tensor, point: _Point) -> None:
    begun = time.process_time()
    rate = classifier.config.front_end.sample_rate
    scores = list(classifier.stream([waveform], sample_rate=rate, **point.options))
    ends = torch.tensor([0.0] + [score.end for score in scores])
    weights = ends.diff() / ends[-1]
    point.logits.append(weights @ torch.stack([score.logits for score in scores]))
    point.cpu_seconds += time.process_time() - begun
    point.seconds += len(waveform) / rate


def _rows(point: _Point, clips: Clips, loss: str) -> list[dict[str, Any]]:
    scores = ranking_scores(torch.stack(point.logits), loss, "exact")
    values = metrics(scores, clips.targets.numpy(), clips.kind)
    row = {"chunk": point.plan.length, "context": point.plan.context, "delay": point.plan.delay}
    row["real_time_factor"] = point.cpu_seconds / point.seconds
    return [{**row, "metric": name, "value": value, "n": len(clips)} for name, value in values.items()]
