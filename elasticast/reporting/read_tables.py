"""Read and check the tables that figures are drawn from: metrics, intervals, paired tests and released curves."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from elasticast.checksums import read_record, verify
from elasticast.config import Evaluation
from elasticast.config.reading import validate
from elasticast.errors import DataError
from elasticast.evaluation.records import EVALUATION, read_evaluation, record_of
from elasticast.progress import LOG
from elasticast.reporting.check_tables import (
    DECIMALS,
    check_durations,
    check_intervals,
    check_metrics,
    check_numbers,
    check_pairs,
    check_points,
    check_unique,
)

# points of a grid also have a column `compression`, but grids are not drawn as curves
METRICS = (
    "suite", "experiment", "seed", "evaluation", "dataset", "task", "x_name", "x", "metric", "value", "n", "listed",
)  # fmt: skip
INTERVALS = ("suite", "experiment", "evaluation", "x_name", "x", "metric", "value", "low", "high", "seeds", "clips")
PAIRS = (
    "evaluation", "x", "metric", "experiment", "against", "difference", "low", "high", "p", "p_corrected",
    "comparisons",
)  # fmt: skip
RUNS = (
    "run", "experiment", "seed", "steps", "seconds", "clips_per_s", "tokens_per_s", "parameters", "device",
    "peak_memory_mib", "config_digest", "code_digest", "data_sha256", "git_commit",
)  # fmt: skip
HISTORY = ("experiment", "seed", "step", "split", "metric", "value")
LENGTHS = ("dataset", "seconds", "clips")
RELEASED = ("dataset", "axis", "x", "series", "metric", "value", "source")
_NAMES = (
    "suite", "experiment", "evaluation", "dataset", "task", "x_name", "metric", "against", "series", "axis",
    "config_digest", "code_digest", "data_sha256", "git_commit",
)  # fmt: skip
_OF_RUN = ("suite", "experiment", "seed", "dataset", "task")


def read_metrics(path: Path, suite: str) -> pd.DataFrame:
    """Read ``metrics.csv`` of a suite (columns `METRICS`).

    Raises
    ------
    DataError
        If the file, its record or a column is missing, if the file was changed, if a value is not a number or out of
        its range, if a point has two rows, or if the file has results of another suite.
    """
    table = _read_verified(path, METRICS)
    check_metrics(path, table)
    unexpected = sorted(set(table["suite"]) - {suite})
    if unexpected:
        raise DataError(f"{path}: holds results of suite {', '.join(map(repr, unexpected))}, expected only {suite!r}")
    return table


def read_run_metrics(path: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """Read ``metrics.csv`` of one run, and the record of its evaluation.

    Returns
    -------
    record : dict
        Content of `evaluation.json`.
    table : DataFrame
        The metrics, columns `METRICS` and ``compression``.

    Raises
    ------
    DataError
        For the same reasons as :func:`read_metrics`, if the table is of another run than its record, or if it lacks a
        row.
    """
    record, table = read_evaluation(path), _read(path, METRICS)
    check_metrics(path, table)
    source = path.with_name(EVALUATION)
    for key in _OF_RUN:
        if other := set(table[key].tolist()) - {record[key]}:
            raise DataError(f"{path}: {key} is {min(other)!r}, but {record[key]!r} in {source}")
    sweeps = record["evaluations"].items()
    evaluations = {name: validate(Evaluation, value, str(source), "evaluations", name) for name, value in sweeps}
    check_points(path, table, evaluations, record["kind"])
    return record, table


def read_intervals(path: Path, metrics: Path | None = None) -> pd.DataFrame:
    """Read the 95 % intervals from the bootstrap over seeds and clips, as fractions (columns `INTERVALS`).

    The column ``chance``, see :func:`elasticast.evaluation.statistics.chance`, may be missing.

    Parameters
    ----------
    metrics : Path, optional
        ``metrics.csv`` of the suite, which must be of the same evaluations.

    Raises
    ------
    DataError
        For the same reasons as :func:`read_metrics`, or if the two tables are of different evaluations of a run.
    """
    table = _read_verified(path, INTERVALS)
    check_intervals(path, table)
    _check_same_evaluations(path, metrics)
    return _round_x(table)


def read_pairs(path: Path, metrics: Path | None = None) -> pd.DataFrame:
    """Read the paired tests of two experiments on the same clips, with differences as fractions (columns `PAIRS`).

    Parameters and errors are as in :func:`read_intervals`.
    """
    table = _read_verified(path, PAIRS)
    check_pairs(path, table)
    _check_same_evaluations(path, metrics)
    return _round_x(table)


def read_runs(path: Path) -> pd.DataFrame:
    """Read ``runs.csv`` of a suite: what is recorded of each training run (columns `RUNS` and others).

    Raises
    ------
    DataError
        If the file, its record or a column is missing, if the file was changed, or if a value is not a number.
    """
    table = _read_verified(path, RUNS)
    check_numbers(path, table, ("steps", "seconds", "parameters"))
    check_unique(path, table, ("experiment", "seed"))
    return table


def read_history(path: Path) -> pd.DataFrame:
    """Read ``history.csv`` of a suite: the learning curves of its runs (columns `HISTORY`).

    Errors are as in :func:`read_runs`. A loss may be infinite.
    """
    table = _read_verified(path, HISTORY)
    check_numbers(path, table, ("step",))
    check_unique(path, table, ("experiment", "seed", "step", "split", "metric"))
    return table


def read_durations(path: Path) -> dict[str, np.ndarray]:
    """Read the durations of clips by dataset, `[n]` seconds each (columns `LENGTHS`).

    Raises
    ------
    DataError
        For the same reasons as :func:`read_metrics`.
    """
    table = _read_verified(path, LENGTHS)
    check_durations(path, table)
    groups = table.groupby("dataset", sort=False)
    return {name: np.repeat(rows["seconds"].to_numpy(float), rows["clips"]) for name, rows in groups}


def read_notes(path: Path) -> list[str]:
    """Read the notes of the evaluations that a table of metrics joins, each with its runs.

    Notes say, for example, that the names of the classes of published weights are not known.
    """
    runs: dict[str, list[str]] = {}
    for run, notes in read_record(record_of(path), _make_again(path)).get("notes", {}).items():
        for note in notes:
            runs.setdefault(note, []).append(run)
    return [f"{', '.join(names)}: {note}" for note, names in runs.items()]


def _check_same_evaluations(path: Path, metrics: Path | None) -> None:
    """Check that two tables were made from the same predictions. A table of the user's own is not compared."""
    if metrics is None:
        return
    theirs, ours = (read_record(record_of(p), _make_again(p)).get("predictions", {}) for p in (path, metrics))
    if theirs and ours and not ours.keys() & theirs.keys():
        raise DataError(
            f"{path} and {metrics}: are of different runs, such as {min(theirs)} and {min(ours)}; {_make_again(path)}"
        )
    for run in sorted(ours.keys() & theirs.keys()):
        if ours[run] != theirs[run]:
            raise DataError(f"{path} and {metrics}: are of different evaluations of {run}; {_make_again(path)}")


