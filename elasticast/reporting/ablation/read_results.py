"""Read the results of an ablation: metrics, resampled scores and training records of its variants."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from elasticast.checksums import FILES
from elasticast.config import Evaluation
from elasticast.config.ablation_sweeps import Point, point
from elasticast.config.load_ablation import Ablation
from elasticast.config.reading import OWN_FILE
from elasticast.errors import DataError
from elasticast.evaluation.records import (
    AGAIN,
    EVALUATION,
    PREDICTIONS,
    RESAMPLE_AGAIN,
    Records,
    check_same_data,
    mismatch_with_run,
    name_of_run,
    read_resampled,
    read_training,
)
from elasticast.evaluation.saved_predictions import points
from elasticast.evaluation.statistics import Resampled
from elasticast.hdf5 import open_hdf5
from elasticast.progress import LOG
from elasticast.reporting.ablation.scores import AblationResults
from elasticast.reporting.read_tables import read_run_metrics

_COLUMNS = ("experiment", "seed", "evaluation", "x_name", "x", "compression", "metric", "value", "n", "listed")


def read_results(ablation: Ablation, folder: Path, *, partial: bool = False) -> AblationResults:
    """Read all results of an ablation; files that do not exist yet are skipped.

    Parameters
    ----------
    folder : Path
        ``results/SUITE/ablations/NAME``; training records are read from ``results/SUITE/runs``.
    partial : bool
        Leave out results of earlier runs or settings, with a warning. By default, they are an error.

    Raises
    ------
    DataError
        If a file was changed or has results of another run or ablation, or if variants were resampled with different
        clips or numbers of draws.
    """
    if ablation.name != folder.name:
        raise DataError(f"{folder / 'ablation.yaml'}: is of ablation {ablation.name!r}; {OWN_FILE}")
    ablation, origins = with_distinct_labels(ablation), {}
    tables, resampled, records = [], {}, {}
    of_all: Records = {}
    for variant, run in ablation.trained.items():
        trained = [_run_record(folder, run, seed) for seed in ablation.seeds]
        records[variant] = [read_training(file) for file in trained if file.is_file()]
        evaluations, measured = _read_evaluations(ablation, variant, folder, partial=partial)
        of_all |= evaluations
        tables += measured
        file = folder / "runs" / variant / "resampled.h5"
        resampled[variant] = _read_resampled(file, run, evaluations, origins, partial=partial)
    check_same_data(of_all)
    if len(origins) > 1:
        first, second = list(origins.values())[:2]
        raise DataError(
            f"{first} and {second}: different clips or numbers of draws; run `elasticast resample` again for both"
        )
    empty = pd.DataFrame(columns=list(_COLUMNS))
    metrics = pd.concat(tables or [empty], ignore_index=True)
    return AblationResults(ablation, metrics, resampled, records, _chance(next(iter(origins.values()), None)))


def _chance(path: Path | None) -> float | None:
    """Chance of the test clips in a file of resampled scores."""
    if path is None:
        return None
    with open_hdf5(path, RESAMPLE_AGAIN) as file:
        known = [group.attrs.get("chance", math.nan) for group in file.values() if group.attrs["split"] == "test"]
    return None if math.isnan(known[0]) else float(known[0])


def with_distinct_labels(ablation: Ablation) -> Ablation:
    """Replace labels that several variants share by the names of the variants, and drop colours that they share."""
    labels, colors = ([getattr(e, key) for e in ablation.experiments.values()] for key in ("label", "color"))
    experiments = {}
    for variant, e in ablation.experiments.items():
        label = e.label if labels.count(e.label) == 1 else variant
        color = e.color if colors.count(e.color) == 1 else None
        experiments[variant] = e.model_copy(update={"label": label, "color": color})
    return ablation.model_copy(update={"experiments": experiments})


def _run_record(folder: Path, run: str, seed: int) -> Path:
    return folder.parents[1] / "runs" / run / f"seed{seed}" / "run.json"


def _read_evaluations(
    ablation: Ablation, variant: str, folder: Path, *, partial: bool
) -> tuple[Records, list[pd.DataFrame]]:
    """Records and metrics of a variant, for each seed that was evaluated."""
    records, tables = {}, []
    for seed in ablation.seeds:
        file = folder / "runs" / variant / f"seed{seed}" / "metrics.csv"
        if not file.is_file():
            continue
        source = file.with_name(EVALUATION)
        record, table = read_run_metrics(file)
        run = _run_record(folder, ablation.trained[variant], seed)
        if _accept(_mismatch(ablation, variant, seed, source, record, run), partial=partial):
            records[source] = record
            tables.append(table[table["evaluation"].isin(ablation.sweep(variant))].assign(experiment=variant))
    return records, tables


def _mismatch(
    ablation: Ablation, variant: str, seed: int, source: Path, record: dict[str, Any], run: Path
) -> str | None:
    """Message if an evaluation is not of the run and the sweeps of a variant."""
    expected = {"suite": ablation.suite, "experiment": ablation.trained[variant], "seed": seed}
    for key, value in expected.items():
        if record[key] != value:
            raise DataError(f"{source}: {key} is {record[key]!r}, expected {value!r}: these are results of another run")
    for name, evaluation in ablation.sweep(variant).items():
        if name not in record["evaluations"]:
            return f"{source}: has no evaluation {name!r}; {AGAIN}"
        if Evaluation.model_validate(record["evaluations"][name]) != evaluation:
            return f"{source}: evaluation {name!r} has other settings than ablation {ablation.name!r}; {AGAIN}"
    return mismatch_with_run(source, record, run) if run.is_file() else None


def _accept(message: str | None, *, partial: bool) -> bool:
    """Whether there is no message. A message is an error; with `partial` it is a warning."""
    if message and not partial:
        raise DataError(message)
    if message:
        LOG.warning("left out: %s", message)
    return not message


def _read_resampled(
    path: Path, run: str, evaluations: Records, origins: dict[tuple, Path], *, partial: bool
) -> dict[tuple[str, Point], Resampled]:
    """Read the resampled scores of a variant on the split test; {} if some of the seeds were not evaluated.

    `origins` maps each pair of clips and number of draws to the first file with that pair; this file is added to it.
    """
    if not path.is_file():
        return {}
    resampled = read_resampled(path)["predictions"]
    for source, record in evaluations.items():
        name = name_of_run(record)
        if name in resampled and resampled[name] != record[FILES][PREDICTIONS]:
            message = f"{path}: is not of the predictions of {name} in {source}; {RESAMPLE_AGAIN}"
            _accept(message, partial=partial)
            return {}
    if set(resampled) != {name_of_run(record) for record in evaluations.values()}:
        return {}
    scores = {}
    with open_hdf5(path, RESAMPLE_AGAIN) as file:
        if file.attrs["experiment"] != run:
            raise DataError(f"{path}: holds results of run {file.attrs['experiment']!r}, expected {run!r}")
        for name, group in file.items():
            if group.attrs["split"] != "test":
                continue
            origins.setdefault((group.attrs["clips_sha256"], int(file.attrs["draws"])), path)
            for at in points(group):
                compression = at.attrs["compression"] if "@" in at.name.rsplit("/", 1)[1] else None
                place = point(float(at.attrs["x"]), None if compression is None else float(compression))
                scores[name, place] = Resampled(run, at["values"][:], at["draws"][:])
    return scores
