"""Normalisation statistics: mean and standard deviation of the log-mel over a training split.

For each clip, the number of values, their mean and their sum of squared deviations are computed. These are combined in
float64 as deviations from the overall mean, which avoids the cancellation of a running sum of squares.
"""

import logging
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from elasticast.checksums import write_record
from elasticast.config import FrontEnd
from elasticast.data.features import check_rate, log_mel
from elasticast.data.loading import load
from elasticast.data.manifest import read_data_hash
from elasticast.data.norm import Norm
from elasticast.data.prepared import verified_file
from elasticast.data.store import Store
from elasticast.errors import DataError
from elasticast.progress import Progress

LOG = logging.getLogger(__name__)
CLIPS_AT_ONCE = 64
MIN_STD = 1e-6
"""Log-mel values with a smaller standard deviation are all equal, except for rounding."""


class Released(NamedTuple):
    """Released normalisation statistics of a dataset, by name of the recipe, and the front end used to compute them."""

    norms: dict[str, Norm]
    front_end: FrontEnd = FrontEnd()


RELEASED = {
    # Sources for ElasticAST and its AST baseline: egs/*/*.sh of ElasticAST's repository.
    # Sources for AST: egs/*/run*.sh and the README of AST's repository.
    "audioset": Released(
        {
            "ElasticAST": Norm(-4.414, 4.905),
            "AST, by ElasticAST": Norm(-4.4050345, 4.9021754),
            "AST": Norm(-4.2677393, 4.5689974),
        }
    ),
    "vggsound": Released({"ElasticAST": Norm(-5.08, 4.453), "AST, by ElasticAST": Norm(-5.08, 4.453)}),
    "voxceleb1": Released(
        {"ElasticAST": Norm(-5.842545, 3.88305), "AST, by ElasticAST": Norm(-4.553, 4.1933)},
    ),
    # These are specified but never applied: the data loader of this dataset does not normalise.
    "epic_sounds": Released(
        {"ElasticAST": Norm(-8.660809, 3.878928), "AST, by ElasticAST": Norm(-8.820385, 3.7790387)},
        FrontEnd(kind="stft", sample_rate=24000, n_fft=2048, window_ms=10, hop_ms=5),
    ),
    "esc50": Released({"AST": Norm(-6.6268077, 5.358466)}),
    "speech_commands": Released({"AST": Norm(-6.845978, 5.5654526)}),
}
"""Released statistics, by module of the dataset. They were computed from clips cropped or padded to a fixed length,
ours are computed from clips of their original length."""


class _Sums(Dataset):
    """For each clip, the number of values, mean and sum of squared deviations of its log-mel, `[3]` float64.

    NumPy arrays pass from process to process without shared memory, unlike tensors.
    """

    def __init__(self, store: Store, front_end: FrontEnd):
        self.store, self.front_end = store, front_end

    def __getitem__(self, index: int) -> np.ndarray:
        waveform = torch.from_numpy(self.store[index].astype(np.float32) / 32768.0)
        values = log_mel(waveform, self.front_end).double()
        variance, mean = torch.var_mean(values, correction=0)
        return np.array([values.numel(), mean.item(), (variance * values.numel()).item()])


def evenly_spaced(clips: int | None, total: int) -> np.ndarray:
    """Indices of `clips` evenly spaced clips out of `total`, or of all clips if `clips` is None.

    The clips are divided into `clips` equal parts, and the middle clip of each part is chosen.
    """
    used = total if clips is None else min(clips, total)
    return (2 * np.arange(used) + 1) * total // (2 * used)


