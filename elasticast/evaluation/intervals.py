"""Tables of confidence intervals and paired comparisons, from resampled predictions.

:func:`resample` writes one HDF5 file per experiment, with these attributes, groups and datasets:

- attributes of the file: ``suite``, ``experiment``, ``dataset``, ``task``, ``model`` (its kind), ``one_length``
  (whether the model takes batches of one length only), ``kind``, and ``draws``, the number of draws;
- one group per evaluation, with the attributes ``x_name``, ``split``, ``clips`` (number of clips) and
  ``clips_sha256`` (hash of their ids, in order);
- in it one group per x, with the datasets ``values`` ``[S]`` and ``draws`` ``[draws, S]``, see
  :class:`~elasticast.evaluation.statistics.Resampled`.

Its record, a JSON file of the same name, holds the SHA-256 of the predictions of each seed.
"""

import hashlib
import itertools
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

from elasticast.checksums import FILES, FOLDER, OWN, folder_of, write_record
from elasticast.config.base import PRIMARY_METRIC
from elasticast.config.evaluation import Detection
from elasticast.errors import DataError
from elasticast.evaluation.frames import FrameScores, resampled_f1
from elasticast.evaluation.records import (
    EVALUATION,
    PREDICTIONS,
    RESAMPLE_AGAIN,
    check_distinct,
    check_together,
    name_of_run,
    read_evaluation,
    read_resampled,
    record_of,
    write_table,
)
from elasticast.evaluation.saved_predictions import points, saved_events, targets
from elasticast.evaluation.statistics import (
    DRAWS,
    Resampled,
    accuracy,
    chance,
    draw_weights,
    mean_average_precision,
    paired_differences,
)
from elasticast.hdf5 import open_hdf5, writing
from elasticast.progress import track

T = TypeVar("T", h5py.File, h5py.Group)
INTERVAL_COLUMNS = (
    "suite", "experiment", "evaluation", "dataset", "task", "x_name", "x", "compression", "metric", "value", "low",
    "high", "chance", "seeds", "clips", "listed",
)  # fmt: skip
PAIR_COLUMNS = (
    "suite", "dataset", "task", "evaluation", "x_name", "x", "compression", "metric", "experiment", "against",
    "difference", "low", "high", "p", "p_corrected", "comparisons", "clips", "listed",
)  # fmt: skip
EVALUATE_AGAIN = "run `elasticast evaluate` again"
_SHARED = ("suite", "experiment", "dataset", "task", "model", "one_length", "kind")


def resample(files: list[Path], out: Path, draws: int = DRAWS) -> None:
    """Resample the scores of one experiment: accuracy for tasks of one label, mAP for several, event F1 for events.

    Parameters
    ----------
    files : list of Path
        `predictions.h5` of each seed.
    out : Path
        HDF5 file to write.
    draws : int
        Number of draws.

    Raises
    ------
    DataError
        If a file or its record was changed, if two files are of the same seed, if they belong to several experiments,
        or if their clips differ.
    """
    check_distinct(files)
    records = {path.with_name(EVALUATION): read_evaluation(path) for path in files}
    check_together(records)
    predictions = {name_of_run(record): record[FILES][PREDICTIONS] for record in records.values()}
    _resample_files(files, out, draws)
    about = {key: next(iter(records.values()))[key] for key in ("suite", "experiment")}
    about[FOLDER] = folder_of(out)
    write_record(record_of(out), {**about, "draws": draws, "predictions": predictions}, [out])


