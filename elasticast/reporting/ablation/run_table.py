"""The tidy table of an ablation: one row per run, point and metric."""

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd

from elasticast.config.ablation_sweeps import point
from elasticast.config.load_ablation import Ablation
from elasticast.reporting.ablation.labels import setting
from elasticast.reporting.ablation.scores import AblationResults
from elasticast.reporting.panels import NOT_RUN

_MEASURED = ("evaluation", "x_name", "x", "compression", "metric", "value", "n")
RUN_COLUMNS = (
    "suite", "ablation", "variant", "label", "base", "setting", "run", "seed", "evaluation", "split", "dataset", "task",
    "x_name", "x", "compression", "metric", "value", "n", "base_value", "delta",
)  # fmt: skip


def run_table(results: AblationResults) -> pd.DataFrame:
    """All metrics of all runs, each with the value of the base for the same seed (columns `RUN_COLUMNS`).

    ``base_value`` is taken from the evaluation of the same name, or else from the same point of another evaluation with
    the same x; it is NaN if the base has neither. Runs that have not finished have rows with the value "not run".
    """
    ablation = results.ablation
    ran = {key: rows for key, rows in results.metrics.groupby(["experiment", "seed"], sort=False)}
    rows = []
    for variant, run in ablation.trained.items():
        head = {"suite": ablation.suite, "ablation": ablation.name, "variant": variant}
        head |= {"label": ablation.experiments[variant].label}
        head |= {"base": variant == ablation.base, "setting": setting(ablation, variant), "run": run}
        head |= {key: getattr(ablation.runs[variant], key) for key in ("dataset", "task")}
        for seed in ablation.seeds:
            if (variant, seed) in ran:
                found = ran[variant, seed][list(_MEASURED)].to_dict("records")
            else:
                found = _planned(ablation, variant, results.metric)
            rows += [{**head, "seed": seed, "split": ablation.evaluations[r["evaluation"]].split, **r} for r in found]
    table = pd.DataFrame(rows)
    table["base_value"] = _base_values(ablation, table)
    pairs = zip(table["value"], table["base_value"], strict=True)
    table["delta"] = [NOT_RUN if NOT_RUN in pair else pair[0] - pair[1] for pair in pairs]
    return table[list(RUN_COLUMNS)]


def _planned(ablation: Ablation, variant: str, metric: str) -> list[dict]:
    """Rows of a run that has not finished."""
    rows, own = [], ablation.run_config(variant, 0).default_compression
    for name, e in ablation.sweep(variant).items():
        for x, c in itertools.product(e.x, e.compression or [own]):
            place = {"evaluation": name, "x_name": e.x_name, "x": x}
            place |= {"compression": x if e.x_name == "compression" else c}
            rows.append({**place, "metric": metric, "value": NOT_RUN, "n": NOT_RUN})
    return rows


def _base_values(ablation: Ablation, table: pd.DataFrame) -> list:
    """The value of the base for each row."""
    same, alike = {}, {}
    for row in table[table["base"]].itertuples():
        same[_same_place(row)] = row.value
        alike.setdefault(_alike_place(ablation, row), row.value)
    rows = list(table.itertuples())
    return [same.get(_same_place(row), alike.get(_alike_place(ablation, row), np.nan)) for row in rows]


def _same_place(row: NamedTuple) -> tuple:
    return row.evaluation, row.seed, row.metric, *point(row.x, row.compression)


def _alike_place(ablation: Ablation, row: NamedTuple) -> tuple:
    grid = ablation.evaluations[row.evaluation].compression is not None
    return row.x_name, row.split, grid, row.seed, row.metric, *point(row.x, row.compression if grid else None)
