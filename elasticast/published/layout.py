"""The files of published results, ``docs/results/SUITE``.

The summary tables of the suite with their records and the resolved settings are copied as they are. ``jobs.csv`` says
what each job cost and where it ran. ``published.json`` is the record of all these files. The folder ``figures`` holds
what ``snakemake redraw`` draws from them.
"""

from collections.abc import Collection, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from elasticast.checksums import FILES, read_record, verify
from elasticast.config import Suite
from elasticast.config.load_suite import load_resolved_suite
from elasticast.errors import DataError
from elasticast.published.costs import read_jobs
from elasticast.reporting.read_tables import read_history, read_intervals, read_metrics, read_pairs, read_runs

ROOT = Path("docs/results")
RECORD = "published.json"
SUITE = "suite.yaml"
JOBS = "jobs.csv"
TABLES = ("metrics", "runs", "history", "intervals", "pairs", "data", "lengths", "norms")
"""Summary tables, each a CSV file and its record."""
OF_PARTIAL = TABLES[:3]
"""The tables of results from ``--config partial=true``."""
FIGURES, PICTURES = "figures", "pictures.json"
REMEDY = "run `elasticast publish` again"
TO_JUDGE = {"metrics.csv", "metrics.json", SUITE}
"""Files without which nothing can be drawn."""


@dataclass(frozen=True)
class Published:
    """Published results of a suite, whose files were verified.

    Attributes
    ----------
    folder : Path
        ``docs/results/SUITE``.
    record : dict
        Content of ``published.json``.
    suite : Suite
        The suite with all settings.
    """

    folder: Path
    record: dict[str, Any]
    suite: Suite

    def has(self, name: str) -> bool:
        """Whether a file is published."""
        return name in self.record[FILES]

    @property
    def metrics(self) -> pd.DataFrame:
        """All scores, one row per run, point of a sweep and metric."""
        return read_metrics(self.folder / "metrics.csv", self.suite.name)

    @property
    def intervals(self) -> pd.DataFrame:
        """Means over seeds with their 95 % intervals."""
        return read_intervals(self.folder / "intervals.csv", self.folder / "metrics.csv")

    @property
    def pairs(self) -> pd.DataFrame:
        """Paired tests of two experiments."""
        return read_pairs(self.folder / "pairs.csv", self.folder / "metrics.csv")

    @property
    def runs(self) -> pd.DataFrame:
        """One row per training run."""
        return read_runs(self.folder / "runs.csv")

    @property
    def history(self) -> pd.DataFrame:
        """Losses and scores during training, one row per logged step or evaluation."""
        return read_history(self.folder / "history.csv")

    @property
    def jobs(self) -> pd.DataFrame:
        """One row per job: cost, machine and digests."""
        return read_jobs(self.folder / JOBS)


def read_published(folder: Path) -> Published:
    """Read published results and verify all their files.

    Raises
    ------
    DataError
        If the folder has no record, or if a file is missing or was changed.
    """
    return Published(folder, verified_record(folder, TO_JUDGE), load_resolved_suite(folder / SUITE))


def verified_record(folder: Path, needed: Set[str], without: Collection[str] = ()) -> dict[str, Any]:
    """Read the record of a published suite or ablation, which names the `needed` files, and verify all its files.

    Those that are named in `without` are not verified.

    Raises
    ------
    DataError
        If there is no record, or if a file is missing or was changed.
    """
    source = folder / RECORD
    if not source.is_file():
        raise DataError(f"{folder}: holds no published results: it has no {RECORD}; {REMEDY}")
    record = read_record(source, REMEDY)
    if missing := needed - set(record.get(FILES, {})):
        raise DataError(f"{source}: names no {', '.join(sorted(missing))}; {REMEDY}")
    for name in record[FILES]:
        if name not in without:
            verify(folder / name, record, source, REMEDY)
    return record
