"""Print tables as tidy CSV, Markdown and LaTeX.

Text that users chose, such as labels and titles, goes through the functions of `elasticast.text`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from elasticast.files import write_text
from elasticast.text import csv_cell, latex, markdown


class Markup(NamedTuple):
    """How a kind of table is written.

    Attributes
    ----------
    words : callable
        Escapes text that users chose.
    numbers : callable
        Escapes text that consists of numbers and words of this package.
    bold : callable
        Makes escaped text bold.
    """

    words: Callable[[str], str]
    numbers: Callable[[str], str]
    bold: Callable[[str], str]


MARKDOWN = Markup(markdown, str, "**{}**".format)
LATEX = Markup(latex, latex, r"\textbf{{{}}}".format)


def markdown_table(head: Sequence[str], align: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table of cells that are already escaped.

    Parameters
    ----------
    align : sequence of str
        ``---``, ``:---:`` or ``---:`` for each column.
    """
    lines = [head, align, *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def signed(points: float, digits: int = 1) -> str:
    """Format a difference in points with its sign."""
    return f"{round(points, digits) + 0.0:+.{digits}f}".replace("-", "−")


def write_tables(out: Path, **content: str) -> None:
    """Write one file ``OUT.KIND`` per keyword argument, such as csv, md or tex."""
    for kind, text in content.items():
        write_text(out.with_name(f"{out.name}.{kind}"), text)


def latex_row(cells: Sequence[str]) -> str:
    """Format a row of a LaTeX table of cells that are already escaped."""
    return " & ".join(cells) + r" \\"


def tidy_csv(table: pd.DataFrame) -> str:
    """Format a table for people as CSV in full precision, with ``n/a`` in empty cells and without formulas."""
    safe = table.astype(object).map(lambda value: csv_cell(value) if isinstance(value, str) else value)
    return safe.to_csv(index=False, na_rep="n/a")
