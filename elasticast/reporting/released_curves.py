"""Match the curves that the authors released to the experiments of a suite."""

import pandas as pd

from elasticast.config import Suite
from elasticast.config.base import PRIMARY_METRIC
from elasticast.errors import DataError


def released_curves(suite: Suite, table: pd.DataFrame, x_name: str) -> dict[str, pd.Series]:
    """Select the released curve of each experiment of a suite.

    Parameters
    ----------
    table : pandas.DataFrame
        All released curves, see `elasticast.reporting.read_tables.read_released`.
    x_name : {"max_frames", "compression"}
        Kind of sweep.

    Returns
    -------
    dict of str to pandas.Series
        By experiment name: fractions (0 to 1), index x. Experiments without the setting `released`, or without a
        released curve over this x, are left out.

    Raises
    ------
    DataError
        If an experiment names a curve that was not released.
    """
    curves = {}
    for name, experiment in suite.experiments.items():
        if experiment.released is None:
            continue
        released, metric = experiment.released, PRIMARY_METRIC[suite.task_kind(name)]
        matches = (table["dataset"] == released.dataset) & (table["series"] == released.series)
        rows = table[matches & (table["metric"] == metric)]
        if rows.empty:
            available = sorted(set(table["dataset"] + " " + table["series"] + " (" + table["metric"] + ")"))
            raise DataError(
                f"suite {suite.name!r}: experiments.{name}.released: no curve {released.series!r} of "
                f"{released.dataset!r} in {metric}; use one of: {', '.join(available)}"
            )
        rows = rows[rows["axis"] == x_name]
        if len(rows):
            curves[name] = rows.set_index("x")["value"].sort_index()
    return curves


def keep_released_weights(suite: Suite) -> Suite:
    """Reduce a suite to the experiments whose weights the authors released, with one seed and without claims."""
    experiments = {n: e for n, e in suite.experiments.items() if e.released is not None and e.released.weights}
    runs = {name: suite.runs[name] for name in experiments}
    return suite.model_copy(update={"experiments": experiments, "runs": runs, "seeds": suite.seeds[:1], "claims": {}})
