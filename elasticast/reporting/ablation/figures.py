"""The plots `curves` and `cost` of ablations, and :func:`draw`, which selects the plot of an ablation.

Both plots have the differences to the base on the right. Each difference has the name and a line sample of its variant,
so that they serve as the legend of the curves.
"""

import itertools
import textwrap
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from elasticast.config.ablation_sweeps import COSTLY, SHARES, SWEEPS, compared
from elasticast.evaluation.statistics import ALPHA
from elasticast.reporting.ablation.factor import draw_factor
from elasticast.reporting.ablation.heat_map import draw_heat_map
from elasticast.reporting.ablation.labels import name_varied_settings
from elasticast.reporting.ablation.scores import AblationResults
from elasticast.reporting.ablation.variant_table import missing_delta
from elasticast.reporting.curves import METRIC_LABEL, draw_chance, draw_panel, is_logarithmic, set_score_axis
from elasticast.reporting.identity import LineStyle
from elasticast.reporting.legend import Styles, legend_below, mark_handles, note_missing_runs
from elasticast.reporting.panels import Panel, Series, sweep_panels
from elasticast.reporting.style import DOUBLE_COLUMN, INK, MUTED, line_styles, new_figure

_MOST_BANDS = 2
"""With more variants in addition to the base, only the base has a band; the differences have intervals."""
_OFFSETS = {"native": 0.17, "mean": -0.17}
_LABEL_WIDTH = 24  # characters per line
_STAR = {"ha": "left", "va": "center", "fontsize": 8, "color": INK, "zorder": 5}
_SAMPLE = (-0.36, -0.06)  # left and right end of a line sample, in inches from the axis


def draw(results: AblationResults, table: pd.DataFrame) -> Figure:
    """Draw the plot that the setting `plot` of an ablation selects.

    Parameters
    ----------
    table : pandas.DataFrame
        See :func:`elasticast.reporting.ablation.variant_table.compare_variants`.
    """
    kinds = {"curves": draw_curves, "cost": draw_cost, "factor": draw_factor, "heat_map": draw_heat_map}
    return kinds[results.ablation.plot](results, table)


def draw_curves(results: AblationResults, table: pd.DataFrame) -> Figure:
    """Draw one row per sweep: score over x, and differences to the base at the native point and over the sweep."""
    panels = panels_of(results)
    figure, axes, styles = _rows(results, table, list(panels))
    for ax, panel in zip(axes, panels.values(), strict=True):
        draw_panel(ax, panel, styles, is_logarithmic([panel]))
    _finish(figure, axes, list(panels.values()), _starred(table, list(panels)))
    return figure


def draw_cost(results: AblationResults, table: pd.DataFrame) -> Figure:
    """Draw one row per sweep that changes the number of tokens: score over operations per clip, and the differences.

    The points are labelled with the x of the sweep.
    """
    panels = panels_of(results)
    figure, axes, styles = _rows(results, table, list(panels))
    labels = [_draw_operations(ax, results, panel, styles) for ax, panel in zip(axes, panels.values(), strict=True)]
    _finish(figure, axes, list(panels.values()), _starred(table, list(panels)))
    for ax, sweep, texts in zip(axes, panels, labels, strict=True):
        _label_points(figure, ax, sweep, texts)
    return figure


def panels_of(results: AblationResults) -> dict[str, Panel]:
    """Panels of `draw_curves` or `draw_cost` by sweep, with intervals where they were computed."""
    drawn = COSTLY if results.ablation.plot == "cost" else SWEEPS.values()
    sweeps = [sweep for sweep in drawn if sweep in compared(results.ablation)]
    x_names = {sweep: x_name for x_name, sweep in SWEEPS.items()}
    return {sweep: _panel(results, x_names[sweep]) for sweep in sweeps}


def _panel(results: AblationResults, x_name: str) -> Panel:
    """The panel over `x_name`; with many variants, only the base keeps its band."""
    panel = sweep_panels(results.ablation, results.metrics, x_name, intervals=results.intervals)[0]
    few, base = len(panel.series) <= 1 + _MOST_BANDS, results.ablation.base
    return replace(panel, series=tuple(s if few or s.experiment == base else _without_band(s) for s in panel.series))


def _without_band(series: Series) -> Series:
    return replace(series, points=series.points.assign(low=np.nan, high=np.nan))


def _rows(results: AblationResults, table: pd.DataFrame, sweeps: list[str]) -> tuple[Figure, list[Axes], Styles]:
    """Create a figure with one row per sweep and draw the differences; return it with the axes for the curves."""
    ablation, first = results.ablation, table.iloc[0]
    styles, heights = line_styles(ablation, ablation.base), [_height(table[table["sweep"] == s]) for s in sweeps]
    figure = new_figure(DOUBLE_COLUMN, sum(heights))
    figure.get_layout_engine().set(w_pad=0.07)  # keeps the names of the right panels away from the left ones
    grid = figure.subplots(len(sweeps), 2, squeeze=False, height_ratios=heights, width_ratios=[1.15, 1])
    for i, (sweep, (left, right)) in enumerate(zip(sweeps, grid, strict=True)):
        _draw_differences(right, table[table["sweep"] == sweep], styles, name_varied_settings(ablation))
        title = f"{results.coverage.dataset} · {first['task'].replace('_', ' ')}"
        if len(sweeps) > 1:
            title = f"({chr(97 + i)}) {title}, {sweep}"
        left.set_title(title, loc="left")
    return figure, list(grid[:, 0]), styles


