"""HDF5 files: reading with errors that name the file, atomic writing with an error if the disk is full."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from elasticast.errors import DataError
from elasticast.files import replacing


class Disk(io.FileIO):
    """A file that HDF5 can always write to: it keeps the first error and drops everything written after it.

    HDF5 writes once more when it closes a file. If that fails, on a full disk say, HDF5 crashes.
    """

    def __init__(self, path: Path):
        super().__init__(path, "w+")
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write all of it, or keep the error."""
        rest = memoryview(data).cast("B")
        try:
            while len(rest) and self.error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            error.filename = self.name
            self.error = error
        return len(data)

    def check(self) -> None:
        """Raise the error that was kept."""
        if self.error is not None:
            raise self.error

    def __exit__(self, error_type: type[BaseException] | None, *rest: object) -> None:
        """Close the file, and raise the kept error unless another error is being raised."""
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
        What the user can do if it cannot be read; it ends the error message.

    Raises
    ------
    DataError
        If there is no such file, or it is damaged.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; {remedy}")
    try:
        return h5py.File(path, "r")
    except OSError as error:  # h5py's errors do not name the file
        raise DataError(f"{path}: cannot be read ({error}); {remedy}") from None


@contextmanager
def writing(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file, which appears at `path` only if the `with` block ends without an error."""
    with replacing(path) as temporary, Disk(temporary) as disk, h5py.File(disk, "w") as file:
        yield file
