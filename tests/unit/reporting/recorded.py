"""Evaluations of made-up scores, with the records that the workflow writes."""

from pathlib import Path

import pandas as pd

from elasticast.checksums import write_record

SWEEPS = {
    "length": {"x_name": "max_frames", "x": [64.0, 256.0]},
    "grid": {"x_name": "max_frames", "x": [64.0, 256.0], "compression": [1.0, 2.0]},
}
METRICS = {"mAP": 0.4, "AUC": 0.8, "d_prime": 1.2}


def evaluation_table(experiment: str, seed: int) -> pd.DataFrame:
    """`metrics.csv` of a run over `SWEEPS`."""
    head = {"suite": "s", "experiment": experiment, "seed": seed}
    rows = []
    for name, sweep in SWEEPS.items():
        about = {**head, "evaluation": name, "dataset": "toy", "task": "events", "x_name": sweep["x_name"]}
        points = [(x, c) for x in sweep["x"] for c in sweep.get("compression", [1.0])]
        for x, c in points:
            rows += [
                {**about, "x": x, "compression": c, "metric": metric, "value": value + seed / 100 + x / 7000}
                | {"n": 50, "listed": 50}
                for metric, value in METRICS.items()
            ]
    return pd.DataFrame(rows)


def write_evaluation(
    folder: Path, experiment: str, seed: int, table: pd.DataFrame | None = None, **changes: object
) -> Path:
    """Write `run.json`, `metrics.csv`, `predictions.h5` and `evaluation.json`; gives `metrics.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    metrics, predictions = folder / "metrics.csv", folder / "predictions.h5"
    (evaluation_table(experiment, seed) if table is None else table).to_csv(metrics, index=False)
    predictions.write_text(f"{experiment} {seed}")
    sums = {name: f"{name} of {experiment}, {seed}" for name in ("model.safetensors", "model.json")}
    about = {"experiment": experiment, "seed": seed, "dataset": "toy", "task": "events", "data_sha256": "d" * 64}
    write_record(folder / "run.json", {**about, "files": sums})
    record = {**about, "suite": "s", "kind": "multi", "evaluations": SWEEPS, "notes": []}
    record |= {"weights_sha256": sums["model.safetensors"], "model_sha256": sums["model.json"]}
    write_record(folder / "evaluation.json", {**record, **changes}, [metrics, predictions])
    return metrics
