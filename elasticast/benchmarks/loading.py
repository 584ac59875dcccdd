"""How fast batches are loaded, and how much of a training step waits for them: `elasticast bench loader`."""

import itertools
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from elasticast.benchmarks.stages import NORM
from elasticast.benchmarks.timing import wait
from elasticast.config import RunConfig
from elasticast.config.reading import deep_merge, validate
from elasticast.data.dataset import ClipDataset, Clips
from elasticast.data.loading import load_batches
from elasticast.data.manifest import read_classes
from elasticast.data.packing import PackedBatch
from elasticast.data.responses import responses_of
from elasticast.data.sampler import BatchSampler
from elasticast.errors import ElasticASTError
from elasticast.models import build_model
from elasticast.progress import track
from elasticast.training.objective import compute_loss
from elasticast.training.optim import build_optimizer


def measure_loading(
    config: RunConfig,
    prepared: Path,
    *,
    clips: int,
    batches: int,
    workers: Sequence[int],
    rounds: int,
    device: torch.device,
) -> pd.DataFrame:
    """Time the data loader alone, and training steps with it, for each number of loader processes, alternately.

    Batches are those of a training: random clips of the training split, cropped and augmented as in `config`. Every
    measurement starts with nothing kept in memory, as in the first epoch of a training. Starting the processes and
    the first batch are not timed.

    Parameters
    ----------
    config : RunConfig
        Settings of the run; its weights are random.
    prepared : Path
        Folder of a prepared dataset. Its first task is trained.
    clips : int
        Number of clips per batch.
    batches : int
        Number of timed batches.
    workers : sequence of int
        Numbers of loader processes; 0 loads in the training process.
    rounds : int
        Number of timings.
    device : torch.device
        Device that trains.

    Returns
    -------
    DataFrame
        One row per ``workers``: ``loader_clips_per_s`` of the loader alone; ``clips_per_s`` and ``step_ms`` of a
        training step with its wait for the batch; ``wait_share``, the share of that time that is spent waiting for
        the batch, with quartiles ``wait_share_q1`` and ``wait_share_q3``. Values are medians over rounds.

    Raises
    ------
    ElasticASTError
        If the training split has too few clips for that many batches.
    """
    task = next(iter(read_classes(prepared / "classes.json")))
    changes = {"task": task, "train": {"batch": {"clips": clips, "tokens": None}}}
    config = validate(RunConfig, deep_merge(config.model_dump(mode="json"), changes), "--model")
    samples = Clips(prepared, "train", task)
    if len(samples) < clips * (batches + 1):
        raise ElasticASTError(
            f"--clips {clips} --batches {batches}: {prepared} has {len(samples)} training clips, expected at least "
            f"{clips * (batches + 1)}, for the timed batches and one before"
        )
    training = _Training(config, len(samples.classes), device)
    timings: dict[int, list[tuple[float, float, float]]] = {number: [] for number in workers}
    turns = [number for _, number in itertools.product(range(rounds), workers)]
    for number in track(turns, len(turns), "bench loader"):
        of_number = config.model_copy(update={"train": config.train.model_copy(update={"workers": number})})
        alone, _ = _timed(_batches(of_number, samples, device), batches, None, device)
        step, waited = _timed(_batches(of_number, samples, device), batches, training, device)
        timings[number].append((alone, step, waited))
    return pd.DataFrame([_row(number, np.array(times), clips) for number, times in timings.items()])


def _row(workers: int, times: np.ndarray, clips: int) -> dict[str, float]:
    alone, step, _ = np.median(times, 0)
    low, middle, high = np.quantile(times[:, 2] / times[:, 1], [0.25, 0.5, 0.75])
    shares = {"wait_share": middle, "wait_share_q1": low, "wait_share_q3": high}
    rates = {"loader_clips_per_s": clips / alone, "clips_per_s": clips / step, "step_ms": 1e3 * step}
    return {"workers": workers, **rates, **shares}


def _batches(config: RunConfig, samples: Clips, device: torch.device) -> Iterator[PackedBatch]:
    """Batches of the first epoch of a training."""
    # more processes than cores are worth a measurement
    warnings.filterwarnings("ignore", "This DataLoader will create")
    dataset = ClipDataset(samples, config, NORM, responses=responses_of(config, Path()))
    epoch = BatchSampler(dataset.tokens(), config.train.batch, config.seed).epoch(0)
    return load_batches(dataset, epoch, _nothing, pin_memory=device.type == "cuda")


def _nothing(_: int) -> None:
    """What a loader process calls first."""


class _Training:
    """A training step, as that of :class:`~elasticast.training.loop.Trainer` without its records."""

    def __init__(self, config: RunConfig, classes: int, device: torch.device):
        torch.manual_seed(config.seed)
        self.model, self.device, self.loss = build_model(config, classes).to(device), device, config.train.loss
        self.optimizer = build_optimizer(self.model, config.train)

    def step(self, batch: PackedBatch) -> None:
        """Change the weights."""
        batch = batch.to(self.device)
        loss = compute_loss(self.model(batch), batch.targets, self.loss)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()


def _timed(
    batches: Iterator[PackedBatch], count: int, training: _Training | None, device: torch.device
) -> tuple[float, float]:
    """Mean seconds per batch, and the part of it that waits for the batch."""
    batch, waited = next(batches), 0.0
    if training:
        training.step(batch)  # warm up
        wait(device)
    begun = time.perf_counter()
    for _ in range(count):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        if training:
            training.step(batch)
            wait(device)
    return (time.perf_counter() - begun) / count, waited / count