def read_released(path: Path) -> pd.DataFrame:
    """Read the curves that the authors released (columns `RELEASED`), see `paper_figures/reference`.

    Raises
    ------
    DataError
        If the file or a column is missing, a value is not a number, or a curve has two points at the same x.
    """
    table = _read(path, RELEASED, "it comes with the repository")
    check_numbers(path, table, ("x", "value"))
    check_unique(path, table, ("dataset", "axis", "series", "x"))
    return _round_x(table)


def _read_verified(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table of a suite and verify it with its record."""
    remedy = _make_again(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; {remedy}")
    record = read_record(record_of(path), remedy)
    verify(path, record, record_of(path), remedy)
    if record.get("adopted"):
        LOG.warning("%s: a table of your own, see %s", path, record_of(path))
    return _read(path, columns)


def _make_again(path: Path) -> str:
    return f"delete it and run `snakemake summary` again; to use a table of your own, run `elasticast adopt {path}`"


def _read(path: Path, columns: Sequence[str], remedy: str = "") -> pd.DataFrame:
    """Read a CSV file.

    Returns
    -------
    DataFrame
        All columns of the file. The index is the number of a row, from 0; it is on line index + 2 of the file.

    Raises
    ------
    DataError
        If the file cannot be read, has no or two columns of a name, or has a line with another number of fields.
    """
    try:
        text = path.read_text(encoding="utf-8")
        header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True) or [[]]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; {remedy}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not a CSV file: {error}") from None
    except ValueError:
        raise DataError(f"{path}: the file is empty; expected the columns {', '.join(columns)}") from None
    if missing := [c for c in columns if c not in header]:
        raise DataError(f"{path}: missing column {', '.join(missing)}; expected {', '.join(columns)}")
    if repeated := [c for c in dict.fromkeys(header) if header.count(c) > 1]:
        raise DataError(f"{path}: two columns are called {', '.join(repeated)}")
    for number, fields in enumerate(lines, 2):
        if len(fields) != len(header):
            raise DataError(f"{path}: line {number}: {len(fields)} fields, expected {len(header)}")
    # not pd.read_csv, which takes a name such as "null" for no value, and which may round the last digit of a number
    columns_of = dict(zip(header, zip(*lines, strict=True) if lines else [()] * len(header), strict=True))
    return pd.DataFrame({n: list(v) if n in _NAMES else _numbers(v) for n, v in columns_of.items()})


def _numbers(texts: Sequence[str]) -> list:
    """The numbers of a column, NaN for an empty field; the texts if one of them is no number."""
    for number in (int, float):
        try:
            return [number(text) if text or number is int else math.nan for text in texts]
        except ValueError:
            continue
    return list(texts)


def _round_x(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(x=table["x"].astype(float).round(DECIMALS))
