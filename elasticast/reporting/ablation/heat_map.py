"""The plot `heat_map` of an ablation: scores over length and resolution."""

import textwrap
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from elasticast.config.ablation_sweeps import GRID, Point, shared_points
from elasticast.evaluation.statistics import ALPHA, Comparison
from elasticast.reporting.ablation.labels import figure_title
from elasticast.reporting.ablation.scores import AblationResults
from elasticast.reporting.curves import METRIC_LABEL
from elasticast.reporting.panels import NOT_RUN
from elasticast.reporting.style import DOUBLE_COLUMN, INK, MUTED, TITLE, new_figure
from elasticast.reporting.tables import signed

_COLUMNS = 4
_TEXT, _CHARACTER = 5.5, 3.55  # font size of the number in a cell, and width of one character, in points
_BAR = 0.9  # width of the colour bar and the axis labels, inches
_LEAST = 0.9  # height of a map that has room for the labels of its axis and colour bar, inches


class _Map(NamedTuple):
    """Scores (%) or differences (points) `[compressions, lengths]`, and whether their corrected p is small."""

    values: np.ndarray
    significant: np.ndarray


class _Scale(NamedTuple):
    """Mapping of values to colours, and the label of the colour bar."""

    norm: Normalize
    colors: str
    label: str
    differences: bool


