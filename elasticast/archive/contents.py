"""Which files of a suite belong in its archive."""

from collections.abc import Iterator
from pathlib import Path

from elasticast.checksums import read_record, verify
from elasticast.config import Suite
from elasticast.config.dataset.licences import licence_of
from elasticast.data.prepared import REMEDY, SUMMARY
from elasticast.errors import DataError
from elasticast.evaluation.records import EVALUATION, read_evaluation, read_training, record_of

TABLES = ("metrics", "intervals", "pairs", "runs", "history", "data", "lengths", "norms")
"""Tables in the folder ``summary`` of a suite; each has a record. `elasticast publish` needs all of them."""
RUN = ("config.yaml", "sweeps.yaml", "run.json", EVALUATION, "metrics.csv", "predictions.h5", "model.json")
WEIGHTS = "model.safetensors"
_OF_SOME_RUNS = ("model_code.py", "history/history.csv", "history/validation.csv")
_DATA = (SUMMARY, "summary.csv", "classes.json")
_CLIPS = ("manifest.parquet", "ids.txt")
ALL = "run `snakemake all` first"


def contents(suite: Suite, results: Path, figures: Path, *, weights: bool) -> dict[str, Path]:
    """Files of a suite by their place in the archive. Each was verified with the record of what wrote it.

    Parameters
    ----------
    results : Path
        Folder with the results of all suites.
    figures : Path
        Folder with the figures and tables of the suite.
    weights : bool
        Whether the weights of the runs belong to the archive.

    Raises
    ------
    DataError
        If a file is missing or was changed.
    """
    files = [*_of_suite(results / suite.name), *_of_runs(suite, results, weights), *_of_data(suite, results)]
    found = {f"results/{file.relative_to(results).as_posix()}": _existing(file) for file in files}
    for file in sorted(figures.iterdir()) if figures.is_dir() else ():
        if file.is_file():
            found[f"paper_figures/{suite.name}/{file.name}"] = file
    return found


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise DataError(f"{file}: no such file; {ALL}")
    return file


def _of_suite(folder: Path) -> Iterator[Path]:
    for name in TABLES:
        table = folder / "summary" / f"{name}.csv"
        record = read_record(record_of(table), ALL)
        verify(table, record, record_of(table), ALL)
        yield from (table, record_of(table))
    yield from (folder / "summary" / "suite.yaml", folder / "index.html")
    yield from sorted((folder / "benchmarks").glob("*.tsv"))  # the time of each job, of which the cost is computed


def _of_runs(suite: Suite, results: Path, weights: bool) -> Iterator[Path]:
    for experiment in suite.experiments:
        for seed in suite.seeds:
            folder = results / suite.name / "runs" / experiment / f"seed{seed}"
            record = read_training(folder / "run.json")
            for name in ("metrics.csv", "predictions.h5"):
                read_evaluation(folder / name)
            for name in ("model.json", WEIGHTS) if weights else ("model.json",):
                verify(folder / name, record, folder / "run.json", ALL)
            yield from (folder / name for name in (*RUN, *([WEIGHTS] if weights else [])))
            yield from (folder / name for name in _OF_SOME_RUNS if (folder / name).is_file())


def _of_data(suite: Suite, results: Path) -> Iterator[Path]:
    for name, dataset in suite.datasets.items():
        folder = results / "data" / name
        names = [*_DATA, *(_CLIPS if licence_of(dataset) else ())]
        record = read_record(folder / SUMMARY, REMEDY)
        for file in names[1:]:
            verify(folder / file, record, folder / SUMMARY, REMEDY)
        yield from (folder / file for file in names)
        yield from sorted(folder.glob("norm-*.json"))
