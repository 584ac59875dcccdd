"""Learning curves: the training loss and the score on the split that selects the weights, over the steps of a run."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from elasticast.config import Suite
from elasticast.reporting.captions import title_of
from elasticast.reporting.curves import METRIC_LABEL
from elasticast.reporting.legend import Styles, legend_below
from elasticast.reporting.style import DOUBLE_COLUMN, MUTED, SINGLE_COLUMN, new_figure

NO_LOG = "no run has a log"
LOSS = "Training loss"
AVERAGED = 5
"""Logged steps over which a training loss is averaged: each is the loss of one batch, and noisy."""
_THIN = 0.7
"""Width of the lines, relative to those of figures 4 and 5."""


class LearningCurve(NamedTuple):
    """One quantity over the steps of one run.

    Attributes
    ----------
    experiment, label : str
        The experiment, and its label.
    seed : int
        Seed of the run.
    steps : array
        `[n]`: training steps, ascending.
    values : array
        `[n]`: the loss, or the score (%).
    """

    experiment: str
    label: str
    seed: int
    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class LearningPanel:
    """The learning curves of one dataset and task, in one quantity.

    Attributes
    ----------
    title : str
        Dataset and task.
    quantity : str
        ``training loss``, or a metric with its split and unit.
    curves : list of LearningCurve
        One curve per run.
    """

    title: str
    quantity: str
    curves: list[LearningCurve] = field(default_factory=list)


def learning_panels(suite: Suite, history: pd.DataFrame) -> list[LearningPanel]:
    """Sort the logs of the runs of a suite into panels.

    Parameters
    ----------
    history : pandas.DataFrame
        Logs of the runs, see `elasticast.reporting.read_tables.read_history`. Those of other suites are left out.
    """
    panels: dict[tuple[str, str], LearningPanel] = {}
    by_curve = history.groupby(["experiment", "seed", "split", "metric"], sort=False)
    for (experiment, seed, split, metric), rows in by_curve:
        if experiment not in suite.runs:
            continue
        title = task_title(suite, experiment)
        quantity = LOSS if metric == "loss" else METRIC_LABEL[metric].replace("(%)", f"on {split} (%)")
        panel = panels.setdefault((title, quantity), LearningPanel(title, quantity))
        values = rows["value"].to_numpy(float) * (1 if metric == "loss" else 100)
        label = suite.experiments[experiment].label
        panel.curves.append(LearningCurve(experiment, label, int(seed), rows["step"].to_numpy(), values))
    return list(panels.values())


def task_title(suite: Suite, experiment: str) -> str:
    """Dataset and task of an experiment, as the titles of panels have them."""
    run = suite.runs[experiment]
    return f"{title_of(suite.datasets, run.dataset)} · {run.task.replace('_', ' ')}"


def draw_learning(panels: list[LearningPanel], styles: Styles) -> Figure:
    """Draw one panel per dataset, task and quantity, with one legend for all panels."""
    looks = _looks(panels, styles)
    count = max(len(panels), 1)
    columns = {1: 1, 2: 2, 4: 2}.get(count, 3)
    rows = -(-count // columns)
    figure = new_figure(SINGLE_COLUMN if columns == 1 else DOUBLE_COLUMN, 2.0 * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for i, (ax, panel) in enumerate(zip(axes, panels, strict=False)):
        _draw_panel(ax, panel, looks)
        letter = f"({chr(97 + i)}) " if count > 1 else ""
        ax.set_title(letter + panel.title, loc="left")
    if not panels:
        axes[0].text(0.5, 0.5, NO_LOG, transform=axes[0].transAxes, ha="center", va="center", color=MUTED)
        axes[0].set(xticks=[], yticks=[])
    for ax in axes[count:]:
        ax.remove()
    legend_below(figure, [Line2D([], [], **look, label=label) for label, look in looks.items()])
    return figure


def _draw_panel(ax: Axes, panel: LearningPanel, looks: dict[str, dict]) -> None:
    for label in dict.fromkeys(curve.label for curve in panel.curves):
        mean = _mean([curve for curve in panel.curves if curve.label == label], panel.quantity)
        ax.plot(mean, **looks[label] | ({"marker": "o"} if len(mean) == 1 else {}))  # a line needs two points
    ax.set(xlabel="Step", ylabel=panel.quantity)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ax.spines[["right", "top"]].set_visible(False)


def _mean(curves: list[LearningCurve], quantity: str) -> pd.Series:
    """The mean over runs at the steps that all of them logged; a loss may be infinite, and such steps are left out."""
    values = pd.concat([pd.Series(curve.values, curve.steps) for curve in curves], axis=1, join="inner").mean(axis=1)
    values = values[np.isfinite(values)]
    return values.rolling(AVERAGED, center=True, min_periods=1).mean() if quantity == LOSS else values


def _looks(panels: list[LearningPanel], styles: Styles) -> dict[str, dict]:
    """The line of each label: as in figures 4 and 5, but thin and without markers.

    Models may look alike in those figures if none of them shows both; here, the later ones are dashed.
    """
    looks: dict[str, dict] = {}
    for label in dict.fromkeys(curve.label for panel in panels for curve in panel.curves):
        alike = sum(styles[label] == styles[other] for other in looks)
        dashes = {"linestyle": (0, (alike, alike))} if alike else {}
        looks[label] = styles[label].line() | {"linewidth": _THIN * styles[label].width, "marker": "none"} | dashes
    return looks


def learning_caption(panels: list[LearningPanel]) -> str:
    """Caption of the figure: how many runs it shows, and what each line is."""
    runs = {(curve.experiment, curve.seed) for panel in panels for curve in panel.curves}
    if not runs:
        return "No run of this suite has a log."
    seeds = len({seed for _, seed in runs})
    line = f"The line of a model is the mean over its seeds, up to {seeds}, at the steps that all of them logged."
    averaged = f"The training loss is the mean over {AVERAGED} logged steps, with one batch each."
    sentences = [f"The logs of {len(runs)} runs.", line if seeds > 1 else ""]
    sentences.append(averaged if any(panel.quantity == LOSS for panel in panels) else "")
    return " ".join(filter(None, sentences))
