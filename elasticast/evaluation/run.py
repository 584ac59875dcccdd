"""One evaluation job: a trained run over all its sweeps."""

import time
from dataclasses import replace
from pathlib import Path

from elasticast.config import Evaluation, RunConfig
from elasticast.config.load_suite import load_run_config
from elasticast.config.reading import read_yaml, validate
from elasticast.data.manifest import read_classes, read_data_hash
from elasticast.errors import DataError
from elasticast.evaluation.saved_predictions import saving
from elasticast.evaluation.sweep import evaluate
from elasticast.files import write_json, write_text
from elasticast.models.device import compute_record, default_device
from elasticast.models.pretrained import Pretrained, load_model
from elasticast.progress import LOG
from elasticast.provenance import code_digest, job_record


def evaluate_run(source: Path, sweeps_file: Path, data: Path, out: Path, run: Path | None = None) -> None:
    """Evaluate the model in `source` and write `metrics.csv`, `predictions.h5` and `evaluation.json` into `out`.

    Parameters
    ----------
    source : Path
        Folder with `model.safetensors` and `model.json`; or, with `run`, any weights with a head.
    sweeps_file : Path
        YAML with `suite` and `evaluations`.
    data : Path
        Prepared dataset.
    out : Path
        Folder to write into.
    run : Path, optional
        `config.yaml` of the run that weights from elsewhere stand for, see :func:`standing_for`.
    """
    begun = time.monotonic()
    settings = read_yaml(sweeps_file)
    sweeps = {
        n: validate(Evaluation, v, str(sweeps_file), "evaluations", n) for n, v in settings["evaluations"].items()
    }
    device = default_device()
    trained = load_model(source)
    if run is not None:
        trained = standing_for(trained, load_run_config(run), data, str(source))
    config = trained.config
    with saving(out / "predictions.h5", settings["suite"], config) as saved:
        table = evaluate(trained.model.to(device), data, config, trained.norm, sweeps, saved)
    table.insert(0, "suite", settings["suite"])
    write_text(out / "metrics.csv", table.to_csv(index=False))
    code = code_digest("evaluate" if run is None else "released")
    record = job_record(code, config, read_data_hash(data), **compute_record(config.model.backend, device))
    write_json(out / "evaluation.json", {**record, "seconds": round(time.monotonic() - begun, 3)})


def standing_for(weights: Pretrained, run: RunConfig, data: Path, where: str) -> Pretrained:
    """Weights from elsewhere in the place of a run's own: its data and views, their model and normalisation.

    Raises
    ------
    DataError
        If they are of another front end or number of classes.
    """
    classes = read_classes(data / "classes.json")[run.task]["classes"]
    if len(weights.classes) != len(classes):
        raise DataError(f"{where}: {weights.found}; but {run.task} of {run.dataset} has {len(classes)} classes")
    theirs, ours = weights.config.front_end.model_dump(), run.front_end.model_dump()
    if other := {k: v for k, v in theirs.items() if v != ours[k]}:
        raise DataError(f"{where}: made for a front_end of {other}; but {run.experiment} has {ours}")
    for note in (weights.found, *weights.notes):
        LOG.info("%s: %s", where, note)
    settings = run.model_dump(mode="json") | {"model": weights.config.model.model_dump(mode="json")}
    config = validate(RunConfig, settings, f"{where} as {run.experiment}")
    return replace(weights, config=config, classes=classes)
