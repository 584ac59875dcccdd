"""The tidy table of an ablation: one row per run, point and metric."""

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd

from elasticast.config.ablation_sweeps import point
from elasticast.config.load_ablation import Ablation
from elasticast.reporting.ablation.labels import describe_settings
from elasticast.reporting.ablation.scores import AblationResults
from elasticast.reporting.panels import NOT_RUN

_MEASURED = ("evaluation", "x_name", "x", "compression", "metric", "value", "n", "listed")
RUN_COLUMNS = (
    "suite", "ablation", "variant", "label", "base", "setting", "run", "seed", "evaluation", "split", "dataset", "task",
    "x_name", "x", "compression", "metric", "value", "n", "listed", "base_value", "delta",
)  # fmt: skip


def run_table(results: AblationResults) -> pd.DataFrame:
    """All metrics of all runs, each compared with the base at the same seed (columns `RUN_COLUMNS`).

    ``base_value`` is the base's value at the same point of the evaluation with the same name. If the base lacks that
    evaluation, it is taken from another one over the same x; if there is none, it is NaN. Runs that have not finished
    have rows with the value "not run".
    """
    ablation = results.ablation
    ran = {key: rows for key, rows in results.metrics.groupby(["experiment", "seed"], sort=False)}
    rows = []
    for variant, run in ablation.trained.items():
        head = {"suite": ablation.suite, "ablation": ablation.name, "variant": variant}
        head |= {"label": ablation.experiments[variant].label}
        head |= {"base": variant == ablation.base, "setting": describe_settings(ablation, variant), "run": run}
        head |= {key: getattr(ablation.runs[variant], key) for key in ("dataset", "task")}
        for seed in ablation.seeds:
            if (variant, seed) in ran:
                records = ran[variant, seed][list(_MEASURED)].to_dict("records")
            else:
                records = _planned_rows(ablation, variant, results.metric)
            for record in records:
                split = ablation.evaluations[record["evaluation"]].split
                rows.append({**head, "seed": seed, "split": split, **record})
    table = pd.DataFrame(rows)
    table["base_value"] = _base_values(ablation, table)
    pairs = zip(table["value"], table["base_value"], strict=True)
    table["delta"] = [NOT_RUN if NOT_RUN in pair else pair[0] - pair[1] for pair in pairs]
    return table[list(RUN_COLUMNS)]


def _planned_rows(ablation: Ablation, variant: str, metric: str) -> list[dict]:
    """Rows for a run that has not finished."""
    rows, default = [], ablation.run_config(variant, 0).default_compression
    for name, e in ablation.sweep(variant).items():
        for x, c in itertools.product(e.x, e.compression or [default]):
            place = {"evaluation": name, "x_name": e.x_name, "x": x}
            place |= {"compression": x if e.x_name == "compression" else c}
            rows.append({**place, "metric": metric} | dict.fromkeys(("value", "n", "listed"), NOT_RUN))
    return rows


def _base_values(ablation: Ablation, table: pd.DataFrame) -> list:
    """The value of the base for each row."""
    by_evaluation, by_sweep = {}, {}
    for row in table[table["base"]].itertuples():
        by_evaluation[_evaluation_key(row)] = row.value
        by_sweep.setdefault(_sweep_key(ablation, row), row.value)
    rows = list(table.itertuples())
    return [by_evaluation.get(_evaluation_key(row), by_sweep.get(_sweep_key(ablation, row), np.nan)) for row in rows]


def _evaluation_key(row: NamedTuple) -> tuple:
    """Point of a row in its evaluation."""
    return row.evaluation, row.seed, row.metric, *point(row.x, row.compression)


def _sweep_key(ablation: Ablation, row: NamedTuple) -> tuple:
    """Point of a row in any evaluation over the same x."""
    grid = ablation.evaluations[row.evaluation].compression is not None
    return row.x_name, row.split, grid, row.seed, row.metric, *point(row.x, row.compression if grid else None)
