"""The display on a terminal while Snakemake runs: jobs done, running jobs with step and time to go, total time to go.

Lines that jobs print would break the display. On a terminal, Snakemake and its jobs therefore write into a pipe, and a
thread prints their lines above the display. It leaves out repeated lines and those of progress, which the display
shows. The log of each job holds all of its lines.
"""

import atexit
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from elasticast.config.load_suite import load_run_config
from elasticast.errors import ElasticASTError
from elasticast.jobs.status import training_progress
from elasticast.progress import last_reported

_STAMP = re.compile(r"^\d\d:\d\d:\d\d ")
_REFRESH_PER_SECOND = 2
_BAR = 24  # characters


class RunningJob(NamedTuple):
    """A job that Snakemake has started.

    Attributes
    ----------
    rule, title : str
        Its rule, and what it does.
    since : float
        When it started (s), on the clock of the messages.
    log, folder : Path or None
        Its log, and the folder of its first output.
    """

    rule: str
    title: str
    since: float
    log: Path | None = None
    folder: Path | None = None

    def progress(self, running: float) -> tuple[str, timedelta | None]:
        """Step with the total, and the time to go; an empty text and None if they are not known.

        Parameters
        ----------
        running : float
            Time since the job started (s). Files that are older are of an earlier job.
        """
        try:
            return self._progress(time.time() - running - 1)
        except (ElasticASTError, OSError, ValueError):  # a file that is being written
            return "", None

    def _progress(self, newest: float) -> tuple[str, timedelta | None]:
        step, to_go = "", None
        if self.folder and _is_newer(self.folder / "history" / "history.csv", newest):
            step, to_go = training_progress(self.folder, load_run_config(self.folder / "config.yaml"))
        if to_go is None and self.log and _is_newer(self.log, newest):
            step, to_go = last_reported(self.log) or (step, None)
        return step, to_go


def _is_newer(path: Path, than: float) -> bool:
    return path.is_file() and path.stat().st_mtime >= than


class LiveDisplay:
    """The display; it begins with :meth:`start` and ends with the process.

    Parameters
    ----------
    summary : callable
        Returns a line about all jobs, and the share of the time that has passed (0 to 1), None if it is not known.
    running : callable
        Returns the jobs to list, each with the time since it started (s).
    """

    def __init__(
        self,
        summary: Callable[[], tuple[str, float | None]],
        running: Callable[[], list[tuple[RunningJob, float]]],
    ):
        self.summary, self.running = summary, running
        self._printed: set[str] = set()

    @staticmethod
    def possible() -> bool:
        """Whether messages go to a terminal that can move its cursor."""
        return sys.stderr.isatty() and not Console(stderr=True).is_dumb_terminal

    def start(self) -> None:
        """Show the display below what has been printed."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._terminals = {fd: os.dup(fd) for fd in (1, 2) if os.isatty(fd)}
        self._console = Console(file=os.fdopen(os.dup(self._terminals[2]), "w"))
        read, write = os.pipe()
        for fd in self._terminals:
            os.dup2(write, fd)
        os.close(write)
        self._reader = threading.Thread(target=self._print_lines, args=(read,), daemon=True)
        self._live = Live(
            get_renderable=self._renderable,
            console=self._console,
            refresh_per_second=_REFRESH_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        self._reader.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """Remove the display and give the terminal back."""
        sys.stdout.flush()
        sys.stderr.flush()
        for fd, terminal in self._terminals.items():
            os.dup2(terminal, fd)
        self._reader.join(timeout=2)  # a process that goes on would keep the pipe open
        self._live.stop()

    def _print_lines(self, pipe: int) -> None:
        """Print the lines that processes write, above the display."""
        with os.fdopen(pipe, errors="replace") as lines:
            for line in lines:
                if self.is_shown(line):
                    self._console.print(Text.from_ansi(line.rstrip("\n")), soft_wrap=True)

    def is_shown(self, line: str) -> bool:
        """Whether to print a line: not if it reports progress, or if a job has printed the same."""
        message = _STAMP.sub("", line)
        if message == line:
            return True
        if last_reported(line) or message in self._printed:
            return False
        self._printed.add(message)
        return True

    def _renderable(self) -> Group:
        line, share = self.summary()
        head = Table.grid(padding=(0, 1))
        head.add_row(ProgressBar(1.0, share or 0.0, width=_BAR), Text(line))
        jobs = Table.grid(padding=(0, 2))
        listed = self.running()
        most = max(self._console.height - 6, 1)
        for job, seconds in listed[:most]:
            jobs.add_row(Text(f"  {job.title}", no_wrap=True, overflow="ellipsis"), *_progress_of(job, seconds))
        if len(listed) > most:
            jobs.add_row(f"  and {len(listed) - most} more")
        return Group(head, jobs)


def _progress_of(job: RunningJob, seconds: float) -> tuple[str, str]:
    """Columns of a job: step, and time to go or, if that is not known, since its start."""
    step, to_go = job.progress(seconds)
    return step, f"{timedelta(seconds=round(seconds))} so far" if to_go is None else f"{to_go} to go"