def _resample_files(files: list[Path], out: Path, draws: int) -> None:
    with ExitStack() as opened, writing(out) as file:
        runs = [opened.enter_context(open_hdf5(path, EVALUATE_AGAIN)) for path in files]
        for name in _SHARED:
            file.attrs[name] = _common(
                runs, lambda run, name=name: _attribute(run, name, EVALUATE_AGAIN), f"differ in {name}"
            )
        _common(runs, lambda run: sorted(run), "were evaluated over different sweeps")
        file.attrs["draws"] = draws
        for name in runs[0]:
            evaluations = [run[name] for run in runs]
            sha256 = _common(evaluations, _clips_digest, f"{name}: contain different clips")
            clips = len(evaluations[0]["id"])
            group = file.create_group(name)
            group.attrs.update({**evaluations[0].attrs, "clips": clips, "clips_sha256": sha256})
            group.attrs["chance"] = chance(evaluations[0]["labels"][:], clips, file.attrs["kind"])
            _resample_points(evaluations, draw_weights(clips, draws), group)


def _resample_points(evaluations: list[h5py.Group], weights: Tensor, out: h5py.Group) -> None:
    xs = [x.name.rsplit("/", 1)[1] for x in points(evaluations[0])]
    weights = torch.cat([torch.ones(len(weights), 1), weights], 1)  # column 0: every clip once
    for x in track(xs, len(xs), f"resample {out.file.attrs['experiment']} {out.name[1:]}"):
        scores = np.stack([_scores(seed, x, weights) for seed in evaluations], 1)
        point = out.create_group(x)
        point.attrs.update(evaluations[0][x].attrs)
        point["values"], point["draws"] = scores[0], scores[1:]


def _scores(evaluation: h5py.Group, x: str, weights: Tensor) -> np.ndarray:
    """Score `[1 + draws]` of a run at one x, for each column of `weights`."""
    if evaluation.file.attrs["kind"] == "single":
        return accuracy(evaluation[x]["predicted"][:] == evaluation["labels"][:], weights)
    if evaluation.file.attrs["kind"] == "frames":
        detection = Detection.model_validate_json(evaluation.attrs["detection"])
        classes = list(evaluation.file.attrs["classes"])
        frames = FrameScores.read(evaluation[x]["frames"])
        return resampled_f1(frames, saved_events(evaluation), classes, detection, weights.numpy())
    scores = evaluation[x]["scores"][:].astype(np.float32)
    return mean_average_precision(scores, targets(evaluation, scores.shape[1]), weights)


def _attribute(group: h5py.Group, name: str, remedy: str) -> Any:
    """An attribute of a file or of a group in it; earlier versions of this package wrote fewer."""
    if name not in group.attrs:
        raise DataError(f"{group.file.filename}: has no attribute {name!r}, it is of an earlier version; {remedy}")
    return group.attrs[name]


def _clips_digest(evaluation: h5py.Group) -> str:
    return hashlib.sha256("\n".join(evaluation["id"].asstr()[:]).encode()).hexdigest()


def _common(items: Sequence[T], value: Callable[[T], Any], problem: str) -> Any:
    """The value that all items share; raises an error that names two files if the values differ."""
    values = [value(item) for item in items]
    for item, item_value in zip(items, values, strict=True):
        if item_value != values[0]:
            raise DataError(f"{items[0].file.filename} and {item.file.filename} {problem}")
    return values[0]


@dataclass(frozen=True)
class _Point:
    """Scores of an experiment at one x of one evaluation."""

    group: h5py.Group

    @property
    def columns(self) -> dict:
        """Columns that both tables have."""
        run, evaluation = self.group.file.attrs, self.group.parent
        experiment = {name: run[name] for name in ("suite", "experiment", "dataset", "task")}
        point = {"evaluation": evaluation.name[1:], "x_name": evaluation.attrs["x_name"], **self.group.attrs}
        clips = {name: evaluation.attrs[name] for name in ("clips", "listed")}
        return {**experiment, **point, "metric": PRIMARY_METRIC[run["kind"]], **clips}

    @property
    def resampled(self) -> Resampled:
        return Resampled(self.group.file.attrs["experiment"], self.group["values"][:], self.group["draws"][:])


