"""Published results of an ablation, in ``docs/results/SUITE/ablations/NAME``.

``ablation.yaml`` has all settings, ``scores.csv`` every score of every run, ``variants.csv`` the table that compares
the variants, and ``runs.csv`` the trainings. ``intervals.csv`` has the intervals of the curves, and ``grid.csv`` the
tests at all lengths and resolutions, if there is a grid of them. The figure is drawn from these files.
``published.json`` is the record of them and of the figure.
"""

from pathlib import Path

import pandas as pd

from elasticast.checksums import FILES
from elasticast.config.ablation_sweeps import GRID as GRID_SWEEP
from elasticast.config.ablation_sweeps import shared_points
from elasticast.config.load_ablation import Ablation, load_resolved_ablation
from elasticast.errors import DataError
from elasticast.files import write_text
from elasticast.provenance import git_commit, versions
from elasticast.published.ablation_figure import (
    GRID,
    INTERVALS,
    NEEDED,
    SCORES,
    SETTINGS,
    VARIANTS,
    draw_figure,
    read_published_csv,
)
from elasticast.published.layout import RECORD, REMEDY, ROOT, verified_record
from elasticast.reporting import collect
from elasticast.reporting.ablation.read_results import read_results
from elasticast.reporting.ablation.run_table import run_table
from elasticast.reporting.ablation.scores import AblationResults
from elasticast.reporting.ablation.variant_table import compare_variants, printed_csv, read_variants
from elasticast.reporting.tables import tidy_csv

FOLDER, RUNS = "ablations", "runs.csv"


def publish_ablation(results: Path, name: str, out: Path | None = None) -> Path:
    """Publish an ablation: its settings, scores, comparison and figure, without weights.

    Parameters
    ----------
    results : Path
        Results of one suite, ``results/SUITE``.
    name : str
        The ablation.
    out : Path, optional
        Folder to write; by default ``docs/results/SUITE/ablations/NAME``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DataError
        If a run is missing, or a file was changed or has results of another run. Nothing is published then.
    """
    folder, remedy = results / FOLDER / name, f"run `snakemake ablation_{name} --config suite={results.name}` first"
    if not (folder / SETTINGS).is_file():
        raise DataError(f"{folder / SETTINGS}: no such file; {remedy}")
    ablation = load_resolved_ablation(folder / SETTINGS)
    found = read_results(ablation, folder)
    table, out = compare_variants(found), out or ROOT / ablation.suite / FOLDER / name
    unfinished = table[(table["seeds"] < table["seeds_planned"]) | table["low"].isna()]
    if len(unfinished):
        raise DataError(f"{folder}: variant {unfinished['variant'].iloc[0]!r} has not run with all seeds; {remedy}")
    out.mkdir(parents=True, exist_ok=True)
    (out / RECORD).unlink(missing_ok=True)  # without it, nothing is published until all files are written
    write_text(out / SETTINGS, (folder / SETTINGS).read_text(encoding="utf-8"))
    write_text(out / SCORES, tidy_csv(run_table(found)))
    write_text(out / VARIANTS, printed_csv(table))
    collect.runs(sorted(set(_runs(ablation, results))), out / RUNS)
    write_text(out / INTERVALS, tidy_csv(found.intervals))
    files = [SETTINGS, SCORES, VARIANTS, RUNS, f"{Path(RUNS).stem}.json", INTERVALS]
    (out / GRID).unlink(missing_ok=True)
    if found.grid_tests:
        write_text(out / GRID, tidy_csv(_grid_table(found)))
        files.append(GRID)
    about = {"suite": ablation.suite, "ablation": name, "published_with": {"git_commit": git_commit(), **versions()}}
    draw_figure(out, files, about)
    return out


def _grid_table(results: AblationResults) -> pd.DataFrame:
    """The differences to the base at all lengths and resolutions, with their tests."""
    points = shared_points(results.ablation, GRID_SWEEP)
    rows = [
        {"variant": variant, "x": x, "compression": compression, **test._asdict()}
        for variant, tests in results.grid_tests.items()
        for (x, compression), test in zip(points, tests, strict=True)
    ]
    return pd.DataFrame(rows)


def _runs(ablation: Ablation, results: Path) -> list[Path]:
    """The records of its trainings."""
    return [results / f"runs/{run}/seed{seed}/run.json" for run in ablation.trained.values() for seed in ablation.seeds]


def published_variants(suite: str, name: str) -> pd.DataFrame:
    """The table of a published ablation, read after :func:`check_ablation`, which raises errors."""
    return read_variants(_verified(suite, name) / VARIANTS)


def published_scores(suite: str, name: str) -> pd.DataFrame:
    """All metrics of all runs of a published ablation, read after :func:`check_ablation`, which raises errors."""
    return read_published_csv(_verified(suite, name) / SCORES)


def _verified(suite: str, name: str) -> Path:
    """The folder of a published ablation, all files of which were verified."""
    folder = ROOT / suite / FOLDER / name
    check_ablation(folder, suite)
    return folder


def check_ablation(folder: Path, suite: str) -> int:
    """Verify the files of a published ablation of a suite, and return their number. The folder has its name.

    Raises
    ------
    DataError
        If the ablation is not published, if a file is missing or was changed, or if they are of another ablation.
    """
    record = verified_record(folder, NEEDED)
    expected = {"suite": suite, "ablation": folder.name}
    for key, value in expected.items():
        if record[key] != value:
            raise DataError(f"{folder / RECORD}: {key} is {record[key]!r}, expected {value!r}; {REMEDY}")
    return len(record[FILES])
