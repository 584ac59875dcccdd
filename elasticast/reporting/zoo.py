"""Models and methods compared by what they cost: a table, and scores over the operations of inference and of training.

Shapes: n points.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from elasticast.config import Suite
from elasticast.config.evaluation import COSTED
from elasticast.reporting.panels import Panel, Series, sweep_panels
from elasticast.reporting.tables import LATEX, MARKDOWN, Markup, latex_row, markdown_table, tidy_csv, write_tables

OPERATIONS = "gflops_per_clip"
_SWEEPS = {"max_frames": "length", "compression": "resolution"}


class Zoo(NamedTuple):
    """Results of a suite.

    Attributes
    ----------
    panels : list of Panel
        One per dataset, task and kind of sweep.
    points : DataFrame
        Points of the sweeps in `COSTED` that ran: ``dataset``, ``task``, ``experiment``, ``label``, ``x_name``, ``x``,
        ``gflops`` and ``score`` (a fraction), and ``front``, see :func:`on_front`.
    table : DataFrame
        One row per experiment, see :func:`zoo_table`.
    """

    panels: list[Panel]
    points: pd.DataFrame
    table: pd.DataFrame


def read_zoo(suite: Suite, metrics: pd.DataFrame, runs: pd.DataFrame, intervals: pd.DataFrame | None) -> Zoo:
    """Join the results of a suite.

    Parameters
    ----------
    metrics, runs, intervals : pandas.DataFrame
        Tables of the suite, see `elasticast.reporting.read_tables`.
    """
    swept = [x for x in (*_SWEEPS, *COSTED) if any(suite.curve(name, x) for name in suite.experiments)]
    panels = [panel for x in swept for panel in sweep_panels(suite, metrics, x, intervals=intervals)]
    points = cost_points(panels, metrics)
    return Zoo(panels, points, zoo_table(suite, panels, points, runs))


def cost_points(panels: list[Panel], metrics: pd.DataFrame) -> pd.DataFrame:
    """Points of all sweeps whose operations are known, see :class:`Zoo`."""
    known = metrics[metrics["metric"] == OPERATIONS].drop_duplicates(["experiment", "x_name", "x"])
    operations = known.set_index(["experiment", "x_name", "x"])["value"]
    rows = []
    for panel in (panel for panel in panels if panel.x_name in COSTED):
        for series in panel.series:
            for x, score in series.points["mean"].dropna().items():
                cost = operations.get((series.experiment, panel.x_name, x), np.nan)
                about = panel.dataset, panel.task, series.experiment, series.label, panel.x_name
                rows.append((*about, x, cost, score))
    columns = ["dataset", "task", "experiment", "label", "x_name", "x", "gflops", "score"]
    points = pd.DataFrame(rows, columns=columns).dropna(subset="gflops").reset_index(drop=True)
    groups = points.groupby(["dataset", "task"], sort=False).groups.values()
    points["front"] = False
    for index in groups:
        points.loc[index, "front"] = on_front(points.loc[index, "gflops"], points.loc[index, "score"])
    return points


def on_front(costs: pd.Series, scores: pd.Series) -> np.ndarray:
    """Which of n points are on the Pareto front: no other one is as cheap and better, or cheaper and as good."""
    order = np.lexsort((-scores.to_numpy(), costs.to_numpy()))
    ordered = scores.to_numpy()[order]
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(ordered)[:-1]])
    front = np.empty(len(order), bool)
    front[order] = ordered > best_before
    return front


def zoo_table(suite: Suite, panels: list[Panel], points: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Score and cost of every experiment.

    Returns
    -------
    DataFrame
        ``suite``, ``dataset``, ``task``, ``title`` (of both), ``metric``, ``experiment``, ``label``, ``seeds``;
        ``score`` in the view of training with ``low`` and ``high`` (its band, see
        `elasticast.reporting.panels.Series`); ``length_mean``, ``length_worst``, ``resolution_mean`` and
        ``resolution_worst`` over these sweeps; ``gflops`` of a forward pass in the view of training; ``front``: whether
        any of its points is on the Pareto front; ``parameters``, ``training_tflops`` and ``minutes``;
        ``earlier_tflops``, those of runs that were trained first, such as a teacher. Scores are fractions; what is not
        known is NaN.
    """
    costs = runs.groupby("experiment")[["parameters", "training_flops", "seconds"]].mean()
    rows = []
    for name in suite.runs:
        own = {p.x_name: (p, s) for p in panels for s in p.series if s.experiment == name}
        if own:
            rows.append({"suite": suite.name, **_scores(own), **_inference(points[points["experiment"] == name])})
            rows[-1] |= _training(suite, name, costs)
    return pd.DataFrame(rows)


