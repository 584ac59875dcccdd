"""Results of an ablation as the workflow writes them, of models that are as good as a function says."""

import itertools
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from elasticast.checksums import write_record
from elasticast.config import Evaluation
from elasticast.config.load_ablation import Ablation
from elasticast.evaluation.intervals import resample
from elasticast.evaluation.metrics import metrics

CLASSES = 4


def write_results(
    ablation: Ablation,
    folder: Path,
    quality: Callable[[str, int, float, float], float],
    *,
    missing: tuple[tuple[str, int], ...] = (),
    clips: int = 60,
    draws: int = 200,
) -> None:
    """Write metrics, resampled scores and training records of every variant and seed but the missing ones.

    `quality` takes variant, seed, x and compression, and gives the share of clips that are right.
    """
    for place, (variant, run) in enumerate(ablation.trained.items()):
        predictions = []
        for seed in (s for s in ablation.seeds if (variant, s) not in missing):
            own = folder / "runs" / variant / f"seed{seed}"
            own.mkdir(parents=True)
            write_run(ablation, variant, seed, own, lambda x, c, v=variant, s=seed: quality(v, s, x, c), clips)
            predictions.append(own / "predictions.h5")
            record = folder.parents[1] / "runs" / run / f"seed{seed}" / "run.json"
            record.parent.mkdir(parents=True, exist_ok=True)
            told = {"parameters": 1_000_000 * (1 + place), "trained_parameters": 1_000_000}
            told |= {"seconds": 100.0 + seed, "tokens_per_s": 5000.0, "training_flops": 2 * 10**12 * (1 + place)}
            about = {"experiment": run, "seed": seed, "data_sha256": "d", "dataset": ablation.runs[variant].dataset}
            write_record(record, {**told, **about, "files": weights_of(run, seed)})
        if len(predictions) == len(ablation.seeds):
            resample(predictions, folder / "runs" / variant / "resampled.h5", draws)


def write_run(
    ablation: Ablation, variant: str, seed: int, own: Path, quality: Callable[[float, float], float], clips: int
) -> None:
    """`metrics.csv` and `predictions.h5` of one run."""
    config, rows = ablation.run_config(variant, seed), []
    kind = ablation.task_kind(variant)
    with h5py.File(own / "predictions.h5", "w") as file:
        about = {"suite": ablation.suite, "experiment": config.experiment, "seed": seed, "dataset": config.dataset}
        file.attrs.update({**about, "task": config.task, "model": config.model.kind, "kind": kind})
        file.attrs["one_length"] = config.model.traits.one_length
        for name, evaluation in ablation.sweep(variant).items():
            labels, group = np.random.default_rng(7).integers(CLASSES, size=clips), file.create_group(name)
            group.attrs.update({"x_name": evaluation.x_name, "split": evaluation.split, "listed": 1000})
            group.create_dataset("id", data=[f"clip{i}" for i in range(clips)], dtype=h5py.string_dtype())
            group["labels"], group["first_label"] = labels, np.arange(clips + 1)
            for x, c in _points(evaluation, config.default_compression):
                scores = _scores(labels, quality(x, c), [zlib.crc32(config.experiment.encode()), seed])
                point = group.create_group(f"{x:g}@{c:g}" if evaluation.compression else f"{x:g}")
                point.attrs.update({"x": x, "compression": c})
                point["scores"], point["predicted"] = scores.astype(np.float16), scores.argmax(1)
                found = metrics(scores, np.eye(CLASSES, dtype=np.float32)[labels], kind)
                if evaluation.x_name in ("token_drop", "token_merge"):
                    found["gflops_per_clip"] = 2 * (1 - x) + 0.2 * (1 - x) ** 2
                place = {"evaluation": name, "dataset": config.dataset, "task": config.task}
                place |= {"x_name": evaluation.x_name, "x": x, "compression": c}
                told = {"suite": ablation.suite, "experiment": config.experiment, "seed": seed, **place}
                rows += [
                    {**told, "metric": key, "value": value, "n": clips, "listed": 1000} for key, value in found.items()
                ]
    pd.DataFrame(rows).to_csv(own / "metrics.csv", index=False)
    sums = weights_of(config.experiment, seed)
    record = {**about, "task": config.task, "kind": kind, "data_sha256": "d", "notes": []}
    record |= {"weights_sha256": sums["model.safetensors"], "model_sha256": sums["model.json"]}
    record["evaluations"] = {name: e.model_dump(mode="json") for name, e in ablation.sweep(variant).items()}
    write_record(own / "evaluation.json", record, [own / "metrics.csv", own / "predictions.h5"])


def weights_of(run: str, seed: int) -> dict[str, str]:
    """Checksums of the files of a run."""
    return {name: f"{name} of {run}, {seed}" for name in ("model.safetensors", "model.json")}


def _points(evaluation: Evaluation, own: float) -> list[tuple[float, float]]:
    if evaluation.x_name == "compression":
        return [(x, x) for x in evaluation.x]
    return list(itertools.product(evaluation.x, evaluation.compression or [own]))


def _scores(labels: np.ndarray, share: float, seed: list[int]) -> np.ndarray:
    """Logits `[n, C]` that are right for about a share of the clips, the easy ones: the same at every point."""
    easy = np.random.default_rng(11).random(len(labels))
    noise = np.random.default_rng(seed)
    right = easy + 0.1 * noise.standard_normal(len(labels)) < share
    wrong = (labels + noise.integers(1, CLASSES, len(labels))) % CLASSES
    scores = 0.5 * noise.standard_normal((len(labels), CLASSES)).astype(np.float32)
    scores[np.arange(len(labels)), np.where(right, labels, wrong)] += 3
    return scores
