"""Snakemake's benchmark files: the time and memory of one job."""

import csv
from pathlib import Path
from typing import NamedTuple

SAMPLES, SHORT, LONG = 30, 0.5, 30.0
"""Snakemake reads the CPU time of a job `SAMPLES` times every `SHORT` seconds, then every `LONG` seconds."""


class Measured(NamedTuple):
    """What a job took.

    Attributes
    ----------
    seconds : float
        Time from its start to its end. If the job was stopped and started again, only the last start counts.
    cpu_seconds : float
        Time of all its processes on all cores, see :func:`cpu_seconds`.
    peak_mib : float
        Largest memory of all its processes together (resident set size).
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float


def read_benchmark(path: Path) -> Measured | None:
    """Read the benchmark file of a job; None if there is none, or if it is damaged."""
    try:
        with path.open(newline="") as file:
            row = list(csv.DictReader(file, delimiter="\t"))[-1]
        seconds = float(row["s"])
        sampled = row.get("cpu_time") not in (None, "NA", "-")
        measured = float(row["cpu_time"]) if sampled else seconds
        peak = float(row["max_rss"]) if sampled else 0.0
    except (OSError, ValueError, TypeError, KeyError, IndexError, csv.Error):
        return None
    return Measured(seconds, cpu_seconds(seconds, measured), peak) if seconds >= 0 else None


def cpu_seconds(seconds: float, sampled: float) -> float:
    """CPU time of a whole job.

    Snakemake's value ends with its last sample, up to 30 s before the end of the job. The time after it is counted at
    the mean rate of the time before.

    Parameters
    ----------
    seconds : float
        Time from the start to the end of the job.
    sampled : float
        CPU time at the last sample (s).
    """
    dense = SAMPLES * SHORT
    last = seconds if seconds < dense + SHORT else dense + LONG * ((seconds - dense) // LONG)
    return sampled * seconds / last if last else sampled
