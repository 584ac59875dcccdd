"""Models and methods compared by what they cost: a table, and scores over the operations of inference and of training.

Shapes: n points.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from elasticast.config import Suite
from elasticast.config.evaluation import COSTED
from elasticast.reporting.panels import Panel, Series, sweep_panels
from elasticast.reporting.tables import (
    LATEX,
    MARKDOWN,
    Markup,
    latex_row,
    markdown_table,
    signed,
    tidy_csv,
    write_tables,
)

OPERATIONS = "gflops_per_clip"
WITHIN = 0.01
"""How far below the best score of a reference a score counts as equal; by the paper's claims, a point."""
OVER_SWEEPS = {"max_frames": "length", "compression": "resolution"}
"""Sweeps over what a model is given of a clip, and their names in the table."""
SECONDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
"""Lengths of clips whose cost is computed."""


class Zoo(NamedTuple):
    """Results of a suite.

    Attributes
    ----------
    panels : list of Panel
        One per dataset, task and kind of sweep.
    points : DataFrame
        Points of the sweeps in `COSTED` that ran: ``dataset``, ``task``, ``experiment``, ``label``, ``x_name``, ``x``,
        ``gflops`` and ``score`` (a fraction), and ``front``, see :func:`on_front`.
    lengths : DataFrame
        Cost of clips of the lengths `SECONDS`, see :func:`length_costs`.
    table : DataFrame
        One row per experiment, see :func:`zoo_table`.
    """

    panels: list[Panel]
    points: pd.DataFrame
    lengths: pd.DataFrame
    table: pd.DataFrame


def read_zoo(
    suite: Suite,
    metrics: pd.DataFrame,
    runs: pd.DataFrame,
    history: pd.DataFrame | None = None,
    intervals: pd.DataFrame | None = None,
    pairs: pd.DataFrame | None = None,
) -> Zoo:
    """Join the results of a suite.

    Parameters
    ----------
    metrics, runs, history, intervals, pairs : pandas.DataFrame
        Tables of the suite, see `elasticast.reporting.read_tables`.
    """
    swept = [x for x in (*OVER_SWEEPS, *COSTED) if any(suite.curve(name, x) for name in suite.experiments)]
    panels = [panel for x in swept for panel in sweep_panels(suite, metrics, x, intervals=intervals)]
    points, lengths = cost_points(panels, metrics), length_costs(suite, metrics)
    table = zoo_table(suite, panels, points, lengths, runs)
    table["equal_tflops"] = table["experiment"].map(flops_to_equal_score(suite, history)).astype(float)
    return Zoo(panels, points, lengths, table.join(_differences(suite, panels, pairs), on="experiment"))


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


def length_costs(suite: Suite, metrics: pd.DataFrame) -> pd.DataFrame:
    """Operations of a forward pass over whole clips, by the formulas of the models that ran.

    A model of one length is given the whole clip, too. The linear layer of the classes does not count.

    Returns
    -------
    DataFrame
        ``experiment``, ``label``, ``seconds`` and ``gflops``. Models without a formula have no rows.
    """
    rows = []
    for name in dict.fromkeys(metrics["experiment"]):
        run, label = suite.runs[name], suite.experiments[name].label
        for seconds in SECONDS:
            frames = round(1000 * seconds / run.front_end.hop_ms)
            tokens = run.model.patches(frames) * run.model.patches(run.front_end.mel_bins)
            if (cost := run.model.flops(run.model.traits.row_tokens(tokens), 0)) is not None:
                rows.append((name, label, seconds, cost / 1e9))
    return pd.DataFrame(rows, columns=["experiment", "label", "seconds", "gflops"])


def on_front(costs: pd.Series, scores: pd.Series) -> np.ndarray:
    """Which of n points are on the Pareto front: no other one is as cheap and better, or cheaper and as good."""
    order = np.lexsort((-scores.to_numpy(), costs.to_numpy()))
    ordered = scores.to_numpy()[order]
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(ordered)[:-1]])
    front = np.empty(len(order), bool)
    front[order] = ordered > best_before
    return front


