"""Run `elasticast` in a fork of the test process: as separate as a new process, without its imports."""

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot  # noqa: F401
import pyarrow.parquet  # noqa: F401
import scipy.stats  # noqa: F401
import sklearn.metrics  # noqa: F401
import torch._dynamo  # noqa: F401

import elasticast.cli

SECONDS = 120
"""A command that takes longer hangs."""
GROUP_SECONDS = 10
"""Processes of a command that has ended take less time to notice that."""


class Ended(NamedTuple):
    """How a command ended.

    Attributes
    ----------
    status : int
        Exit status; negative if a signal ended it; None if it hung and was killed.
    text : str
        What it printed.
    """

    status: int | None
    text: str

    @property
    def crashed(self) -> bool:
        """Whether a user would see a traceback, a crash without a message, or a hang."""
        silent = self.status is None or (self.status < 0 and "\nerror: " not in f"\n{self.text}")
        return silent or "Traceback" in self.text


class Command:
    """A running ``elasticast ARGUMENTS``."""

    def __init__(self, arguments: list[object], log: Path, prepare: Callable[[], object] | None = None):
        self.log, self.begun = log, time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            _child([str(argument) for argument in arguments], log, prepare)

    def kill_after(self, seconds: float) -> None:
        """Kill the command and its workers `seconds` after its start, unless it ends before."""
        self.kill_when(lambda: time.monotonic() - self.begun >= seconds)

    def kill_when(self, due: Callable[[], bool]) -> None:
        """Kill the command and its workers as soon as `due()`, unless it ends before."""
        while not due():
            if self._ended():
                return
            time.sleep(0.002)
        self._kill()

    @property
    def seconds(self) -> float:
        """Duration of the command, after `wait`."""
        return self._end - self.begun

    def wait(self, seconds: float = SECONDS) -> Ended:
        """Wait until the command has ended; kill it if it runs for more than `seconds`."""
        while not self._ended():
            if time.monotonic() - self.begun >= seconds:
                self._kill()
                self._ended(block=True)
                return Ended(None, self.log.read_text(errors="replace"))
            time.sleep(0.002)
        self._wait_for_words()
        return Ended(self.status, self.log.read_text(errors="replace"))

    def _wait_for_words(self) -> None:
        """Wait until the process has ended that tells of a crash."""
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() - self._end < GROUP_SECONDS:
                os.killpg(self.pid, 0)
                time.sleep(0.002)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def _ended(self, block: bool = False) -> bool:
        if not hasattr(self, "status"):
            pid, status = os.waitpid(self.pid, 0 if block else os.WNOHANG)
            if not pid:
                return False
            self.status, self._end = os.waitstatus_to_exitcode(status), time.monotonic()
        return True


def elasticast(
    *arguments: object, log: Path, prepare: Callable[[], object] | None = None, seconds: float = SECONDS
) -> Ended:
    """Run a subcommand of `elasticast`; `prepare` is called in its process before it begins."""
    return Command(list(arguments), log, prepare).wait(seconds)


def _child(arguments: list[str], log: Path, prepare: Callable[[], object] | None) -> None:
    status = 1
    try:
        os.setpgid(0, 0)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, signal.SIG_DFL)
        status = _main(arguments, prepare)
    finally:
        os._exit(status)


def _main(arguments: list[str], prepare: Callable[[], object] | None) -> int:
    from elasticast.cli import main

    if arguments[0].endswith(".py"):
        import runpy

        main = lambda: runpy.run_path(arguments[0], run_name="__main__")  # noqa: E731
        sys.argv = arguments
    else:
        sys.argv = ["elasticast", *arguments]
    try:
        if prepare:
            prepare()
        main()
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
