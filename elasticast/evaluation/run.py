"""One evaluation job: a trained run over all its sweeps."""

import time
from pathlib import Path

import torch

from elasticast.config import Evaluation
from elasticast.data.manifest import read_data_hash
from elasticast.evaluation.predictions import saving
from elasticast.evaluation.sweep import evaluate
from elasticast.files import write_json, write_text
from elasticast.models.pretrained import load
from elasticast.provenance import job_record
from elasticast.validation import read_yaml, validate


def evaluate_run(model_dir: Path, sweeps_file: Path, data: Path, out: Path) -> None:
    """Evaluate the model in `model_dir` and write `metrics.csv`, `predictions.h5` and `evaluation.json` into `out`.

    Parameters
    ----------
    model_dir : Path
        Folder with `model.safetensors` and `model.json`.
    sweeps_file : Path
        YAML with `suite` and `evaluations`.
    data : Path
        Prepared dataset.
    out : Path
        Folder to write into.
    """
    begun = time.monotonic()
    settings = read_yaml(sweeps_file)
    sweeps = {n: validate(Evaluation, v, f"{sweeps_file}: evaluations.{n}") for n, v in settings["evaluations"].items()}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trained = load(model_dir)
    config = trained.config
    with saving(out / "predictions.h5", settings["suite"], config) as saved:
        table = evaluate(trained.model.to(device), data, config, trained.norm, sweeps, saved)
    table.insert(0, "suite", settings["suite"])
    write_text(out / "metrics.csv", table.to_csv(index=False))
    record = job_record("evaluate", config, read_data_hash(data), device)
    write_json(out / "evaluation.json", {**record, "seconds": round(time.monotonic() - begun, 3)})
