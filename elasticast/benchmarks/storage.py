"""How fast clips can be read: from the waveform store, and from the audio files it was made of."""

import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

from elasticast.config import FrontEnd
from elasticast.data.audio import decode
from elasticast.data.features import log_mel
from elasticast.data.manifest import read_manifest
from elasticast.data.recordings import UnusableAudioError
from elasticast.data.store import Store
from elasticast.errors import DataError

ROUNDS = 3
"""Each way is measured so often, in turns; the best counts, for other work on the machine only ever slows."""


class _Reader(Dataset):
    """Clips of a prepared split by one way of reading; only their number of samples is handed on."""

    def __init__(self, read: Callable[[int], np.ndarray], front_end: FrontEnd | None):
        self.read, self.front_end = read, front_end

    def __getitem__(self, index: int) -> int:
        samples = self.read(index)
        if self.front_end is not None:
            log_mel(torch.from_numpy(samples.astype(np.float32) / 32768.0), self.front_end)
        return len(samples)


def reading(prepared: Path, split: str, clips: int, workers: list[int]) -> pd.DataFrame:
    """Read random clips in every way, with every number of loader processes.

    Parameters
    ----------
    prepared : Path
        Folder written by `elasticast prepare`; the audio files it was made of have to be there still.
    clips : int
        Clips a measurement, drawn without replacement.
    workers : list of int
        Loader processes; 0: in this process.

    Returns
    -------
    DataFrame
        ``read`` (what is done), ``workers``, ``clips_per_s``, ``times_real_time``, and ``ratio`` to reading the files
        with as many workers.
    """
    rows, store = read_manifest(prepared / "manifest.parquet", split), Store(prepared / f"{split}.h5")
    if len(rows) < 2:
        raise DataError(f"{prepared}: split {split!r} has {len(rows)} usable clips, too few to measure")
    front_end = FrontEnd(sample_rate=store.sample_rate)
    ways = {
        "files": _Reader(_Files(rows, store.sample_rate), None),
        "store": _Reader(store.__getitem__, None),
        "files, log-mel": _Reader(_Files(rows, store.sample_rate), front_end),
        "store, log-mel": _Reader(store.__getitem__, front_end),
    }
    order = np.random.default_rng(0).permutation(len(rows))[:clips].tolist()
    best: dict[tuple[str, int], tuple[float, int]] = {}
    for _, processes, (name, way) in itertools.product(range(ROUNDS), workers, ways.items()):
        seconds, samples = _timed(way, order, processes)
        if seconds < best.get((name, processes), (math.inf, 0))[0]:
            best[name, processes] = seconds, samples
    found = []
    for (name, processes), (seconds, samples) in best.items():
        against = best[name.replace("store", "files"), processes][0]
        speed = {"clips_per_s": len(order) / seconds, "times_real_time": samples / store.sample_rate / seconds}
        found.append({"read": name, "workers": processes, **speed, "ratio": against / seconds})
    return pd.DataFrame(found).sort_values(["workers", "read"], ignore_index=True)


class _Files:
    """Decodes the audio file of a clip."""

    def __init__(self, rows: pd.DataFrame, rate: int):
        self.rows, self.rate = rows[["path", "key", "start", "duration"]].to_dict("records"), rate

    def __call__(self, index: int) -> np.ndarray:
        row = self.rows[index]
        span = {name: row[name] for name in ("key", "start", "duration")}
        try:
            return decode(Path(row["path"]), rate=self.rate, **span).samples
        except UnusableAudioError as error:
            raise DataError(f"{row['path']}: {error}; the files that were prepared have to be there still") from None


def _timed(way: Dataset, order: list[int], processes: int) -> tuple[float, int]:
    """Seconds and samples of one pass; processes start before the clock does."""
    loader = DataLoader(
        way, batch_size=None, sampler=order, num_workers=processes, prefetch_factor=2 if processes else None
    )
    batches = iter(loader)
    samples, begun = next(batches), time.perf_counter()
    samples = sum(batches, 0 * samples)
    return (time.perf_counter() - begun) * len(order) / (len(order) - 1), int(samples * len(order) / (len(order) - 1))
