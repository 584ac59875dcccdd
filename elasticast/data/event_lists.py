"""Read lists of events: tables with one event per row, separated by tabs, under a header."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from elasticast.config.dataset import SPLITS
from elasticast.data.annotations import MAX_QUOTED, read_lines
from elasticast.data.labels import clean
from elasticast.errors import DataError

EVENT_COLUMNS = ["id", "label", "onset", "offset", "where"]
"""Columns of the tables of events in :class:`~elasticast.data.annotations.Annotations`."""


class Row(NamedTuple):
    """A row of a list: its place for messages, and its cells by column."""

    where: str
    cells: dict[str, str]

    def seconds(self, onset: str, offset: str) -> tuple[float, float]:
        """Times of the event, in the columns `onset` and `offset`.

        Raises
        ------
        DataError
            If a time is not a number of s from 0 on, or if the event does not begin before it ends.
        """
        times = tuple(self._number(column) for column in (onset, offset))
        if times[0] >= times[1]:
            raise DataError(f"{self.where}: {onset} = {times[0]:g} is not before {offset} = {times[1]:g} s")
        return times

    def _number(self, column: str) -> float:
        try:
            value = float(self.cells[column])
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise DataError(f"{self.where}: {column} = {self.cells[column]!r}, expected a number of s from 0 on")
        return value


def lists(files: dict[str, list[str]], data_root: Path) -> list[tuple[str, Path]]:
    """Split and path of each list in the setting `annotations` of a dataset."""
    return [(split, data_root / file) for split in SPLITS for file in files.get(split, [])]


def read_rows(path: Path, columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> Iterator[Row]:
    """Iterate over the rows of a list.

    Parameters
    ----------
    path : Path
        The list.
    columns, optional : tuple of str
        Columns of the header, in this order, and further ones that may follow.

    Raises
    ------
    DataError
        If the file cannot be read, its header is another one, it has no row, or a row has another number of cells.
    """
    lines = read_lines(path, "annotations")
    header = tuple(clean(cell) for cell in next(lines, "").rstrip("\r\n").split("\t"))
    known = {columns + optional[:more] for more in range(len(optional) + 1)}
    if header not in known:
        raise DataError(f"{path}, line 1: {header!r}, expected the columns {columns!r}, separated by tabs")
    number = 1
    for number, line in enumerate(lines, start=2):
        cells = [clean(cell) for cell in line.rstrip("\r\n").split("\t")]
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {number}: {line.strip()[:MAX_QUOTED]!r} has {len(cells)} cells, expected {len(header)}, "
                "separated by tabs"
            )
        yield Row(f"{path}, line {number}", dict(zip(header, cells, strict=True)))
    if number == 1:
        raise DataError(f"{path}: contains no event")


def events_of(rows: list[tuple[str, str, float, float, str]]) -> pd.DataFrame:
    """Table of events from rows of clip, label, onset, offset and place."""
    return pd.DataFrame(rows, columns=EVENT_COLUMNS).astype({"onset": float, "offset": float})
