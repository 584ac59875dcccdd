"""Atomic writing (the whole file appears, or nothing), locks, and reading of JSON."""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elasticast.errors import DataError, ElasticASTError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file in the folder of `path` to write to; it replaces `path` if the `with` block raises no error.

    The file reaches the disk before it is renamed, so that after a power cut `path` is the old file or the whole new
    one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        _to_disk(temporary)
        temporary.replace(path)
        with contextlib.suppress(OSError):  # some network file systems refuse it for folders
            _to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(opened)


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, which then replaces `path`; see :func:`replacing`."""
    with replacing(path) as temporary:
        write(temporary)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file."""
    write_atomic(path, lambda file: file.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file."""
    write_text(path, json.dumps(value, indent=2) + "\n")


@contextmanager
def locked(path: Path, busy: str, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold the lock file `path`; the lock ends with the process, however it ends.

    Parameters
    ----------
    busy : str
        Message of the error if another process holds it.
    shared : bool
        Others may hold it too, but nobody may hold it alone.
    wait : bool
        Wait until it is free.

    Raises
    ------
    ElasticASTError
        If another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:  # NFS gives shared locks to readers and exclusive ones to writers only
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise ElasticASTError(f"{path.parent}: {busy}") from None
        yield


@contextmanager
def exclusive(folder: Path, busy: str) -> Iterator[None]:
    """Let one process at a time work in a folder.

    Two lock files are needed: `lock` decides which process works, `in_use` tells :func:`in_use` that one does. Asking
    takes the second lock for a moment, which the process that starts to work waits for. So asking never makes it fail.

    Parameters
    ----------
    busy : str
        Message of the error if another process works there.

    Raises
    ------
    ElasticASTError
        If another process works in the folder.
    """
    with locked(folder / "lock", busy), locked(folder / "in_use", busy, wait=True):
        yield


def in_use(folder: Path) -> bool:
    """Whether a process works in a folder, see :func:`exclusive`; also for folders that one may only read."""
    try:
        with (folder / "in_use").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: cannot be read: expected a JSON object")
    return value
