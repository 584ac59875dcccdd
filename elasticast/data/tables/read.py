"""Read a table (CSV, TSV or Parquet) as columns of text, with the line of every row for error messages."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from elasticast.data.annotations import MAX_QUOTED, read_lines
from elasticast.data.labels import clean
from elasticast.errors import DataError

FORMATS = (".csv", ".tsv", ".parquet")
"""File name extensions of tables."""
DELIMITERS = ",;\t|"
REMEDY = "a CSV (UTF-8), TSV or Parquet file with one row per clip"
_OTHERS = {
    **dict.fromkeys((".xls", ".xlsx", ".ods"), "a workbook; save its sheet as CSV UTF-8"),
    **dict.fromkeys((".json", ".jsonl"), "JSON; save it as CSV or Parquet"),
    **dict.fromkeys((".pkl", ".pickle"), "a pickle, which can run arbitrary code; save it as CSV or Parquet"),
}
Cell = str | list[str]


class Rows(NamedTuple):
    """A table as text.

    Attributes
    ----------
    path : Path
        The file.
    columns : dict of str to list
        Cells by name of column. A cell is text, or a list of texts if a Parquet file has lists.
    numbers : sequence of int
        Line of each row of a text file; number of each row (from 1) of a Parquet file.
    """

    path: Path
    columns: dict[str, list[Cell]]
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def place(self, row: int) -> str:
        """File and line of a row, for error messages."""
        return f"{self.path}, {'row' if self.path.suffix.lower() == '.parquet' else 'line'} {self.numbers[row]}"

    def text(self, column: str) -> list[str]:
        """Cells of a column of text.

        Raises
        ------
        DataError
            If a cell is a list.
        """
        cells = self.columns[column]
        for row, cell in enumerate(cells):
            if not isinstance(cell, str):
                raise DataError(f"{self.place(row)}, column {column!r}: {cell!r} is a list; expected one text")
        return cells


def find_table(folder: Path) -> Path:
    """The only table in a folder.

    Raises
    ------
    DataError
        If there is none, or more than one.
    """
    if not folder.is_dir():
        kind = "a file, not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {kind}; set `folder` in the dataset's settings to the folder of the recordings")
    tables = tables_in(folder)
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise DataError(f"{folder}: contains several tables ({names}); set `table` in the dataset's settings to one")
    if not tables:
        raise DataError(
            f"{folder}: contains no table ({', '.join(FORMATS)}); set `table` in the dataset's settings, or use "
            "`source: folders` if the folders are named after the classes"
        )
    return tables[0]


def tables_in(folder: Path) -> list[Path]:
    """The tables directly in a folder, sorted by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in FORMATS and not path.name.startswith(".") and path.is_file()
    )


def read_table(path: Path) -> Rows:
    """Read a table.

    Raises
    ------
    DataError
        If the file cannot be read, has no rows, or a row is malformed. The message contains the file and the line.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        kind = _OTHERS.get(suffix, f"the extension {suffix!r} is none of {', '.join(FORMATS)}")
        raise DataError(f"{path}: {kind}; set `table` in the dataset's settings to {REMEDY}")
    rows = _read_parquet(path) if suffix == ".parquet" else _read_text(path, "\t" if suffix == ".tsv" else "")
    if not len(rows):
        raise DataError(f"{path}: contains no row; expected {REMEDY}")
    return rows


# ---------------------------------------------------------------------------------------------
# CSV and TSV
# ---------------------------------------------------------------------------------------------


def _read_text(path: Path, delimiter: str) -> Rows:
    lines = read_lines(path, "table", REMEDY)
    first = next(lines, "")
    delimiter = delimiter or _delimiter(first)
    numbers, records = _records(path, chain([first], lines), delimiter)
    header = _header(path, numbers[0], records[0]) if records else []
    for number, record in zip(numbers[1:], records[1:], strict=True):
        if len(record) != len(header):
            raise DataError(f"{path}, line {number}: {_miscounted(record, header, delimiter)}")
    cells = zip(*records[1:], strict=True) if len(records) > 1 else ([] for _ in header)
    return Rows(path, {name: list(column) for name, column in zip(header, cells, strict=True) if name}, numbers[1:])


def _records(path: Path, lines: Iterable[str], delimiter: str) -> tuple[list[int], list[list[str]]]:
    """Line and cells of each record that is not blank, the header included."""
    # TSV files are often written without quotes, and a quotation mark in a cell then means itself
    quoted = path.suffix.lower() != ".tsv"
    reader = csv.reader(lines, delimiter=delimiter, **({"strict": True} if quoted else {"quoting": csv.QUOTE_NONE}))
    numbers, records, end = [], [], 0
    try:
        for record in reader:
            begin, end = end + 1, reader.line_num
            if any(cell.strip() for cell in record):
                numbers.append(begin)
                records.append(record if quoted else [_unquoted(cell) for cell in record])
    except csv.Error as error:
        raise DataError(f"{path}, line {end + 1}: {error}; a quotation mark may be missing") from None
    return numbers, records


def _delimiter(header: str) -> str:
    """The character that separates the columns: the most frequent candidate outside quotes."""
    counts = Counter(re.sub(r'"[^"]*"', "", header))
    return max(DELIMITERS, key=lambda character: counts[character])


def _unquoted(cell: str) -> str:
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"') if quoted else cell


def _header(path: Path, line: int, names: list[str]) -> list[str]:
    """Names of the columns; columns without a name, such as the index that pandas writes, are ignored."""
    header = [clean(name) for name in names]
    for name, count in Counter(filter(None, header)).items():
        if count > 1:
            raise DataError(f"{path}, line {line}: {count} columns are called {name!r}; rename them")
    return header


def _miscounted(record: list[str], header: list[str], delimiter: str) -> str:
    text = delimiter.join(record)[:MAX_QUOTED]
    hint = f"cells that contain {delimiter!r} must be quoted" if len(record) > len(header) else "some are missing"
    return f"{text!r} has {len(record)} cells, the header has {len(header)} ({', '.join(header)[:MAX_QUOTED]}); {hint}"


# ---------------------------------------------------------------------------------------------
# Parquet
# ---------------------------------------------------------------------------------------------


def _read_parquet(path: Path) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        wanted = [field.name for field in file.schema_arrow if _is_readable(field.type)]
        table = file.read(columns=wanted)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; set `table` to {REMEDY}") from None
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a Parquet file: {error}; set `table` to {REMEDY}") from None
    columns = {clean(name): [_text(value) for value in table[name].to_pylist()] for name in wanted}
    return Rows(path, columns, range(1, table.num_rows + 1))


def _is_readable(kind: Any) -> bool:
    """Whether a column holds texts, numbers, truth values, or lists of them."""
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind) or types.is_dictionary(kind):
        kind = kind.value_type
    checks = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer, types.is_floating)
    return types.is_boolean(kind) or any(check(kind) for check in checks)


def _text(value: Any) -> Cell:
    if isinstance(value, list):
        return [_text(item) for item in value if item is not None]
    if value is None or value != value:  # NaN is not equal to itself
        return ""
    if isinstance(value, float) and value.is_integer():  # integers with gaps are stored as floats
        return str(int(value))
    return str(value)