def _height(table: pd.DataFrame) -> float:
    """Height of a row in inches that has room for the names of its variants."""
    lines = [1 + label.count("\n") for label in table.drop_duplicates("variant").apply(_row_label, axis=1)]
    row = max([0.22, *(0.065 * (above + below) + 0.04 for above, below in itertools.pairwise(lines))])
    return max(2.3, 0.65 + row * len(lines))


def _is_starred(cell: pd.Series) -> bool:
    return bool(cell["p_corrected"] <= ALPHA and not cell["base"])


def _starred(table: pd.DataFrame, sweeps: list[str]) -> bool:
    """Whether any difference that is drawn has a star."""
    drawn = table[table["sweep"].isin(sweeps) & table["quantity"].isin(_OFFSETS)]
    return any(_is_starred(cell) for _, cell in drawn.iterrows())


def _finish(figure: Figure, axes: list[Axes], panels: list[Panel], starred: bool) -> None:
    note_missing_runs(figure, axes, panels, DOUBLE_COLUMN / 2.2, len(panels))
    look = {"linestyle": "none", "marker": "o", "markersize": 3.6, "color": MUTED}
    filled = Line2D([], [], **look, label="difference, native")
    hollow = Line2D([], [], **look, markerfacecolor="white", label="difference, mean of the sweep")
    look = {"linestyle": "none", "marker": "*", "markersize": 4, "color": INK}
    star = Line2D([], [], **look, label=f"corrected p ≤ {ALPHA:g}")
    legend_below(figure, [*mark_handles(panels), filled, hollow, *([star] if starred else [])])


# ---------------------------------------------------------------------------------------------
# Differences to the base
# ---------------------------------------------------------------------------------------------


def _row_label(row: pd.Series) -> str:
    """Name of a variant, wrapped to lines that fit."""
    text = f"{row['label']} (base)" if row["base"] else row["label"]
    return "\n".join(textwrap.wrap(text, _LABEL_WIDTH))


def _draw_differences(ax: Axes, table: pd.DataFrame, styles: Styles, title: str) -> None:
    """Draw one row per variant: its differences to the base, native and mean of the sweep, with 95 % intervals."""
    variants = table.drop_duplicates("variant")
    ax.axvline(0, color=INK, linewidth=0.7, zorder=1)
    for y, (_, row) in enumerate(variants.iterrows()):
        style = styles[row["label"]]
        _sample_line(ax, -y, style)
        cells = table[table["variant"] == row["variant"]].set_index("quantity")
        if pd.isna(cells["delta"]).all():
            look = {"va": "center", "color": MUTED, "fontsize": 7}
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            ax.text(0.02, -y, missing_delta(row), transform=ax.get_yaxis_transform(), bbox=paper, **look)
        for quantity, offset in _OFFSETS.items():
            _draw_difference(ax, cells.loc[quantity], offset - y, style, filled=quantity == "native")
    ax.set_yticks([-y for y in range(len(variants))], [_row_label(row) for _, row in variants.iterrows()])
    for label, base in zip(ax.get_yticklabels(), variants["base"], strict=True):
        label.set_fontweight("bold" if base else "normal")
    ax.tick_params(axis="y", length=0, pad=-_SAMPLE[0] * 72 + 3)
    ax.set_ylim(0.6 - len(variants), 0.6)
    ax.set_xlabel("Difference to the base (points)")
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    ax.margins(x=0.06)
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    ax.spines[["left", "right", "top"]].set_visible(False)
    ax.set_title(title, loc="left", x=0, ha="right", fontsize=7, color=MUTED)


def _draw_difference(ax: Axes, cell: pd.Series, y: float, style: LineStyle, *, filled: bool) -> None:
    if pd.isna(cell["delta"]):
        return
    if pd.notna(cell["delta_low"]):
        ends = [100 * cell["delta_low"], 100 * cell["delta_high"]]
        ax.plot(ends, [y, y], color=style.color, linewidth=1.1, solid_capstyle="butt", zorder=3)
    look = {"color": style.color, "markersize": 3.8, "markeredgewidth": 1.0, "zorder": 4}
    inside = {} if filled else {"markerfacecolor": "white"}
    ax.plot([100 * cell["delta"]], [y], style.marker, **look, **inside)
    if _is_starred(cell):
        # beside the interval, where no marker hides it; the character is in the upper half of its line
        ax.annotate("*", (100 * cell["delta_high"], y), (1.5, -1.5), textcoords="offset points", **_STAR)


