"""Intervals and paired tests that were computed from the predictions: `summary/intervals.csv` and `pairs.csv`."""

from pathlib import Path

import pandas as pd

from elasticast.errors import DataError
from elasticast.reporting.results import DECIMALS

INTERVALS = ("suite", "experiment", "evaluation", "x_name", "x", "metric", "value", "low", "high", "seeds", "clips")
PAIRS = ("evaluation", "x", "metric", "experiment", "against", "difference", "low", "high", "p")


def read_intervals(path: Path) -> pd.DataFrame:
    """95 % intervals by bootstrap over seeds and clips (columns `INTERVALS`), fractions."""
    return _read(path, INTERVALS)


def read_pairs(path: Path) -> pd.DataFrame:
    """Paired tests of two experiments over the same clips (columns `PAIRS`), fractions."""
    return _read(path, PAIRS)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(f"{path}: no such file; it is computed from the predictions of the runs")
    table = pd.read_csv(path)
    if missing := [c for c in columns if c not in table.columns]:
        raise DataError(f"{path}: missing column {', '.join(missing)}; expected {', '.join(columns)}")
    table["x"] = table["x"].astype(float).round(DECIMALS)
    return table
