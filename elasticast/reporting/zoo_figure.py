"""The figure of models and methods: scores over length and resolution, and what training and inference cost."""

import string
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from elasticast.config.evaluation import COSTED
from elasticast.reporting.captions import describe_coverage, describe_means
from elasticast.reporting.curves import METRIC_LABEL, draw_panel, is_logarithmic, set_score_axis
from elasticast.reporting.identity import LineStyle
from elasticast.reporting.legend import Styles, curve_handles, legend_below, marks_of, open_marker
from elasticast.reporting.panels import NOT_RUN, Panel
from elasticast.reporting.style import DOUBLE_COLUMN, MUTED, new_figure
from elasticast.reporting.zoo import OVER_SWEEPS, Zoo, on_front
from elasticast.text import rst

MARKERS = dict(zip(COSTED, "o^sDv", strict=True))
"""Marker of each kind of sweep in the panel over the operations of a forward pass."""
_NAMES = {
    "token_drop": "tokens left out",
    "token_merge": "tokens merged",
    "token_prune": "tokens pruned",
    "patch_size": "patch size",
    "patch_width": "patch width",
}
_FRONT = {"color": MUTED, "alpha": 0.35, "linewidth": 3.5, "solid_capstyle": "round", "zorder": 1}
_TOP, _ROW = 2.2, 0.155  # height of a row of panels, and of a model in a panel of all models (inches)


def draw_zoo(zoo: Zoo, styles: Styles, other: pd.DataFrame | None = None) -> Figure:
    """Draw a row per dataset and task: a sweep, the operations of a forward pass, and the scores of all models.

    A single task has two rows: its sweeps and the cost of clips of any length, and the others.

    Parameters
    ----------
    zoo : Zoo
        Results of the suite.
    styles : dict of str to LineStyle
        Styles by label.
    other : DataFrame, optional
        Table of another suite, whose scores are drawn as open markers.
    """
    tasks = zoo.table.groupby(["dataset", "task"], sort=False).size()
    rows = _rows(zoo, list(tasks.index), styles, other)
    tall = max(_TOP, 0.9 + _ROW * tasks.max())
    heights = [_TOP, tall] if len(tasks) == 1 else [tall] * len(tasks)
    figure = new_figure(DOUBLE_COLUMN, sum(heights))
    grid = figure.add_gridspec(len(rows), 1, height_ratios=heights)
    for i, row in enumerate(rows):
        for draw, place in zip(row, grid[i].subgridspec(1, len(row)), strict=True):
            draw(figure.add_subplot(place))
    for letter, ax in zip(string.ascii_lowercase, figure.axes, strict=False):
        ax.set_title(f"({letter}) {ax.get_title(loc='left')}", loc="left")
    legend_below(figure, _handles(zoo, styles, other))
    return figure


def _rows(
    zoo: Zoo, tasks: list[tuple[str, str]], styles: Styles, other: pd.DataFrame | None
) -> list[list[Callable[[Axes], None]]]:
    """The panels of each row of the figure, as functions that draw them."""
    rows = []
    for task in tasks:
        own = [panel for panel in zoo.panels if (panel.dataset, panel.task) == task]
        swept = [partial(_draw_sweep, panel=p, styles=styles) for p in own if p.x_name in OVER_SWEEPS]
        points, table = (results[_of(results, task)] for results in (zoo.points, zoo.table))
        label = METRIC_LABEL[own[0].metric]
        costs = [
            partial(_draw_inference, points=points, label=label, styles=styles),
            partial(_draw_scores, table=table, label=label, styles=styles, other=other),
        ]
        if len(tasks) == 1:
            return [[*swept, partial(_draw_lengths, lengths=zoo.lengths, styles=styles)], costs]
        rows.append([*swept[:1], *costs])
    return rows


def zoo_caption(zoo: Zoo, other_title: str | None) -> str:
    """Caption of the figure: its test clips, seeds and marks."""
    run = [panel for panel in zoo.panels if panel.coverage.clips]
    sentences = [describe_means(*marks_of(zoo.panels).seeds), *describe_coverage(panel.coverage for panel in run)]
    sentences.append(
        "Scores over the operations of a forward pass: lines join the points of a model that none of its other points "
        "beats, the others are small. The wide grey line is the Pareto front of all models: no other point has a "
        "higher score for as few operations."
    )
    sentences.append("Horizontal lines are 95 % intervals, or the lowest and highest seed.")
    if other_title is not None:
        sentences.append(f"Open markers are the suite “{rst(other_title)}”.")
    return " ".join(sentences)


def _of(rows: pd.DataFrame, task: tuple[str, str]) -> pd.Series:
    return (rows["dataset"] == task[0]) & (rows["task"] == task[1])


# ---------------------------------------------------------------------------------------------
# Panels
# ---------------------------------------------------------------------------------------------


def _draw_sweep(ax: Axes, panel: Panel, styles: Styles) -> None:
    """Draw the curves of a sweep without bands, of which there are too many."""
    bare = [replace(s, points=s.points.assign(low=np.nan, high=np.nan)) for s in panel.series]
    draw_panel(ax, replace(panel, series=tuple(bare)), styles, is_logarithmic([panel]))
    ax.set_title(panel.title, loc="left")


