"""Read HDF5 files with errors that name the file, and write them atomically with an error if the disk is full.

Every byte of these files is covered by a checksum that HDF5 verifies when it reads: metadata, because of the file
format (:data:`FORMAT`), and datasets that are written by :func:`write_column`.
"""

import errno
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from elasticast.errors import DataError
from elasticast.faults import REMEDIES, error_number
from elasticast.files import replacing

FORMAT = ("v110", "v110")
"""Argument `libver` of files to write. The metadata of older formats have no checksums."""
COLUMN_CHUNK = 1 << 14
"""Values per chunk of a column."""


class Disk(io.FileIO):
    """File object for HDF5 that stores the first write error instead of raising it, and ignores later writes.

    If a write fails, for example because the disk is full, HDF5 writes again when it closes the file. A second error
    would crash the process.
    """

    def __init__(self, path: Path):
        super().__init__(path, "w+")
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write all bytes, or store the error."""
        remaining = memoryview(data).cast("B")
        try:
            while len(remaining) and self.error is None:
                remaining = remaining[super().write(remaining) :]
        except OSError as error:
            error.filename = self.name
            self.error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Change the size of the file, which may also exceed the limits of the disk, or store the error."""
        try:
            if self.error is None:
                return super().truncate(size)
        except OSError as error:
            error.filename = self.name
            self.error = error
        return self.tell() if size is None else size

    def check(self) -> None:
        """Raise the stored error, if there is one."""
        if self.error is not None:
            raise self.error

    def __exit__(self, error_type: type[BaseException] | None, *rest: object) -> None:
        """Close the file, and raise the stored error unless the block has raised another one."""
        super().__exit__(error_type, *rest)
        if error_type is None:
            self.check()


def open_hdf5(path: Path, remedy: str) -> h5py.File:
    """Open an HDF5 file for reading.

    Parameters
    ----------
    path : Path
        The file.
    remedy : str
        What the user can do if the file cannot be read; the end of the error message.

    Raises
    ------
    DataError
        If the file does not exist or is damaged.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; {remedy}")
    with naming(path, remedy):
        return h5py.File(path, "r")


@contextmanager
def naming(path: Path, remedy: str) -> Iterator[None]:
    """Raise errors of h5py, which do not name the file, as a `DataError` that does.

    A fault of the machine, such as too many open files, is an `OSError` that names the file; the file may be good.
    The `with` block should do nothing else than read the file: h5py raises many kinds of errors.
    """
    try:
        yield
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        if (number := error_number(error)) in (*REMEDIES, errno.ENOMEM):
            raise OSError(number, os.strerror(number), str(path)) from None
        raise DataError(f"{path}: cannot be read ({_message(error)}); {remedy}") from None


def _message(error: Exception) -> str:
    return str(error.args[0]) if error.args else type(error).__name__  # str() of a KeyError adds quotes


@contextmanager
def reading(path: Path, remedy: str) -> Iterator[h5py.File]:
    """Yield an HDF5 file that is open for reading; see :func:`open_hdf5` and :func:`naming`."""
    with open_hdf5(path, remedy) as file, naming(path, remedy):
        yield file


@contextmanager
def writing(path: Path) -> Iterator[h5py.File]:
    """Yield a new HDF5 file that replaces `path` if the `with` block raises no error."""
    with replacing(path) as temporary, Disk(temporary) as disk, h5py.File(disk, "w", libver=FORMAT) as file:
        yield file


def write_column(file: h5py.Group, name: str, values: np.ndarray | Sequence[str]) -> np.ndarray:
    """Write a one-dimensional dataset with checksums. Returns the values as they are stored.

    Text is stored with a fixed length, because HDF5 keeps text of variable length in a place without checksums.

    Parameters
    ----------
    file : h5py.Group
        Where to write.
    name : str
        Name of the dataset.
    values : ndarray or sequence of str
        Numbers `[n]`, or n texts.
    """
    text = not isinstance(values, np.ndarray)
    if text:
        encoded = [value.encode("utf-8", "surrogateescape") for value in values]
        longest = max(map(len, encoded), default=0)
        values = np.array(encoded, h5py.string_dtype("utf-8", max(longest, 1)))
    chunked = {"chunks": (min(len(values), COLUMN_CHUNK),), "fletcher32": True} if len(values) else {}
    file.create_dataset(name, data=values, **chunked, **({"compression": "gzip"} if text and chunked else {}))
    return values


def read_text(column: h5py.Dataset) -> list[str]:
    """Read a column of text written by :func:`write_column`."""
    return column.asstr("utf-8", "surrogateescape")[:].tolist() if len(column) else []
