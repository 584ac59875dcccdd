"""Normalisation statistics: mean and standard deviation of the log-mel over a training split.

Each clip is reduced to its number of values, their mean and their sum of squared deviations; these are joined in
float64 around the mean of all, which stays exact where a running sum of squares would cancel.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from elasticast.config import FrontEnd
from elasticast.data.features import Norm, check_rate, log_mel
from elasticast.data.store import Store
from elasticast.errors import DataError
from elasticast.files import write_json
from elasticast.progress import Progress

LOG = logging.getLogger(__name__)
CLIPS_AT_ONCE = 64


class Released(NamedTuple):
    """What published recipes of a dataset normalise with, by the name of the recipe; `front_end` is theirs."""

    norms: dict[str, Norm]
    front_end: FrontEnd = FrontEnd()


RELEASED = {
    # ElasticAST and its AST baseline: egs/*/*.sh of its repository. AST: egs/*/run*.sh and README of its own.
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
    # stated, but never applied: the loader of this dataset hands the log-mel on as it is
    "epic_sounds": Released(
        {"ElasticAST": Norm(-8.660809, 3.878928), "AST, by ElasticAST": Norm(-8.820385, 3.7790387)},
        FrontEnd(kind="stft", sample_rate=24000, n_fft=2048, window_ms=10, hop_ms=5),
    ),
    "esc50": Released({"AST": Norm(-6.6268077, 5.358466)}),
    "speech_commands": Released({"AST": Norm(-6.845978, 5.5654526)}),
}
"""By module of the dataset. They were taken of clips cut and padded to one length, ours are of clips as they are."""


class _Sums(Dataset):
    """Number of values, mean and sum of squared deviations `[3]` float64 of each clip's log-mel at compression 1."""

    def __init__(self, store: Store, front_end: FrontEnd):
        self.store, self.front_end = store, front_end

    def __getitem__(self, index: int) -> Tensor:
        waveform = torch.from_numpy(self.store[index].astype(np.float32) / 32768.0)
        values = log_mel(waveform, self.front_end).double()
        variance, mean = torch.var_mean(values, correction=0)
        return torch.stack([torch.tensor(values.numel()).double(), mean, variance * values.numel()])


def evenly_spaced(clips: int | None, total: int) -> np.ndarray:
    """Which `clips` of `total` clips are looked at: those in the middle of as many equal parts; none: all."""
    used = total if clips is None else min(clips, total)
    return (2 * np.arange(used) + 1) * total // (2 * used)


def log_mel_stats(
    store: Store, front_end: FrontEnd, clips: int | None = None, workers: int = 1
) -> dict[str, float | int | None]:
    """Mean and standard deviation over every bin and frame of the clips at compression 1.

    Parameters
    ----------
    store : Store
        The clips.
    front_end : FrontEnd
        Log-mel to be normalised.
    clips : int, optional
        Use that many clips, evenly spaced over the store; none: all.
    workers : int
        Processes that compute; the result does not depend on how many.

    Returns
    -------
    dict
        ``mean``, ``std``; ``mean_error``, ``std_error``, their standard errors as estimates for all clips (0 when all
        were used; none of a single clip); ``values``, ``clips`` used, ``of`` how many.

    Raises
    ------
    DataError
        If there is no clip, or its sample rate is not the front end's.
    """
    if not len(store):
        raise DataError(f"{store.path}: no clip to take statistics of")
    check_rate(front_end, store.sample_rate, store.path)
    picked = evenly_spaced(clips, len(store)).tolist()
    # one thread each, whatever the number of threads here
    loader = DataLoader(_Sums(store, front_end), CLIPS_AT_ONCE, sampler=picked, num_workers=workers)
    parts, done = [], 0
    with Progress("statistics: clips", len(picked)) as progress:
        for part in loader:
            parts.append(part.numpy())
            done += len(part)
            progress.update(done, **progress.rates(clips_per_s=done))
    return {**_joined(*np.concatenate(parts).T, 1 - len(picked) / len(store)), "clips": len(picked), "of": len(store)}


def _joined(counts: np.ndarray, means: np.ndarray, squares: np.ndarray, unseen: float) -> dict[str, Any]:
    """Statistics of all clips from those of each `[n]`, `unseen` being the share of clips that were left out.

    The errors are those of ratio estimates from n clips (Cochran 1977, chapter 6): values of one clip are alike, so
    that it is clips that count.
    """
    n, values = len(counts), counts.sum()
    mean = (counts * means).sum() / values
    squares = squares + counts * (means - mean) ** 2
    variance = squares.sum() / values
    std = variance**0.5
    errors = [None, None]
    if n > 1 or not unseen:
        spread = np.array([counts * (means - mean), (squares - counts * variance) / (2 * std)])
        errors = ((unseen * n / max(n - 1, 1) * (spread**2).sum(1)) ** 0.5 / values).tolist()
    found = {"mean": float(mean), "std": float(std), "mean_error": errors[0], "std_error": errors[1]}
    return found | {"values": int(values)}


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
    clips, workers : int
        As for :func:`log_mel_stats`.
    module : str, optional
        Module of the dataset in `elasticast.data.datasets`, with whose released statistics these are compared.
    """
    found = log_mel_stats(Store(prepared / "train.h5"), front_end, clips, workers)
    write_json(out, {**found, "front_end": front_end.model_dump(), "module": module})
    LOG.info("%s: mean %.4f, std %.4f, of %d of %d clips", out, *(found[k] for k in ("mean", "std", "clips", "of")))


def stats_rows(dataset: str, stats: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the report's table, of what :func:`write_stats` wrote: ours first, then each released recipe.

    ``mean_difference`` and ``std_difference`` are released minus ours.
    """
    head = {"dataset": dataset, "front_end": stats["front_end"]["kind"]}
    ours = {name: stats[name] for name in ("mean", "std", "mean_error", "std_error", "clips", "of")}
    rows = [{**head, "source": "this data", **ours}]
    for recipe, norm in released_norms(stats["module"], FrontEnd(**stats["front_end"])).items():
        differences = {f"{name}_difference": getattr(norm, name) - stats[name] for name in ("mean", "std")}
        rows.append({**head, "source": recipe, "mean": norm.mean, "std": norm.std, **differences})
    return rows


def released_norms(module: str | None, front_end: FrontEnd) -> dict[str, Norm]:
    """Released statistics of a dataset's module, by recipe; none if they are of another front end."""
    released = RELEASED.get(module)
    return released.norms if released and released.front_end == front_end else {}