def draw_heat_map(results: AblationResults, table: pd.DataFrame) -> Figure:
    """Draw one map per variant of the scores over length and compression, and one of the differences to the base."""
    variants = list(table.loc[table["sweep"] == GRID, "variant"].unique())
    points = shared_points(results.ablation, GRID)
    columns, rows = min(len(variants), _COLUMNS), -(-len(variants) // _COLUMNS)
    labels = {v: _label(results, v, 96 // columns) for v in variants}
    lines = 1 + max(label.count("\n") for label in labels.values())
    height = 0.12 + 0.13 * lines + max(0.18 * len({c for _, c in points}), _LEAST)
    figure = new_figure(DOUBLE_COLUMN, 2 * rows * height + 0.5)
    grid = figure.subplots(2 * rows, columns, squeeze=False)
    tests = results.grid_tests
    scores = {v: _scores(results, v, points) for v in variants}
    differences = {v: _differences(results, v, points, tests.get(v, [])) for v in variants}
    for part, maps in ((grid[:rows], scores), (grid[rows:], differences)):
        scale = _scale(maps, results.metric, maps is differences)
        for ax, variant in zip(part.flat, variants, strict=False):
            ax.set_title(labels[variant], loc="left", fontsize=7)
            if maps[variant] is not None:
                _draw_map(ax, maps[variant], scale, _width(columns))
            else:
                _write(ax, "base" if scale.differences and variant == results.ablation.base else NOT_RUN)
        figure.colorbar(ScalarMappable(scale.norm, scale.colors), ax=part, label=scale.label, aspect=14, pad=0.01)
    hop_ms = results.ablation.runs[results.ablation.base].front_end.hop_ms  # the same for all variants
    _label_axes(grid, len(variants), points, hop_ms)
    figure.suptitle(figure_title(results), **TITLE)
    return figure


def _width(columns: int) -> float:
    """Width of a map in inches."""
    return (DOUBLE_COLUMN - _BAR) / columns - 0.1


def _label(results: AblationResults, variant: str, width: int) -> str:
    experiment = results.ablation.experiments[variant]
    text = f"{experiment.label} (base)" if variant == results.ablation.base else experiment.label
    return "\n".join(textwrap.wrap(text, width))


def _scores(results: AblationResults, variant: str, points: list[Point]) -> _Map | None:
    """Scores of a variant. None if there are none."""
    scores = results.scores(GRID, variant)
    return _arrange(100 * scores.values.mean(1), np.zeros(len(points), bool), points) if scores.seeds else None


def _differences(results: AblationResults, variant: str, points: list[Point], tests: list[Comparison]) -> _Map | None:
    """Differences of a variant to the base over their common seeds. None if there are none."""
    scores, base = results.beside_base(GRID, variant)
    if not scores.seeds or variant == results.ablation.base:
        return None
    significant = np.array([t.p_corrected <= ALPHA for t in tests]) if tests else np.zeros(len(points), bool)
    return _arrange(100 * (scores.values.mean(1) - base.values.mean(1)), significant, points)


def _arrange(values: np.ndarray, significant: np.ndarray, points: list[Point]) -> _Map:
    """Arrange the values at the points of a grid `[compressions, lengths]`; NaN where the grid has no point."""
    xs, cs = _axes_of(points)
    grid = _Map(np.full((len(cs), len(xs)), np.nan), np.zeros((len(cs), len(xs)), bool))
    for (x, c), value, excludes_zero in zip(points, values, significant, strict=True):
        grid.values[cs.index(c), xs.index(x)], grid.significant[cs.index(c), xs.index(x)] = value, excludes_zero
    return grid


def _axes_of(points: list[Point]) -> tuple[list[float], list[float]]:
    """Lengths and compressions of a grid, ascending."""
    return sorted({x for x, _ in points}), sorted({c for _, c in points})


def _scale(maps: dict[str, _Map | None], metric: str, differences: bool) -> _Scale:
    values = np.concatenate([[], *(m.values.ravel() for m in maps.values() if m is not None)])
    if differences:
        most = np.nanmax(np.abs(values), initial=0.1)
        return _Scale(Normalize(-most, most), "RdBu", "Difference (points)", True)
    low, high = (np.nanmin(values), np.nanmax(values)) if len(values) else (0, 100)
    return _Scale(Normalize(low, high), "cividis", METRIC_LABEL[metric], False)


def _draw_map(ax: Axes, grid: _Map, scale: _Scale, width: float) -> None:
    """Draw a map that is `width` inches wide, with numbers in its cells if they fit."""
    ax.imshow(grid.values, norm=scale.norm, cmap=scale.colors, aspect="auto", origin="lower")
    texts = _texts(grid.values, scale.differences, 72 * width / grid.values.shape[1])
    for (row, column), text in np.ndenumerate(texts):
        red, green, blue, _ = mpl.colormaps[scale.colors](scale.norm(grid.values[row, column]))
        color = INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
        weight = "bold" if grid.significant[row, column] else "normal"
        ax.text(column, row, text, ha="center", va="center", fontsize=_TEXT, color=color, fontweight=weight)


def _texts(values: np.ndarray, differences: bool, width: float) -> np.ndarray:
    """Numbers with 1 or 0 decimals, as fit into `width` points; empty texts if neither fits."""
    for digits in (1, 0):
        texts = [signed(v, digits) if differences else f"{v:.{digits}f}" for v in values.flat]
        if max(map(len, texts)) * _CHARACTER < width - 1:
            return np.array(texts).reshape(values.shape)
    return np.full(values.shape, "")


def _write(ax: Axes, text: str) -> None:
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=MUTED)
    ax.spines[:].set_visible(False)


def _label_axes(grid: np.ndarray, used: int, points: list[Point], hop_ms: float) -> None:
    """Label the left map of each row and the lowest of each column; remove axes without a map."""
    xs, cs = _axes_of(points)
    seconds = [f"{x * hop_ms / 1000:g}" for x in xs]
    rows, columns = len(grid) // 2, grid.shape[1]
    room = 72 * _width(columns) / len(xs)
    turned = 45 if max(map(len, seconds)) * _CHARACTER > room - 3 else 0
    for (row, column), ax in np.ndenumerate(grid):
        place = (row % rows) * columns + column
        if place >= used:
            ax.remove()
            continue
        last = row >= rows and place + columns >= used
        ax.set(xlim=(-0.5, len(xs) - 0.5), ylim=(-0.5, len(cs) - 0.5))
        ax.set_xticks(range(len(xs)), seconds if last else [""] * len(xs), fontsize=6, rotation=turned)
        ax.set_yticks(range(len(cs)), [f"{c:g}" for c in cs] if column == 0 else [""] * len(cs), fontsize=6)
        ax.tick_params(length=0)
        if column == 0:
            ax.set_ylabel("Compression")
    grid[0, 0].figure.supxlabel("Maximum input length (s)", fontsize=7.5)
