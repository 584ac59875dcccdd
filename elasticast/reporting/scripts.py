"""What the scripts in ``paper_figures/`` share: arguments, style, error messages."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from elasticast.config import Suite
from elasticast.config.load_suite import load_resolved_suite
from elasticast.errors import ElasticASTError
from elasticast.reporting.style import paper_style

T = TypeVar("T", bound=Suite)


def run_script(
    description: str | None,
    make: Callable[[T, argparse.Namespace], None],
    extra: Callable[[argparse.ArgumentParser], None],
    argv: Sequence[str] | None = None,
    *,
    of: str = "suite",
    load: Callable[[Path], T] = load_resolved_suite,
) -> None:
    """Parse the arguments, load the suite or ablation, and call ``make`` in the style of the paper.

    Parameters
    ----------
    description : str
        Description in ``--help``: the docstring of the script.
    make : callable
        Draws and writes. It is called with the suite and the parsed arguments.
    extra : callable
        Adds further arguments to the parser.
    of : {"suite", "ablation"}
        What is drawn; also the name of the argument for its file.
    load : callable
        Reads that file.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        f"--{of}", required=True, type=Path, help=f"{of}.yaml of the results: the {of} with all its settings"
    )
    parser.add_argument("--out", required=True, type=Path, help="file to write, without extension")
    extra(parser)
    arguments = parser.parse_args(argv)
    try:
        with paper_style():
            make(load(vars(arguments)[of]), arguments)
    except ElasticASTError as error:
        sys.exit(f"error: {error}")