def zoo_table(
    suite: Suite, panels: list[Panel], points: pd.DataFrame, lengths: pd.DataFrame, runs: pd.DataFrame
) -> pd.DataFrame:
    """Score and cost of every experiment.

    Returns
    -------
    DataFrame
        ``suite``, ``dataset``, ``task``, ``title`` (of both), ``metric``, ``experiment``, ``label``, ``seeds``;
        ``score`` in the view of training with ``low`` and ``high`` (its band, see
        `elasticast.reporting.panels.Series`); ``length_mean``, ``length_worst``, ``resolution_mean`` and
        ``resolution_worst`` over these sweeps; ``gflops`` of a forward pass in the view of training; ``front``: whether
        any of its points is on the Pareto front; ``gflops_long``, of a clip of the longest of `SECONDS`;
        ``parameters``, ``training_tflops`` and ``minutes``; ``earlier_tflops``, those of runs that were trained first,
        such as a teacher. Scores are fractions; what is not known is NaN. :func:`read_zoo` adds ``difference`` and
        ``p``, see :func:`_differences`, and ``equal_tflops``, see :func:`flops_to_equal_score`.
    """
    columns = ["experiment", "parameters", "training_flops", "seconds"]
    costs = runs.reindex(columns=columns).groupby("experiment").mean()  # runs of earlier versions have no operations
    long = lengths[lengths["seconds"] == SECONDS[-1]].set_index("experiment")["gflops"]
    rows = []
    for name in suite.runs:
        own = {p.x_name: (p, s) for p in panels for s in p.series if s.experiment == name}
        if own:
            rows.append({"suite": suite.name, **_scores(own)})
            rows[-1] |= _inference(points[points["experiment"] == name], _merged(suite, name))
            rows[-1] |= {"gflops_long": long.get(name, np.nan), **_training(suite, name, costs)}
    return pd.DataFrame(rows)


def _scores(own: dict[str, tuple[Panel, Series]]) -> dict[str, str | float]:
    """Scores of an experiment, from its panel and series of each kind of sweep."""
    x_name = next(x for x in (*OVER_SWEEPS, *COSTED) if x in own)
    panel, series = own[x_name]
    # the point with the length and resolution of training; a model of any length is given whole clips
    whole = 0.0 if x_name not in OVER_SWEEPS else panel.native_x
    point = series.points.reindex([whole if series.trained_at is None else series.trained_at]).iloc[0]
    row = {"dataset": panel.dataset, "task": panel.task, "title": panel.title, "metric": panel.metric}
    row |= {"experiment": series.experiment, "label": series.label, "seeds": series.seeds_run, "score": point["mean"]}
    row |= {end: point[end] for end in ("low", "high")}
    for x_name, sweep in OVER_SWEEPS.items():
        means = own[x_name][1].points["mean"] if x_name in own else pd.Series(dtype=float)
        row |= {f"{sweep}_mean": means.mean(), f"{sweep}_worst": means.min()}
    return row


def _inference(points: pd.DataFrame, merged: float | None) -> dict[str, float | bool]:
    """Operations of an experiment with the share of tokens that it merges, and whether it is on the front."""
    trained = ("token_drop", 0.0) if merged is None else ("token_merge", merged)
    whole = points[(points["x_name"] == trained[0]) & (points["x"] == trained[1])]["gflops"]
    return {"gflops": whole.iloc[0] if len(whole) else np.nan, "front": bool(points["front"].any())}


def _merged(suite: Suite, name: str) -> float | None:
    """The share of tokens that the model of an experiment merges; None if it merges none, or a number of them."""
    merge = getattr(suite.runs[name].model, "merge", None)  # a model of the user may have no such setting
    return merge and merge.share


def _training(suite: Suite, name: str, costs: pd.DataFrame) -> dict[str, float]:
    """Cost of the training of an experiment, and of what was trained first."""
    own, first = costs.reindex([name]).iloc[0], costs["training_flops"].reindex(_trained_first(suite, name))
    row = {"parameters": own["parameters"], "minutes": own["seconds"] / 60}
    return row | {"training_tflops": own["training_flops"] / 1e12, "earlier_tflops": first.sum(min_count=1) / 1e12}


def flops_to_equal_score(suite: Suite, history: pd.DataFrame | None) -> dict[str, float]:
    """Operations (10^12) after which a training is as good as the reference of its task ever is, less `WITHIN`.

    Scores are means over seeds on the split of `train.select`, at each step at which all seeds were evaluated. The
    operations of runs that were trained first do not count. What never gets there has no entry, nor has what is not
    evaluated in training, nor a task without exactly one reference.
    """
    if history is None or "training_flops" not in history:  # of an earlier version
        return {}
    evaluated = history[history["training_flops"].notna() & history["experiment"].isin(suite.runs)]
    curves = {}
    for name, rows in evaluated.groupby("experiment", sort=False):
        steps = rows.groupby("step")[["value", "training_flops"]].agg(["mean", "size"])
        everywhere = steps["value", "size"] == rows["seed"].nunique()
        curves[name] = steps.loc[everywhere, [("value", "mean"), ("training_flops", "mean")]].droplevel(1, axis=1)
    found = {}
    for name, curve in curves.items():
        references = [one for one in suite.references if one in curves and _same_task(suite, one, name)]
        if len(references) == 1:
            equal = curve[curve["value"] >= curves[references[0]]["value"].max() - WITHIN]
            found |= {name: equal["training_flops"].iloc[0] / 1e12} if len(equal) else {}
    return found


def _same_task(suite: Suite, one: str, other: str) -> bool:
    """Whether two experiments have the same data and task."""
    return all(getattr(suite.runs[one], key) == getattr(suite.runs[other], key) for key in ("dataset", "task"))


def _trained_first(suite: Suite, name: str) -> list[str]:
    """Experiments whose weights a run needs, and those that these need."""
    first = list(suite.runs[name].trained_first.values())
    return list(dict.fromkeys(other for one in first for other in (one, *_trained_first(suite, one))))


