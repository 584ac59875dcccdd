"""Sweeps as curves: score over length (fig. 4, fig. 1) or over temporal resolution (fig. 5)."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, MultipleLocator, NullLocator

from elasticast.reporting.results import NOT_IN_SUITE, NOT_RUN, Panel, Series
from elasticast.reporting.style import DOUBLE_COLUMN, MUTED, SINGLE_COLUMN, LineStyle, new_figure

Styles = dict[str, LineStyle]
METRIC_LABEL = {"accuracy": "Accuracy (%)", "mAP": "mAP (%)"}
_X_LABEL = {
    "max_frames": "Maximum input length (frames)",
    "compression": "Compression ratio",
    "token_drop": "Share of tokens left out",
}
_TOP_LABEL = {"max_frames": "seconds", "compression": "hop (ms)"}
_TRAINED_LABEL = {"max_frames": "training length", "compression": "training resolution"}
_LINE_HEIGHT = 1.25  # of the font size
_CHARACTER = 4.2  # points, mean width at 7 points
# what stands beside our curves, in their colours: a thin line with crosses, which no series of ours has, and a dotted
# one without markers
_RELEASED = {"linewidth": 0.6, "alpha": 0.85, "marker": "x", "markersize": 3, "markeredgewidth": 0.7}
_OTHER = {"linewidth": 0.9, "linestyle": (0, (1, 1.4))}


def draw_sweeps(panels: list[Panel], styles: Styles) -> Figure:
    """One panel per dataset and task, one legend for all of them."""
    columns = {1: 1, 2: 2, 4: 2}.get(len(panels), 3)
    rows = -(-len(panels) // columns)
    width = SINGLE_COLUMN if columns == 1 else DOUBLE_COLUMN
    figure = new_figure(width, 2.25 * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    logarithmic = is_logarithmic(panels)
    for i, (ax, panel) in enumerate(zip(axes, panels, strict=False)):
        draw_panel(ax, panel, styles, logarithmic)
        letter = f"({chr(97 + i)}) " if len(panels) > 1 else ""
        ax.set_title(letter + panel.title, loc="left")
    for ax in axes[len(panels) :]:
        ax.remove()
    note_shortfalls(figure, axes, panels, width / columns, rows)
    legend_below(figure, _curve_handles(panels, styles) + mark_handles(panels))
    return figure


def draw_teaser(panel: Panel, styles: Styles) -> Figure:
    """One column: every fixed-length model falls off its training length; curves carry their names."""
    figure = new_figure(SINGLE_COLUMN, 2.25)
    ax = figure.subplots()
    draw_panel(ax, panel, styles, is_logarithmic([panel]))
    note_shortfalls(figure, [ax], [panel], SINGLE_COLUMN, 1)
    names = [] if _label_ends(figure, ax, panel, styles) else _curve_handles([panel], styles)
    legend_below(figure, names + mark_handles([panel]))
    return figure


# ---------------------------------------------------------------------------------------------
# One panel
# ---------------------------------------------------------------------------------------------


def draw_panel(ax: Axes, panel: Panel, styles: Styles, logarithmic: bool) -> None:
    """One panel: the curves of a data set and task, with their bands; x logarithmic or not."""
    for series in panel.series:
        if series.released is not None:
            _draw_beside(ax, series.released, styles[series.label], _RELEASED)
        if series.other_run:
            _draw_beside(ax, series.other.points["mean"].dropna(), styles[series.label], _OTHER)
        if series.seeds_run:
            _draw_series(ax, series, styles[series.label])
    ax.set_xlabel(_X_LABEL[panel.x_name])
    ax.set_ylabel(METRIC_LABEL[panel.metric])
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ax.spines["right"].set_visible(False)
    _set_x(ax, panel, logarithmic)
    if any(s.drawn for s in panel.series):
        low, high = ax.get_ylim()
        ax.set_ylim(max(low, -1), min(high, 102))
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    else:
        ax.text(0.5, 0.5, NOT_RUN, transform=ax.transAxes, ha="center", va="center", color=MUTED)
        ax.set_yticks([])


def _draw_series(ax: Axes, series: Series, style: LineStyle) -> None:
    points = series.points
    if series.seeds_run > 1 or series.interval:
        band = {"color": style.color, "alpha": 0.18, "linewidth": 0, "zorder": style.zorder - 1}
        ax.fill_between(points.index, 100 * points["low"], 100 * points["high"], **band)
    every = max(1, len(points) // 8)
    ax.plot(points.index, 100 * points["mean"], markevery=every, **style.line())
    run = points["mean"].dropna()
    x = series.trained_at
    if x is not None and run.index[0] <= x <= run.index[-1]:
        y = 100 * np.interp(x, run.index, run)
        ax.plot([x], [y], style.marker, **open_marker(style.color), zorder=6)


def _draw_beside(ax: Axes, curve: pd.Series, style: LineStyle, look: dict) -> None:
    every = max(1, len(curve) // 8)
    ax.plot(
        curve.index, 100 * curve, markevery=(every // 2, every), color=style.color, **look, zorder=style.zorder - 0.5
    )


def open_marker(color: str) -> dict:
    """Keyword arguments of a large marker that is white inside."""
    return {"markersize": 6, "markerfacecolor": "white", "markeredgecolor": color, "markeredgewidth": 1.3}


def is_logarithmic(panels: list[Panel]) -> bool:
    """Whether the sweeps' axis is a logarithmic one."""
    xs = {x for p in panels for s in p.series for x in s.points.index}
    return panels[0].x_name == "max_frames" and is_geometric(np.array(sorted(xs)))