def _scores(own: dict[str, tuple[Panel, Series]]) -> dict[str, str | float]:
    """Scores of an experiment, from its panel and series of each kind of sweep."""
    x_name = next(x for x in (*_SWEEPS, *COSTED) if x in own)
    panel, series = own[x_name]
    # the point with the length and resolution of training; a model of any length is given whole clips
    whole = 0.0 if x_name not in _SWEEPS else panel.native_x
    point = series.points.reindex([whole if series.trained_at is None else series.trained_at]).iloc[0]
    row = {"dataset": panel.dataset, "task": panel.task, "title": panel.title, "metric": panel.metric}
    row |= {"experiment": series.experiment, "label": series.label, "seeds": series.seeds_run, "score": point["mean"]}
    row |= {end: point[end] for end in ("low", "high")}
    for x_name, sweep in _SWEEPS.items():
        means = own[x_name][1].points["mean"] if x_name in own else pd.Series(dtype=float)
        row |= {f"{sweep}_mean": means.mean(), f"{sweep}_worst": means.min()}
    return row


def _inference(points: pd.DataFrame) -> dict[str, float | bool]:
    """Operations of an experiment for all tokens, and whether it is on the front."""
    whole = points[(points["x_name"] == "token_drop") & (points["x"] == 0)]["gflops"]
    return {"gflops": whole.iloc[0] if len(whole) else np.nan, "front": bool(points["front"].any())}


def _training(suite: Suite, name: str, costs: pd.DataFrame) -> dict[str, float]:
    """Cost of the training of an experiment, and of what was trained first."""
    own, first = costs.reindex([name]).iloc[0], costs["training_flops"].reindex(_trained_first(suite, name))
    row = {"parameters": own["parameters"], "minutes": own["seconds"] / 60}
    return row | {"training_tflops": own["training_flops"] / 1e12, "earlier_tflops": first.sum(min_count=1) / 1e12}


def _trained_first(suite: Suite, name: str) -> list[str]:
    """Experiments whose weights a run needs, and those that these need."""
    first = list(suite.runs[name].trained_first.values())
    return list(dict.fromkeys(other for one in first for other in (one, *_trained_first(suite, one))))


# ---------------------------------------------------------------------------------------------
# Printing
# ---------------------------------------------------------------------------------------------

_HEAD = (
    "Data set · task", "Model", "Parameters (M)", "Score (%)", "95 % or seeds", "Mean over lengths", "Worst length",
    "Mean over hops", "GFLOPs per clip", "Front", "Training (TFLOPs)", "Trained first (TFLOPs)", "Minutes", "Seeds",
)  # fmt: skip
_OTHER = ("Score, other (%)", "Training, other (TFLOPs)")


def printed_rows(table: pd.DataFrame, other: pd.DataFrame | None, markup: Markup) -> list[list[str]]:
    """The cells of each row, escaped; `other` is the table of another suite, of which two columns are added."""
    rows = []
    for row in table.to_dict("records"):
        words = [f"{row['title']} ({row['metric']})", row["label"]]
        band = f"{_percent(row['low'])}–{_percent(row['high'])}" if not np.isnan(row["low"]) else ""
        numbers = [_text(row["parameters"] / 1e6, ".3g"), _percent(row["score"]), band]
        numbers += [_percent(row[key]) for key in ("length_mean", "length_worst", "resolution_mean")]
        numbers += [_text(row["gflops"], ".3g"), "yes" if row["front"] else ""]
        numbers += [_text(row[key], ".3g") for key in ("training_tflops", "earlier_tflops")]
        numbers += [_text(row["minutes"], ".1f"), str(row["seeds"])]
        if other is not None:
            same = other[other["experiment"] == row["experiment"]].to_dict("records")
            numbers += [_percent(same[0]["score"]), _text(same[0]["training_tflops"], ".3g")] if same else ["", ""]
        rows.append([*map(markup.words, words), *map(markup.numbers, numbers)])
    return rows


def _percent(value: float) -> str:
    return _text(100 * value, ".1f")


def _text(value: float, form: str) -> str:
    return "" if np.isnan(value) else format(value, form)


def write_zoo(table: pd.DataFrame, other: pd.DataFrame | None, out: Path) -> None:
    """Write ``OUT.csv`` (tidy, full precision, with the rows of the other suite), ``OUT.md`` and ``OUT.tex``."""
    head = [*_HEAD, *(_OTHER if other is not None else ())]
    markdown = markdown_table(head, ["---"] * 2 + ["---:"] * (len(head) - 2), printed_rows(table, other, MARKDOWN))
    lines = [rf"\begin{{tabular}}{{ll{'r' * (len(head) - 2)}}}", r"\toprule", latex_row(map(LATEX.words, head))]
    lines += [r"\midrule", *map(latex_row, printed_rows(table, other, LATEX)), r"\bottomrule", r"\end{tabular}", ""]
    both = table if other is None else pd.concat([table, other])
    write_tables(out, csv=tidy_csv(both), md=markdown, tex="\n".join(lines))