def log_mel_stats(
    store: Store, front_end: FrontEnd, clips: int | None = None, workers: int = 1
) -> dict[str, float | int | None]:
    """Compute the mean and standard deviation of the log-mel over all bins and frames of the clips, at compression 1.

    Parameters
    ----------
    store : Store
        The clips.
    front_end : FrontEnd
        Settings of the log-mel.
    clips : int, optional
        Number of clips to use, evenly spaced over the store. By default, all clips are used.
    workers : int
        Number of worker processes. It does not change the result.

    Returns
    -------
    dict
        ``mean`` and ``std``; their standard errors ``mean_error`` and ``std_error`` as estimates for all clips (0 if
        all clips were used, None if only one of several was); the number of ``values``; the number of ``clips`` used;
        and ``of``, the number of clips in the store.

    Raises
    ------
    DataError
        If the store is empty or a clip cannot be read, if the sample rate differs from the front end's, or if all
        values are equal, as in silence.
    """
    if not len(store):
        raise DataError(f"{store.path}: contains no clip to compute statistics from")
    check_rate(front_end, store.sample_rate, store.path)
    selected = evenly_spaced(clips, len(store)).tolist()
    # Each worker uses one thread, whatever the number of threads of this process.
    options = {"batch_size": CLIPS_AT_ONCE, "sampler": selected, "num_workers": workers}
    parts, done = [], 0
    with Progress("statistics: clips", len(selected)) as progress:
        for part in load(_Sums(store, front_end), np.stack, **options):
            parts.append(part)
            done += len(part)
            progress.update(done, **progress.rates(clips_per_s=done))
    combined = _combine(*np.concatenate(parts).T, 1 - len(selected) / len(store))
    if not (math.isfinite(combined["mean"]) and combined["std"] > MIN_STD):
        raise DataError(
            f"{store.path}: the log-mel of {len(selected)} clips has mean = {combined['mean']:g} and std = "
            f"{combined['std']:g}, which cannot normalise it; expected std above 0: is the audio silent?"
        )
    return {**combined, "clips": len(selected), "of": len(store)}


def _combine(counts: np.ndarray, means: np.ndarray, squares: np.ndarray, unused: float) -> dict[str, Any]:
    """Combine the statistics `[n]` of n clips. `unused` is the share of the clips that were not used.

    The standard errors are those of ratio estimates from n clips (Cochran 1977, chapter 6). The sampling units are
    clips, not values, because the values of a clip are correlated.
    """
    n, values = len(counts), counts.sum()
    mean = (counts * means).sum() / values
    squares = squares + counts * (means - mean) ** 2
    variance = squares.sum() / values
    std = variance**0.5
    errors = [None, None]
    if std > 0 and (n > 1 or not unused):
        spread = np.array([counts * (means - mean), (squares - counts * variance) / (2 * std)])
        errors = ((unused * n / max(n - 1, 1) * (spread**2).sum(1)) ** 0.5 / values).tolist()
    combined = {"mean": float(mean), "std": float(std), "mean_error": errors[0], "std_error": errors[1]}
    return combined | {"values": int(values)}


def write_stats(
    prepared: Path,
    front_end: FrontEnd,
    out: Path,
    *,
    clips: int | None = None,
    workers: int = 1,
    module: str | None = None,
) -> None:
    """Compute the statistics of a prepared dataset's training split, write them as JSON, and log them.

    Parameters
    ----------
    prepared : Path
        Folder written by `elasticast prepare`.
    front_end : FrontEnd
        Settings of the log-mel.
    out : Path
        File to write.
    clips, workers : int
        See :func:`log_mel_stats`.
    module : str, optional
        Module of the dataset in `elasticast.data.datasets`. It selects the released statistics to compare with.
    """
    data_sha256 = read_data_hash(prepared)
    stats = log_mel_stats(Store(verified_file(prepared / "train.h5")), front_end, clips, workers)
    origin = {"front_end": front_end.model_dump(), "module": module, "data_sha256": data_sha256}
    write_record(out, {**stats, **origin})
    LOG.info("%s: mean %.4f, std %.4f, from %d of %d clips", out, *(stats[k] for k in ("mean", "std", "clips", "of")))


def stats_rows(dataset: str, stats: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the report's table: the statistics written by :func:`write_stats`, then those of each released recipe.

    ``mean_difference`` and ``std_difference`` are the released value minus ours.
    """
    head = {"dataset": dataset, "front_end": stats["front_end"]["kind"]}
    ours = {name: stats[name] for name in ("mean", "std", "mean_error", "std_error", "clips", "of")}
    rows = [{**head, "source": "this data", **ours}]
    for recipe, norm in released_norms(stats["module"], FrontEnd(**stats["front_end"])).items():
        differences = {f"{name}_difference": getattr(norm, name) - stats[name] for name in ("mean", "std")}
        rows.append({**head, "source": recipe, "mean": norm.mean, "std": norm.std, **differences})
    return rows


def released_norms(module: str | None, front_end: FrontEnd) -> dict[str, Norm]:
    """Released statistics of a dataset's module, by recipe. Empty if they were computed with another front end."""
    released = RELEASED.get(module)
    return released.norms if released and released.front_end == front_end else {}
