"""One evaluation job: evaluate a trained model on all sweeps of its run."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from elasticast.checksums import FILES, FOLDER, file_sha256, folder_of, write_record
from elasticast.config import Evaluation, RunConfig
from elasticast.config.load_suite import load_run_config
from elasticast.config.reading import read_run_yaml, validate
from elasticast.data.dataset import Clips
from elasticast.data.manifest import read_classes, read_data_hash
from elasticast.errors import ConfigError, DataError, Problem
from elasticast.evaluation.classes import match_classes
from elasticast.evaluation.frames import check_classes
from elasticast.evaluation.records import EVALUATION, MODEL_SUMS, PREDICTIONS, read_training
from elasticast.evaluation.saved_predictions import saving
from elasticast.evaluation.sweep import evaluate
from elasticast.files import read_json, write_text
from elasticast.models.device import compute_record, default_device
from elasticast.models.pretrained import Pretrained, load_model
from elasticast.progress import LOG
from elasticast.provenance import code_digest, job_record


def evaluate_run(
    source: Path,
    sweeps_file: Path,
    data: Path,
    out: Path,
    run: Path | None = None,
    *,
    other_data: bool = False,
    trust_code: bool = False,
    changed_from: Path | None = None,
) -> None:
    """Evaluate a model; write `metrics.csv`, `predictions.h5` and, last, their record `evaluation.json`.

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
    other_data : bool
        Whether the model may have been trained on other data than `data`. The results then have the name of the folder
        `data` as their dataset.
    trust_code : bool
        Whether to run the code of a model that brings its own, see :func:`~elasticast.models.pretrained.load_model`.
    changed_from : Path, optional
        Folder of the run whose model `source` is, with weights that you have changed. The results are then those of
        this run.

    Raises
    ------
    DataError
        If the model does not belong to the data, or if a file is missing or damaged. Everything is read before the
        first clip is evaluated.
    ConfigError
        If a setting of a sweep names a class that the model does not have.
    """
    begun = time.monotonic()
    suite, sweeps = read_sweeps(sweeps_file)
    data_sha256, trained = read_data_hash(data), load_model(source, trust_code=trust_code)
    origin = _origin(source, trained, changed_from)
    if run is not None:
        trained = with_run_settings(trained, load_run_config(run), data, str(source))
    else:
        trained = _on_data(trained, data, data_sha256, origin["trained_on"], str(source), other_data=other_data)
    config, device = trained.config, default_device()
    code = code_digest("evaluate" if run is None else "released")
    record = job_record(code, config, data_sha256, **compute_record(config.model.backend, device))
    record |= {
        FOLDER: folder_of(out / EVALUATION),
        "suite": suite,
        "kind": _task(data, config.task)["kind"],
        **origin,
        "notes": trained.notes,
    }
    record["evaluations"] = {name: evaluation.model_dump(mode="json") for name, evaluation in sweeps.items()}
    for split in {evaluation.split for evaluation in sweeps.values()}:  # a damaged split stops the job now
        Clips(data, split, config.task).check_rate(config.front_end)
    for name, sweep in sweeps.items():
        if sweep.detection is not None:
            check_classes(sweep.detection, trained.classes, str(sweeps_file), "evaluations", name, "detection")
    with saving(out / PREDICTIONS, suite, config) as saved:
        table = evaluate(trained.model.to(device), data, config, trained.norm, sweeps, saved)
        (out / EVALUATION).unlink(missing_ok=True)  # until all files are written, none of them is valid
    table.insert(0, "suite", suite)
    write_text(out / "metrics.csv", table.to_csv(index=False))
    record["seconds"] = round(time.monotonic() - begun, 3)
    write_record(out / EVALUATION, record, [out / "metrics.csv", out / PREDICTIONS])


def read_sweeps(path: Path) -> tuple[str, dict[str, Evaluation]]:
    """Read `sweeps.yaml`: the name of the suite, and the settings of each evaluation by name."""
    settings = read_run_yaml(path)
    for key, kind in (("suite", str), ("evaluations", dict)):
        if not isinstance(settings.get(key), kind):
            message = f"expected {'a name' if kind is str else 'evaluations by name'}"
            raise ConfigError([Problem(str(path), (key,), message, settings.get(key))])
    sweeps = settings["evaluations"].items()
    return settings["suite"], {n: validate(Evaluation, v, str(path), "evaluations", n) for n, v in sweeps}


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
        If the front end or the classes differ.
    """
    theirs, ours = weights.config.front_end.model_dump(), run.front_end.model_dump()
    if different := {k: v for k, v in theirs.items() if v != ours[k]}:
        raise DataError(f"{where}: trained with front_end {different}, but {run.experiment} has {ours}")
    for note in (weights.description, *weights.notes):
        LOG.info("%s: %s", where, note)
    settings = run.model_dump(mode="json") | {"model": weights.config.model.model_dump(mode="json")}
    config = validate(RunConfig, settings, f"{where} as {run.experiment}")
    classes = _task(data, run.task)["classes"]
    return match_classes(replace(weights, config=config), classes, where, f"{run.task} of {run.dataset}")


def _on_data(
    trained: Pretrained, data: Path, data_sha256: str, trained_on: str | None, where: str, *, other_data: bool
) -> Pretrained:
    """Check that a model was trained on the data, and match its classes."""
    config, notes = trained.config, []
    if trained_on is None:
        notes.append(f"its data are not known, because {where} has no run.json; {data} may be others")
    elif trained_on != data_sha256 and not other_data:
        raise DataError(
            f"{where}: was trained on data with sha256 {trained_on[:16]}..., but {data} has {data_sha256[:16]}...; "
            "give the data of its training, or --other-data to evaluate it on these"
        )
    elif trained_on != data_sha256:
        notes.append(f"trained on {config.dataset} with other data (sha256 {trained_on[:16]}...)")
        config = config.model_copy(update={"dataset": data.resolve().name})
    for note in notes:
        LOG.warning("%s: %s", where, note)
    trained = replace(trained, config=config, notes=[*trained.notes, *notes])
    return match_classes(trained, _task(data, config.task)["classes"], where, f"{config.task} of {config.dataset}")


def _task(data: Path, task: str) -> dict[str, Any]:
    """Kind and classes of a task of a prepared dataset."""
    path = data / "classes.json"
    tasks = read_classes(path)
    if task not in tasks:
        raise DataError(f"{path}: no task {task!r}; expected one of: {', '.join(tasks)}")
    return tasks[task]


def _origin(source: Path, trained: Pretrained, changed_from: Path | None) -> dict[str, Any]:
    """SHA-256 of the weights, of `model.json`, and of the data that a run was trained on; None if there is none."""
    folder = source if source.is_dir() else source.parent
    model, run = folder / "model.json", folder / "run.json"
    own = model.is_file() and (source.is_dir() or source.name == "model.safetensors")
    trained_on = None
    changed = None
    if changed_from is not None:
        record = read_training(changed_from / "run.json")
        trained_on = record.get("data_sha256")
        changed = {key: record.get(FILES, {}).get(name) for key, name in MODEL_SUMS.items()}
    elif own and run.is_file():
        trained_on = read_training(run).get("data_sha256")
    elif own:  # an export holds the record of its run
        trained_on = read_json(model).get("provenance", {}).get("data_sha256")
    return {
        "weights_sha256": trained.sha256,
        "model_sha256": file_sha256(model) if own else None,
        "trained_on": trained_on,
        "changed_from": changed,
    }
