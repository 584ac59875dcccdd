"""The plot `factor` of an ablation: score over the values of one setting."""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from elasticast.config.ablation_names import format_value, setting_of
from elasticast.config.ablation_sweeps import compared
from elasticast.config.load_ablation import Ablation
from elasticast.reporting.ablation.labels import figure_title, name_varied_settings, setting_name
from elasticast.reporting.ablation.scores import QUANTITIES, AblationResults
from elasticast.reporting.curves import METRIC_LABEL, is_geometric, set_score_axis
from elasticast.reporting.identity import LineStyle, styles_of
from elasticast.reporting.legend import legend_below, open_marker
from elasticast.reporting.panels import NOT_RUN
from elasticast.reporting.style import DOUBLE_COLUMN, MUTED, TITLE, new_figure

_WIDTH = 120  # distance between the first and the last value of a panel, in points


class _Axis(NamedTuple):
    """Positions of the values of a setting on the x axis.

    Other values follow the numbers at a distance of `step`. On a logarithmic axis, positions and step are logarithms.
    """

    positions: dict[str, float]
    numbers: set[str]
    step: float
    logarithmic: bool

    def position(self, value: str, shift: float = 0.0) -> float:
        """Position of a value; `shift`, -0.5 to 0.5, separates the lines at values that are not numbers."""
        place = self.positions[value] + (0.0 if value in self.numbers else 0.25 * shift * self.step)
        return float(np.exp(place)) if self.logarithmic else place


def draw_factor(results: AblationResults, table: pd.DataFrame) -> Figure:
    """Draw the score over the first setting of the grid, one row per sweep and one column per quantity.

    Each combination of the other settings has one line.
    """
    ablation = results.ablation
    sweeps = list(compared(ablation))
    axis, lines = _axis_of(ablation), {v: _line_name(ablation, v) for v in ablation.experiments}
    names = list(dict.fromkeys(lines[v] for v in sorted(lines, key=lambda v: _line_order(ablation, v))))
    runs = {line: ablation.runs[v] for v, line in reversed(lines.items())}  # the first of each line
    runs[lines[ablation.base]] = ablation.runs[ablation.base]
    styles = styles_of({name: runs[name] for name in names}, base=lines[ablation.base])
    figure = new_figure(DOUBLE_COLUMN, 2.0 * len(sweeps))
    grid = figure.subplots(len(sweeps), 3, squeeze=False, sharex=True)
    for sweep, axes in zip(sweeps, grid, strict=True):
        for ax, quantity in zip(axes, QUANTITIES, strict=True):
            cells = table[(table["sweep"] == sweep) & (table["quantity"] == quantity)]
            cells = cells.assign(at=[_value(ablation, v) for v in cells["variant"]])
            for i, name in enumerate(names):
                line = cells[[lines[v] == name for v in cells["variant"]]]
                _draw_line(ax, line, axis, styles[name], (i + 0.5) / len(names) - 0.5)
            _set_axes(ax, axis, f"{sweep[0].upper()}{sweep[1:]}: {quantity}")
        axes[0].set_ylabel(METRIC_LABEL[results.metric])
    for ax in grid[-1]:
        ax.set_xlabel(name_varied_settings(ablation).split(", ")[0])
    figure.suptitle(figure_title(results), **TITLE)
    legend_below(figure, _factor_handles(ablation, table, styles))
    return figure


def _value(ablation: Ablation, variant: str) -> str:
    """Value of the first setting of the grid in a variant, as text."""
    return format_value(setting_of(ablation.runs[variant], ablation.grid[0]))


def _line_name(ablation: Ablation, variant: str) -> str:
    """Name of the line of a variant: the values of all settings of the grid except the first."""
    run = ablation.runs[variant]
    return ", ".join(f"{setting_name(key)} {format_value(setting_of(run, key))}" for key in ablation.grid[1:])


