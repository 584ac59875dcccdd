"""Read the labels of a task from the cells of a table, and check them."""

import logging
import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from elasticast.config.dataset.table import ClassNames, Labels
from elasticast.data.annotations import read_lines
from elasticast.data.labels import MAX_NAMED, class_of, clean, damage
from elasticast.data.tables.read import Cell, Rows
from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
Place = Callable[[int], str]
"""Number of a row to its file and line, for error messages."""
YES, NO = {"1", "true", "yes", "x"}, {"", "0", "false", "no"}
SEPARATORS = ("|", ";", ",", "/")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)


def read_classes(classes: ClassNames, folder: Path, key: str) -> list[str] | None:
    """The class names that the settings list, or None if they list none.

    Parameters
    ----------
    classes : list of str, str or None
        The names, or a text file in `folder` with one per line.
    folder : Path
        Folder of the recordings.
    key : str
        Key of the setting, for error messages.

    Raises
    ------
    DataError
        If the file cannot be read, or a name occurs twice.
    """
    if classes is None:
        return None
    source, names = f"`{key}` in the dataset's settings", classes
    if isinstance(classes, str):
        source = str(folder / classes)
        names = list(read_lines(folder / classes, key, "a text file with one class name per line"))
    names = [clean(name) for name in names if name.strip()]
    if again := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{source}: the class {again[0]!r} is there {names.count(again[0])} times; expected it once")
    if not names:
        raise DataError(f"{source}: has no class name; expected one per line")
    return names


def read_labels(
    rows: Rows, task: str, settings: Labels, columns: list[str], classes: list[str] | None
) -> list[list[str]]:
    """The labels of each row.

    Parameters
    ----------
    rows : Rows
        The table.
    task : str
        Name of the task, for error messages.
    settings : Labels
        Settings of the task.
    columns : list of str
        Columns that hold the labels.
    classes : list of str or None
        The only labels that may occur; None allows all.

    Raises
    ------
    DataError
        If a cell is malformed or damaged, or a label is not a class. The message contains the file, the line and the
        value.
    """
    if settings.one_hot:
        return _one_hot(rows, columns)
    labels: list[list[str]] = [[] for _ in range(len(rows))]
    for column in columns:
        _refuse_numbers(rows, task, column, classes)
        _check_separator(rows, task, column, settings)
        for row, cell in enumerate(rows.columns[column]):
            labels[row] += _split(cell, settings.separator)
    labels = [list(dict.fromkeys(names)) for names in labels]
    key, first = f"labels.{task}.classes", first_rows(labels)
    if classes is None:
        _check_damage(first, rows.place, task, key)
    check_classes(first, rows.place, task, key, classes)
    return labels


def _split(cell: Cell, separator: str | None) -> list[str]:
    """Labels in a cell."""
    parts = cell if isinstance(cell, list) else cell.split(separator) if separator else [cell]
    return [name for part in parts if (name := clean(part))]


def _one_hot(rows: Rows, columns: list[str]) -> list[list[str]]:
    labels: list[list[str]] = [[] for _ in range(len(rows))]
    for column in columns:
        for row, cell in enumerate(rows.text(column)):
            value = clean(cell).casefold().removesuffix(".0")
            if value not in YES | NO:
                raise DataError(
                    f"{rows.place(row)}, column {column!r}: {cell!r}, expected 0 or 1 (or no or yes, false or true), "
                    "because `one_hot` is set"
                )
            if value in YES:
                labels[row].append(column)
    return labels


def _refuse_numbers(rows: Rows, task: str, column: str, classes: list[str] | None) -> None:
    """Refuse a column of decimal numbers, unless the settings list them as classes."""
    values = {clean(cell) for cell in rows.columns[column] if isinstance(cell, str)} - {""}
    decimal = sorted(value for value in values if _NUMBER.fullmatch(value) and not float(value).is_integer())
    if classes is None and decimal and all(_NUMBER.fullmatch(value) for value in values):
        raise DataError(
            f"{rows.path}: column {column!r} of task {task} holds decimal numbers such as {decimal[0]}; regression is "
            f"not supported. Replace them by names of ranges, or list them in `labels.{task}.classes` if they are names"
        )


def _check_separator(rows: Rows, task: str, column: str, settings: Labels) -> None:
    """Check that cells of several labels can be told from cells of one."""
    if settings.kind == "single":
        for row, cell in enumerate(rows.columns[column]):
            if isinstance(cell, list) and len(cell) > 1:
                message = f"{cell!r} are several labels; set `labels.{task}.kind` to multi"
                raise DataError(f"{rows.place(row)}, column {column!r}: {message}")
    elif settings.separator is None and len(settings.columns) < 2:
        for row, cell in enumerate(rows.columns[column]):
            marks = [mark for mark in SEPARATORS if mark in cell] if isinstance(cell, str) else []
            if marks:
                raise DataError(
                    f"{rows.place(row)}, column {column!r}: {cell!r} may be one label or several; set "
                    f"`labels.{task}.separator` in the dataset's settings, for example to {marks[0]!r}"
                )


# ---------------------------------------------------------------------------------------------
# Checks
# ---------------------------------------------------------------------------------------------


def first_rows(labels: list[list[str]]) -> dict[str, int]:
    """The first row of each label."""
    first: dict[str, int] = {}
    for row, names in enumerate(labels):
        for name in names:
            first.setdefault(name, row)
    return first


def check_classes(first: dict[str, int], place: Place, task: str, key: str, classes: list[str] | None) -> None:
    """Check that labels are classes; if none are listed, that no two labels are the same but for case or spaces.

    Parameters
    ----------
    first : dict of str to int
        See :func:`first_rows`.
    place : callable
        Number of a row to its file and line.
    task : str
        Name of the task.
    key : str
        Key of the setting that lists the classes.
    classes : list of str or None
        The listed classes.

    Raises
    ------
    DataError
        The message contains the file, the line, the label and what is probably meant.
    """
    if classes is None:
        for names in _same_but_for_case(first):
            listed = ", ".join(f"{name!r} ({place(first[name])})" for name in names[:MAX_NAMED])
            raise DataError(
                f"task {task}: these labels differ only in case, spaces or Unicode form: {listed}; correct them, or "
                f"list all classes in `{key}` of the dataset's settings"
            )
        return
    known = set(classes)
    for name, row in first.items():
        try:
            class_of(name, known)
        except ValueError as error:
            raise DataError(f"{place(row)}, task {task}: {error}; correct the label, or add it to `{key}`") from None


def _check_damage(first: dict[str, int], place: Place, task: str, key: str) -> None:
    """Refuse labels that a spreadsheet program has changed. Truth values are labels if all labels are."""
    truth = all(name.casefold() in ("true", "false") for name in first)
    for name, row in first.items():
        if not truth and (cause := damage(name)):
            raise DataError(f"{place(row)}, task {task}: {name!r}: {cause}; correct it, or list all classes in `{key}`")


def _same_but_for_case(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ only in case, spaces, underscores or Unicode form."""
    groups: dict[str, list[str]] = {}
    for name in names:
        folded = re.sub(r"[\s_]+", "", unicodedata.normalize("NFKC", name).casefold())
        groups.setdefault(folded, []).append(name)
    return [group for group in groups.values() if len(group) > 1]
