"""Speed of reading clips: from the waveform store, and from the audio files that it was made from."""

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
from elasticast.data.prepared import verified_file
from elasticast.data.recordings import UnusableAudioError
from elasticast.data.store import Store
from elasticast.errors import DataError

ROUNDS = 3
"""Number of times that each way is timed, alternately. The best time counts: other processes only slow it down."""


class _Reader(Dataset):
    """Read clips of a prepared split in one way; items are their numbers of samples."""

    def __init__(self, read: Callable[[int], np.ndarray], front_end: FrontEnd | None):
        self.read, self.front_end = read, front_end

    def __getitem__(self, index: int) -> int:
        samples = self.read(index)
        if self.front_end is not None:
            log_mel(torch.from_numpy(samples.astype(np.float32) / 32768.0), self.front_end)
        return len(samples)


def measure_reading(prepared: Path, split: str, clips: int, workers: list[int]) -> pd.DataFrame:
    """Time reading random clips in all ways, with each number of data loader processes.

    Parameters
    ----------
    prepared : Path
        Folder written by `elasticast prepare`. The audio files it was made from have to exist.
    split : str
        Split to read.
    clips : int
        Number of clips to read in each way, drawn without replacement.
    workers : list of int
        Numbers of data loader processes; 0 reads in the current process.

    Returns
    -------
    DataFrame
        Columns ``read`` (the way), ``workers``, ``clips_per_s``, ``times_real_time``, and ``ratio``, the speed divided
        by that of reading the audio files with the same number of workers.

    Raises
    ------
    DataError
        If the split has fewer than 2 usable clips, or if an audio file cannot be read.
    """
    rows, store = read_manifest(prepared / "manifest.parquet", split), Store(verified_file(prepared / f"{split}.h5"))
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
    results = []
    for (name, processes), (seconds, samples) in best.items():
        reference = best[name.replace("store", "files"), processes][0]
        speed = {"clips_per_s": len(order) / seconds, "times_real_time": samples / store.sample_rate / seconds}
        results.append({"read": name, "workers": processes, **speed, "ratio": reference / seconds})
    return pd.DataFrame(results).sort_values(["workers", "read"], ignore_index=True)


class _Files:
    """Decode the audio file of a clip."""

    def __init__(self, rows: pd.DataFrame, rate: int):
        self.rows, self.rate = rows[["path", "key", "start", "duration"]].to_dict("records"), rate

    def __call__(self, index: int) -> np.ndarray:
        row = self.rows[index]
        span = {name: row[name] for name in ("key", "start", "duration")}
        try:
            return decode(Path(row["path"]), rate=self.rate, **span).samples
        except UnusableAudioError as error:
            raise DataError(f"{row['path']}: {error}; reading needs the audio files that were prepared") from None


def _timed(way: Dataset, order: list[int], processes: int) -> tuple[float, int]:
    """Seconds and samples of reading all clips; starting the processes is not timed."""
    loader = DataLoader(
        way, batch_size=None, sampler=order, num_workers=processes, prefetch_factor=2 if processes else None
    )
    batches = iter(loader)
    samples, begun = next(batches), time.perf_counter()
    samples = sum(batches, 0 * samples)
    return (time.perf_counter() - begun) * len(order) / (len(order) - 1), int(samples * len(order) / (len(order) - 1))