def _line_order(ablation: Ablation, variant: str) -> list[float]:
    """Key that sorts lines by the values of these settings: numbers ascending, then other values as in the file."""
    values = [setting_of(ablation.runs[variant], key) for key in ablation.grid[1:]]
    return [value if _is_number(value) else math.inf for value in values]


def _axis_of(ablation: Ablation) -> _Axis:
    values = [setting_of(ablation.runs[v], ablation.grid[0]) for v in ablation.experiments]
    numbers = sorted(set(filter(_is_number, values)))
    logarithmic = len(numbers) > 2 and numbers[0] > 0 and is_geometric(np.array(numbers))
    places = {format_value(number): float(np.log(number) if logarithmic else number) for number in numbers}
    steps = np.diff(list(places.values()))
    step = float(steps.mean()) if len(steps) else 1.0
    for text in dict.fromkeys(map(format_value, values)):
        places.setdefault(text, max(places.values(), default=0.0) + step)
    return _Axis(places, {format_value(number) for number in numbers}, step, logarithmic)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _draw_line(ax: Axes, cells: pd.DataFrame, axis: _Axis, style: LineStyle, shift: float) -> None:
    """Draw a line with a band of intervals through the numbers, and single markers at other values."""
    cells = cells[cells["status"] == "ok"].assign(place=lambda c: [axis.position(at, shift) for at in c["at"]])
    number = cells["at"].isin(axis.numbers)
    line, single = cells[number].sort_values("place"), cells[~number]
    ax.plot(line["place"], 100 * line["value"], **style.line())
    band = {"color": style.color, "alpha": 0.18, "linewidth": 0, "zorder": style.zorder - 1}
    ax.fill_between(line["place"], *(100 * line[end].astype(float) for end in ("low", "high")), **band)
    for _, cell in single.iterrows():
        ends = [100 * cell["low"], 100 * cell["high"]]
        ax.plot([cell["place"]] * 2, ends, color=style.color, linewidth=1.1, zorder=style.zorder)
        ax.plot([cell["place"]], [100 * cell["value"]], **{**style.line(), "linestyle": "none"})
    for _, cell in cells[cells["base"]].iterrows():
        ax.plot([cell["place"]], [100 * cell["value"]], "o", **open_marker(style.color), zorder=6)


def _set_axes(ax: Axes, axis: _Axis, title: str) -> None:
    if axis.logarithmic:
        ax.set_xscale("log")
    texts = sorted(axis.positions, key=axis.positions.get)
    turned = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if _crowded(axis, texts) else {}
    ax.set_xticks([axis.position(text) for text in texts], texts, **turned)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.margins(x=0.08)
    set_score_axis(ax)
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ax.spines[["right", "top"]].set_visible(False)
    ax.set_title(title, loc="left")


def _crowded(axis: _Axis, texts: list[str]) -> bool:
    """Whether the names of neighbouring values would overlap."""
    places = np.array([axis.positions[text] for text in texts])
    room = np.diff(places) / max(np.ptp(places), 1e-9) * _WIDTH
    return any(r < 2.1 * (len(a) + len(b)) + 4 for r, (a, b) in zip(room, itertools.pairwise(texts), strict=True))


def _factor_handles(ablation: Ablation, table: pd.DataFrame, styles: dict[str, LineStyle]) -> list[Artist]:
    handles = [Line2D([], [], **style.line(), label=name) for name, style in styles.items() if name]
    base = styles[_line_name(ablation, ablation.base)]
    handles.append(Line2D([], [], linestyle="none", marker="o", **open_marker(base.color), label="base"))
    if table["low"].notna().any():
        handles.append(Patch(color=MUTED, alpha=0.25, linewidth=0, label="95 % interval"))
    absent = table.loc[table["status"] != "ok", "label"].unique()
    return handles + [Line2D([], [], linestyle="none", label=f"{label}: {NOT_RUN}") for label in absent]
