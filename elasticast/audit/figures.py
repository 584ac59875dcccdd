"""Figures of an audit, in the style of the paper."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from elasticast.audit.measures import CHANGED, CLOSE, SAME
from elasticast.reporting.identity import LineStyle, styles_by_name
from elasticast.reporting.style import (
    DOUBLE_COLUMN,
    FAINT,
    MUTED,
    new_figure,
    paper_style,
    save,
)

LIMITS = (SAME, CLOSE, CHANGED)
SMALLEST = 1e-8
"""Drifts below are drawn here: 0 has no place on a logarithmic axis."""
Styles = dict[str, LineStyle]
_TICKS = (0.25, 1, 4, 10, 30, 60, 120, 300, 600)
_X = "length of the clip (s)"


def draw(results: list[dict[str, Any]], folder: Path) -> dict[str, tuple[str, bytes]]:
    """Draw all figures, and write them as PDF and PNG.

    Parameters
    ----------
    results : list of dict
        One result per encoder, see :func:`elasticast.audit.run.audit_one`.
    folder : Path
        Folder to write.

    Returns
    -------
    dict
        Name to caption and SVG. A figure without values is left out.
    """
    rows = [{"encoder": r["card"]["name"], **row} for r in results for row in r["rows"]]
    table = pd.DataFrame(rows, columns=["encoder", "check", "case", "x_name", "x", "metric", "value", "n"])
    styles = styles_by_name(r["card"]["name"] for r in results)
    drawn: dict[str, tuple[str, bytes]] = {}
    with paper_style(), mpl.rc_context({"svg.hashsalt": "audit"}):
        for name, (caption, figure) in _figures(table, styles):
            save(figure, folder / name)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="svg", metadata={"Date": None})
            drawn[name] = caption, buffer.getvalue()
    return drawn


def _figures(table: pd.DataFrame, styles: Styles) -> Iterator[tuple[str, tuple[str, Figure]]]:
    drawers: dict[str, tuple[Callable[[pd.DataFrame, Styles], Figure], str]] = {
        "consistency": (
            _consistency,
            "Largest drift over the clips when a batch changes, median drift when the clip changes. 1 is the distance "
            f"to another clip. Lines: the limits {SAME:g}, {CLOSE:g} and {CHANGED:g}. Smaller values than "
            f"{SMALLEST:g} are drawn there.",
        ),
        "length": (
            _length,
            "Clips cut or repeated to other lengths: median drift from the answer for the clip; score.",
        ),
        "needle": (_needle, "Response to an event in quiet noise: drift between the answers with and without it."),
        "sampling": (_sampling, "Median drift when clips are reduced to a lower sample rate, and with a longer hop."),
        "cost": (_cost, "Operations, time and peak memory of a pass of one clip."),
    }
    for name, (drawer, caption) in drawers.items():
        part = table[table["check"] == name].dropna(subset=["value"])
        if len(part):
            yield name, (caption, drawer(part, styles))


def _consistency(table: pd.DataFrame, styles: Styles) -> Figure:
    batches = table[table["metric"] == "drift_max"].groupby(["case", "encoder"], sort=False)["value"].max()
    changes = table[table["metric"] == "drift_median"].groupby(["case", "encoder"], sort=False)["value"].max()
    cases = list(dict.fromkeys(table["case"]))
    figure = new_figure(DOUBLE_COLUMN, 0.6 + 0.26 * len(cases))
    ax = figure.subplots()
    for k, (name, style) in enumerate(styles.items()):
        y = [i + 0.12 * (k - (len(styles) - 1) / 2) for i in range(len(cases))]
        x = [_shown((changes if _is_change(case) else batches).get((case, name))) for case in cases]
        ax.plot(x, y, linestyle="none", marker=style.marker, color=style.color, markersize=4, label=name)
    for limit in LIMITS:
        ax.axvline(limit, color=FAINT, linewidth=0.8, zorder=0)
    _logarithmic(ax.xaxis)
    ax.set_xlim(SMALLEST / 2, None)
    ax.set_yticks(range(len(cases)), cases)
    ax.invert_yaxis()
    ax.set_xlabel("drift")
    _finish(figure, [ax], styles)
    return figure


def _is_change(case: str) -> bool:
    """Whether a case changes the clip, not the batch."""
    return case.startswith(("silence", "start"))


def _shown(value: float | None) -> float:
    return float("nan") if value is None else max(value, SMALLEST)


def _curves(ax: Axes, table: pd.DataFrame, metric: str, styles: Styles, factor: float = 1.0) -> None:
    for name, style in styles.items():
        part = table[(table["encoder"] == name) & (table["metric"] == metric)].sort_values("x")
        if len(part):
            ax.plot(part["x"] * factor, part["value"].clip(lower=SMALLEST), label=name, **style.line())


def _logarithmic(*axes: Axis) -> None:
    """Make axes logarithmic, with plain numbers: the style does not parse formulas."""
    for axis in axes:
        getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
        axis.set_major_formatter(lambda x, _: f"{x:g}")
        axis.set_minor_formatter(NullFormatter())


def _seconds(ax: Axes, label: str = _X) -> None:
    _logarithmic(ax.xaxis)
    low, high = ax.get_xlim()
    ax.set_xticks([x for x in _TICKS if low <= x <= high])
    ax.set_xlabel(label)


def _length(table: pd.DataFrame, styles: Styles) -> Figure:
    figure = new_figure(DOUBLE_COLUMN, 2.4)
    axes, placed = figure.subplots(1, 2), table[table["x_name"] == "seconds"]
    _curves(axes[0], placed, "drift_median", styles)
    axes[0].axhline(CHANGED, color=FAINT, linewidth=0.8, zorder=0)
    axes[0].set_ylabel("drift from the whole clip")
    _curves(axes[1], placed, "score", styles)
    axes[1].set_ylabel("score")
    for ax in axes:
        _seconds(ax)
        ax.set_ylim(0, None)
    _finish(figure, axes, styles)
    return figure


def _needle(table: pd.DataFrame, styles: Styles) -> Figure:
    cases = list(dict.fromkeys(table["case"]))
    figure = new_figure(DOUBLE_COLUMN, 2.4)
    axes = figure.subplots(1, len(cases), squeeze=False, sharey=True)[0]
    for ax, case in zip(axes, cases, strict=True):
        _curves(ax, table[table["case"] == case], "response", styles)
        ax.axhline(CLOSE, color=FAINT, linewidth=0.8, zorder=0)
        ax.set_title(f"event of {case}")
        _seconds(ax, "length of the background (s)")
        _logarithmic(ax.yaxis)
    axes[0].set_ylabel("response")
    _finish(figure, axes, styles)
    return figure


def _sampling(table: pd.DataFrame, styles: Styles) -> Figure:
    figure = new_figure(DOUBLE_COLUMN, 2.4)
    axes, rates = figure.subplots(1, 3), table[table["case"] == "sample rate"]
    _curves(axes[0], rates, "drift_median", styles, 1e-3)
    axes[0].set(xlabel="sample rate (kHz)", ylabel="drift from the whole band")
    _curves(axes[1], rates, "score", styles, 1e-3)
    axes[1].set(xlabel="sample rate (kHz)", ylabel="score")
    hops = table[table["x_name"] == "hop_ms"]
    _curves(axes[2], hops, "drift_median", styles)
    axes[2].set(xlabel="hop (ms)", ylabel="drift from the hop of training")
    if hops.empty:
        axes[2].text(0.5, 0.5, "fixed", transform=axes[2].transAxes, ha="center", va="center", color=MUTED)
        axes[2].set(xticks=[], yticks=[])
    for ax in axes:
        ax.set_ylim(0, None)
    _finish(figure, axes, styles)
    return figure


def _cost(table: pd.DataFrame, styles: Styles) -> Figure:
    figure = new_figure(DOUBLE_COLUMN, 2.4)
    axes, placed = figure.subplots(1, 3), table[table["x_name"] == "seconds"]
    for ax, metric, label in zip(
        axes, ("gflop", "seconds", "peak_mib"), ("GFLOP", "time (s)", "peak memory (MiB)"), strict=True
    ):
        _curves(ax, placed, metric, styles)
        _seconds(ax)
        _logarithmic(ax.yaxis)
        ax.set_ylabel(label)
    _finish(figure, axes, styles)
    return figure


def _finish(figure: Figure, axes: Any, styles: Styles) -> None:
    """Grid and one legend."""
    for ax in axes:
        ax.grid(axis="both" if ax.get_xscale() == "log" else "y")
        ax.set_axisbelow(True)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    handles = {}
    for ax in axes:
        found, labels = ax.get_legend_handles_labels()
        handles |= dict(zip(labels, found, strict=True))
    if len(styles) > 1:
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=4)
