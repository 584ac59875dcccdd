"""Handles Ctrl-C while jobs run, so that it is never lost and never interrupts a step halfway.

With the default handler of Python, Snakemake can lose a Ctrl-C, and all jobs go on:

- Python can raise KeyboardInterrupt at any point of the main thread. If Snakemake's log handler is printing a line, it
  drops the exception. If a lock was just acquired and the block that releases it was not entered yet, the lock stays
  held, and the thread that checks jobs waits for it for ever.
- The kernel can deliver the signal to another thread, such as one that starts `squeue`. Python runs handlers in the
  main thread only, and that thread sleeps until a job ends.

So the first Ctrl-C only sets a flag, which the main thread reads where it is safe to stop. Whichever thread gets the
signal, Python also writes its number to a pipe. The thread that checks jobs reads the pipe and wakes the main thread. A
second Ctrl-C raises KeyboardInterrupt at once.
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
    """Handler of SIGINT. Only `pressed` may be called from other threads than the main thread."""

    def __init__(self):
        self._asked = self._pressed = False
        self._before = signal.getsignal(signal.SIGINT)
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)

    def listen(self) -> None:
        """Start to handle Ctrl-C, unless it is ignored, as in the background processes of a script."""
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def close(self) -> None:
        """Restore the previous handler."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, self._before)

    def pressed(self) -> bool:
        """Whether Ctrl-C was pressed; true even before the main thread has run the handler."""
        with contextlib.suppress(BlockingIOError):
            self._pressed |= signal.SIGINT in os.read(self._reader, 4096)
        return self._pressed

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed, and ignore further ones until the jobs are cancelled.

        Raises
        ------
        KeyboardInterrupt
            If Ctrl-C was pressed.
        """
        if self._asked:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise KeyboardInterrupt

    def pause(self, seconds: float) -> None:
        """Wait, and stop waiting on Ctrl-C."""
        limit = time.monotonic() + seconds
        while (left := limit - time.monotonic()) > 0:
            time.sleep(min(POLL_S, left))
            self.check()

    @contextlib.contextmanager
    def ignored(self) -> Iterator[None]:
        """Ignore Ctrl-C inside the block, then restore the previous handler."""
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
    """An executor that stops on Ctrl-C between submissions, while it waits for the scheduler, and in `shutdown`."""

    def __init__(self, workflow, logger):
        # the base class starts the thread that calls `sleep`
        self.interrupts = Interrupts()
        super().__init__(workflow, logger)

    async def sleep(self) -> None:
        """Wait until the next check of the jobs, or until the end; on Ctrl-C make the main thread call `shutdown`.

        Only an error of the executor wakes Snakemake's scheduler and keeps it from submitting more jobs.
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
        """Stop checking jobs. The main thread holds no lock here, so a Ctrl-C is handled first."""
        self.interrupts.check()
        self.interrupts.close()
        super().shutdown()
