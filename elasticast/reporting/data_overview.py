"""Histograms of the classes and the lengths of a dataset, as text and as a figure."""

import math
from collections import Counter
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from elasticast.config.dataset import SPLITS
from elasticast.data.manifest import read_classes, read_manifest
from elasticast.reporting.style import DOUBLE_COLUMN, new_figure, paper_style, save
from elasticast.text import counted, one_line

NAME = "overview"
"""Name of the figure in the folder of a prepared dataset, without extension."""
MOST_CLASSES = 30
"""Largest number of classes that are printed and drawn, the most frequent ones."""
_BINS, _BAR = 12, 30
_LONGEST_NAME = 32
_COLOURS = {"train": "#2F4B6E", "dev": "#E69F00", "test": "#D55E00"}


def write_overview(prepared: Path) -> str:
    """Write ``overview.png`` and ``overview.pdf`` of the usable clips of a prepared dataset.

    Returns
    -------
    str
        The same histograms as text.
    """
    clips = read_manifest(prepared / "manifest.parquet")
    classes = {task: content["classes"] for task, content in read_classes(prepared / "classes.json").items()}
    clips = clips[clips["status"] == "ok"]
    with paper_style():
        save(draw(clips, classes), prepared / NAME)
    return describe(clips, classes)


# ---------------------------------------------------------------------------------------------
# Text
# ---------------------------------------------------------------------------------------------


def describe(clips: pd.DataFrame, classes: dict[str, list[str]]) -> str:
    """Histograms as text.

    Parameters
    ----------
    clips : pandas.DataFrame
        Columns ``split``, ``duration`` (s; NaN if unknown), and one with a list of class names per task.
    classes : dict of str to list of str
        Classes of each task.
    """
    return "\n".join(
        [*_lengths(clips["duration"].dropna()), *chain(*(_classes(clips, *task) for task in classes.items()))]
    )


def _lengths(seconds: pd.Series) -> list[str]:
    if seconds.empty:
        return ["lengths: unknown"]
    quartiles = ", ".join(f"{value:.2f}" for value in seconds.quantile([0.25, 0.5, 0.75]))
    span = f"{seconds.min():.2f} to {seconds.max():.2f} s"
    head = f"lengths: {len(seconds):,} clips, {seconds.sum() / 3600:.2f} h, {span}, quartiles {quartiles} s"
    counts, edges = np.histogram(seconds, length_bins(seconds))
    names = [f"{low:.2f}-{high:.2f} s" for low, high in pairwise(edges)]
    return [head, *_bars(names, counts.tolist(), [""] * len(counts))]


def length_bins(seconds: pd.Series) -> np.ndarray:
    """Edges of the bins of a histogram of lengths (s): with a long tail, their widths grow."""
    low, high = float(seconds.min()), float(seconds.max())
    if high - low < 1e-3:
        return np.array([low - 0.5e-3, high + 0.5e-3])
    if low > 0 and high > 12 * float(seconds.median()):
        return np.geomspace(low, high, _BINS + 1)
    return np.linspace(low, high, _BINS + 1)


def _classes(clips: pd.DataFrame, task: str, classes: list[str]) -> list[str]:
    counts = class_counts(clips, task, classes)
    totals = counts.sum(axis=1)
    kept = counts.loc[totals.sort_values(ascending=False, kind="stable").index[:MOST_CLASSES]]
    splits = [split for split in SPLITS if (clips["split"] == split).any()]
    ends = ["  ".join(f"{split} {kept[split][name]:,}" for split in splits) for name in kept.index]
    low, high = totals.min(), totals.max()
    each = f"{counted(low, 'clip')} each" if low == high else f"{low:,} to {high:,} clips"
    head = f"task {task}: {counted(len(classes), 'class')} of {each}"
    head += f"; the {MOST_CLASSES} most frequent are" if len(classes) > MOST_CLASSES else ""
    return [head, *_bars(kept.index.tolist(), kept.sum(axis=1).tolist(), ends)]


def class_counts(clips: pd.DataFrame, task: str, classes: list[str]) -> pd.DataFrame:
    """Number of clips per class (rows) and split (columns)."""
    counts = {split: Counter(chain.from_iterable(clips.loc[clips["split"] == split, task])) for split in SPLITS}
    return pd.DataFrame({split: [counts[split][name] for name in classes] for split in SPLITS}, index=classes)


def _bars(names: list[str], counts: list[int], ends: list[str]) -> list[str]:
    names = [_short(name) for name in names]
    width, most = max(map(len, names), default=0), max(counts, default=0)
    lines = []
    for name, count, end in zip(names, counts, ends, strict=True):
        bar = "#" * math.ceil(_BAR * count / most) if most else ""
        lines.append(f"  {name:<{width}}  {count:>7,}  {bar:<{_BAR}}  {end}".rstrip())
    return lines


def _short(name: str) -> str:
    name = one_line(name)
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 3] + "..."


# ---------------------------------------------------------------------------------------------
# Figure
# ---------------------------------------------------------------------------------------------


def draw(clips: pd.DataFrame, classes: dict[str, list[str]]) -> Figure:
    """Draw the lengths, and the classes of each task, stacked by split; parameters as in :func:`describe`."""
    heights = [1.9] + [0.75 + 0.13 * min(len(names), MOST_CLASSES) for names in classes.values()]
    figure = new_figure(DOUBLE_COLUMN, sum(heights) + 0.4)
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    splits = [split for split in SPLITS if (clips["split"] == split).any()]
    _draw_lengths(axes[0], clips, splits)
    for ax, (task, names) in zip(axes[1:], classes.items(), strict=True):
        _draw_classes(ax, clips, splits, task, names)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=len(splits))
    return figure


def _draw_lengths(ax: Axes, clips: pd.DataFrame, splits: list[str]) -> None:
    seconds = [clips.loc[clips["split"] == split, "duration"].to_numpy() for split in splits]
    bins = length_bins(clips["duration"])
    ax.hist(seconds, bins, stacked=True, color=[_COLOURS[split] for split in splits], label=splits)
    if len(bins) > 2 and not math.isclose(bins[1] - bins[0], bins[-1] - bins[-2]):
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    ax.set(xlabel="Length (s)", ylabel="Clips")
    ax.set_title(f"{len(clips):,} clips, median {clips['duration'].median():.1f} s", loc="left")


def _draw_classes(ax: Axes, clips: pd.DataFrame, splits: list[str], task: str, classes: list[str]) -> None:
    counts = class_counts(clips, task, classes)
    kept = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index[:MOST_CLASSES]]
    left = np.zeros(len(kept))
    for split in splits:
        ax.barh(range(len(kept)), kept[split], left=left, color=_COLOURS[split], height=0.75)
        left += kept[split].to_numpy()
    ax.set_yticks(range(len(kept)), [_short(name) for name in kept.index])
    ax.set_ylim(len(kept) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("Clips")
    more = f", the {MOST_CLASSES} most frequent" if len(classes) > MOST_CLASSES else ""
    ax.set_title(f"Classes of task {task}: {len(classes)}{more}", loc="left")
