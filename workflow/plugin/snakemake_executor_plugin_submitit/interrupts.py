"""Ctrl-C while Snakemake runs jobs: noticed in any case, answered where nothing is half done.

Left to Python and Snakemake a Ctrl-C can be lost, and all jobs run on:

- Python raises KeyboardInterrupt between any two operations of the main thread. Snakemake's log handler drops one that
  is raised while it prints a line. One raised between the acquisition of a lock and the block that releases it leaves
  the lock held, and the thread that looks at jobs waits for it for ever.
- The kernel may give the signal to another thread, such as one that starts `squeue`. Python runs handlers in the main
  thread only, and nothing wakes it as long as no job ends.

So the first Ctrl-C sets a flag, which is looked at in safe places; and whichever thread gets the signal, its number is
written to a pipe, by which the thread that looks at jobs wakes the main thread. A second Ctrl-C acts as in any Python.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator

from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

POLL_S = 0.1


class Interrupts:
    """Handler of SIGINT; all but `pressed` is for the main thread."""

    def __init__(self):
        self._asked = self._pressed = False
        self._before = signal.getsignal(signal.SIGINT)
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)

    def listen(self) -> None:
        """Take note of Ctrl-C from here on; where it is ignored (a script's background process), it stays so."""
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def close(self) -> None:
        """Leave Ctrl-C to whoever handled it before."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, self._before)

    def pressed(self) -> bool:
        """Whether there was a Ctrl-C, for other threads: the main thread may not know of it yet."""
        with contextlib.suppress(BlockingIOError):
            self._pressed |= signal.SIGINT in os.read(self._reader, 4096)
        return self._pressed

    def check(self) -> None:
        """A safe place: answer a Ctrl-C. Those that follow are ignored until the jobs are cancelled.

        Raises
        ------
        KeyboardInterrupt
            If there was one.
        """
        if self._asked:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise KeyboardInterrupt

    def pause(self, seconds: float) -> None:
        """A safe place to wait in."""
        limit = time.monotonic() + seconds
        while (left := limit - time.monotonic()) > 0:
            time.sleep(min(POLL_S, left))
            self.check()

    @contextlib.contextmanager
    def answered(self) -> Iterator[None]:
        """Finish what is begun, however often Ctrl-C is pressed; then leave it to whoever handled it before."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._asked = False
        try:
            yield
        finally:
            self.close()

    def _note(self, *_: object) -> None:
        again, self._asked = self._asked, True
        if again:
            raise KeyboardInterrupt


class InterruptibleExecutor(RemoteExecutor):
    """An executor that answers Ctrl-C between two submissions, while it waits for the scheduler, and in `shutdown`."""

    def __init__(self, workflow, logger):
        # the base class starts the thread that sleeps
        self.interrupts = Interrupts()
        super().__init__(workflow, logger)

    async def sleep(self) -> None:
        """Wait until the next look at jobs, or the end; on Ctrl-C have the main thread, if it waits, call `shutdown`.

        An error of the executor is the one thing that wakes Snakemake's scheduler and does not let it submit more.
        """
        limit = time.monotonic() + self.next_seconds_between_status_checks
        while self.wait:
            await asyncio.sleep(max(0.0, min(POLL_S, limit - time.monotonic())))
            pressed = self.interrupts.pressed()
            if pressed and self.workflow.scheduler is not None:
                self.workflow.scheduler.executor_error_callback(KeyboardInterrupt())
            if pressed or time.monotonic() >= limit:
                return

    def shutdown(self) -> None:
        """Stop looking at jobs; the main thread holds no lock here, so that a Ctrl-C is answered first."""
        self.interrupts.check()
        self.interrupts.close()
        super().shutdown()
