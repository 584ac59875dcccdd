"""Report progress: as a bar on a terminal, as lines in a log."""

import contextlib
import logging
import re
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

T = TypeVar("T")
LOG = logging.getLogger("elasticast")
LOG_EVERY_SECONDS = 60.0
_REPORTED = re.compile(r": (\d+ of \d+), \d+ s, (\d+) s to go ")
"""Lines of :class:`Progress` in a log."""
_TAIL = 4096


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Log no warnings and less important messages inside the block."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


class Progress:
    """Reports how much of `total` is done, in a log at most once a minute, with values such as the loss.

    Parameters
    ----------
    what : str
        Name of the task.
    total : int
        Number of units of work.
    """

    def __init__(self, what: str, total: int):
        self.what, self.total = what, total
        self.started = self.last = time.monotonic()
        console = Console(stderr=True)
        columns = ["{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
        self.bar = RichProgress(
            *columns, TextColumn("{task.fields[values]}"), console=console, disable=not console.is_terminal
        )

    def __enter__(self) -> "Progress":
        self.bar.start()
        self.task = self.bar.add_task(self.what, total=self.total, values="")
        return self

    def __exit__(self, *exc: object) -> None:
        self.bar.stop()

    def rates(self, **totals: float) -> dict[str, float]:
        """Each total divided by the seconds since the start."""
        return {name: total / max(time.monotonic() - self.started, 1e-9) for name, total in totals.items()}

    def update(self, done: int, **values: float) -> None:
        """Report that `done` of `total` is done."""
        now = time.monotonic()
        text = "  ".join(f"{k} {v:.4g}" for k, v in values.items())
        self.bar.update(self.task, completed=done, values=text)
        if self.bar.disable and (done >= self.total or now - self.last >= LOG_EVERY_SECONDS):
            left = (now - self.started) / max(done, 1) * (self.total - done)
            LOG.info(
                "%s: %d of %d, %.0f s, %.0f s to go  %s", self.what, done, self.total, now - self.started, left, text
            )
            self.last = now


def last_reported(log: Path | str) -> tuple[str, timedelta] | None:
    """What the last line of progress in a log says: how much is done of how much, and the time to go.

    Parameters
    ----------
    log : Path or str
        File of the log, or its text.
    """
    if isinstance(log, Path):
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            log = file.read().decode(errors="replace")
    found = _REPORTED.findall(log)
    return (found[-1][0], timedelta(seconds=int(found[-1][1]))) if found else None


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield `items` and report how many of `total` are done."""
    with Progress(what, total) as progress:
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(done)
