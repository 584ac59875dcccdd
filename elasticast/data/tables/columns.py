"""Which columns of a table hold paths, labels, spans, splits and groups: as set, or by their usual names."""

import logging

from elasticast.config.dataset import Table
from elasticast.config.dataset.table import Labels
from elasticast.data.labels import clean, meant
from elasticast.data.tables.read import Rows
from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
GUESSES = {
    "path": (
        *("file_name", "filename", "path", "filepath", "file_path", "file", "audio_path", "audio", "audio_file"),
        *("wav", "wav_file", "fname", "recording", "clip"),
    ),
    "id": ("id", "clip_id"),
    "start": ("start", "start_time", "start_s", "start_seconds", "onset", "begin"),
    "end": ("end", "end_time", "end_s", "end_seconds", "stop", "stop_time", "offset"),
    "split": ("split", "subset"),
    "fold": ("fold",),
    "group": ("speaker", "speaker_id", "client_id", "group", "src_file", "subject", "session"),
}
"""Usual names of columns, in order of preference. Case does not matter."""
LABELS = ("label", "labels", "category", "class", "class_name", "target", "tags", "tag", "genre", "emotion")
"""Usual names of the column with labels, after the name of the task."""


def resolve_columns(rows: Rows, settings: Table) -> dict[str, str]:
    """The column of each use, ``""`` if there is none.

    Parameters
    ----------
    rows : Rows
        The table.
    settings : Table
        Settings of the dataset.

    Returns
    -------
    dict of str to str
        Keys are those of :data:`GUESSES`.

    Raises
    ------
    DataError
        If a column that is set does not exist, if no column holds paths, or if one holds starts and none ends. The
        message contains the file, the key and the columns that exist.
    """
    columns = {}
    for use, guesses in GUESSES.items():
        name = getattr(settings.columns, use)
        if name:
            columns[use] = named(rows, name, f"columns.{use}")
        else:
            columns[use] = guess_column(rows, guesses) if name is None else ""
    cells = rows.columns[columns["id"]] if columns["id"] else []
    if not settings.columns.id and ("" in cells or len(set(map(str, cells))) < len(cells)):
        columns["id"] = ""  # not an id of clips; perhaps that of speakers
    if not columns["path"]:
        raise DataError(
            f"{rows.path}: no column has one of the usual names of audio files ({', '.join(GUESSES['path'])}); set "
            f"`columns.path` in the dataset's settings. {existing_columns(rows)}. Are these names?"
        )
    if columns["end"] and not columns["start"]:
        if settings.columns.end:
            raise DataError(
                f"{rows.path}: `columns.end` = {columns['end']!r} needs `columns.start`. {existing_columns(rows)}"
            )
        columns["end"] = ""
    return columns


def label_columns(rows: Rows, task: str, settings: Labels, taken: set[str]) -> list[str]:
    """The columns that hold the labels of a task: those that are set, or one with a usual name.

    Parameters
    ----------
    taken : set of str
        Columns that have another use and cannot be guessed.

    Raises
    ------
    DataError
        If a column does not exist, or none has a usual name.
    """
    if settings.columns:
        return [named(rows, name, f"labels.{task}.columns") for name in settings.columns]
    guess = guess_column(rows, (task, *LABELS), taken)
    if not guess:
        raise DataError(
            f"{rows.path}: no column is called {task!r} or has another usual name of labels ({', '.join(LABELS)}); set "
            f"`labels.{task}.columns` in the dataset's settings. {existing_columns(rows)}"
        )
    return [guess]


def named(rows: Rows, name: str, key: str) -> str:
    """A column that the settings name.

    Raises
    ------
    DataError
        If it does not exist. The message contains the file, the key, the value and the column that is probably meant.
    """
    if clean(name) in rows.columns:
        return clean(name)
    probable = meant(clean(name), list(rows.columns))
    hint = f"{probable!r} is probably meant. " if probable else ""
    raise DataError(
        f"{rows.path}: has no column {name!r} (`{key}` in the dataset's settings). {hint}{existing_columns(rows)}"
    )


def guess_column(rows: Rows, names: tuple[str, ...], taken: set[str] = frozenset()) -> str:
    """The first column with one of these names, whatever its case; ``""`` if there is none."""
    by_name = {column.casefold(): column for column in rows.columns if column not in taken}
    return next((by_name[name.casefold()] for name in names if name.casefold() in by_name), "")


def existing_columns(rows: Rows) -> str:
    """The columns of a table, for error messages."""
    return f"Its columns are: {', '.join(map(repr, rows.columns))}"
