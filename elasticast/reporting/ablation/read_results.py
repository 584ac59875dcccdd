"""Read the results of an ablation: metrics, resampled scores and training records of its variants."""

from pathlib import Path

import numpy as np
import pandas as pd

from elasticast.config.ablation_sweeps import Point, point
from elasticast.config.base import PRIMARY_METRIC
from elasticast.config.load_ablation import Ablation
from elasticast.errors import DataError
from elasticast.evaluation.saved_predictions import points
from elasticast.evaluation.statistics import Resampled
from elasticast.files import read_json
from elasticast.hdf5 import open_hdf5
from elasticast.reporting.ablation.scores import AblationResults
from elasticast.reporting.read_tables import read_metrics

_COLUMNS = ("experiment", "seed", "evaluation", "x_name", "x", "compression", "metric", "value", "n")
_ROUNDED = 0.005  # largest change of a metric from saving scores as float16


def read_results(ablation: Ablation, folder: Path) -> AblationResults:
    """Read all results of an ablation; files that do not exist yet are skipped.

    Parameters
    ----------
    folder : Path
        ``results/SUITE/ablations/NAME``; training records are read from ``results/SUITE/runs``.

    Raises
    ------
    DataError
        If a file has results of another run, or variants were resampled with different clips or numbers of draws.
    """
    ablation, tables, resampled, records, origins = _with_distinct_labels(ablation), [], {}, {}, {}
    metric = PRIMARY_METRIC[ablation.task_kind(ablation.base)]
    for variant, run in ablation.trained.items():
        variant_folder = folder / "runs" / variant
        files = [variant_folder / f"seed{seed}" / "metrics.csv" for seed in ablation.seeds]
        measured = [_read_metrics(file, ablation, variant) for file in files if file.is_file()]
        tables += measured
        primary = [table[table["metric"] == metric] for table in measured]
        scores = _read_resampled(variant_folder / "resampled.h5", run, origins)
        resampled[variant] = {key: score for key, score in scores.items() if _is_current(key, score, primary)}
        trained = [folder.parents[1] / "runs" / run / f"seed{seed}" / "run.json" for seed in ablation.seeds]
        records[variant] = [read_json(file) for file in trained if file.is_file()]
    if len(origins) > 1:
        first, second = list(origins.values())[:2]
        raise DataError(
            f"{first} and {second}: different clips or numbers of draws; run `elasticast resample` again for both"
        )
    empty = pd.DataFrame(columns=list(_COLUMNS))
    return AblationResults(ablation, pd.concat(tables or [empty], ignore_index=True), resampled, records)


def _with_distinct_labels(ablation: Ablation) -> Ablation:
    """Replace labels that several variants share by the names of the variants, and drop colours that they share."""
    labels, colors = ([getattr(e, key) for e in ablation.experiments.values()] for key in ("label", "color"))
    experiments = {}
    for variant, e in ablation.experiments.items():
        label = e.label if labels.count(e.label) == 1 else variant
        color = e.color if colors.count(e.color) == 1 else None
        experiments[variant] = e.model_copy(update={"label": label, "color": color})
    return ablation.model_copy(update={"experiments": experiments})


def _read_metrics(path: Path, ablation: Ablation, variant: str) -> pd.DataFrame:
    table, run = read_metrics(path, ablation.suite), ablation.trained[variant]
    unexpected = sorted(set(table["experiment"]) - {run})
    if unexpected:
        raise DataError(f"{path}: holds results of run {', '.join(map(repr, unexpected))}, expected only {run!r}")
    return table[table["evaluation"].isin(ablation.sweep(variant))].assign(experiment=variant)


def _is_current(key: tuple[str, Point], score: Resampled, measured: list[pd.DataFrame]) -> bool:
    """Whether a resampled score agrees with the measured metrics; if not, it belongs to earlier runs."""
    evaluation, at = key
    values = []
    for table in measured:
        rows = table[table["evaluation"] == evaluation].itertuples()
        values += [row.value for row in rows if point(row.x, at[1] and row.compression) == at]
    return len(values) == len(score.values) and np.allclose(values, score.values, rtol=0, atol=_ROUNDED)


def _read_resampled(path: Path, run: str, origins: dict[tuple, Path]) -> dict[tuple[str, Point], Resampled]:
    """Read the resampled scores of a variant on the split test.

    `origins` maps each pair of clips and number of draws to the first file with that pair; this file is added to it.
    """
    if not path.is_file():
        return {}
    scores = {}
    with open_hdf5(path, "run `elasticast resample` again") as file:
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