def write_tables(files: list[Path], intervals: Path, pairs: Path, references: Sequence[str] = ()) -> None:
    """Write a table of the intervals of all experiments, and one that compares two experiments at a time.

    Two experiments are compared if their models are of different kinds, and their dataset and task the same. Models
    that take any length come first, so that differences are theirs minus those of models of one length. With
    `references`, each reference is compared with all others instead, whatever their kinds, and comes first. P-values
    are corrected for the number of comparisons in the table (column ``comparisons``).

    Parameters
    ----------
    files : list of Path
        Files written by :func:`resample`, one per experiment.
    intervals : Path
        CSV file to write, with the columns :data:`INTERVAL_COLUMNS`.
    pairs : Path
        CSV file to write, with the columns :data:`PAIR_COLUMNS`.
    references : sequence of str
        Names of experiments.

    Raises
    ------
    DataError
        If a file or its record was changed, if two files are of the same experiment, if two compared experiments were
        evaluated on different clips, or if the files have different numbers of draws.
    """
    check_distinct(files)
    records = {record_of(path): read_resampled(path) for path in files}
    predictions: dict[str, str] = {}
    for path, record in records.items():
        if twice := predictions.keys() & record["predictions"].keys():
            raise DataError(f"{path}: {min(twice)} is also in another file; give one file per experiment")
        predictions |= record["predictions"]
    with ExitStack() as opened:
        runs = [opened.enter_context(open_hdf5(path, RESAMPLE_AGAIN)) for path in files]
        _common(runs, lambda run: run.attrs["draws"], "have different numbers of draws")
        rows = [_interval(_Point(x)) for run in runs for evaluation in run.values() for x in points(evaluation)]
        content = {"pieces": {path.as_posix(): record[OWN] for path, record in records.items()}}
        content["predictions"] = predictions
        write_table(intervals, pd.DataFrame(rows, columns=list(INTERVAL_COLUMNS)), content)
        rows = _compare([pair for first, second in _pairs(runs, references) for pair in _same_points(first, second)])
        write_table(pairs, pd.DataFrame(rows, columns=list(PAIR_COLUMNS)), content)


def _interval(point: _Point) -> dict:
    resampled = point.resampled
    low, high = resampled.interval()
    of_clips = {"chance": _attribute(point.group.parent, "chance", RESAMPLE_AGAIN), "seeds": len(resampled.values)}
    return {**point.columns, "value": resampled.value, "low": low, "high": high, **of_clips}


def _pairs(runs: list[h5py.File], references: Sequence[str] = ()) -> Iterator[tuple[h5py.Group, h5py.Group]]:
    """Pairs of evaluations with the same name, dataset and task, of two experiments that are compared."""

    def rank(run: h5py.File) -> bool:
        """Whether a run comes second. Sorting keeps the order of equal ones."""
        if references:
            return run.attrs["experiment"] not in references
        return bool(_attribute(run, "one_length", RESAMPLE_AGAIN))

    for one, other in itertools.combinations(sorted(runs, key=rank), 2):
        compared = rank(one) != rank(other) if references else one.attrs["model"] != other.attrs["model"]
        if compared and all(one.attrs[name] == other.attrs[name] for name in ("dataset", "task")):
            yield from ((one[name], other[name]) for name in one if name in other)


def _same_points(one: h5py.Group, other: h5py.Group) -> Iterator[tuple[_Point, _Point]]:
    """Pairs of points with the same x."""
    _common([one, other], lambda group: group.attrs["clips_sha256"], f"{one.name[1:]}: contain different clips")
    yield from ((_Point(x), _Point(other[x.name.rsplit("/", 1)[1]])) for x in points(one))


def _compare(pairs: list[tuple[_Point, _Point]]) -> list[dict]:
    """Rows of the table of pairs; all pairs are one family."""
    tests = paired_differences([(one.resampled, other.resampled) for one, other in pairs])
    return [
        {
            **one.columns,
            "against": other.group.file.attrs["experiment"],
            **test._asdict(),
            "comparisons": len(pairs),
        }
        for (one, other), test in zip(pairs, tests, strict=True)
    ]