def is_geometric(xs: np.ndarray) -> bool:
    """Whether ascending values, all above 0, are spaced more evenly on a logarithmic axis."""

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
        ax.xaxis.set_major_locator(MultipleLocator({"compression": 0.5, "token_drop": 0.2}.get(panel.x_name, frames)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    if panel.x_name in _TOP_LABEL:
        _add_top_axis(ax, panel, logarithmic)
    else:
        ax.spines["top"].set_visible(False)


def _add_top_axis(ax: Axes, panel: Panel, logarithmic: bool) -> None:
    """The same axis in seconds (lengths) or in ms (resolution)."""
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
# Names of the curves
# ---------------------------------------------------------------------------------------------


def mark_handles(panels: list[Panel]) -> list[Artist]:
    """Legend entries for what is not a curve: where a model was trained, the band over seeds."""
    handles: list[Artist] = []
    if any(s.seeds_run for p in panels for s in p.fixed):
        swept = {p.x_name for p in panels if p.fixed}
        label = _TRAINED_LABEL[swept.pop()] if len(swept) == 1 else "as in training"
        handles.append(Line2D([], [], linestyle="none", marker="o", **open_marker(MUTED), label=label))
    series = [s for p in panels for s in p.series]
    banded = [s for s in series if s.points["low"].notna().any()]
    if any(s.interval for s in banded):
        handles.append(Patch(color=MUTED, alpha=0.25, linewidth=0, label="95 % interval"))
    most = max((s.seeds_run for s in banded if not s.interval), default=0)
    if most > 1:
        handles.append(Patch(color=MUTED, alpha=0.25, linewidth=0, label=f"min–max of {most} seeds"))
    if any(s.released is not None for s in series):
        handles.append(Line2D([], [], color=MUTED, **_RELEASED, label="released values"))
    for title in dict.fromkeys(p.beside for p in panels if any(s.other_run for s in p.series)):
        handles.append(Line2D([], [], color=MUTED, **_OTHER, label=title))
    return handles


def _curve_handles(panels: list[Panel], styles: Styles) -> list[Artist]:
    labels = dict.fromkeys(s.label for p in panels for s in [*p.flexible, *p.fixed])
    return [Line2D([], [], **styles[label].line(), label=label) for label in labels]


def note_shortfalls(figure: Figure, axes: list[Axes], panels: list[Panel], width: float, rows: int) -> None:
    """Say under each panel what has not run; the figure grows by the lines this takes."""
    most = 0
    for ax, panel in zip(axes, panels, strict=False):
        short = [f"{s.label}: {s.shortfall}" for s in panel.series if s.shortfall]
        if not any(s.seeds_run for s in panel.series):
            short = [f"{'this suite' if panel.beside else 'ours'}: {NOT_RUN}"]
        short += _short_beside(panel)
        if short and any(s.drawn for s in panel.series):
            lines = textwrap.wrap("; ".join(short), int((width - 0.3) * 72 / _CHARACTER))
            ax.set_xlabel("\n".join([ax.get_xlabel(), *lines]), linespacing=1.3)
            most = max(most, len(lines))
    grow(figure, rows * most)


def _short_beside(panel: Panel) -> list[str]:
    """What has not run of the suite beside ours, as one entry; none where nothing is missing."""
    if panel.beside is None:
        return []
    said = [(s.label, s.other.shortfall if s.other else NOT_IN_SUITE) for s in panel.series]
    words = {words for _, words in said}
    named = [f"{label} ({words})" for label, words in said if words] if len(words) > 1 else sorted(words - {""})
    return [f"“{panel.beside}”: {', '.join(named)}"] if named else []


def legend_below(figure: Figure, handles: list[Artist]) -> None:
    """One legend for the whole figure, in as many columns as fit; the figure grows by its rows."""
    if not handles:
        return
    widths = [(len(h.get_label()) * _CHARACTER + 36) / 72 for h in handles]  # inches, with line and gap
    columns = next((n for n in range(len(widths), 1, -1) if _width(widths, n) < figure.get_figwidth()), 1)
    grow(figure, -(-len(widths) // columns))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def _width(widths: list[float], columns: int) -> float:
    """Width of a legend, which fills column by column, the first ones being the fuller."""
    return sum(max(part) for part in np.array_split(widths, columns))


def grow(figure: Figure, lines: int) -> None:
    """Make a figure higher by so many lines of text."""
    figure.set_figheight(figure.get_figheight() + 0.155 * lines)


def _label_ends(figure: Figure, ax: Axes, panel: Panel, styles: Styles) -> bool:
    """Write each curve's name at its right end; false, and nothing written, where they do not fit."""
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
    """Positions nearest to ``wanted`` that keep ``gap`` between neighbours, within 0..height."""
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
