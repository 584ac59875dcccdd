"""Atomic writing of HDF5 files, with an error where a disk is full."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py


class Disk(io.FileIO):
    """A file for HDF5 to write to that never fails: it keeps the first error, and drops what comes after it.

    HDF5 still has to write when it closes a file that could not be written, on a full disk say, and then crashes.
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


@contextmanager
def writing(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file, which appears at `path` when the `with` block ends without an error, else not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    disk = Disk(temporary)
    try:
        with disk, h5py.File(disk, "w") as file:
            yield file
        disk.check()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
