"""Write files atomically (a file is complete or does not exist), lock files, and read JSON."""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import platform
import re
import shutil
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from elasticast.errors import DataError, ElasticASTError
from elasticast.faults import while_writing

LEFTOVER = re.compile(r"\..+\.(?P<host>[0-9a-f]{8})\.(?P<process>\d+)\.part", re.DOTALL)
"""Names of temporary files, see :func:`replacing`."""
LEFTOVER_AGE = 7 * 24 * 3600
"""Age in seconds after which a temporary file of another host is deleted."""
LONGEST = 210  # bytes; a name has 255 at most, and the name of its temporary file is longer


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` if the `with` block raises no error.

    The file is synchronised to disk before it is renamed. So after a power failure, `path` is either the old or the
    complete new file. The temporary file is ``.NAME.HOST.PROCESS.part``. If the process is killed, the next process
    that writes to the folder deletes it, see :func:`remove_leftovers`. An error of writing names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers_once(path.parent.absolute(), os.getpid())
    temporary = path.with_name(f".{_shortened(path.name)}.{_host()}.{os.getpid()}.part")
    try:
        temporary.touch()  # with the permissions of any new file in this folder
        mode = temporary.stat().st_mode
        yield temporary
        if temporary.stat().st_mode != mode:  # some libraries let only the owner read their files
            temporary.chmod(mode)
        to_disk(temporary)
        temporary.replace(path)
        with contextlib.suppress(OSError):  # not supported by all network file systems
            to_disk(path.parent)
    except Exception as error:
        if failure := while_writing(error, path, temporary):
            raise failure from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _shortened(name: str) -> str:
    """Shorten the name of a file if the name of its temporary file would exceed the limit of file systems."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= LONGEST else f"{os.fsdecode(encoded[:LONGEST])}-{zlib.crc32(encoded):08x}"


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files in a folder whose processes were killed.

    Several machines may share the folder. For a process of another machine, it is unknown whether it is alive, so its
    file is deleted only if nothing was written to it for :data:`LEFTOVER_AGE`.
    """
    for path in folder.iterdir():
        name = LEFTOVER.fullmatch(path.name)
        with contextlib.suppress(OSError):  # another process deletes it, too, or it belongs to another user
            if name and _is_dead(name["host"], int(name["process"]), path):
                path.unlink()


@cache
def _remove_leftovers_once(folder: Path, _process: int) -> None:
    """Once per process and folder: listing a folder of many files for every file would take long."""
    with contextlib.suppress(OSError):
        remove_leftovers(folder)


def _is_dead(host: str, process: int, path: Path) -> bool:
    if host != _host():
        return time.time() - path.stat().st_mtime > LEFTOVER_AGE
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


@cache
def _host() -> str:
    """Digest of the machine's name and, for containers, of the space in which its process numbers are valid."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        space = ""
    return hashlib.sha256(f"{platform.node()} {space}".encode()).hexdigest()[:8]


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces the folder `path` if the `with` block raises no error.

    The files have to be synchronised to disk by what writes them, such as :func:`write_atomic`. Only one process at a
    time may write `path`.
    """
    temporary = path.with_name(f".{path.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
        with contextlib.suppress(OSError):  # not supported by all network file systems
            to_disk(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def to_disk(path: Path) -> None:
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
    """Write a JSON file.

    Raises
    ------
    DataError
        If a number is NaN or infinite, which JSON does not have. Nothing is written.
    """
    try:
        text = json.dumps(value, indent=2, allow_nan=False)
    except ValueError:
        wrong = next(_not_finite(value), "a number is not finite")
        raise DataError(f"{path}: not written: {wrong}; expected a finite number") from None
    write_text(path, text + "\n")


def _not_finite(value: Any, key: str = "") -> Iterator[str]:
    """Keys and values of all numbers in `value` that are NaN or infinite."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{key} = {value}"
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for name, child in children:
        yield from _not_finite(child, f"{key}.{name}" if key else str(name))


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


def is_file(path: Path) -> bool:
    """Whether a file exists.

    Raises
    ------
    DataError
        If that cannot be determined, because a folder is not readable. `Path.is_file` returns False then from Python
        3.14 on.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not valid JSON")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: cannot be read: expected a JSON object")
    return value


@contextmanager
def no_stderr() -> Iterator[None]:
    """Discard what C libraries print to stderr; errors of Python are raised as usual.

    It holds for the whole process, so use it for a moment only.
    """
    try:
        kept = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
