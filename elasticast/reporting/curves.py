"""Curves of the score over length (figures 1 and 4) or over temporal resolution (figure 5)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, MultipleLocator, NullLocator

from elasticast.reporting.identity import LineStyle
from elasticast.reporting.legend import (
    CEILING_LINE,
    CHANCE_LINE,
    OTHER_LINE,
    RELEASED_LINE,
    Styles,
    curve_handles,
    legend_below,
    mark_handles,
    note_missing_runs,
    open_marker,
)
from elasticast.reporting.panels import NOT_RUN, Panel, Series
from elasticast.reporting.style import DOUBLE_COLUMN, MUTED, SINGLE_COLUMN, new_figure

METRIC_LABEL = {"accuracy": "Accuracy (%)", "mAP": "mAP (%)", "event_F1": "Event F1 (%)"}
_X_LABEL = {
    "max_frames": "Maximum input length (frames)",
    "compression": "Compression ratio",
    "patch_size": "Patch size (mel bins, frames)",
    "patch_width": "Patch width (frames)",
    "token_drop": "Share of tokens left out",
    "token_merge": "Share of tokens merged",
    "token_prune": "Share of tokens pruned",
    "sample_rate": "Sample rate (Hz)",
}
_TOP_LABEL = {"max_frames": "seconds", "compression": "hop (ms)"}
_TICKS = {
    "compression": 0.5,
    "patch_size": 8,
    "patch_width": 8,
    "token_drop": 0.2,
    "token_merge": 0.2,
    "token_prune": 0.2,
    "sample_rate": 4000,
}
"""Distances of ticks on a linear x axis; over lengths they are computed."""
_LINE_HEIGHT = 1.25  # in font sizes
_MANY = 10  # series, whose legend in one column would be higher than the panel


def draw_sweeps(panels: list[Panel], styles: Styles) -> Figure:
    """Draw one panel per dataset and task, with one legend for all panels."""
    columns = {1: 1, 2: 2, 4: 2}.get(len(panels), 3)
    rows = -(-len(panels) // columns)
    width = DOUBLE_COLUMN if columns > 1 else _width_of_one(panels[0])
    figure = new_figure(width, 2.25 * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    logarithmic = is_logarithmic(panels)
    for i, (ax, panel) in enumerate(zip(axes, panels, strict=False)):
        draw_panel(ax, panel, styles, logarithmic)
        letter = f"({chr(97 + i)}) " if len(panels) > 1 else ""
        ax.set_title(letter + panel.title, loc="left")
    for ax in axes[len(panels) :]:
        ax.remove()
    note_missing_runs(figure, axes, panels, width / columns, rows)
    legend_below(figure, curve_handles(panels, styles) + mark_handles(panels))
    return figure


def _width_of_one(panel: Panel) -> float:
    """Width of a figure of one panel."""
    return DOUBLE_COLUMN if len(panel.series) > _MANY else SINGLE_COLUMN


def draw_teaser(panel: Panel, styles: Styles) -> Figure:
    """Draw figure 1: the curves of one panel over length.

    If the names of the curves fit at their right ends, they are written there. Otherwise there is a legend.
    """
    width = _width_of_one(panel)
    figure = new_figure(width, 2.25)
    ax = figure.subplots()
    draw_panel(ax, panel, styles, is_logarithmic([panel]))
    note_missing_runs(figure, [ax], [panel], width, 1)
    names = [] if _label_ends(figure, ax, panel, styles) else curve_handles([panel], styles)
    legend_below(figure, names + mark_handles([panel]))
    return figure


# ---------------------------------------------------------------------------------------------
# One panel
# ---------------------------------------------------------------------------------------------


def draw_panel(ax: Axes, panel: Panel, styles: Styles, logarithmic: bool) -> None:
    """Draw the curves of one dataset and task with their bands; `logarithmic` sets the scale of the x axis.

    A released curve that several experiments name is drawn once, in the colour of the first of them.
    """
    for series in panel.series:
        if panel.draws_released(series):
            _draw_thin(ax, series.released, styles[series.label], RELEASED_LINE)
        if series.other_has_run:
            _draw_thin(ax, series.other.points["mean"].dropna(), styles[series.label], OTHER_LINE)
        if series.seeds_run:
            _draw_series(ax, series, styles[series.label])
    ax.set_xlabel(_X_LABEL[panel.x_name])
    ax.set_ylabel(METRIC_LABEL[panel.metric])
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ax.spines["right"].set_visible(False)
    _set_x(ax, panel, logarithmic)
    if any(s.drawn for s in panel.series):
        if panel.ceiling is not None:
            ax.plot(panel.ceiling.index, 100 * panel.ceiling, **CEILING_LINE)
        set_score_axis(ax)
        draw_chance(ax, panel)
    else:
        ax.text(0.5, 0.5, NOT_RUN, transform=ax.transAxes, ha="center", va="center", color=MUTED)
        ax.set_yticks([])


def set_score_axis(ax: Axes) -> None:
    """Limit the y axis of scores (%): at least two points high, not much below 0 or above 100."""
    low, high = ax.get_ylim()
    middle = np.clip((low + high) / 2, 1, 99)
    ax.set_ylim(max(min(low, middle - 1), -1), min(max(high, middle + 1), 102))
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda score, _: f"{score:g}" if 0 <= score <= 100 else ""))


def draw_chance(ax: Axes, panel: Panel) -> None:
    """Draw a line at the score that takes no listening; if it is far below the curves, write its value there."""
    if panel.chance is None:
        return
    score = 100 * panel.chance
    if panel.chance_is_near:
        low, high = ax.get_ylim()
        ax.axhline(score, **CHANCE_LINE)
        ax.set_ylim(min(low, score - (high - low) / 25), high)
        return
    lines = [line for line in ax.get_lines() if len(line.get_ydata()) > 1]
    first, last = (min(line.get_ydata()[np.argsort(line.get_xdata())[end]] for line in lines) for end in (0, -1))
    at = {"x": 0.02, "ha": "left"} if first > last else {"x": 0.98, "ha": "right"}
    look = {"va": "bottom", "fontsize": 6, "color": MUTED, "transform": ax.transAxes, "zorder": 1}
    ax.text(y=0.015, s=f"↓ chance {score:.0f} %", **at, **look)


def _draw_series(ax: Axes, series: Series, style: LineStyle) -> None:
    points = series.points
    if series.band:
        band = {"color": style.color, "alpha": 0.18, "linewidth": 0, "zorder": style.zorder - 1}
        ax.fill_between(points.index, 100 * points["low"], 100 * points["high"], **band)
    every = max(1, len(points) // 8)
    ax.plot(points.index, 100 * points["mean"], markevery=every, **style.line())
    if series.training_point:
        x, y = series.training_point
        ax.plot([x], [100 * y], style.marker, **open_marker(style.color), zorder=6)


def _draw_thin(ax: Axes, curve: pd.Series, style: LineStyle, look: dict) -> None:
    every = max(1, len(curve) // 8)
    thin = {"color": style.color, "linestyle": style.line()["linestyle"], **look, "zorder": style.zorder - 0.5}
    ax.plot(curve.index, 100 * curve, markevery=(every // 2, every), **thin)


def is_logarithmic(panels: list[Panel]) -> bool:
    """Whether the x axis is logarithmic."""
    xs = {x for p in panels for s in p.series for x in s.points.index}
    return panels[0].x_name == "max_frames" and is_geometric(np.array(sorted(xs)))


def is_geometric(xs: np.ndarray) -> bool:
    """Whether ascending positive values are spaced more evenly on a logarithmic axis than on a linear one."""

    def unevenness(xs: np.ndarray) -> float:
        steps = np.diff(xs)
        return float(steps.std() / steps.mean()) if len(steps) else 0.0

    return unevenness(np.log(xs)) < unevenness(xs)


def _set_x(ax: Axes, panel: Panel, logarithmic: bool) -> None:
    xs = [x for s in panel.series for x in s.points.index]
    low, high = min(xs), max(xs)
    if logarithmic:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_locator(FixedLocator(2.0 ** np.arange(np.ceil(np.log2(low)), np.log2(high) + 1e-9)))
        ax.xaxis.set_minor_locator(NullLocator())
        margin = (high / low) ** 0.04 if high > low else 1.1
        ax.set_xlim(low / margin, high * margin)
    else:
        margin = 0.04 * (high - low) or 0.1 * high
        ax.set_xlim(low - margin, high + margin)
        frames = 2.0 ** np.ceil(np.log2(max((high - low) / 6, 16)))
        ax.xaxis.set_major_locator(MultipleLocator(_TICKS.get(panel.x_name, frames)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    if panel.x_name in _TOP_LABEL:
        _add_top_axis(ax, panel, logarithmic)
    else:
        ax.spines["top"].set_visible(False)


def _add_top_axis(ax: Axes, panel: Panel, logarithmic: bool) -> None:
    """Add an axis at the top, in seconds (lengths) or in ms (resolution)."""
    factor = panel.hop_ms / 1000 if panel.x_name == "max_frames" else panel.hop_ms
    top = ax.secondary_xaxis("top", functions=(lambda x: x * factor, lambda x: x / factor))
    ax.spines["top"].set_visible(False)
    if logarithmic:
        top.xaxis.set_major_locator(FixedLocator(2.0 ** np.arange(-4, 12)))
        top.xaxis.set_minor_locator(NullLocator())
    else:
        top.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    top.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    top.tick_params(labelsize=7, colors=MUTED)
    top.spines["top"].set_color(MUTED)
    top.set_xlabel(_TOP_LABEL[panel.x_name], color=MUTED, fontsize=7, labelpad=2)


# ---------------------------------------------------------------------------------------------
# Names at the ends of curves
# ---------------------------------------------------------------------------------------------


def _label_ends(figure: Figure, ax: Axes, panel: Panel, styles: Styles) -> bool:
    """Write the name of each curve at its right end. If the names do not fit, write nothing and return False."""
    run = [s for s in panel.series if s.seeds_run]
    if not run or max(len(s.label) for s in run) > 16:
        return False
    figure.draw_without_rendering()
    bottom, top = ax.get_ylim()
    height = ax.get_window_extent().height / figure.dpi * 72
    size = 7
    wanted = np.array([(100 * s.points["mean"].dropna().iloc[-1] - bottom) / (top - bottom) * height for s in run])
    if len(run) * size * _LINE_HEIGHT > height:
        return False
    for series, y, at in zip(run, wanted, _spread(wanted, size * _LINE_HEIGHT, height), strict=True):
        style = styles[series.label]
        weight = "bold" if series.trained_at is None else "normal"
        name = {"color": style.text_color(), "fontsize": size, "fontweight": weight, "va": "center"}
        ax.annotate(series.label, (1.03, at / height), xycoords="axes fraction", annotation_clip=False, **name)
        ends = [0.965, 1.02], [y / height, at / height]
        ax.plot(*ends, transform=ax.transAxes, color=style.color, linewidth=0.5, clip_on=False, zorder=1)
    return True


def _spread(wanted: np.ndarray, gap: float, height: float) -> np.ndarray:
    """Move positions apart as little as possible: neighbours at least `gap` apart, all within 0 to `height`."""
    order = np.argsort(wanted, kind="stable")
    placed = wanted[order].astype(float)
    for _ in range(200):
        over = gap - np.diff(placed)
        push = np.where(over > 1e-9, over / 2, 0)
        placed[:-1] -= push
        placed[1:] += push
        placed = np.clip(placed, gap / 2, height - gap / 2)
    result = np.empty_like(placed)
    result[order] = placed
    return result