def _draw_lengths(ax: Axes, lengths: pd.DataFrame, styles: Styles) -> None:
    """Draw the operations per second of audio of each model over the length of a clip."""
    for label, curve in lengths.groupby("label", sort=False):
        ax.plot(curve["seconds"], curve["gflops"] / curve["seconds"], **styles[label].line() | {"marker": ""})
    ax.set_title("cost over length", loc="left")
    ax.set_xlabel("Length of a clip (s)")
    ax.set_ylabel("GFLOPs per second of audio")
    _logarithmic(ax.xaxis, (1,))
    _logarithmic(ax.yaxis, (1, 2, 5))
    _bare(ax)
    if lengths.empty:
        _note(ax)


def _draw_inference(ax: Axes, points: pd.DataFrame, label: str, styles: Styles) -> None:
    """Draw the points of all sweeps over the operations of a forward pass, and the fronts of each model and of all."""
    front = points[points["front"]].sort_values("gflops")
    ax.plot(front["gflops"], 100 * front["score"], drawstyle="steps-post", **_FRONT)
    for name, own in points.groupby("label", sort=False):
        style, best = styles[name], on_front(own["gflops"], own["score"])
        line = own[best].sort_values("gflops")
        ax.plot(line["gflops"], 100 * line["score"], **style.line() | {"marker": ""})
        for x_name, some in own.assign(best=best).groupby(["x_name", "best"], sort=False):
            ax.plot(some["gflops"], 100 * some["score"], **_dots(style, *x_name))
    ax.set_title("operations of a forward pass", loc="left")
    ax.set_xlabel("GFLOPs per clip")
    ax.set_ylabel(label)
    few = points.empty or points["gflops"].max() > 8 * points["gflops"].min()
    _logarithmic(ax.xaxis, (1, 2, 5) if few else (1, 1.5, 2, 3, 5, 7))
    _bare(ax)
    set_score_axis(ax)
    if points.empty:
        _note(ax)


def _dots(style: LineStyle, x_name: str, best: bool) -> dict:
    """Keyword arguments for points of a sweep, on the front of their model or not."""
    look = {"linestyle": "none", "marker": MARKERS[x_name], "color": style.color}
    if best:
        return look | {"markersize": 4, "markeredgecolor": "white", "markeredgewidth": 0.4, "zorder": style.zorder + 1}
    return look | {"markersize": 2, "markeredgewidth": 0, "alpha": 0.45, "zorder": 2}


def _draw_scores(ax: Axes, table: pd.DataFrame, label: str, styles: Styles, other: pd.DataFrame | None) -> None:
    """Draw a row per model, the best first: its score, and the operations of its training in words."""
    rows = table.dropna(subset="score").sort_values("score", kind="stable").to_dict("records")
    for y, row in enumerate(rows):
        style = styles[row["label"]]
        look = {"color": style.color, "zorder": style.zorder}
        ax.plot([100 * row["low"], 100 * row["high"]], [y, y], linewidth=0.9, **look)
        ax.plot(100 * row["score"], y, style.marker, markersize=4.5, **look)
        same = [] if other is None else other[other["experiment"] == row["experiment"]].to_dict("records")
        for there in same:
            ax.plot(100 * there["score"], y, style.marker, zorder=5, **open_marker(style.color) | {"markersize": 4.5})
        trained = [row["training_tflops"], *(there["training_tflops"] for there in same)]
        text = " · ".join(f"{cost:.3g}" for cost in trained if not np.isnan(cost))
        ax.text(1.02, y, text, transform=ax.get_yaxis_transform(), va="center", fontsize=6.5, color=MUTED)
    ax.set_title("score, and training", loc="left")
    ax.text(1.02, 1.01, "TFLOPs", transform=ax.transAxes, va="bottom", fontsize=6.5, color=MUTED)
    ax.set_yticks(range(len(rows)), [row["label"] for row in rows], fontsize=6.5)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(label)
    ax.set_ylim(-0.7, max(len(rows), 1) - 0.3)
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    ax.spines[["right", "top", "left"]].set_visible(False)
    if not rows:
        _note(ax)


def _note(ax: Axes) -> None:
    ax.text(0.5, 0.5, NOT_RUN, transform=ax.transAxes, ha="center", va="center", color=MUTED)
    ax.set(xticks=[], yticks=[])


def _logarithmic(axis, subs: tuple[float, ...]) -> None:
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def _bare(ax: Axes) -> None:
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ax.spines[["right", "top"]].set_visible(False)


def _handles(zoo: Zoo, styles: Styles, other: pd.DataFrame | None) -> list[Artist]:
    """Legend entries of the models, of the sweeps, of the front and of the other suite."""
    handles = curve_handles(zoo.panels, styles)
    look = {"linestyle": "none", "color": MUTED, "markersize": 4}
    swept = [x_name for x_name in COSTED if x_name in set(zoo.points["x_name"])]
    handles += [Line2D([], [], marker=MARKERS[x_name], label=_NAMES[x_name], **look) for x_name in swept]
    handles.append(Line2D([], [], **_FRONT, label="Pareto front"))
    if marks_of(zoo.panels).training_marks:
        handles.append(Line2D([], [], linestyle="none", marker="o", **open_marker(MUTED), label="as in training"))
    if other is not None:
        handles.append(Line2D([], [], linestyle="none", marker="o", **open_marker(MUTED), label="other suite"))
    return handles
