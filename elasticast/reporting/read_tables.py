"""Read and check the tables that figures are drawn from: metrics, intervals, paired tests and released curves."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from elasticast.errors import DataError

# points of a grid also have a column `compression`, but grids are not drawn as curves
METRICS = ("suite", "experiment", "seed", "evaluation", "dataset", "task", "x_name", "x", "metric", "value", "n")
INTERVALS = ("suite", "experiment", "evaluation", "x_name", "x", "metric", "value", "low", "high", "seeds", "clips")
PAIRS = (
    "evaluation", "x", "metric", "experiment", "against", "difference", "low", "high", "p", "p_corrected",
    "comparisons",
)  # fmt: skip
RELEASED = ("dataset", "axis", "x", "series", "metric", "value", "source")
DECIMALS = 6  # x is rounded to these, so that 1.2 from a file equals 1.2 from arithmetic


def read_metrics(path: Path, suite: str) -> pd.DataFrame:
    """Read ``metrics.csv`` of a suite (columns `METRICS`).

    Raises
    ------
    DataError
        If the file or a column is missing, a value is not a number, or the file has results of another suite.
    """
    table = _read(path, METRICS, "the rule `collect_metrics` makes it", {"experiment": str, "evaluation": str})
    _check_numbers(path, table, ("seed", "x", "n"))
    # mAP and AUC are NaN where no class has both positive and negative clips; accuracy is always a number
    _check_numbers(path, table[table["value"].notna() | (table["metric"] == "accuracy")], ("value",))
    unexpected = sorted(set(table["suite"]) - {suite})
    if unexpected:
        raise DataError(f"{path}: holds results of suite {', '.join(map(repr, unexpected))}, expected only {suite!r}")
    return table


def read_intervals(path: Path) -> pd.DataFrame:
    """Read the 95 % intervals from the bootstrap over seeds and clips, as fractions (columns `INTERVALS`)."""
    return _round_x(_read(path, INTERVALS, "the rule `intervals` makes it"))


def read_pairs(path: Path) -> pd.DataFrame:
    """Read the paired tests of two experiments on the same clips, with differences as fractions (columns `PAIRS`)."""
    return _round_x(_read(path, PAIRS, "the rule `intervals` makes it"))


def read_released(path: Path) -> pd.DataFrame:
    """Read the curves that the authors released (columns `RELEASED`), see `paper_figures/reference`.

    Raises
    ------
    DataError
        If the file or a column is missing, a value is not a number, or a curve has two points at the same x.
    """
    table = _read(path, RELEASED, "it comes with the repository")
    _check_numbers(path, table, ("x", "value"))
    table = _round_x(table)
    repeated = table[table.duplicated(["dataset", "axis", "series", "x"])]
    if len(repeated):
        line, x = repeated.index[0] + 2, repeated["x"].iloc[0]
        raise DataError(f"{path}: line {line}: the curve already has a point at x = {x:g}; remove one of the two")
    return table


def _read(path: Path, columns: Sequence[str], origin: str, types: dict[str, type] | None = None) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(f"{path}: no such file; {origin}")
    try:
        table = pd.read_csv(path, dtype={"suite": str, **(types or {})})
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: the file is empty; expected the columns {', '.join(columns)}") from None
    if missing := [c for c in columns if c not in table.columns]:
        raise DataError(f"{path}: missing column {', '.join(missing)}; expected {', '.join(columns)}")
    return table


def _check_numbers(path: Path, table: pd.DataFrame, columns: Sequence[str]) -> None:
    for column in columns:
        bad = table[pd.to_numeric(table[column], errors="coerce").isna()]
        if len(bad):
            line, value = bad.index[0] + 2, bad[column].iloc[0]
            raise DataError(f"{path}: line {line}: {column} = {value!r} is not a number")


def _round_x(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(x=table["x"].astype(float).round(DECIMALS))
