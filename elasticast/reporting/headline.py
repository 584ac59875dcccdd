"""The headline of a suite, printed at the end of `make run`: one line per panel of table 1, and what to do next."""

import shlex
from pathlib import Path

import pandas as pd

from elasticast.errors import DataError
from elasticast.text import printable

PANEL = ["dataset", "task", "sweep", "metric"]
COLUMNS = [*PANEL, "suite", "fixed", "flexible", "quantity", "experiment", "mean", "sd", "status"]
NATIVE, WORST = ("flexible_native", "fixed_native"), ("flexible_worst", "fixed_worst")


def read_table(path: Path) -> pd.DataFrame:
    """Table 1 as :func:`elasticast.reporting.comparison.write_table` writes it, with scores as numbers.

    Raises
    ------
    DataError
        If there is no such file, or if it is not table 1.
    """
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype=str)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: is not table 1 of a suite: {reason}") from None
    if missing := [name for name in COLUMNS if name not in table]:
        raise DataError(f"{path}: is not table 1 of a suite: has no column {', '.join(missing)}")
    for column in ("mean", "sd"):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    return table


def headline(table: pd.DataFrame) -> str:
    """The best flexible and the best fixed-length model of each panel, as text.

    Parameters
    ----------
    table : DataFrame
        Table 1, see :func:`elasticast.reporting.comparison.comparison_table`. The fixed-length models include those
        with repeated and masked padding, if the suite has them.

    Returns
    -------
    str
        One line per panel: scores (%) on whole clips at the finest hop, and at the worst point of the sweep.
    """
    head = ["score in %", "on whole clips, at the finest hop", "at the worst point of the sweep"]
    lines = [head]
    for (dataset, task, sweep, metric), rows in table.groupby(PANEL, sort=False):
        name = f"{dataset} · {task}, {sweep}, {metric}"
        lines.append([name.replace("_", " "), _best(rows, NATIVE), _best(rows, WORST)])
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = ("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(text.rstrip() for text in texts)


def _best(rows: pd.DataFrame, quantities: tuple[str, str]) -> str:
    """The best model of each kind and its score, flexible first."""
    texts = []
    for quantity in quantities:
        run = rows[(rows["quantity"] == quantity) & (rows["status"] == "ok")].dropna(subset=["mean"])
        if len(run):
            best = run.loc[run["mean"].idxmax()]
            spread = "" if pd.isna(best["sd"]) else f" ± {100 * best['sd']:.1f}"
            texts.append(f"{best[quantity.split('_')[0]]} {100 * best['mean']:.1f}{spread}")
    return ", ".join(texts) or "not run"


def next_commands(table: pd.DataFrame, results: Path) -> list[tuple[str, str]]:
    """Three commands that continue from here, and what each does.

    Parameters
    ----------
    table : DataFrame
        Table 1.
    results : Path
        Folder with the results of all suites.
    """
    done = table[(table["quantity"] == "flexible_native") & (table["status"] == "ok")]
    folders = [results / suite / "runs" / name for suite, name in zip(done["suite"], done["experiment"], strict=True)]
    runs = [run for folder in folders for run in sorted(folder.glob("seed*"))]
    commands = [("snakemake fig4 --config suite=paper partial=true", "draw the curves that the authors released")]
    if runs:
        commands.append((f"elasticast predict {shlex.quote(str(runs[0]))} FOLDER", "classify a folder of recordings"))
    return [*commands, ("elasticast new-suite FOLDER", "make a suite for recordings of yours")]
