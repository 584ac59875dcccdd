"""Write files atomically (a file is complete or does not exist), lock files, and read JSON."""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elasticast.errors import DataError, ElasticASTError
from elasticast.faults import while_writing


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` if the `with` block raises no error.

    The file is synchronised to disk before it is renamed. So after a power failure, `path` is either the old or the
    complete new file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        _to_disk(temporary)
        temporary.replace(path)
        with contextlib.suppress(OSError):  # not supported by all network file systems
            _to_disk(path.parent)
    except Exception as error:
        if failure := while_writing(error, path, temporary):
            raise failure from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(opened)


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary file, which then replaces `path`; see :func:`replacing`."""
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
    """Hold a lock on the file `path`. The lock is released when the process ends, even if it is killed.

    Parameters
    ----------
    busy : str
        Error message if another process holds the lock.
    shared : bool
        Whether several processes may hold the lock, as long as all of them set `shared`.
    wait : bool
        Wait until the lock is free instead of raising an error.

    Raises
    ------
    ElasticASTError
        If another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:  # on NFS, shared locks need a readable file and exclusive ones a writable file
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise ElasticASTError(f"{path.parent}: {busy}") from None
        yield


@contextmanager
def exclusive(folder: Path, busy: str) -> Iterator[None]:
    """Let only one process at a time use a folder.

    There are two lock files. `lock` decides which process may use the folder. `in_use` is for :func:`in_use`, which
    briefly locks this file to check whether the folder is in use. A process that is just starting then waits for the
    lock, so the check never makes it fail.

    Parameters
    ----------
    busy : str
        Error message if another process uses the folder.

    Raises
    ------
    ElasticASTError
        If another process uses the folder.
    """
    with locked(folder / "lock", busy), locked(folder / "in_use", busy, wait=True):
        yield


def in_use(folder: Path) -> bool:
    """Whether a process uses a folder, see :func:`exclusive`. Read access to the folder is enough."""
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
