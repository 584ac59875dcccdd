"""The figure of patch sizes: scores over the size of the patches, and over tokens per second."""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from elasticast.config import Suite
from elasticast.config.evaluation import PATCHES, Evaluation, swept_patches
from elasticast.config.run import RunSettings
from elasticast.reporting.curves import METRIC_LABEL, draw_panel
from elasticast.reporting.legend import (
    RELEASED_LINE,
    Styles,
    curve_handles,
    legend_below,
    mark_handles,
    note_missing_runs,
)
from elasticast.reporting.panels import Panel, Series
from elasticast.reporting.style import DOUBLE_COLUMN, MUTED, new_figure

MARKERS = {"patch_size": "s", "patch_width": "^", "compression": "o"}
"""Marker of each kind of sweep in the panel over tokens per second."""
_NAMES = {"patch_size": "patch size", "patch_width": "patch width", "compression": "compression"}


def tokens_per_second(run: RunSettings, sweep: Evaluation, x: float) -> float:
    """Tokens per second of a long clip at one x of a sweep over patches or compressions."""
    compression = x if sweep.x_name == "compression" else run.default_compression
    frames = 1000 / (run.front_end.hop_ms * compression)  # per second
    size = swept_patches(run, sweep).get(x)
    if size is None:
        return run.model.patches(run.front_end.mel_bins) * frames / run.model.stride
    return size.count(run.front_end.mel_bins, size.freq) * frames / size.time


def draw_patches(suite: Suite, panels: list[Panel], styles: Styles) -> Figure:
    """Draw one row per dataset and task: a panel per kind of patch sweep, and all sweeps over tokens per second.

    Parameters
    ----------
    panels : list of Panel
        Panels over patch sizes, patch widths and compressions.
    """
    tasks = list(dict.fromkeys((p.dataset, p.task) for p in panels if p.x_name in PATCHES))
    kinds = [x_name for x_name in PATCHES if any(p.x_name == x_name for p in panels)]
    figure = new_figure(DOUBLE_COLUMN, 2.25 * len(tasks))
    rows = figure.subplots(len(tasks), len(kinds) + 1, squeeze=False)
    placed: list[tuple[Axes, Panel]] = []
    for task, axes in zip(tasks, rows, strict=True):
        own = {p.x_name: p for p in panels if (p.dataset, p.task) == task}
        for ax, x_name in zip(axes, kinds, strict=False):
            if x_name not in own:
                ax.remove()
                continue
            draw_panel(ax, own[x_name], styles, logarithmic=False)
            placed.append((ax, own[x_name]))
        _draw_tokens(axes[-1], suite, list(own.values()), styles)
        axes[0].set_title(next(iter(own.values())).title, loc="left")
    drawn = [panel for _, panel in placed]
    note_missing_runs(figure, [ax for ax, _ in placed], drawn, DOUBLE_COLUMN / (len(kinds) + 1), len(tasks))
    shown = [p for p in panels if (p.dataset, p.task) in tasks]
    legend_below(figure, curve_handles(shown, styles) + _kind_handles(shown) + mark_handles(shown))
    return figure


def _draw_tokens(ax: Axes, suite: Suite, panels: list[Panel], styles: Styles) -> None:
    """Draw all curves of one task over tokens per second."""
    for panel in panels:
        for series in panel.series:
            style = styles[series.label]
            if series.seeds_run:
                means = series.points["mean"].dropna()
                look = style.line() | {"marker": MARKERS[panel.x_name], "markersize": 4}
                ax.plot(_rates(suite, series, panel.x_name, means.index), 100 * means, **look)
            if series.released is not None and panel.x_name in PATCHES:
                curve = series.released
                rates = _rates(suite, series, panel.x_name, curve.index)
                ax.plot(rates, 100 * curve, color=style.color, **RELEASED_LINE)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator(2.0 ** np.arange(0, 14) * 12.5))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.set_xlabel("Tokens per second")
    ax.set_ylabel(METRIC_LABEL[panels[0].metric])
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ax.spines[["right", "top"]].set_visible(False)


def _rates(suite: Suite, series: Series, x_name: str, xs) -> list[float]:
    """Tokens per second at points of a curve."""
    sweep = next(iter(suite.curve(series.experiment, x_name).values()))
    asked = sweep.model_copy(update={"x": list(xs)})
    return [tokens_per_second(suite.runs[series.experiment], asked, x) for x in xs]


def _kind_handles(panels: list[Panel]) -> list[Artist]:
    """Legend entries of the markers in the panel over tokens per second."""
    kinds = dict.fromkeys(p.x_name for p in panels)
    look = {"linestyle": "none", "color": MUTED, "markersize": 4}
    return [Line2D([], [], marker=MARKERS[kind], label=f"by {_NAMES[kind]}", **look) for kind in kinds]
