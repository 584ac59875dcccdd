"""One evaluation job: evaluate a trained model on all sweeps of its run."""

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
    """Evaluate a model; write `metrics.csv`, `predictions.h5` and `evaluation.json`.

    Parameters
    ----------
    source : Path
        Folder with `model.safetensors` and `model.json`; or, if `run` is given, any weights with a head.
    sweeps_file : Path
        YAML file with the keys `suite` and `evaluations`.
    data : Path
        Folder of the prepared dataset.
    out : Path
        Folder to write into.
    run : Path, optional
        `config.yaml` of the run whose data and views published weights are evaluated on, see
        :func:`with_run_settings`.
    """
    begun = time.monotonic()
    settings = read_yaml(sweeps_file)
    sweeps = {
        n: validate(Evaluation, v, str(sweeps_file), "evaluations", n) for n, v in settings["evaluations"].items()
    }
    device = default_device()
    trained = load_model(source)
    if run is not None:
        trained = with_run_settings(trained, load_run_config(run), data, str(source))
    config = trained.config
    with saving(out / "predictions.h5", settings["suite"], config) as saved:
        table = evaluate(trained.model.to(device), data, config, trained.norm, sweeps, saved)
    table.insert(0, "suite", settings["suite"])
    write_text(out / "metrics.csv", table.to_csv(index=False))
    code = code_digest("evaluate" if run is None else "released")
    record = job_record(code, config, read_data_hash(data), **compute_record(config.model.backend, device))
    write_json(out / "evaluation.json", {**record, "seconds": round(time.monotonic() - begun, 3)})


def with_run_settings(weights: Pretrained, run: RunConfig, data: Path, where: str) -> Pretrained:
    """Combine published weights with a run, to evaluate them on its data.

    Parameters
    ----------
    weights : Pretrained
        The weights. Their model and normalisation are kept.
    run : RunConfig
        The run. Its data and views are used.
    data : Path
        Folder of the prepared dataset.
    where : str
        Source of the weights, for messages.

    Raises
    ------
    DataError
        If the front end or the number of classes differs.
    """
    classes = read_classes(data / "classes.json")[run.task]["classes"]
    if len(weights.classes) != len(classes):
        raise DataError(f"{where}: {weights.description}, but {run.task} of {run.dataset} has {len(classes)} classes")
    theirs, ours = weights.config.front_end.model_dump(), run.front_end.model_dump()
    if different := {k: v for k, v in theirs.items() if v != ours[k]}:
        raise DataError(f"{where}: trained with front_end {different}, but {run.experiment} has {ours}")
    for note in (weights.description, *weights.notes):
        LOG.info("%s: %s", where, note)
    settings = run.model_dump(mode="json") | {"model": weights.config.model.model_dump(mode="json")}
    config = validate(RunConfig, settings, f"{where} as {run.experiment}")
    return replace(weights, config=config, classes=classes)
