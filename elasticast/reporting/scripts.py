"""Arguments, style and error messages that all scripts in ``paper_figures/`` share."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from elasticast.config import Suite
from elasticast.config.load_suite import load_resolved_suite
from elasticast.faults import one_message
from elasticast.reporting.style import paper_style

T = TypeVar("T", bound=Suite)


def run_script(
    description: str | None,
    make: Callable[[T, argparse.Namespace], None],
    add_arguments: Callable[[argparse.ArgumentParser], None],
    argv: Sequence[str] | None = None,
    *,
    kind: str = "suite",
    load: Callable[[Path], T] = load_resolved_suite,
) -> None:
    """Parse the arguments, load the suite or ablation, and call `make` with the paper's style active.

    Parameters
    ----------
    description : str
        Text for ``--help``: the docstring of the script.
    make : callable
        Draws and writes the output. It is called with the suite or ablation and the parsed arguments.
    add_arguments : callable
        Adds further arguments to the parser.
    argv : sequence of str, optional
        Command line, by default that of the process.
    kind : {"suite", "ablation"}, default "suite"
        What `make` draws; also the name of the argument for its file.
    load : callable
        Reads that file.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        f"--{kind}", required=True, type=Path, help=f"{kind}.yaml in the results: the {kind} with all settings resolved"
    )
    parser.add_argument("--out", required=True, type=Path, help="file to write, without extension")
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    with one_message(parser.prog), paper_style():
        make(load(vars(arguments)[kind]), arguments)
