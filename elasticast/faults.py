"""Faults of the machine, such as a full disk, too little memory or a killed process: one message, without a traceback.

Libraries report them in many ways: as errors of several types, without the name of the file, or only as text.
"""

import contextlib
import errno
import mmap
import os
import re
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any, NoReturn

from elasticast.errors import ElasticASTError

PLACE = "free some space there, or use a folder on another disk (`results`, `data_root` in config/config.yaml)"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors of the operating system that prevent writing."""
REMEDIES = {
    errno.ENOSPC: PLACE,
    errno.EDQUOT: PLACE,
    errno.EROFS: "set `results` in config/config.yaml to a folder that you may write to",
    errno.EACCES: "change its permissions, or use another folder",
    errno.EFBIG: "raise the limit (`ulimit -f`), or use a file system that allows larger files",
    errno.EMFILE: "raise the limit (`ulimit -n`), or use fewer processes (--workers, train.workers)",
    errno.ENFILE: "too many files are open on this machine: try again later",
    errno.EIO: "the disk or the network file system has a fault: try again, or use another disk",
    errno.ESTALE: "the network file system has lost the file: try again",
}
"""What to do about an error of the operating system."""
PASSING = (errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors of the operating system that say nothing of the file which could not be read."""
LESS_MEMORY = {
    "elasticast prepare": "--workers (`threads` of the rule)",
    "elasticast stats": "--workers (`threads` of the rule)",
    "elasticast train": "train.batch, train.workers or view.max_frames",
    "elasticast evaluate": "the largest x of the evaluations",
    "elasticast resample": "--draws",
    "elasticast predict": "--window, or give fewer files at a time",
}
"""What lowers the memory that a command needs."""
_PROBE = 1 << 20  # bytes
_RESERVE = 4 << 20
"""Bytes that are set aside, and given back when memory runs out: messages need some, too."""
_WATCHED: list[int] = []
"""Ends of the pipes to the processes that watch this one, see `_watched`."""
SHARED = "give it more (in a container: --shm-size), or use fewer processes (--workers, train.workers); then run again"
"""What to do if the processes of a data loader cannot share memory."""
SHARED_MEMORY = "/dev/shm"
_NUMBER = re.compile(r"\[Errno (\d+)\]|os error (\d+)|errno = (\d+)|\[errno (\d+)\]")
_DISK = re.compile(r"No space left on device|Disk quota exceeded|Read-only file system")
_MEMORY = re.compile(
    r"out of memory|not enough memory|(can't|cannot|unable to|failed to) allocate|bad_alloc|can't start new thread|"
    r"failed to map segment|unable to mmap|could not (create|execute) a primitive",
    re.IGNORECASE,
)
_UNEXPLAINED = re.compile("without (setting an )?exception")
_SHARED = re.compile(r"shared memory|/torch_\w+|/dev/shm", re.IGNORECASE)
_FILES = re.compile(r"Too many open files|received 0 items of ancdata")
_KILLED = re.compile(r"DataLoader worker \(pid.*\) (is killed|exited)|Pin memory thread exited")
_INNER = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception): ", re.MULTILINE)


@contextlib.contextmanager
def one_message(stage: str) -> Iterator[None]:
    """Print errors that users can fix, and faults of the machine, as one message; then exit with status 1.

    If this process is killed or crashes in a library, another process prints the message.

    Parameters
    ----------
    stage : str
        The command or script that runs, for the message.
    """
    reserve = None
    try:
        reserve = mmap.mmap(-1, _RESERVE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with _watched(stage), _ended_without_memory(reserve):
            try:
                yield
            finally:
                _flush()
    except Exception as error:
        if reserve:
            reserve.close()
        message = message_of(error, stage)
        if message is None:
            raise
        sys.exit(f"error: {message}")


@contextlib.contextmanager
def _watched(stage: str) -> Iterator[None]:
    """Let another process print a message if this process ends inside the block.

    Of the processes of a run on several GPUs, the others do, see :mod:`elasticast.training.distributed`.
    """
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        yield
        return
    words = (
        f"error: {stage} was killed or crashed; unless somebody stopped it, memory probably ran out: "
        f"{_less_memory(stage)}\n"
    ).encode()
    try:
        reading, writing = os.pipe()
    except OSError:  # too few files may be open
        yield
        return
    _WATCHED.append(writing)
    watcher = None
    with contextlib.suppress(OSError):  # too few processes may run
        watcher = os.fork()
        if not watcher:
            _watch(reading, words)
    os.close(reading)
    try:
        yield
    finally:
        if writing in _WATCHED:  # else this is a fork of the process
            _WATCHED.remove(writing)
            with contextlib.suppress(OSError):
                os.write(writing, b".")
            os.close(writing)
            if watcher:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(watcher, 0)


def _watch(reading: int, words: bytes) -> NoReturn:
    """In the other process: wait until the pipe is closed, and print `words` if nothing came through it before."""
    try:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)  # programs that read the output wait until nobody can write it
        if not os.read(reading, 1):
            os.write(2, words)
    finally:
        os._exit(0)


def _unwatched() -> None:
    """In a fork: close the pipes of its parent."""
    while _WATCHED:
        os.close(_WATCHED.pop())


