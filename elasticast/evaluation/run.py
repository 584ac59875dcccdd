"""One evaluation job: a trained run over all its sweeps."""

import json
import time
from pathlib import Path

import torch

from elasticast.config import Evaluation, digest
from elasticast.evaluation.sweep import evaluate
from elasticast.files import write_json, write_text
from elasticast.models.attention import resolve_backend
from elasticast.models.pretrained import load
from elasticast.provenance import code_digest, provenance
from elasticast.validation import read_yaml, validate


def evaluate_run(model_dir: Path, sweeps_file: Path, data: Path, out: Path) -> None:
    """Evaluate the model in `model_dir` and write `metrics.csv` and `evaluation.json` into `out`.

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
    table = evaluate(trained.model.to(device), data, config, trained.norm, sweeps)
    table.insert(0, "suite", settings["suite"])
    write_text(out / "metrics.csv", table.to_csv(index=False))
    record = {
        "experiment": config.experiment,
        "seed": config.seed,
        "config_digest": digest(config),
        "code_digest": code_digest("evaluate"),
        "data_sha256": json.loads((data / "summary.json").read_text())["sha256"],
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "attention_backend": resolve_backend(config.model.backend, device),
        "threads": torch.get_num_threads(),
        "seconds": round(time.monotonic() - begun, 3),
        **provenance(),
    }
    write_json(out / "evaluation.json", record)
