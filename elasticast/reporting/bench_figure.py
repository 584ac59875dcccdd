"""The figure of `elasticast bench`: one panel per benchmark."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from elasticast.errors import DataError
from elasticast.reporting.style import DOUBLE_COLUMN, INK, new_figure

BAR = "#9DB2C4"
"""Colour of all bars."""
Benches = dict[str, pd.DataFrame]
"""Kind of benchmark, a key of :data:`PANELS`, to its table."""


def read_benches(paths: Sequence[Path]) -> Benches:
    """Read tables of `elasticast bench`. Their columns say what they are.

    Raises
    ------
    DataError
        If a file has no table of a benchmark that is drawn.
    """
    tables = {}
    for path in paths:
        try:
            table = pd.read_csv(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{path}: expected a CSV file that `elasticast bench` wrote: {reason}") from None
        kind = next((kind for kind, (column, *_) in PANELS.items() if column in table), None)
        if kind is None:
            raise DataError(f"{path}: expected a CSV file of `elasticast bench` {', '.join(PANELS)}")
        tables[kind] = table
    return {kind: tables[kind] for kind in PANELS if kind in tables}


def draw_bench(benches: Benches) -> Figure:
    """Draw one panel per benchmark, two in a row."""
    rows = -(-len(benches) // 2)
    figure = new_figure(DOUBLE_COLUMN, 1.7 * rows)
    axes = figure.subplots(rows, 2, squeeze=False).flatten()
    for ax, (kind, table) in zip(axes, benches.items(), strict=False):
        _, title, draw = PANELS[kind]
        draw(ax, table)
        ax.set_title(title, loc="left")
        ax.spines[["right", "top"]].set_visible(False)
    for ax in axes[len(benches) :]:
        ax.remove()
    return figure


def bench_caption(benches: Benches) -> str:
    """Where the benchmarks ran."""
    about = pd.concat([table[["device", "threads", "torch"]] for table in benches.values()]).drop_duplicates()
    machines = [f"{row.device}, {row.threads} threads, PyTorch {row.torch}" for row in about.itertuples()]
    times = "Medians of processor time on a CPU (waiting: of elapsed time), and of elapsed time on a GPU."
    return f"{times} {'; '.join(machines)}."


def _draw_bars(ax: Axes, values: dict[str, float], label: str) -> None:
    """Horizontal bars with their values; a line marks 1."""
    bars = ax.barh(list(values), list(values.values()), color=BAR, height=0.6)
    ax.bar_label(bars, fmt="%.2f", padding=2, fontsize=6.5, color=INK)
    ax.axvline(1, color=INK, linewidth=0.6)
    ax.margins(x=0.12)
    ax.invert_yaxis()
    ax.set_xlabel(label)


def _first(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Rows of the first batch of a table with several batches."""
    return table[(table[list(columns)] == table[list(columns)].iloc[0]).all(axis=1)]


def _draw_ratios(key: str) -> Callable[[Axes, pd.DataFrame], None]:
    def draw(ax: Axes, table: pd.DataFrame) -> None:
        steps = _first(table[table["pass"] == "step"], ["lengths", "clips"])
        column = "cpu_ratio" if steps["peak_mib"].isna().all() else "ratio"
        _draw_bars(ax, dict(zip(steps[key], steps[column], strict=True)), "Time of a training step, relative")

    return draw


def _draw_front_end(ax: Axes, table: pd.DataFrame) -> None:
    ours = table[table["way"] != "torchaudio"]
    names = [f"{length:g} s" for length in ours["length_s"]]
    _draw_bars(ax, dict(zip(names, ours["cpu_speedup"], strict=True)), "Speed relative to torchaudio")


def _draw_sweep(ax: Axes, table: pd.DataFrame) -> None:
    _draw_bars(ax, dict(zip(table["way"], table["cpu_speedup"], strict=True)), "Speed relative to separate passes")


def _draw_loader(ax: Axes, table: pd.DataFrame) -> None:
    bars = ax.bar(table["workers"].astype(str), 100 * table["wait_share"], color=BAR, width=0.5)
    labels = [f"{rate:,.0f} clips/s" for rate in table["loader_clips_per_s"]]
    ax.bar_label(bars, labels, padding=2, fontsize=6.5, color=INK)
    ax.margins(y=0.2)
    ax.set_xlabel("Loader processes; above: the loader alone")
    ax.set_ylabel("Waiting, % of a step")


def _draw_scaling(ax: Axes, table: pd.DataFrame) -> None:
    names = {"clips": "more clips of 10 s", "length": "one longer clip", "budget": "larger token budget"}
    column = "cpu_seconds" if table["cpu_seconds"].notna().all() else "seconds"
    for (axis, part), marker in zip(table.groupby("axis", sort=False), "os^", strict=False):
        ordered = part.sort_values("tokens")
        ax.plot(ordered["tokens"], ordered[column], marker=marker, markersize=3.5, label=names[axis])
    ax.set(xscale="log", yscale="log", xlabel="Tokens in the batch", ylabel="Training step (s)")
    for scale in (ax.xaxis, ax.yaxis):
        scale.set_major_locator(LogLocator(subs=(1, 3)))
        scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        scale.set_minor_locator(NullLocator())
    ax.legend(handlelength=2, fontsize=6, labelspacing=0.2, borderaxespad=0)


PANELS: dict[str, tuple[str, str, Callable[[Axes, pd.DataFrame], None]]] = {
    "packing": ("padding_share", "Ways to batch the same clips", _draw_ratios("way")),
    "others": ("implementation", "Other implementations", _draw_ratios("implementation")),
    "frontend": ("length_s", "Log-mel, clip by clip", _draw_front_end),
    "loader": ("wait_share", "Data", _draw_loader),
    "sweep": ("speedup", "One checkpoint at many lengths", _draw_sweep),
    "scaling": ("axis", "Cost of a batch", _draw_scaling),
}
"""Kind of benchmark to a column that only its table has, the title of its panel, and what draws it."""