os.register_at_fork(after_in_child=_unwatched)


@contextlib.contextmanager
def _ended_without_memory(reserve: mmap.mmap) -> Iterator[None]:
    """End the process if one of its threads, or a finaliser, has no memory: other threads would wait for it forever."""
    before = threading.excepthook, sys.unraisablehook

    def ending(hook: Callable[[Any], object]) -> Callable[[Any], None]:
        def report(error: Any) -> None:
            if error.exc_type and issubclass(error.exc_type, MemoryError):
                reserve.close()
                os._exit(1)  # the process that watches this one prints the message
            hook(error)

        return report

    threading.excepthook, sys.unraisablehook = map(ending, before)
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = before


def _flush() -> None:
    """Write out what was printed, so that a full disk is noticed here and not when Python ends."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes again when it ends
        if error.errno != errno.EPIPE:
            raise OSError(error.errno, os.strerror(error.errno), "standard output") from None


def message_of(error: BaseException, stage: str) -> str | None:
    """The message for an error that users can fix, or for a fault of the machine; None for an error of the program."""
    text = _text(error)
    if isinstance(error, OSError | RuntimeError) and _SHARED.search(str(error)):
        return f"{stage}: not enough shared memory in {SHARED_MEMORY}: {SHARED}"
    if _KILLED.search(text) or isinstance(error, BrokenExecutor):
        return f"a process of {stage} was killed, probably because memory ran out: {_less_memory(stage)}"
    if lacking := _without_memory(error):
        reason = _line_on_memory(_text(lacking))
        return f"{stage}: not enough memory{f' ({reason})' if reason else ''}: {_less_memory(stage)}"
    if isinstance(error, ElasticASTError):
        return text
    number = error_number(error)
    if number == errno.ENOMEM:
        return f"{stage}: not enough memory: {_less_memory(stage)}"
    if number is None:
        return text or type(error).__name__ if isinstance(error, OSError) else None
    file = getattr(error, "filename", None)
    reason = os.strerror(number) if file or number in REMEDIES else text
    remedy = f" (while running {stage}): {REMEDIES[number]}; then run again" if number in REMEDIES else ""
    return f"{f'{file}: ' if file else ''}{reason}{remedy}"


def raise_if_passing(error: Exception, path: Path) -> None:
    """Raise an error again, with the name of the file, if the machine is at fault and not the file."""
    if _without_memory(error):
        raise error
    if (number := error_number(error)) in PASSING:
        raise OSError(number, os.strerror(number), str(path)) from None


def _without_memory(error: BaseException | None) -> BaseException | None:
    """The error, or that during whose handling it was raised, if it says that there is no memory; else None."""
    while error is not None:
        text = _text(error)
        if isinstance(error, MemoryError):
            return error
        if isinstance(error, RuntimeError | ImportError | OSError) and _MEMORY.search(text):
            return error
        if isinstance(error, SystemError) and _UNEXPLAINED.search(text) and _is_limited():
            return error
        error = error.__cause__ or error.__context__
    return None


def _is_limited() -> bool:
    """Whether this process may use only so much memory; else Linux refuses none, and kills it when it is used."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def error_number(error: BaseException) -> int | None:
    """The operating system's number of an error, also if a library gives it only as text; else None."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error)
    if found := _NUMBER.search(text):
        return int(next(filter(None, found.groups())))
    if _FILES.search(text):
        return errno.EMFILE
    if found := _DISK.search(text):
        return {"N": errno.ENOSPC, "D": errno.EDQUOT, "R": errno.EROFS}[found[0][0]]
    return None


def while_writing(error: Exception, path: Path, temporary: Path) -> OSError | None:
    """The error with the name of the file, if it was raised because `temporary`, the new `path`, cannot be written."""
    if isinstance(error, ElasticASTError):
        return None
    number = error_number(error)
    named = (getattr(error, name, None) for name in ("filename", "filename2"))  # two files if one is copied
    files = [os.fspath(file) for file in named if file is not None]
    if files and os.fspath(temporary) not in files:
        return None
    if number is None:
        number = _refused(temporary)
    return None if number is None else OSError(number, os.strerror(number), str(path))


def _refused(file: Path) -> int | None:
    """The number of the error with which the system refuses to write more to a file; None if it can be written."""
    try:
        with file.open("ab", buffering=0) as opened:
            if opened.write(bytes(_PROBE)) < _PROBE:
                return errno.ENOSPC
            os.fsync(opened.fileno())
    except OSError as error:
        return error.errno
    return None


def _text(error: BaseException) -> str:
    """The message of an error, without the traceback that a data loader adds."""
    text = str(error)
    if "Original Traceback" in text and (found := list(_INNER.finditer(text))):
        return text[found[-1].end() :].strip()
    return text


def _line_on_memory(text: str) -> str:
    """The line of a message that is about memory, or else its first."""
    lines = [line.strip() for line in text.strip().splitlines()] or [""]
    return next(filter(_MEMORY.search, lines), lines[0])[:200]


def _less_memory(stage: str) -> str:
    lower = f", or lower {LESS_MEMORY[stage]}" if stage in LESS_MEMORY else ""
    return f"give it more memory (on a cluster: mem_mb in profiles/slurm/config.yaml){lower}; then run again"
