"""Which errors of a check of the jobs are retried, and which end the workflow."""

import subprocess
import traceback
from collections.abc import Callable
from logging import Logger

MAX_FAILED = 30
"""Checks in a row that may fail before the workflow ends."""
TEMPORARY = (OSError, subprocess.TimeoutExpired)
"""Errors that may pass: a file system or a command that does not answer. Any other error is a bug."""


class Checks:
    """Runs the checks of the jobs and decides what an error in one of them means."""

    def __init__(self, logger: Logger):
        self.logger = logger
        self.failed = 0
        self.warning = ""

    def run(self, check: Callable[[], None]) -> str | None:
        """Run a check.

        Parameters
        ----------
        check : callable
            Checks all jobs once.

        Returns
        -------
        str or None
            Why no further check can help, or None to go on.
        """
        try:
            check()
        except TEMPORARY as error:
            self.failed += 1
            if self.failed >= MAX_FAILED:
                return f"{self.failed} checks of the jobs failed in a row, the last one with {_text(error)}"
            self._warn(f"The jobs could not be checked: {_text(error)}. Trying again.")
        except Exception:
            return f"the check of the jobs failed with an error that is a bug:\n{traceback.format_exc()}"
        else:
            if self.failed:
                self.logger.info("The jobs can be checked again.")
            self.failed, self.warning = 0, ""
        return None

    def _warn(self, text: str) -> None:
        """Print a warning, unless the last one was the same."""
        if text != self.warning:
            self.logger.warning(text)
            self.warning = text


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
