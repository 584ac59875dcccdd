"""What the interactive figures of the overview page show, as values for JSON: curves, runs, settings, learning curves.

All scores are in %. Numbers that are missing are None.
"""

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib.markers import MarkerStyle

from elasticast.config import RunConfig, Suite
from elasticast.data.views import ViewRule, view_tokens
from elasticast.reporting.curves import METRIC_LABEL, is_logarithmic
from elasticast.reporting.identity import LineStyle
from elasticast.reporting.learning_curves import LearningCurve, learning_panels, task_title
from elasticast.reporting.panels import NOT_RUN, Panel, Series
from elasticast.reporting.read_tables import DECIMALS

BANDS = {"interval": "95 % interval", "seeds": "lowest and highest seed", None: None}
MOST_STEPS = 200
"""Points of a learning curve; those of longer ones are thinned out."""
_LONGEST = 2**40  # samples; longer than any clip, so that a view has its greatest length
_UNSHOWN = ("run", "experiment", "seed")


def style_data(styles: dict[str, LineStyle]) -> dict[str, dict[str, Any]]:
    """Colour, dashes, width and marker of each label; the marker is the path of an SVG within a square of side 1."""
    return {
        label: {
            "color": style.color,
            "dashes": [round(style.width * dash, 2) for dash in style.dashes],
            "width": style.width,
            "marker": _marker_path(style.marker),
        }
        for label, style in styles.items()
    }


def _marker_path(marker: str) -> str:
    style = MarkerStyle(marker)
    polygons = style.get_path().transformed(style.get_transform()).to_polygons()
    points = [" L".join(f"{x:.3g},{-y:.3g}" for x, y in polygon) for polygon in polygons]
    return "".join(f"M{line}Z" for line in points)


def panel_data(suite: Suite, panels: list[Panel], metrics: pd.DataFrame) -> list[dict[str, Any]]:
    """The panels of a figure.

    Parameters
    ----------
    metrics : pandas.DataFrame
        Results of each seed, see `elasticast.reporting.read_tables.read_metrics`.
    """
    return [
        {
            "title": panel.title,
            "metric": METRIC_LABEL[panel.metric],
            "x_name": panel.x_name,
            "hop_ms": panel.hop_ms,
            "logarithmic": bool(is_logarithmic(panels)),
            "curves": [_curve(suite, panel, series, metrics) for series in [*panel.flexible, *panel.fixed]],
        }
        for panel in panels
    ]


def _curve(suite: Suite, panel: Panel, series: Series, metrics: pd.DataFrame) -> dict[str, Any]:
    xs = list(series.points.index)
    curve = {"experiment": series.experiment, "label": series.label, "trained_at": series.trained_at}
    curve |= {"x": xs, "tokens": _tokens(suite, series.experiment, panel.x_name, xs), "band": BANDS[series.band]}
    curve |= {name: _percent(series.points[name]) for name in ("mean", "low", "high")}
    curve |= {"clips": [int(n) for n in series.points["clips"]], "missing": series.shortfall}
    curve["seeds"] = _of_seeds(suite, panel, series, metrics)
    curve["released"] = None if series.released is None else _percent(series.released.reindex(xs))
    curve["other"] = _percent(series.other.points["mean"]) if series.other_has_run else None
    return curve


def _of_seeds(suite: Suite, panel: Panel, series: Series, metrics: pd.DataFrame) -> dict[int, list[float | None]]:
    """The scores of each seed that ran."""
    rows = metrics[(metrics["experiment"] == series.experiment) & (metrics["metric"] == panel.metric)]
    rows = rows[rows["evaluation"].isin(suite.curve(series.experiment, panel.x_name))]
    rows = rows.assign(x=rows["x"].round(DECIMALS)).drop_duplicates(["seed", "x"])
    return {
        int(seed): _percent(of_seed.set_index("x")["value"].reindex(series.points.index))
        for seed, of_seed in rows[rows["seed"].isin(suite.seeds)].groupby("seed")
    }


def _percent(values: pd.Series) -> list[float | None]:
    return [None if pd.isna(value) else round(100 * float(value), 3) for value in values]


