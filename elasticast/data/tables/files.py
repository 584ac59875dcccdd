"""Find the audio file of each row of a table."""

import logging
import os
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from elasticast.data.labels import clean, damage
from elasticast.data.lookup import EXTENSIONS, AudioIndex, index_audio, stem_of
from elasticast.data.tables.read import Rows
from elasticast.errors import DataError
from elasticast.text import printable

LOG = logging.getLogger(__name__)
SEVERAL = "several files have this name"
"""Reason of a row whose file is not at its path, if several files in sub-folders have its name."""


class Files(NamedTuple):
    """Audio file of each row.

    Attributes
    ----------
    paths : list of str
        Path, or ``""`` if there is no file.
    reasons : list of str
        Why there is none, ``""`` if there is one.
    """

    paths: list[str]
    reasons: list[str]


def find_files(rows: Rows, column: str, folder: Path) -> Files:
    """Find the audio file of each row.

    A path is looked up relative to the folder of the table, and to `folder`. With another or no extension, in another
    Unicode form or with backslashes it is found too. If there is no such file, but exactly one with this name in
    `folder`, that one is used.

    Parameters
    ----------
    rows : Rows
        The table.
    column : str
        Column of the paths.
    folder : Path
        Folder of the audio files, which is scanned.

    Raises
    ------
    DataError
        If no row has a file, or a spreadsheet program has damaged a path. The message contains the file and the line.
    """
    index = index_audio(folder, clip_of=clean)
    by_name: dict[str, list[str]] = defaultdict(list)
    for clip in index:
        by_name[stem_of(clip)].append(clip)
    found = [_find(cell, rows.path.parent, index, by_name) for cell in rows.text(column)]
    _check(rows, column, folder, index, found)
    _report(rows, folder, index, found)
    return Files([path for path, _ in found], [reason for _, reason in found])


def _find(cell: str, table_folder: Path, index: AudioIndex, by_name: dict[str, list[str]]) -> tuple[str, str]:
    """Path of the file of a cell, and the reason if there is none."""
    if not cell.strip():
        return "", "no path"
    for base in (table_folder, index.folder):
        path = os.path.join(base, cell.strip())
        if os.path.isfile(path):
            return os.path.normpath(path), ""
    for base in (table_folder, index.folder):
        relative = os.path.relpath(os.path.join(base, cell.strip().replace("\\", "/")), index.folder)
        if path := index.find(clean(_without_extension(relative))):
            return path, ""
    clips = by_name.get(stem_of(clean(_without_extension(cell.replace("\\", "/")))), [])
    if len(clips) == 1:
        return index.find(clips[0]), ""
    return "", SEVERAL if clips else "missing"


def _without_extension(path: str) -> str:
    stem, dot, extension = path.rpartition(".")
    return stem if dot and extension.strip().lower() in EXTENSIONS else path


def _check(rows: Rows, column: str, folder: Path, index: AudioIndex, found: list[tuple[str, str]]) -> None:
    cells = rows.text(column)
    for row, (path, _) in enumerate(found):
        if not path and (cause := damage(cells[row].strip())):
            raise DataError(f"{rows.place(row)}, column {column!r}: {cells[row]!r}: {cause}; correct it in the table")
    if not any(path for path, _ in found):
        raise DataError(
            f"{rows.path}: no row has an audio file, such as {rows.place(0)}, column {column!r}: {cells[0]!r}. The "
            f"audio files in {folder} have paths like {printable(index.example)!r}; set `audio` or `columns.path` in "
            "the dataset's settings"
        )


def _report(rows: Rows, folder: Path, index: AudioIndex, found: list[tuple[str, str]]) -> None:
    """Log how many files are in no row, because a table may be incomplete."""
    used = {os.path.realpath(path) for path, _ in found if path}
    unlisted = [path for path in map(index.find, index) if os.path.realpath(path) not in used]
    if unlisted:
        text = "%s: %d audio files in %s are in no row and are not used, such as %s"
        LOG.warning(text, rows.path, len(unlisted), folder, printable(unlisted[0]))
