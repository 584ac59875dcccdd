"""Tables of intervals and paired comparisons: saved predictions, resampled by experiment, then put side by side.

What :func:`resample` writes for an experiment: its name and the like as attributes; a group for each evaluation with
the attributes ``x_name``, ``split``, ``clips`` (their number) and ``clips_sha256`` (their ids, in order); in it a group
for each x with ``values`` ``[S]`` and ``draws`` ``[draws, S]``, see
:class:`~elasticast.evaluation.statistics.Resampled`.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from elasticast.config.base import PRIMARY_METRIC
from elasticast.errors import DataError
from elasticast.evaluation.saved_predictions import points, targets
from elasticast.evaluation.statistics import (
    DRAWS,
    Resampled,
    accuracy,
    draw_weights,
    mean_average_precision,
    paired_difference,
)
from elasticast.files import write_text
from elasticast.hdf5 import open_hdf5, writing
from elasticast.progress import track

T = TypeVar("T", h5py.File, h5py.Group)
INTERVAL_COLUMNS = (
    "suite", "experiment", "evaluation", "dataset", "task", "x_name", "x", "compression", "metric", "value", "low",
    "high", "seeds", "clips",
)  # fmt: skip
PAIR_COLUMNS = (
    "suite", "dataset", "task", "evaluation", "x_name", "x", "compression", "metric", "experiment", "against",
    "difference", "low", "high", "p", "clips",
)  # fmt: skip
_SHARED = ("suite", "experiment", "dataset", "task", "model", "kind")


def resample(files: list[Path], out: Path, draws: int = DRAWS) -> None:
    """Resample the scores of one experiment: accuracy, or mAP where a clip has several labels.

    Parameters
    ----------
    files : list of Path
        `predictions.h5` of every seed.
    out : Path
        HDF5 file to write.
    draws : int
        How often.

    Raises
    ------
    DataError
        If the files are of several experiments, or their clips differ.
    """
    with ExitStack() as opened, writing(out) as file:
        runs = [opened.enter_context(open_hdf5(path, "run `elasticast evaluate` again")) for path in files]
        for name in _SHARED:
            file.attrs[name] = _common(runs, lambda run, name=name: run.attrs[name], f"differ in {name}")
        _common(runs, lambda run: sorted(run), "were evaluated over different sweeps")
        file.attrs["draws"] = draws
        for name in runs[0]:
            evaluations = [run[name] for run in runs]
            sha256 = _common(evaluations, _clips_digest, f"{name}: hold different clips")
            clips = len(evaluations[0]["id"])
            group = file.create_group(name)
            group.attrs.update({**evaluations[0].attrs, "clips": clips, "clips_sha256": sha256})
            _resample_points(evaluations, draw_weights(clips, draws), group)


def _resample_points(evaluations: list[h5py.Group], weights: Tensor, out: h5py.Group) -> None:
    xs = [x.name.rsplit("/", 1)[1] for x in points(evaluations[0])]
    weights = torch.cat([torch.ones(len(weights), 1), weights], 1)  # first every clip once
    for x in track(xs, len(xs), f"resample {out.file.attrs['experiment']} {out.name[1:]}"):
        found = np.stack([_scores(seed, x, weights) for seed in evaluations], 1)
        point = out.create_group(x)
        point.attrs.update(evaluations[0][x].attrs)
        point["values"], point["draws"] = found[0], found[1:]


def _scores(evaluation: h5py.Group, x: str, weights: Tensor) -> np.ndarray:
    """Score of a run at an x, of each draw."""
    if evaluation.file.attrs["kind"] == "single":
        return accuracy(evaluation[x]["predicted"][:] == evaluation["labels"][:], weights)
    scores = evaluation[x]["scores"][:].astype(np.float32)
    return mean_average_precision(scores, targets(evaluation, scores.shape[1]), weights)


def _clips_digest(evaluation: h5py.Group) -> str:
    return hashlib.sha256("\n".join(evaluation["id"].asstr()[:]).encode()).hexdigest()


def _common(items: Sequence[T], value: Callable[[T], Any], problem: str) -> Any:
    """The value that all items have; items that do not are an error, naming two of the files."""
    found = [value(item) for item in items]
    for item, other in zip(items, found, strict=True):
        if other != found[0]:
            raise DataError(f"{items[0].file.filename} and {item.file.filename} {problem}")
    return found[0]


@dataclass(frozen=True)
class _Point:
    """An experiment at one x of one evaluation."""

    group: h5py.Group

    @property
    def about(self) -> dict:
        run, evaluation = self.group.file.attrs, self.group.parent
        named = {name: run[name] for name in ("suite", "experiment", "dataset", "task")}
        place = {"evaluation": evaluation.name[1:], "x_name": evaluation.attrs["x_name"], **self.group.attrs}
        return {**named, **place, "metric": PRIMARY_METRIC[run["kind"]], "clips": evaluation.attrs["clips"]}

    @property
    def resampled(self) -> Resampled:
        return Resampled(self.group.file.attrs["experiment"], self.group["values"][:], self.group["draws"][:])


def write_tables(files: list[Path], intervals: Path, pairs: Path) -> None:
    """Write the table of all intervals, and that of all pairs of an ElasticAST and an AST on the same clips.

    Parameters
    ----------
    files : list of Path
        What :func:`resample` wrote, of every experiment.
    intervals, pairs : Path
        The tables, columns :data:`INTERVAL_COLUMNS` and :data:`PAIR_COLUMNS`.

    Raises
    ------
    DataError
        If a pair was evaluated on different clips, or resampled differently often.
    """
    with ExitStack() as opened:
        runs = [opened.enter_context(open_hdf5(path, "run `elasticast resample` again")) for path in files]
        _common(runs, lambda run: run.attrs["draws"], "are of different numbers of draws")
        rows = [_interval(_Point(x)) for run in runs for evaluation in run.values() for x in points(evaluation)]
        write_text(intervals, pd.DataFrame(rows, columns=list(INTERVAL_COLUMNS)).to_csv(index=False))
        rows = [_pair(*pair) for one, other in _pairs(runs) for pair in _same_points(one, other)]
        write_text(pairs, pd.DataFrame(rows, columns=list(PAIR_COLUMNS)).to_csv(index=False))


def _interval(point: _Point) -> dict:
    found = point.resampled
    low, high = found.interval()
    return {**point.about, "value": found.value, "low": low, "high": high, "seeds": len(found.values)}


def _pairs(runs: list[h5py.File]) -> Iterator[tuple[h5py.Group, h5py.Group]]:
    """Evaluations of the same name, dataset and task, of every ElasticAST against every AST."""
    for run in (run for run in runs if run.attrs["model"] == "elasticast"):
        for other in (other for other in runs if other.attrs["model"] == "ast"):
            if all(run.attrs[name] == other.attrs[name] for name in ("dataset", "task")):
                yield from ((run[name], other[name]) for name in run if name in other)


def _same_points(one: h5py.Group, other: h5py.Group) -> Iterator[tuple[_Point, _Point]]:
    _common([one, other], lambda group: group.attrs["clips_sha256"], f"{one.name[1:]}: hold different clips")
    yield from ((_Point(x), _Point(other[x.name.rsplit("/", 1)[1]])) for x in points(one))


def _pair(one: _Point, other: _Point) -> dict:
    against = other.group.file.attrs["experiment"]
    return {**one.about, "against": against, **paired_difference(one.resampled, other.resampled)._asdict()}
