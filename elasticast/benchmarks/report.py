"""Output of `elasticast bench`: a CSV file, and the tables of `bench packing` in the terminal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from elasticast.data.manifest import write_csv
from elasticast.provenance import provenance

WIDTH = 132
"""Width of the tables in characters if the output is not a terminal."""


def write(results: pd.DataFrame, options: dict[str, str | int], device: torch.device, path: Path) -> None:
    """Write results as CSV. Each row also has the options, the machine and the versions of the benchmark.

    Parameters
    ----------
    results : DataFrame
        Results of a benchmark.
    options : dict
        Options of the benchmark: model, lengths, seed, ...
    device : torch.device
        Device that was timed.
    path : Path
        CSV file to write.
    """
    write_csv(results.assign(**options, **_machine(device)), path)


def _machine(device: torch.device) -> dict[str, str | int]:
    record = provenance()
    names = ("elasticast", "torch", "xformers")
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else record["machine"]["processor"],
        "threads": torch.get_num_threads(),
        "python": record["versions"]["python"],
        **{name: record["versions"][name] for name in names},
        "git_commit": record["git_commit"] or "n/a",
        "command": " ".join(record["command"]),
    }


def show(results: pd.DataFrame, left_out: dict[str, str], *, markdown: bool = False) -> None:
    """Print one table per measure and pass, and the ways that are left out with the reasons.

    Parameters
    ----------
    results : DataFrame
        Results of `elasticast bench packing`.
    left_out : dict of str to str
        Name of each way that is left out to the reason.
    markdown : bool
        Whether to print Markdown, for the documentation.
    """
    console = _console()
    for title, part in results.groupby(["measure", "pass"], sort=False):
        _print_table(console, ", ".join(title), part, "way", _COLUMNS, markdown)
    _show_left_out(console, left_out)
    if results["peak_mib"].isna().all():
        console.print("peak memory: measured on a GPU only")


def show_others(results: pd.DataFrame, left_out: dict[str, str], *, markdown: bool = False) -> None:
    """Print one table per pass of `elasticast bench others`, and the implementations that are left out; see `show`."""
    console = _console()
    for title, part in results.groupby("pass", sort=False):
        _print_table(console, title, part, "implementation", _OTHERS_COLUMNS, markdown)
    _show_left_out(console, left_out)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def _show_left_out(console: Console, left_out: dict[str, str]) -> None:
    for name, reason in left_out.items():
        console.print(f"left out: {name}: {reason}", markup=False)


_COLUMNS = {
    "tokens\ncomputed": lambda row: f"{row.tokens_computed:,}",
    "padding\n%": lambda row: f"{100 * row.padding_share:.0f}",
    "GFLOP\nattention": lambda row: f"{row.attention_gflop:.4g}",
    "GFLOP\nall": lambda row: f"{row.total_gflop:.4g}",
    "mask\nMiB": lambda row: f"{row.mask_mib:.2f}",
    "saved\nMiB": lambda row: f"{row.saved_mib:,.0f}",
    "peak\nMiB": lambda row: f"{row.peak_mib:,.0f}",
    "ms\na step": lambda row: f"{1e3 * row.seconds:,.1f}",
    "\nquartiles": lambda row: f"{1e3 * row.seconds_q1:,.1f}-{1e3 * row.seconds_q3:,.1f}",
    "\nclips/s": lambda row: f"{row.clips_per_s:,.1f}",
    "\ntokens/s": lambda row: f"{row.tokens_per_s:,.0f}",
    "% of\npeak": lambda row: f"{100 * row.peak_share:.1f}",
    "CPU %\nof peak": lambda row: f"{100 * row.cpu_peak_share:.1f}",
    "time\nratio": lambda row: f"{row.ratio:.2f}",
    "CPU time\nratio": lambda row: f"{row.cpu_ratio:.2f}",
}

_COMMON = ("tokens\ncomputed", "peak\nMiB", "ms\na step", "\nquartiles", "\nclips/s", "\ntokens/s")
_OTHERS_COLUMNS = {
    "\nparameters": lambda row: f"{row.parameters:,}",
    **{head: _COLUMNS[head] for head in (*_COMMON, "% of\npeak", "CPU %\nof peak", "time\nratio", "CPU time\nratio")},
}


def _print_table(
    console: Console, title: str, part: pd.DataFrame, key: str, columns: dict[str, Callable[[Any], str]], markdown: bool
) -> None:
    on_gpu = part["peak_mib"].notna().all()
    columns = {head: text for head, text in columns.items() if not head.startswith(("CPU", "peak")[not on_gpu])}
    rows = [[getattr(row, key), *(text(row) for text in columns.values())] for row in part.itertuples()]
    if markdown:
        heads = [key, *(" ".join(head.split()) for head in columns)]
        lines = [heads, ["---"] * len(heads), *rows]
        console.print(f"{title}\n", *(f"| {' | '.join(line)} |" for line in lines), "", sep="\n", soft_wrap=True)
    else:
        console.print(_table(title, key, list(columns), rows))


def _table(title: str, key: str, heads: list[str], rows: list[list[str]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(key, no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table