def _differences(suite: Suite, panels: list[Panel], pairs: pd.DataFrame | None) -> pd.DataFrame:
    """``difference`` from the reference of a suite, and its ``p`` (corrected), on whole clips at the finest hop.

    The index is the experiment. A reference, and what was not tested, has no row.
    """
    found = {}
    for panel in [] if pairs is None else panels:
        if panel.x_name not in OVER_SWEEPS:
            continue
        here = pairs[(pairs["x"] == panel.native_x) & pairs["experiment"].isin(suite.references)]
        for series in panel.series:
            evaluations = suite.curve(series.experiment, panel.x_name)
            rows = here[(here["against"] == series.experiment) & here["evaluation"].isin(evaluations)]
            if len(rows):
                found.setdefault(series.experiment, (-rows["difference"].iloc[0], rows["p_corrected"].iloc[0]))
    return pd.DataFrame(found.values(), index=list(found), columns=["difference", "p"], dtype=float)


# ---------------------------------------------------------------------------------------------
# Printing
# ---------------------------------------------------------------------------------------------

_HEAD = (
    "Data set · task", "Model", "Parameters (M)", "Score (%)", "95 % or seeds", "Difference", "p, corrected",
    "Mean over lengths", "Worst length", "Mean over hops", "GFLOPs per clip", "GFLOPs, 10 minutes", "Front",
    "Training (TFLOPs)", "Trained first (TFLOPs)", "Minutes", "Seeds", "To equal score (TFLOPs)",
)  # fmt: skip
_OTHER = ("Score, other (%)", "Training, other (TFLOPs)")
_WORDS = 2  # columns of words; the others are numbers


def printed_rows(table: pd.DataFrame, other: pd.DataFrame | None, markup: Markup) -> list[list[str]]:
    """The cells of each row, escaped; `other` is the table of another suite, of which two columns are added."""
    rows = []
    for row in table.to_dict("records"):
        words = [f"{row['title']} ({row['metric']})", row["label"]]
        band = f"{_percent(row['low'])}–{_percent(row['high'])}" if not np.isnan(row["low"]) else ""
        numbers = [_digits(row["parameters"] / 1e6), _percent(row["score"]), band]
        numbers += ["", ""] if np.isnan(row["difference"]) else [signed(100 * row["difference"]), _p(row["p"])]
        numbers += [_percent(row[key]) for key in ("length_mean", "length_worst", "resolution_mean")]
        numbers += [_digits(row["gflops"]), _digits(row["gflops_long"]), "yes" if row["front"] else ""]
        numbers += [_digits(row[key]) for key in ("training_tflops", "earlier_tflops")]
        numbers += [_text(row["minutes"], ".1f"), str(row["seeds"]), _digits(row["equal_tflops"])]
        if other is not None:
            same = other[other["experiment"] == row["experiment"]].to_dict("records")
            numbers += [_percent(same[0]["score"]), _digits(same[0]["training_tflops"])] if same else ["", ""]
        rows.append([*map(markup.words, words), *map(markup.numbers, numbers)])
    return rows


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else _text(p, ".3f" if p < 0.01 else ".2f")


def _percent(value: float) -> str:
    return _text(100 * value, ".1f")


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    return "" if np.isnan(value) else np.format_float_positional(float(f"{value:.3g}"), trim="-")


def _text(value: float, form: str) -> str:
    return "" if np.isnan(value) else format(value, form)


def markdown_zoo(table: pd.DataFrame, other: pd.DataFrame | None, columns: Sequence[int] | None = None) -> str:
    """The table in Markdown, with the columns of these numbers; by default all."""
    head = _head(other)
    chosen = range(len(head)) if columns is None else [column for column in columns if column < len(head)]
    rows = [[row[i] for i in chosen] for row in printed_rows(table, other, MARKDOWN)]
    return markdown_table([head[i] for i in chosen], ["---" if i < _WORDS else "---:" for i in chosen], rows)


def _head(other: pd.DataFrame | None) -> list[str]:
    return [*_HEAD, *(() if other is None else _OTHER)]


def write_zoo(table: pd.DataFrame, other: pd.DataFrame | None, out: Path) -> None:
    """Write ``OUT.csv`` (tidy, full precision, with the rows of the other suite), ``OUT.md`` and ``OUT.tex``."""
    head = _head(other)
    aligned = "l" * _WORDS + "r" * (len(head) - _WORDS)
    lines = [rf"\begin{{tabular}}{{{aligned}}}", r"\toprule", latex_row(map(LATEX.words, head)), r"\midrule"]
    lines += [*map(latex_row, printed_rows(table, other, LATEX)), r"\bottomrule", r"\end{tabular}", ""]
    both = table if other is None else pd.concat([table, other])
    write_tables(out, csv=tidy_csv(both), md=markdown_zoo(table, other), tex="\n".join(lines))
