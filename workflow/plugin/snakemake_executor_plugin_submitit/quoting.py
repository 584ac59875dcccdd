"""Quotes the arguments of the inner Snakemake for a shell.

Snakemake quotes them with Python's `repr`. A shell reads that differently: ``"it's $(date)"`` would run `date`.
"""

import builtins
import shlex

from snakemake_interface_executor_plugins import utils


def _quoted(value: object) -> str:
    return shlex.quote(value) if isinstance(value, str) else builtins.repr(value)


def quote_for_shells() -> None:
    """Replace `repr` in the module of Snakemake that formats the arguments of jobs."""
    utils.repr = _quoted
    utils.is_quoted = lambda value: False  # a value that begins and ends with quotes would be passed on as it is