def _sample_line(ax: Axes, y: float, style: LineStyle) -> None:
    """Draw a sample of a variant's line to the left of its name."""
    inches = ax.figure.dpi_scale_trans + ScaledTranslation(0, 0, ax.transAxes)
    place = blended_transform_factory(inches, ax.transData)
    ends = np.linspace(*_SAMPLE, 3)
    ax.plot(ends, [y] * 3, transform=place, clip_on=False, markevery=[1], **style.line())


# ---------------------------------------------------------------------------------------------
# Score over operations
# ---------------------------------------------------------------------------------------------


def _draw_operations(
    ax: Axes, results: AblationResults, panel: Panel, styles: Styles
) -> list[tuple[float, float, str, str]]:
    """Draw the curves over GFLOPs; return the label of each point as x, y, text and colour."""
    metrics = results.metrics
    rows = metrics[(metrics["metric"] == "gflops_per_clip") & (metrics["x_name"] == panel.x_name)]
    labels, all_gflops = [], []
    for series in panel.series:
        style, points = styles[series.label], series.points[series.points["seeds"] > 0]
        by_x = rows[rows["experiment"] == series.experiment].drop_duplicates("x").set_index("x")["value"]
        gflops = by_x.reindex(points.index)
        all_gflops += list(gflops)
        if series.band:
            band = {"color": style.color, "alpha": 0.18, "linewidth": 0, "zorder": style.zorder - 1}
            ax.fill_between(gflops, 100 * points["low"], 100 * points["high"], **band)
        ax.plot(gflops, 100 * points["mean"], **style.line())
        places = zip(gflops, 100 * points["mean"], points.index, strict=True)
        share = SWEEPS[panel.x_name] in SHARES
        labels += [(gf, y, f"{100 * x:g} %" if share else f"{x:g}", style.text_color()) for gf, y, x in places]
    if all_gflops and max(all_gflops) > 20 * min(all_gflops):
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(LogFormatter())
        ax.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.4)))
    ax.set_xlabel("GFLOPs per clip")
    ax.set_ylabel(METRIC_LABEL[panel.metric])
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ax.spines[["right", "top"]].set_visible(False)
    ax.margins(x=0.06, y=0.1)
    set_score_axis(ax)
    draw_chance(ax, panel)
    return labels


def _label_points(figure: Figure, ax: Axes, sweep: str, labels: list[tuple[float, float, str, str]]) -> None:
    """Say what the points are, such as the share of tokens left out: at the top if it is the same for all curves."""
    places = {(f"{x:.3g}", text): x for x, _, text, _ in labels}
    shares = {text for _, _, text, _ in labels}
    if len(places) > len(shares):
        ax.set_xlabel(f"GFLOPs per clip (at the points: {sweep})")
        _place_labels(figure, ax, labels)
    elif labels:
        _add_share_axis(figure, ax, sweep, {x: text for (_, text), x in places.items()})


def _add_share_axis(figure: Figure, ax: Axes, sweep: str, texts: dict[float, str]) -> None:
    """Add an axis at the top with these texts, without those that would overlap another."""
    figure.draw_without_rendering()
    shown: dict[float, str] = {}
    end = np.inf
    for x in sorted(texts, reverse=True):
        at, half = ax.transData.transform((x, 0))[0] / figure.dpi * 72, 2.4 * len(texts[x])
        if at + half < end:
            shown[x], end = texts[x].removesuffix(" %"), at - half
    top = ax.secondary_xaxis("top")
    top.set_xticks(list(shown), list(shown.values()))
    top.xaxis.set_minor_locator(NullLocator())
    top.tick_params(labelsize=7, colors=MUTED)
    top.spines["top"].set_color(MUTED)
    unit = " (%)" if sweep in SHARES else ""
    top.set_xlabel(f"{sweep}{unit}", color=MUTED, fontsize=7, labelpad=2)


def _place_labels(figure: Figure, ax: Axes, labels: list[tuple[float, float, str, str]]) -> None:
    """Write one label above all points with the same text and x, and leave out labels that would overlap another."""
    figure.draw_without_rendering()
    taken: list[tuple[float, float]] = []
    highest: dict[tuple[str, str], tuple] = {}
    for x, y, text, color in sorted(labels, key=lambda label: label[1]):
        highest[text, f"{x:.3g}"] = (x, y, text, color)
    for x, y, text, color in sorted(highest.values(), key=lambda label: -label[0]):
        across, up = ax.transData.transform((x, y)) / figure.dpi * 72
        if all(abs(across - a) > 4 * len(text) + 2 or abs(up - u) > 8 for a, u in taken):
            taken.append((across, up))
            look = {"ha": "center", "va": "bottom", "fontsize": 6, "color": color}
            ax.annotate(text, (x, y), (0, 5), textcoords="offset points", **look)
