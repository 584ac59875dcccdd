"""Tables of measured speed in the pages, from the CSV files that `elasticast bench` writes."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from elasticast.published.layout import ROOT
from elasticast.reporting.tables import markdown_table

BENCH = ROOT / "bench"
_COLUMNS: dict[str, tuple[str, Callable[[object], str]]] = {
    "implementation": ("implementation", str),
    "way": ("way", str),
    "share": ("tokens left out (%)", lambda share: f"{100 * share:.0f}"),
    "gflops_per_clip": ("GFLOPs per clip", "{:.3g}".format),
    "score": ("score (%)", lambda score: f"{100 * score:.1f}"),
    "speedup": ("speed-up", "{:.2f}".format),
    "workers": ("loader processes", "{:d}".format),
    "x": ("length (s)", "{:g}".format),
    "clips": ("clips", "{:d}".format),
    "parameters": ("parameters", "{:,d}".format),
    "tokens": ("tokens", "{:,d}".format),
    "tokens_computed": ("tokens computed", "{:,d}".format),
    "gflop": ("GFLOP", "{:,.1f}".format),
    "seconds": ("time (s)", "{:.2f}".format),
    "step_ms": ("step (ms)", "{:.0f}".format),
    "ratio": ("ratio of times", "{:.2f}".format),
    "clips_per_s": ("clips/s", "{:.1f}".format),
    "tokens_per_s": ("tokens/s", "{:,.0f}".format),
    "peak_share": ("share of the peak (%)", lambda share: f"{100 * share:.0f}"),
    "saved_mib": ("saved for the backward pass (MiB)", "{:,.0f}".format),
    "loader_clips_per_s": ("clips/s of the loader alone", "{:.0f}".format),
    "wait_share": ("waiting (%)", lambda share: f"{100 * share:.1f}"),
}
"""Columns of the files: their name in a page, and how a value is written."""


def speed_table(file: str, rows: str, *columns: str) -> str:
    """Columns of a file of measurements.

    Parameters
    ----------
    file : str
        Name of a file in ``docs/results/bench``.
    rows : str
        Which rows: values joined by commas, such as ``model,step``, of the columns ``measure``, ``pass`` and ``axis``;
        ``*`` for all.
    columns : str
        Names of columns.

    Returns
    -------
    str
        Markdown. The last line has machine, threads, precision, versions and command.
    """
    path = Path(BENCH / f"{file}.csv")
    table = pd.read_csv(path)
    for value in () if rows == "*" else rows.split(","):
        table = table[table[[name for name in ("measure", "pass", "axis") if name in table]].eq(value).any(axis=1)]
    head = [_COLUMNS[name][0] for name in columns]
    cells = [[_COLUMNS[name][1](row[name]) for name in columns] for row in table.to_dict("records")]
    text = columns[0] in ("implementation", "way")
    written = markdown_table(head, ["---" if text else "---:", *["---:"] * (len(head) - 1)], cells)
    first, of_file = table.iloc[0], f"[{path.name}]({path.relative_to('docs')})"
    about = f"{first['device']}, {first['threads']} threads, {first.get('precision', 'fp32')}"
    about += f", PyTorch {first['torch'].split('+')[0]}, `{first['command']}`, {of_file}"
    return f"{written}\n{about.replace(', 1 threads', ', 1 thread')}.\n"
