"""Verify and read the files of a prepared dataset: they have the checksums in its record, ``summary.json``."""

from functools import lru_cache
from pathlib import Path

import pandas as pd

from elasticast.checksums import read_record, verify
from elasticast.errors import DataError

SUMMARY = "summary.json"
"""Record of a prepared dataset, which is written after all other files."""
REMEDY = "run `elasticast prepare` again to repair the dataset"
"""Remedy in error messages if a file was changed."""

STATS_REMEDY = "delete it and run `elasticast stats` again to recreate it"
"""Remedy in error messages if a file of normalisation statistics cannot be used."""


def verified_file(path: Path) -> Path:
    """Verify that a file of a prepared dataset has the checksum in ``summary.json`` of its folder, and return it.

    A process computes the checksum of a file only once, unless the file changes.

    Raises
    ------
    DataError
        If the file or the record is missing or was changed, or if they do not belong together.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; create it with `elasticast prepare`")
    _verify(path, _stamp(path), _stamp(path.with_name(SUMMARY)))
    return path


def read_rows(path: Path) -> pd.DataFrame:
    """Verify and read a Parquet file of a prepared dataset, see `verified_file`."""
    import pyarrow.parquet as pq

    # without threads: Arrow waits forever for those that lack of memory keeps from starting
    return pq.ParquetFile(verified_file(path), pre_buffer=False).read(use_threads=False).to_pandas(use_threads=False)


@lru_cache(maxsize=256)
def _verify(path: Path, *_: tuple) -> None:
    source = path.with_name(SUMMARY)
    verify(path, read_record(source, REMEDY), source, REMEDY)


def _stamp(path: Path) -> tuple:
    """Values that change if a file is written or replaced."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
