"""Arguments of the scripts that draw sweeps or print tables of them, and reading panels from the given files."""

import argparse
from pathlib import Path

from elasticast.config import Suite
from elasticast.config.load_suite import load_resolved_suite
from elasticast.reporting.panels import Panel, add_other_suite, sweep_panels
from elasticast.reporting.read_tables import read_intervals, read_metrics, read_released
from elasticast.reporting.released_curves import released_curves


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """Add the argument for the results of a suite."""
    parser.add_argument("--metrics", required=True, type=Path, help="summary/metrics.csv of the suite")


def add_intervals(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the results of a suite and their intervals."""
    add_metrics(parser)
    parser.add_argument("--intervals", type=Path, help="summary/intervals.csv of the suite")


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the files that :func:`read_panels` reads."""
    add_intervals(parser)
    parser.add_argument(
        "--released", type=Path, help="the authors' curves: paper_figures/reference/released_curves.csv"
    )


def add_curves(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the files that :func:`read_curves` reads: those of a sweep, and another suite's results."""
    add_sweep(parser)
    files = "suite.yaml and metrics.csv of another suite, whose curves are drawn as dotted lines"
    parser.add_argument("--beside", nargs=2, type=Path, metavar=("SUITE", "METRICS"), help=files)


def read_curves(suite: Suite, arguments: argparse.Namespace, x_name: str) -> list[Panel]:
    """Read the panels of a kind of sweep, with the curves of another suite if its files are given."""
    panels = read_panels(suite, arguments, x_name)
    if arguments.beside is None:
        return panels
    resolved, metrics = arguments.beside
    other = load_resolved_suite(resolved)
    return add_other_suite(panels, suite, other, read_metrics(metrics, other.name))


def read_panels(suite: Suite, arguments: argparse.Namespace, x_name: str) -> list[Panel]:
    """Read the panels of a kind of sweep, with the released curves and intervals if their files are given."""
    curves = getattr(arguments, "released", None)  # a script without this argument draws our curves alone
    released = curves and released_curves(suite, read_released(curves), x_name)
    intervals = arguments.intervals and read_intervals(arguments.intervals, arguments.metrics)
    metrics = read_metrics(arguments.metrics, suite.name)
    return sweep_panels(suite, metrics, x_name, released=released, intervals=intervals)
