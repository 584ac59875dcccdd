"""Print tables as tidy CSV, Markdown and LaTeX."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from elasticast.files import write_text


def markdown_table(head: Sequence[str], align: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table.

    Parameters
    ----------
    align : sequence of str
        ``---``, ``:---:`` or ``---:`` for each column.
    """
    lines = [head, align, *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def escape(text: str) -> str:
    """Escape text for LaTeX."""
    text = text.replace("\\", "\0")
    for character in "&%$#_{}":
        text = text.replace(character, "\\" + character)
    symbols = {"\0": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    symbols |= {
        "·": r"$\cdot$",
        "–": "--",
        "−": "$-$",
        "≤": r"$\le$",
        "×": r"$\times$",
        "±": r"$\pm$",
        "Δ": r"$\Delta$",
    }
    for symbol, command in symbols.items():
        text = text.replace(symbol, command)
    return text


def signed(points: float, digits: int = 1) -> str:
    """Format a difference in points with its sign."""
    return f"{round(points, digits) + 0.0:+.{digits}f}".replace("-", "−")


def write_tables(out: Path, **content: str) -> None:
    """Write one file ``OUT.KIND`` per keyword argument, such as csv, md or tex."""
    for kind, text in content.items():
        write_text(out.with_name(f"{out.name}.{kind}"), text)


def tidy_csv(table: pd.DataFrame) -> str:
    """Format a table as CSV in full precision, with ``n/a`` in empty cells."""
    return table.astype(object).to_csv(index=False, na_rep="n/a")
