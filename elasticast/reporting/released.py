"""Curves that the authors released, beside ours: `paper_figures/reference`, whose README says where they come from."""

from pathlib import Path

import pandas as pd

from elasticast.config import Suite
from elasticast.errors import DataError
from elasticast.reporting.results import DECIMALS, PRIMARY_METRIC

COLUMNS = ("dataset", "axis", "x", "series", "metric", "value", "source")


def read_released(path: Path) -> pd.DataFrame:
    """Read released curves (columns `COLUMNS`), x rounded as in the results.

    Raises
    ------
    DataError
        If the file or a column is missing, a number is none, or a point stands twice.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; released curves come with the repository")
    table = pd.read_csv(path)
    if missing := [c for c in COLUMNS if c not in table.columns]:
        raise DataError(f"{path}: missing column {', '.join(missing)}; expected {', '.join(COLUMNS)}")
    for column in ("x", "value"):
        bad = table[pd.to_numeric(table[column], errors="coerce").isna()]
        if len(bad):
            raise DataError(f"{path}: line {bad.index[0] + 2}: {column} = {bad[column].iloc[0]!r} is not a number")
    table["x"] = table["x"].astype(float).round(DECIMALS)
    twice = table[table.duplicated(["dataset", "axis", "series", "x"])]
    if len(twice):
        raise DataError(f"{path}: line {twice.index[0] + 2}: this point of the curve stands twice")
    return table


def released_curves(suite: Suite, table: pd.DataFrame, x_name: str) -> dict[str, pd.Series]:
    """Released curves of a suite's experiments.

    Parameters
    ----------
    table : pandas.DataFrame
        Of :func:`read_released`.
    x_name : {"max_frames", "compression"}
        Kind of sweep.

    Returns
    -------
    dict of str to pandas.Series
        By experiment: fraction 0..1, index x; only experiments that say which curve is theirs and have one.

    Raises
    ------
    DataError
        If an experiment names a curve that was not released.
    """
    curves = {}
    for name, experiment in suite.experiments.items():
        if experiment.released is None:
            continue
        own, metric = experiment.released, PRIMARY_METRIC[suite.task_kind(name)]
        rows = table[(table["dataset"] == own.dataset) & (table["series"] == own.series) & (table["metric"] == metric)]
        if rows.empty:
            there = sorted(set(table["dataset"] + " " + table["series"] + " (" + table["metric"] + ")"))
            raise DataError(
                f"suite {suite.name!r}: experiments.{name}.released: no curve {own.series!r} of {own.dataset!r} in "
                f"{metric}. Released are: {', '.join(there)}"
            )
        rows = rows[rows["axis"] == x_name]
        if len(rows):
            curves[name] = rows.set_index("x")["value"].sort_index()
    return curves


def as_released(suite: Suite) -> Suite:
    """A suite cut down to what the authors' weights stand for: one seed, no comparison with what was not released."""
    experiments = {n: e for n, e in suite.experiments.items() if e.released is not None and e.released.weights}
    runs = {name: suite.runs[name] for name in experiments}
    return suite.model_copy(update={"experiments": experiments, "runs": runs, "seeds": suite.seeds[:1], "claims": {}})
