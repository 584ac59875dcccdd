"""What the scripts in ``paper_figures/`` have in common: arguments, style, saving, errors."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from elasticast.config import Suite
from elasticast.config.load_suite import load_resolved_suite
from elasticast.errors import ElasticASTError
from elasticast.reporting.released import read_released, released_curves
from elasticast.reporting.results import Panel, beside_other, read_metrics, sweep_panels
from elasticast.reporting.style import paper_style
from elasticast.reporting.uncertainty import read_intervals

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
    """Parse the arguments, load the suite and call ``make`` in the paper's style.

    Parameters
    ----------
    description : str
        The script's docstring, shown by ``--help``.
    make : callable
        Draws and writes; takes the suite and the arguments, ``out`` among them.
    extra : callable
        Adds the script's own arguments.
    of : str
        What is drawn, the name of the argument that says where it lies.
    load : callable
        Reads it.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(f"--{of}", required=True, type=Path, help=f"the {of} as run: {of}.yaml among its results")
    parser.add_argument("--out", required=True, type=Path, help="file to write, without its ending")
    extra(parser)
    arguments = parser.parse_args(argv)
    try:
        with paper_style():
            make(load(vars(arguments)[of]), arguments)
    except ElasticASTError as error:
        sys.exit(f"error: {error}")


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """Add the argument of scripts that draw evaluations."""
    parser.add_argument("--metrics", required=True, type=Path, help="the suite's summary/metrics.csv")


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of scripts that draw sweeps, with what may stand beside our means."""
    add_metrics(parser)
    parser.add_argument(
        "--released", type=Path, help="the authors' curves: paper_figures/reference/released_curves.csv"
    )
    parser.add_argument("--intervals", type=Path, help="the suite's summary/intervals.csv")


def add_curves(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of figures of curves: those of a sweep, and another suite whose curves stand beside ours."""
    add_sweep(parser)
    told = "another suite as run, and its metrics: suite.yaml and metrics.csv among its results"
    parser.add_argument("--beside", nargs=2, type=Path, metavar=("SUITE", "METRICS"), help=told)


def read_curves(suite: Suite, arguments: argparse.Namespace, x_name: str) -> list[Panel]:
    """Panels of a kind of sweep from the files that :func:`add_curves` names."""
    panels = read_panels(suite, arguments, x_name)
    if arguments.beside is None:
        return panels
    resolved, metrics = arguments.beside
    other = load_resolved_suite(resolved)
    return beside_other(panels, suite, other, read_metrics(metrics, other.name))


def read_panels(suite: Suite, arguments: argparse.Namespace, x_name: str) -> list[Panel]:
    """Panels of a kind of sweep from the files that :func:`add_sweep` names."""
    released = arguments.released and released_curves(suite, read_released(arguments.released), x_name)
    intervals = arguments.intervals and read_intervals(arguments.intervals)
    metrics = read_metrics(arguments.metrics, suite.name)
    return sweep_panels(suite, metrics, x_name, released=released, intervals=intervals)
