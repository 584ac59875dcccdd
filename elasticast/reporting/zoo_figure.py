"""The figure of models and methods: scores over the operations of a forward pass, and of the training."""

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from elasticast.config.evaluation import COSTED
from elasticast.reporting.captions import describe_coverage, describe_means
from elasticast.reporting.curves import METRIC_LABEL, set_score_axis
from elasticast.reporting.legend import Styles, legend_below, marks_of, open_marker
from elasticast.reporting.style import DOUBLE_COLUMN, MUTED, new_figure
from elasticast.reporting.zoo import Zoo
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


def draw_zoo(zoo: Zoo, styles: Styles, other: pd.DataFrame | None = None) -> Figure:
    """Draw one row per dataset and task.

    Parameters
    ----------
    zoo : Zoo
        Results of the suite.
    styles : dict of str to LineStyle
        Styles by label.
    other : DataFrame, optional
        Table of another suite, whose scores are drawn as open markers over the operations of training.
    """
    tasks = list(dict.fromkeys(zip(zoo.table["dataset"], zoo.table["task"], strict=True)))
    figure = new_figure(DOUBLE_COLUMN, 2.6 * len(tasks))
    for task, axes in zip(tasks, figure.subplots(len(tasks), 2, squeeze=False), strict=True):
        panel = next(p for p in zoo.panels if (p.dataset, p.task) == task)
        points, table = (rows[_of(rows, task)] for rows in (zoo.points, zoo.table))
        _draw_inference(axes[0], points, styles)
        _draw_training(axes[1], table, styles, other)
        axes[0].set_title(panel.title, loc="left")
        for ax in axes:
            _finish(ax, METRIC_LABEL[panel.metric])
    legend_below(figure, _handles(zoo, styles, other))
    return figure


def zoo_caption(zoo: Zoo, other_title: str | None) -> str:
    """Caption of the figure: its test clips, seeds and marks."""
    run = [panel for panel in zoo.panels if panel.coverage.clips]
    sentences = [describe_means(*marks_of(zoo.panels).seeds), *describe_coverage(panel.coverage for panel in run)]
    sentences.append("The wide grey line is the Pareto front: no other point has a higher score for as few operations.")
    sentences.append("Vertical lines on the right are 95 % intervals, or the lowest and highest seed.")
    if other_title is not None:
        sentences.append(f"Open markers are the suite “{rst(other_title)}”.")
    return " ".join(sentences)


def _of(rows: pd.DataFrame, task: tuple[str, str]) -> pd.Series:
    return (rows["dataset"] == task[0]) & (rows["task"] == task[1])


def _draw_inference(ax: Axes, points: pd.DataFrame, styles: Styles) -> None:
    """Draw each sweep of each model over the operations of a forward pass, and the Pareto front."""
    front = points[points["front"]].sort_values("gflops")
    ax.plot(front["gflops"], 100 * front["score"], drawstyle="steps-post", **_FRONT)
    for (label, x_name), curve in points.groupby(["label", "x_name"], sort=False):
        look = styles[label].line() | {"marker": MARKERS[x_name], "markersize": 3.5}
        ax.plot(curve["gflops"], 100 * curve["score"], **look)
    ax.set_xlabel("GFLOPs per clip")


def _draw_training(ax: Axes, table: pd.DataFrame, styles: Styles, other: pd.DataFrame | None) -> None:
    """Draw the score of each model over the operations of its training."""
    for row in table.dropna(subset=["score", "training_tflops"]).to_dict("records"):
        style, place = styles[row["label"]], (row["training_tflops"], 100 * row["score"])
        look = {"color": style.color, "zorder": style.zorder}
        ax.plot([place[0]] * 2, [100 * row["low"], 100 * row["high"]], linewidth=0.8, **look)
        ax.plot(*place, style.marker, markersize=5, **look)
        same = [] if other is None else other[other["experiment"] == row["experiment"]].to_dict("records")
        for there in same:
            to = there["training_tflops"], 100 * there["score"]
            ax.plot(*zip(place, to, strict=True), linewidth=0.6, **look)
            ax.plot(*to, style.marker, zorder=style.zorder, **open_marker(style.color) | {"markersize": 5})
    ax.set_xlabel("TFLOPs of training")


def _finish(ax: Axes, label: str) -> None:
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.set_ylabel(label)
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ax.spines[["right", "top"]].set_visible(False)
    set_score_axis(ax)


def _handles(zoo: Zoo, styles: Styles, other: pd.DataFrame | None) -> list[Artist]:
    """Legend entries of the models, of the sweeps, of the front and of the other suite."""
    labels = dict.fromkeys(zoo.table.dropna(subset="score")["label"])
    handles = [Line2D([], [], **styles[label].line(), label=label) for label in labels]
    look = {"linestyle": "none", "color": MUTED, "markersize": 3.5}
    swept = [x_name for x_name in COSTED if x_name in set(zoo.points["x_name"])]
    handles += [Line2D([], [], marker=MARKERS[x_name], label=_NAMES[x_name], **look) for x_name in swept]
    handles.append(Line2D([], [], **_FRONT, label="Pareto front"))
    if other is not None:
        handles.append(Line2D([], [], linestyle="none", marker="o", **open_marker(MUTED), label="other suite"))
    return handles
