"""Write scores over time: one CSV file and one figure per clip."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from elasticast.files import write_text
from elasticast.inference.prediction import Prediction, Timeline
from elasticast.reporting.style import DOUBLE_COLUMN, new_figure, paper_style, save
from elasticast.text import csv_cell, file_name, printable

DECIMALS = {"start": 4, "end": 4, "score": 6}
ROW_INCHES = 0.2
CLOCK_SECONDS = 120.0  # longer clips have a time axis in minutes or hours
CLOCK_STEPS = (15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)  # s
MAX_TICKS = 9
MAX_COLUMNS = 1000
TITLE = 100  # longest name of a file above its figure


def write_timelines(predictions: Iterable[Prediction], classes: Sequence[str], folder: Path, rows: int) -> list[Path]:
    """Write `FILE.csv` (all labels), `FILE.pdf` and `FILE.png` (the `rows` labels with the highest peaks) per clip.

    Clips with the same file name in different folders are numbered: `FILE`, `FILE_2`, ... In a name that is too long or
    not printable, the end or these characters are replaced, see :func:`elasticast.text.file_name`.

    Returns
    -------
    list of Path
        The CSV files.
    """
    written: list[Path] = []
    for number, prediction in enumerate(predictions):
        if prediction.timeline is None:
            continue
        stem = Path(prediction.path).stem if prediction.path else f"waveform_{number}"
        path = _unused(folder / f"{file_name(stem)}.csv", written)
        table = timeline_table(prediction.timeline, list(map(csv_cell, classes))).round(DECIMALS)
        write_text(path, table.to_csv(index=False))
        with paper_style():
            save(timeline_figure(prediction, classes, rows), path.with_name(path.name.removesuffix(".csv")))
        written.append(path)
    return written


def _unused(path: Path, used: Sequence[Path]) -> Path:
    """The path, with a number if it is in use. Names are compared without case: some disks do not distinguish it."""
    taken, number, name = {str(other).casefold() for other in used}, 1, path
    while str(name).casefold() in taken:
        number += 1
        name = path.with_name(f"{path.stem}_{number}.csv")
    return name


def timeline_table(timeline: Timeline, classes: Sequence[str]) -> pd.DataFrame:
    """Tidy scores: `start` and `end` of the window (s), `label`, `score`."""
    windows, labels = timeline.scores.shape
    return pd.DataFrame(
        {
            "start": np.repeat(timeline.start.numpy(), labels),
            "end": np.repeat(timeline.end.numpy(), labels),
            "label": np.tile(np.asarray(classes, dtype=object), windows),
            "score": timeline.scores.numpy().ravel(),
        }
    )


def timeline_figure(prediction: Prediction, classes: Sequence[str], rows: int) -> Figure:
    """Heat map over time of the `rows` labels with the highest peaks, the highest at the top.

    The border between two windows is drawn halfway between their centres. If there are more than
    `MAX_COLUMNS` windows, each column is the maximum over several neighbouring windows.
    """
    scores = prediction.timeline.scores.numpy()
    labels = np.argsort(-scores.max(0), kind="stable")[:rows]
    figure = new_figure(DOUBLE_COLUMN, 0.75 + ROW_INCHES * len(labels))
    ax = figure.subplots()
    first = np.arange(0, len(scores), -(-len(scores) // MAX_COLUMNS))
    columns = np.maximum.reduceat(scores[:, labels], first)
    edges = _edges(prediction.timeline, prediction.seconds)[[*first, -1]]
    style = {"cmap": "Blues", "vmin": 0, "vmax": 1, "rasterized": True}
    mesh = ax.pcolormesh(edges, np.arange(len(labels) + 1), columns.T, **style)
    ax.set_yticks(np.arange(len(labels)) + 0.5, [printable(classes[i]) for i in labels], parse_math=False)
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.set_xlim(0, prediction.seconds)
    _time_axis(ax, prediction.seconds)
    name = printable(Path(prediction.path).name) if prediction.path else "waveform"
    ax.set_title(name if len(name) <= TITLE else f"{name[:TITLE]}...", loc="left", parse_math=False)
    figure.colorbar(mesh, ax=ax, label="Score", pad=0.01, aspect=12, ticks=[0, 0.5, 1])
    return figure


def _edges(timeline: Timeline, seconds: float) -> np.ndarray:
    centres = (timeline.start + timeline.end).numpy() / 2
    return np.concatenate([[0.0], (centres[1:] + centres[:-1]) / 2, [seconds]])


def _time_axis(ax, seconds: float) -> None:
    """Label the time axis in seconds for a short clip, else in min:s, or in h:min from one hour on."""
    if seconds < CLOCK_SECONDS:
        ax.xaxis.set_major_locator(MaxNLocator(MAX_TICKS, steps=[1, 2, 5, 10]))
        ax.set_xlabel("Time (s)")
        return
    step = next((s for s in CLOCK_STEPS if seconds / s <= MAX_TICKS), CLOCK_STEPS[-1])
    hours = seconds >= 3600
    ax.xaxis.set_major_locator(MultipleLocator(step))
    parts = (3600, 60) if hours else (60, 1)
    clock = FuncFormatter(lambda s, _: f"{int(s // parts[0])}:{int(s % parts[0] // parts[1]):02d}")
    ax.xaxis.set_major_formatter(clock)
    ax.set_xlabel("Time (h:min)" if hours else "Time (min:s)")