def _tokens(suite: Suite, experiment: str, x_name: str, xs: Iterable[float]) -> list[int]:
    """Tokens that a model is given of a clip that is longer than the whole sweep, at each x."""
    config = suite.run_config(experiment, suite.seeds[0])
    return [view_tokens(config, _rule(config, x_name, x)(_LONGEST)) for x in xs]


def _rule(config: RunConfig, x_name: str, x: float) -> ViewRule:
    if x_name == "compression":
        return ViewRule(config, compression=x)
    return ViewRule(config, max_frames=int(x), compression=config.default_compression)


def run_data(suite: Suite, runs: pd.DataFrame, page: Path) -> dict[str, Any]:
    """Settings of each experiment as YAML, and what is recorded of each of its runs.

    Parameters
    ----------
    runs : pandas.DataFrame
        Records of the runs, see `elasticast.reporting.read_tables.read_runs`.
    page : Path
        The page. Its links to the folders of runs are relative; a run whose folder is not there has none.
    """
    experiments = {
        name: {
            "label": suite.experiments[name].label,
            "settings": yaml.safe_dump(run.model_dump(mode="json"), sort_keys=False),
            "runs": [],
        }
        for name, run in suite.runs.items()
    }
    for row in runs.to_dict("records"):
        about = {key: _plain(value) for key, value in row.items() if key not in _UNSHOWN}
        folder = Path(row["run"])
        link = Path(os.path.relpath(folder, page.parent)).as_posix() if folder.is_dir() else None
        if row["experiment"] in experiments:
            experiments[row["experiment"]]["runs"].append({"seed": int(row["seed"]), "folder": link, "record": about})
    return experiments


def _plain(value: Any) -> Any:
    """A value of a table for JSON."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def learning_data(suite: Suite, history: pd.DataFrame) -> list[dict[str, Any]]:
    """Learning curves: one panel per dataset, task and quantity, such as the training loss or the accuracy on dev.

    Parameters
    ----------
    history : pandas.DataFrame
        Logs of the runs, see `elasticast.reporting.read_tables.read_history`.
    """
    return [
        {"title": panel.title, "metric": panel.quantity, "curves": [_learning_curve(curve) for curve in panel.curves]}
        for panel in learning_panels(suite, history)
    ]


def _learning_curve(curve: LearningCurve) -> dict[str, Any]:
    thin = slice(None, None, -(-len(curve.steps) // MOST_STEPS))
    values = [_significant(value) for value in curve.values[thin]]
    about = {"experiment": curve.experiment, "label": curve.label, "seed": curve.seed}
    return {**about, "x": curve.steps[thin].tolist(), "y": values}


def _significant(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def cost_rows(suite: Suite, runs: pd.DataFrame) -> list[list[str]]:
    """What the runs of each experiment cost, below `COST_HEAD`; means over seeds."""
    rows = []
    for name in suite.runs:
        found = runs[runs["experiment"] == name]
        about = [suite.experiments[name].label, task_title(suite, name)]
        if found.empty:
            rows.append([*about, *[NOT_RUN] * (len(COST_HEAD) - len(about))])
            continue
        mean = found[list(_COSTS)].astype(float).mean()
        devices = ", ".join(dict.fromkeys(found["device"].astype(str)))
        cells = [form.format(mean[column] / divisor) for column, (divisor, form) in _COSTS.items()]
        rows.append([*about, str(len(found)), *cells, devices])
    return rows


_COSTS = {
    "parameters": (1e6, "{:.2f}"),
    "steps": (1, "{:,.0f}"),
    "seconds": (60, "{:.1f}"),
    "clips_per_s": (1, "{:,.0f}"),
    "tokens_per_s": (1, "{:,.0f}"),
    "peak_memory_mib": (1, "{:,.0f}"),
}
COST_HEAD = (
    "Model", "Data set · task", "Runs", "Parameters (M)", "Steps", "Training (min)", "Clips/s", "Tokens/s",
    "Peak memory (MiB)", "Device",
)  # fmt: skip
"""Headings of the columns of :func:`cost_rows`."""
