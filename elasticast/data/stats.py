"""Normalisation statistics: mean and standard deviation of the log-mel over a training split."""

from pathlib import Path

import torch

from elasticast.config import FrontEnd
from elasticast.data.features import log_mel
from elasticast.data.store import Store
from elasticast.files import write_json


def log_mel_stats(store: Store, front_end: FrontEnd) -> dict[str, float | int]:
    """Mean and standard deviation over every bin and frame of every clip at compression 1, in one pass.

    Sums are kept per clip and merged with Chan's formula in float64, which stays exact where a running
    sum of squares would cancel.
    """
    count, mean, m2 = 0, 0.0, 0.0
    for index in range(len(store)):
        features = log_mel(torch.from_numpy(store[index] / 32768.0).float(), front_end).double()
        n, clip_mean = features.numel(), features.mean().item()
        clip_m2 = ((features - clip_mean) ** 2).sum().item()
        delta = clip_mean - mean
        m2 += clip_m2 + delta**2 * count * n / (count + n)
        mean += delta * n / (count + n)
        count += n
    return {"mean": mean, "std": (m2 / count) ** 0.5, "values": count, "clips": len(store)}


def write_stats(prepared: Path, front_end: FrontEnd, out: Path) -> None:
    """Compute the statistics of a prepared dataset's training split and write them as JSON."""
    stats = log_mel_stats(Store(prepared / "train.h5"), front_end)
    write_json(out, {**stats, "front_end": front_end.model_dump()})
