"""Native lengths of clips, and the tokens that cropping discards and padding adds (figure 2)."""

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from elasticast.reporting.captions import describe_native
from elasticast.reporting.style import DOUBLE_COLUMN, INK, MUTED, new_figure
from elasticast.reporting.token_shares import DatasetLengths
from elasticast.text import rst

_FEWEST_ROWS = 4  # with the height of fewer rows, the histogram would be too flat
# greys, because colours identify models
KEPT, DISCARDED, ADDED = "#55606B", "#A3ABB3", "#F4F4F4"
_NAME_ROW = 0.11  # height of a row of names above the histogram, as a fraction of its height

_CUT, _PADDED = 1.12, 1.28  # right ends of the columns of numbers, as fractions of the width of the bars


def draw_lengths(datasets: list[DatasetLengths]) -> Figure:
    """Draw one row per dataset: a histogram of native lengths, and the tokens kept, discarded and added per length."""
    heights = [0.75 + 0.19 * max(_FEWEST_ROWS, len(d.fixed) + 1) for d in datasets]
    figure = new_figure(DOUBLE_COLUMN, sum(heights) + 0.35)
    axes = figure.subplots(len(datasets), 2, squeeze=False, height_ratios=heights, width_ratios=[1, 1.15])
    for i, (data, (left, right)) in enumerate(zip(datasets, axes, strict=True)):
        letter = f"({chr(97 + i)}) " if len(datasets) > 1 else ""
        count = f"{len(data.seconds):,} clips, median {np.median(data.seconds):.1f} s"
        left.set_title(f"{letter}{data.title}: {count}", loc="left")
        _draw_histogram(left, data)
        _draw_shares(right, data)
    axes[-1][0].set_xlabel("Native length (s)")
    axes[-1][1].set_xlabel("Tokens (% of the native tokens)")
    figure.legend(handles=_handles(), loc="outside lower right", ncols=3)
    return figure


def _draw_histogram(ax: Axes, data: DatasetLengths) -> None:
    seconds = data.seconds
    long_tail = bool(seconds.max() > 12 * np.median(seconds))
    span = None if long_tail else (0, seconds.max())
    sns.histplot(x=seconds, bins=40, binrange=span, ax=ax, color=KEPT, linewidth=0, alpha=0.9, log_scale=long_tail)
    ax.set(xlabel="", ylabel="Clips")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    if long_tail:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    else:
        ax.set_xlim(left=0)
    end = max((length.seconds for length in data.fixed), default=0.0)
    ax.set_xlim(right=max(ax.get_xlim()[1], 1.03 * end))
    sns.despine(ax=ax)
    _mark_lengths(ax, data)


def _mark_lengths(ax: Axes, data: DatasetLengths) -> None:
    """Draw dashed lines at the fixed lengths, with their names above the histogram, in rows so that none overlap."""
    width = 180  # approximate width of the histogram, in points
    ends: list[float] = []  # right end of the last name of each row
    marks = []
    for x, name in {length.seconds: length.name.split(",")[0] for length in data.fixed}.items():
        at = ax.transAxes.inverted().transform(ax.transData.transform((x, 0)))[0]
        half = (4.6 * len(name) + 6) / 2 / width
        row = next((r for r, end in enumerate(ends) if at - half > end), len(ends))
        ends[row : row + 1] = [at + half]
        marks.append((x, name, row))
    ax.set_ylim(top=ax.get_ylim()[1] / (0.98 - _NAME_ROW * len(ends)))
    for x, name, row in marks:
        top = 0.99 - _NAME_ROW * (len(ends) - row)
        ax.axvline(x, ymax=top, color=INK, linewidth=0.8, dashes=(3, 1.5))
        ax.text(x, top + 0.01, name, transform=ax.get_xaxis_transform(), ha="center", va="bottom", fontsize=7)


def _draw_shares(ax: Axes, data: DatasetLengths) -> None:
    for y, length in enumerate(data.lengths):
        shares = length.shares
        kept, discarded, added = (100 * v / shares.native for v in (shares.kept, shares.discarded, shares.added))
        ax.barh(y, kept, color=KEPT, height=0.68)
        ax.barh(y, discarded, left=kept, color=DISCARDED, hatch="/////", height=0.68, linewidth=0)
        ax.barh(y, added, left=100, color=ADDED, edgecolor=MUTED, height=0.68, linewidth=0.5)
        look = {"transform": ax.get_yaxis_transform(), "va": "center", "ha": "right", "fontsize": 7}
        ax.text(_CUT, y, _percent(discarded, "−"), color=INK, **look)
        ax.text(_PADDED, y, _percent(added, "+"), color=MUTED, **look)
    head = {"transform": ax.transAxes, "va": "bottom", "ha": "right", "fontsize": 7}
    ax.text(_CUT, 1.01, "cut", color=INK, **head)
    ax.text(_PADDED, 1.01, "added", color=MUTED, **head)
    ax.axvline(100, color=INK, linewidth=0.8)
    ax.set_yticks(range(len(data.lengths)), [length.name for length in data.lengths])
    ax.set_ylim(max(len(data.lengths), _FEWEST_ROWS) - 0.5, -0.5)
    ax.set_ylabel("Length (frames)", labelpad=7)
    ax.tick_params(axis="y", length=0)
    sns.despine(ax=ax, left=True)


def _percent(value: float, sign: str) -> str:
    if value == 0:
        return "0"
    return f"{sign}{value:.0f}" if value >= 0.5 else "<1"


def _handles() -> list[Patch]:
    return [
        Patch(facecolor=KEPT, label="kept"),
        Patch(facecolor=DISCARDED, hatch="/////", linewidth=0, label="cut: discarded by cropping (%)"),
        Patch(facecolor=ADDED, edgecolor=MUTED, linewidth=0.5, label="added by padding (%)"),
    ]


# ---------------------------------------------------------------------------------------------
# Caption
# ---------------------------------------------------------------------------------------------


def lengths_caption(datasets: list[DatasetLengths]) -> str:
    """Caption of the figure: what its dashed lines are, and how native length is measured."""
    fixed = any(data.fixed for data in datasets)
    sentences = ["Dashed lines mark the fixed lengths (in frames) of the ASTs of this suite."] if fixed else []
    for data in datasets:
        if data.native is not None:
            sentences.append(f"Native length in {rst(data.title)} is that of {describe_native(data.native)}.")
    return " ".join(sentences)
