"""Check the values of tables of results: ranges, repeated rows and missing rows."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from elasticast.config import Evaluation
from elasticast.config.base import PRIMARY_METRIC, TaskKind
from elasticast.errors import DataError

DECIMALS = 6  # x is rounded to these, so that 1.2 from a file equals 1.2 from arithmetic
SCORES = ("accuracy", "mAP", "AUC", "PSDS1", "PSDS2", "event_F1", "segment_F1")
"""Metrics between 0 and 1."""
_KEYS = ("suite", "experiment", "seed", "evaluation", "x", "compression", "metric")
_SIGNED = ("difference", "low", "high")


def check_metrics(path: Path, table: pd.DataFrame) -> None:
    """Check a table of metrics, of one run or of a suite.

    Parameters
    ----------
    path : Path
        File of the table, for messages.
    table : DataFrame
        The table; its index is the place of each row in the file.

    Raises
    ------
    DataError
        If a value is not a number or out of its range, if a point has two rows, if the points of an evaluation have
        different numbers of clips, or if more clips were evaluated than listed.
    """
    for column, least in (("seed", 0), ("n", 1), ("listed", 1)):
        _check_whole(path, table, column, least)
    if len(bad := table[table["n"] > table["listed"]]):
        raise _wrong(path, bad, "n", f"is above listed = {bad['listed'].tolist()[0]}")
    _check_range(path, table, "x", 0, math.inf)
    if "compression" in table:
        _check_range(path, table[table["compression"].notna()], "compression", 1, math.inf)
    # mAP and AUC are NaN where no class has both positive and negative clips; accuracy is always a number
    measured = table[table["value"].notna() | (table["metric"] == "accuracy")]
    _check_range(path, measured[measured["metric"].isin(SCORES)], "value", 0, 1)
    check_numbers(path, measured, ("value",))  # d' is infinite where the AUC is 0 or 1
    check_unique(path, table, [key for key in _KEYS if key in table])
    of_run = table.groupby(["experiment", "seed", "evaluation"], sort=False)["n"]
    wrong = table[table["n"] != of_run.transform("first")]
    if len(wrong):
        row = wrong.iloc[0]
        raise _wrong(path, wrong, "n", f"differs from other points of {row['evaluation']} of {row['experiment']}")


def check_points(path: Path, table: pd.DataFrame, evaluations: dict[str, Evaluation], kind: TaskKind) -> None:
    """Check that the table of a run has a row for each point and metric of its evaluations, and no others.

    Parameters
    ----------
    path : Path
        File of the table, for messages.
    evaluations : dict of str to Evaluation
        Settings of the evaluations, by name.
    kind : {"single", "multi", "frames"}
        Kind of the task.

    Raises
    ------
    DataError
        If a row is missing or unexpected.
    """
    if unexpected := set(table["evaluation"]) - set(evaluations):
        raise DataError(f"{path}: evaluation {min(unexpected)!r} is not one of: {', '.join(evaluations)}")
    for name, evaluation in evaluations.items():
        rows = table[table["evaluation"] == name]
        for metric in dict.fromkeys([PRIMARY_METRIC[kind], *rows["metric"]]):
            found, expected = _points(rows[rows["metric"] == metric], evaluation), _expected(evaluation)
            if found != expected:
                where = f"{path}: evaluation {name!r}: {metric}"
                at = min(expected - found or found - expected)
                place = f"x = {at[0]:g}" + (f", compression = {at[1]:g}" if len(at) > 1 else "")
                raise DataError(f"{where}: {'no' if at in expected else 'unexpected'} row at {place}")


def _expected(evaluation: Evaluation) -> set[tuple[float, ...]]:
    grid = [evaluation.x, *([evaluation.compression] if evaluation.compression else [])]
    axes = np.meshgrid(*grid, indexing="ij")
    return set(zip(*(axis.ravel().round(DECIMALS).tolist() for axis in axes), strict=True))


def _points(rows: pd.DataFrame, evaluation: Evaluation) -> set[tuple[float, ...]]:
    columns = ["x", *(["compression"] if evaluation.compression else [])]
    return set(rows[columns].astype(float).round(DECIMALS).itertuples(index=False, name=None))


def check_intervals(path: Path, table: pd.DataFrame) -> None:
    """Check a table of intervals: the same errors as :func:`check_metrics`."""
    for column in ("seeds", "clips"):
        _check_whole(path, table, column, 1)
    _check_range(path, table, "x", 0, math.inf)
    for column in ("value", "low", "high", *(["chance"] if "chance" in table else [])):
        _check_range(path, table[table[column].notna()], column, 0, 1)
    _check_order(path, table)
    check_unique(path, table, [key for key in _KEYS if key in table])


def check_pairs(path: Path, table: pd.DataFrame) -> None:
    """Check a table of paired tests: the same errors as :func:`check_metrics`."""
    _check_range(path, table, "x", 0, math.inf)
    _check_whole(path, table, "comparisons", 1)
    for column, least in (*((name, -1) for name in _SIGNED), ("p", 0), ("p_corrected", 0)):
        _check_range(path, table[table[column].notna()], column, least, 1)
    _check_order(path, table)
    check_unique(path, table, [key for key in (*_KEYS, "against") if key in table])


def check_durations(path: Path, table: pd.DataFrame) -> None:
    """Check a table of the durations of clips: the same errors as :func:`check_metrics`."""
    _check_range(path, table, "seconds", 0, math.inf)
    _check_whole(path, table, "clips", 1)


def check_numbers(path: Path, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise an error that names the first line that has no number in a column."""
    for column in columns:
        bad = table[pd.to_numeric(table[column], errors="coerce").isna()]
        if len(bad):
            raise _wrong(path, bad, column, "is not a number")


def check_unique(path: Path, table: pd.DataFrame, keys: Sequence[str]) -> None:
    """Raise an error that names the lines of the first two rows with equal keys; x is rounded to `DECIMALS`."""
    rounded = table.assign(x=table["x"].astype(float).round(DECIMALS)) if "x" in table else table
    repeated = rounded[rounded.duplicated(keys)]
    if repeated.empty:
        return
    row = repeated.iloc[0]
    first = rounded.index[(rounded[list(keys)] == row[list(keys)]).all(axis=1)][0]
    place = ", ".join(f"{key} = {row[key]}" for key in keys)
    raise DataError(f"{path}: line {row.name + 2}: the same point as line {first + 2} ({place}); remove one of the two")


def _check_range(path: Path, table: pd.DataFrame, column: str, least: float, most: float) -> None:
    check_numbers(path, table, (column,))
    values = pd.to_numeric(table[column])
    bad = table[~(values.between(least, most) & (np.isfinite(values)))]
    if len(bad):
        limits = f"between {least:g} and {most:g}" if math.isfinite(most) else f"finite and at least {least:g}"
        raise _wrong(path, bad, column, f"is not {limits}")


def _check_whole(path: Path, table: pd.DataFrame, column: str, least: int) -> None:
    _check_range(path, table, column, least, math.inf)
    bad = table[pd.to_numeric(table[column]) % 1 != 0]
    if len(bad):
        raise _wrong(path, bad, column, "is not a whole number")


def _check_order(path: Path, table: pd.DataFrame) -> None:
    bad = table[table["low"] > table["high"]]
    if len(bad):
        raise _wrong(path, bad, "low", f"is above high = {bad['high'].iloc[0]}")


def _wrong(path: Path, bad: pd.DataFrame, column: str, message: str) -> DataError:
    return DataError(f"{path}: line {bad.index[0] + 2}: {column} = {bad[column].tolist()[0]!r} {message}")
