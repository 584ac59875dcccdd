"""Guess which columns of a table hold labels, and in which style."""

import re
from typing import Any

from elasticast.config.dataset.table import RESERVED
from elasticast.data.labels import clean
from elasticast.data.tables.columns import LABELS, existing_columns, guess_column, named
from elasticast.data.tables.labels import NO, YES
from elasticast.data.tables.read import Cell, Rows
from elasticast.errors import DataError

SEPARATORS = ("|", ";", ",")


def guess_labels(rows: list[Rows], taken: set[str], columns: list[str]) -> dict[str, dict[str, Any]]:
    """Settings of the labels of each task, by the name of the task.

    Parameters
    ----------
    rows : list of Rows
        The tables.
    taken : set of str
        Columns that have another use.
    columns : list of str
        Columns that hold labels, one task each. If empty, the one with a usual name, or those that hold 0 and 1.

    Raises
    ------
    DataError
        If a column does not exist, or no column looks like labels.
    """
    names = [named(rows[0], name, "--labels") for name in columns]
    if not names and (guess := guess_column(rows[0], LABELS, taken)):
        names = [guess]
    if names:
        styles = {
            _task_name(name): _style([cell for part in rows for cell in _cells(part, name)], name) for name in names
        }
        if len(styles) < len(names):
            raise DataError(f"--labels {' --labels '.join(names)}: the tasks would have the same name; rename a column")
        return styles
    flags = [
        name for name in rows[0].columns if name not in taken and all(_is_flag(part.columns[name]) for part in rows)
    ]
    if len(flags) < 2:
        raise DataError(
            f"{rows[0].path}: no column has a usual name of labels ({', '.join(LABELS)}); name it with --labels. "
            f"{existing_columns(rows[0])}"
        )
    counts = [sum(_is_yes(part.columns[name][row]) for name in flags) for part in rows for row in range(len(part))]
    kind = "single" if set(counts) == {1} else "multi"
    return {"label": {"kind": kind, "columns": flags, "one_hot": True}}


def _cells(rows: Rows, column: str) -> list[Cell]:
    return rows.columns[named(rows, column, "--labels")]


def _task_name(column: str) -> str:
    """Name of the task of a column: what names may contain."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", column).strip("_")[:40]
    return "label" if not name or name in RESERVED else name


def _is_flag(cells: list[Cell]) -> bool:
    values = {clean(cell).casefold() if isinstance(cell, str) else None for cell in cells}
    return None not in values and values <= {"0", "1"} and "1" in values


def _is_yes(cell: Cell) -> bool:
    return isinstance(cell, str) and clean(cell).casefold() in YES - NO


def _style(cells: list[Cell], column: str) -> dict[str, Any]:
    """Settings for one column. Cells hold several labels if their parts also occur in other combinations."""
    if any(isinstance(cell, list) for cell in cells):
        return {"kind": "multi", "columns": [column]}
    texts = {cell for cell in cells if clean(cell)}
    for separator in SEPARATORS:
        parts = {clean(part) for cell in texts for part in cell.split(separator)}
        if any(separator in cell for cell in texts) and len(parts) < len(texts):
            return {"kind": "multi", "columns": [column], "separator": separator}
    return {"kind": "single", "columns": [column]}
