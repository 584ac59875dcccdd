"""Read HDF5 files with errors that name the file, and write them atomically with an error if the disk is full."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from elasticast.errors import DataError
from elasticast.files import replacing


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
    try:
        return h5py.File(path, "r")
    except OSError as error:  # h5py's errors do not name the file
        raise DataError(f"{path}: cannot be read ({error}); {remedy}") from None


@contextmanager
def writing(path: Path) -> Iterator[h5py.File]:
    """Yield a new HDF5 file that replaces `path` if the `with` block raises no error."""
    with replacing(path) as temporary, Disk(temporary) as disk, h5py.File(disk, "w") as file:
        yield file
