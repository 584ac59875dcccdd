"""The figure of `elasticast sweep`: the score of one model over input length."""

from pathlib import Path

import pandas as pd
from matplotlib.ticker import NullFormatter

from elasticast.config import RunConfig
from elasticast.reporting.curves import set_score_axis
from elasticast.reporting.identity import styles_of
from elasticast.reporting.style import SINGLE_COLUMN, new_figure, paper_style, save
from elasticast.text import printable


def write_length_figure(table: pd.DataFrame, metric: str, out: Path, config: RunConfig) -> None:
    """Draw the score of a model over input length, to ``OUT.png`` and ``OUT.pdf``.

    Parameters
    ----------
    table : DataFrame
        See :func:`elasticast.inference.length_sweep.length_sweep`.
    metric : str
        Metric to draw, a fraction.
    out : Path
        File to write, without extension.
    config : RunConfig
        Settings of the model, which decide its colour and marker.
    """
    rows = table[table["metric"] == metric].sort_values("seconds")
    name = printable(str(rows["model"].iloc[0]))
    style = styles_of({name: config})[name]
    with paper_style():
        figure = new_figure(SINGLE_COLUMN, 2.2)
        axes = figure.subplots()
        axes.plot(rows["seconds"], 100 * rows["value"], **style.line())
        axes.set_xscale("log")
        axes.set_xticks(rows["seconds"], [f"{x:g}" for x in rows["seconds"]])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="maximum input length (s)", ylabel=f"{metric} (%)")
        what = f"{rows['dataset'].iloc[0]} · {rows['task'].iloc[0]}, {rows['n'].iloc[0]:,} clips"
        axes.set_title(printable(what), loc="left")
        axes.grid(axis="y")
        set_score_axis(axes)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        save(figure, out)
