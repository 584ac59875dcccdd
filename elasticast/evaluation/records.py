"""Records of results: what they were computed from, and whether they belong together.

Every evaluation has a record, `evaluation.json`, and so has every table of a suite: that of ``metrics.csv`` is
``metrics.json``. See :mod:`elasticast.checksums`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from elasticast.checksums import FILES, check_folder, read_record, verify, write_record
from elasticast.errors import DataError
from elasticast.files import write_text
from elasticast.progress import LOG

Records = dict[Path, dict[str, Any]]
EVALUATION = "evaluation.json"
"""Name of the record of an evaluation, in the folder of its `metrics.csv` and `predictions.h5`."""
PREDICTIONS = "predictions.h5"
MODEL_SUMS = {"weights_sha256": "model.safetensors", "model_sha256": "model.json"}
"""Keys of the record of an evaluation for the SHA-256 of the files of a model."""
AGAIN = "evaluate again (with snakemake: delete metrics.csv of the run first)"
TRAIN_AGAIN = "train again (with snakemake: delete run.json of the run first)"
RESAMPLE_AGAIN = "run `elasticast resample` again (with snakemake: delete the .h5 file first)"
KEYS = (
    "suite", "experiment", "seed", "dataset", "task", "kind", "evaluations", "weights_sha256", "model_sha256",
    "data_sha256", "notes",
)  # fmt: skip
"""Keys of the record of an evaluation that later stages use."""
TRAINING_KEYS = ("experiment", "seed")
"""Keys of the record of a training that later stages use."""


def read_evaluation(file: Path) -> dict[str, Any]:
    """Read the record of the evaluation that wrote a file, and verify both.

    Parameters
    ----------
    file : Path
        `metrics.csv` or `predictions.h5` of an evaluation.

    Raises
    ------
    DataError
        If the record is missing, if the file or the record was changed, or if they are copies from another run.
    """
    source = file.with_name(EVALUATION)
    record = read_record(source, AGAIN)
    if missing := [key for key in KEYS if key not in record]:
        raise DataError(f"{source}: is no record of an evaluation: it has no {', '.join(missing)}; {AGAIN}")
    check_folder(source, record, AGAIN)
    verify(file, record, source, AGAIN)
    return record


def read_training(run: Path) -> dict[str, Any]:
    """Read `run.json`, the record of a training run.

    Raises
    ------
    DataError
        If the file is missing, was changed, is a copy from another run, or is the record of something else.
    """
    record = read_record(run, TRAIN_AGAIN)
    missing = [key for key in TRAINING_KEYS if key not in record]
    if missing or MODEL_SUMS["weights_sha256"] not in record.get(FILES, {}):
        raise DataError(
            f"{run}: is no record of a training: it has no {', '.join(missing) or 'weights'}; {TRAIN_AGAIN}"
        )
    check_folder(run, record, TRAIN_AGAIN)
    return record


def check_distinct(files: list[Path]) -> None:
    """Raise an error if a file is given twice."""
    for file in files:
        if files.count(file) > 1:
            raise DataError(f"{file}: is given twice")


def mismatch_with_run(source: Path, record: dict[str, Any], run: Path) -> str | None:
    """Compare the record of an evaluation with that of the training run.

    Parameters
    ----------
    source : Path
        File of the evaluation's record.
    record : dict
        Content of this file.
    run : Path
        `run.json` of the run.

    Returns
    -------
    str or None
        Message that names both files and the first difference. None if the evaluation is one of this run.
    """
    trained = read_training(run)
    files = trained.get(FILES, {})
    expected = {key: trained.get(key) for key in ("experiment", "seed")}
    expected |= {key: files.get(name) for key, name in MODEL_SUMS.items()}
    actual = record | (record.get("changed_from") or {})
    for key, value in expected.items():
        if actual[key] != value:
            return f"{source}: {key} is {_short(actual[key])}, but {_short(value)} in {run}; {AGAIN}"
    return None


def check_together(records: Records) -> None:
    """Check that runs, or evaluations, belong into one table.

    Parameters
    ----------
    records : dict of Path to dict
        Content of `run.json` or `evaluation.json`, by file.

    Raises
    ------
    DataError
        If two records are of the same experiment and seed, if they are of several suites, or if they used different
        data of the same name. The message names both files.
    """
    if pair := _conflict(records, lambda r: (r["experiment"], r["seed"]), lambda path, _: path):
        run = name_of_run(records[pair[0]])
        raise DataError(f"{pair[0]} and {pair[1]}: both are of {run}; remove the copy, or compute it again")
    check_same_data(records)
    if pair := _conflict(records, _weights, lambda _, r: (r["experiment"], r["seed"]) if _weights(r) else None):
        runs = " and ".join(name_of_run(records[path]) for path in pair)
        LOG.warning("%s and %s: %s have the same weights; is one of them a copy?", *pair, runs)


def check_same_data(records: Records) -> None:
    """Check that runs or evaluations are of one suite, and that those with the same dataset used the same data.

    Raises
    ------
    DataError
        If not. The message names two files.
    """
    for key, group in (("suite", None), ("data_sha256", "dataset")):
        if pair := _conflict(records, lambda r, g=group: r[g] if g else None, lambda _, r, k=key: r.get(k)):
            first, second = (f"{path} has {key} {_short(records[path].get(key))}" for path in pair)
            raise DataError(f"{first}, but {second}: they do not belong together; compute one of them again")


def _conflict(
    records: Records, group: Callable[[dict], object], value: Callable[[Path, dict], object]
) -> tuple[Path, Path] | None:
    """The first two records of the same group that differ in a value."""
    first: dict[object, Path] = {}
    for path, record in records.items():
        other = first.setdefault(group(record), path)
        if value(other, records[other]) != value(path, record):
            return other, path
    return None


def _weights(record: dict[str, Any]) -> str | None:
    """SHA-256 of the weights that a run trained, or that an evaluation evaluated; None for published weights."""
    trained = record.get(FILES, {}).get("model.safetensors")
    return trained or (record.get("model_sha256") and record.get("weights_sha256"))


def _short(value: object) -> str:
    """A value for a message; digests are cut to 16 characters."""
    return f"{value[:16]}..." if isinstance(value, str) and len(value) > 40 else repr(value)


def read_resampled(path: Path) -> dict[str, Any]:
    """Read the record of resampled predictions, and verify both files.

    Parameters
    ----------
    path : Path
        File that :func:`elasticast.evaluation.intervals.resample` wrote.

    Returns
    -------
    dict
        With the keys ``suite``, ``experiment``, ``draws`` and ``predictions``: the SHA-256 of the predictions, by the
        name of their run such as ``elastic/seed0``.

    Raises
    ------
    DataError
        If the record is missing, if the file or the record was changed, or if they are copies from another run.
    """
    record = read_record(record_of(path), RESAMPLE_AGAIN)
    check_folder(record_of(path), record, RESAMPLE_AGAIN)
    verify(path, record, record_of(path), RESAMPLE_AGAIN)
    return record


def write_table(path: Path, table: pd.DataFrame, content: dict[str, Any]) -> None:
    """Write a table as a CSV file, and its record.

    Parameters
    ----------
    path : Path
        CSV file.
    table : DataFrame
        The table.
    content : dict
        Content of the record: what the table was made from.
    """
    write_text(path, table.to_csv(index=False))
    write_record(record_of(path), content, [path])


def name_of_run(record: dict[str, Any]) -> str:
    """Experiment and seed of a record, as in the folders of runs."""
    return f"{record['experiment']}/seed{record['seed']}"


def record_of(path: Path) -> Path:
    """File of the record of a table, or of resampled predictions."""
    return path.with_suffix(".json")
