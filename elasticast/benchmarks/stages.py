"""Speed of what surrounds the training step: log-mels, and sweeps of one checkpoint over length."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torchaudio.compliance.kaldi as kaldi
from torch import Tensor

from elasticast.benchmarks.timing import Step, time_alternately
from elasticast.config import Evaluation, FrontEnd, RunConfig
from elasticast.config.reading import deep_merge, validate
from elasticast.data.dataset import Clips
from elasticast.data.features import PREEMPHASIS, log_mel
from elasticast.data.manifest import read_classes
from elasticast.data.norm import Norm
from elasticast.errors import ElasticASTError
from elasticast.evaluation.sweep import sweep
from elasticast.models import build_model
from elasticast.progress import Progress

CPU = torch.device("cpu")
NORM = Norm(-8.0, 5.0)
"""Statistics near those of speech. The time of a pass does not depend on them."""
SAME_LOG_MEL, SAME_LOGITS = 1e-3, 1e-5
"""Largest difference between log-mels of two implementations, and between logits of two ways to sweep."""


def measure_front_end(front_end: FrontEnd, seconds: Sequence[float], rounds: int, seed: int = 0) -> pd.DataFrame:
    """Time the log-mel of noise against torchaudio's `kaldi.fbank` with AST's arguments, clip by clip.

    Parameters
    ----------
    front_end : FrontEnd
        Settings of kind `kaldi`.
    seconds : sequence of float
        Lengths of the clips (s).
    rounds : int
        Number of timings.
    seed : int
        Seed of the noise.

    Returns
    -------
    DataFrame
        Rows of :func:`compare` for each length and way, with the columns ``length_s`` and ``clips_per_s``.

    Raises
    ------
    ElasticASTError
        If the two log-mels differ by more than :data:`SAME_LOG_MEL`.
    """
    generator, tables = torch.Generator().manual_seed(seed), []
    for length in seconds:
        waveform = 0.1 * torch.randn(round(length * front_end.sample_rate), generator=generator)
        ways = {
            "torchaudio": lambda w=waveform: torchaudio_fbank(w, front_end).T,
            "elasticast": lambda w=waveform: log_mel(w, front_end),
        }
        _check_same("log-mels", *(way() for way in ways.values()), SAME_LOG_MEL)
        table = compare(ways, rounds)
        tables.append(table.assign(length_s=length, clips_per_s=1 / table["seconds"]))
    return pd.concat(tables, ignore_index=True)


def torchaudio_fbank(waveform: Tensor, front_end: FrontEnd) -> Tensor:
    """`[T, F]`: `kaldi.fbank` of a waveform `[S]`, as AST's data loader calls it."""
    return kaldi.fbank(
        (waveform - waveform.mean())[None],
        htk_compat=True,
        sample_frequency=front_end.sample_rate,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=front_end.mel_bins,
        dither=0.0,
        preemphasis_coefficient=PREEMPHASIS,
        frame_length=front_end.window_ms,
        frame_shift=front_end.hop_ms,
    )


def measure_sweep(
    config: RunConfig, prepared: Path, split: str, *, lengths: int, clips: int, rounds: int
) -> pd.DataFrame:
    """Time a sweep of one model over many lengths in one pass, and in one pass per length.

    The lengths are spread evenly up to `view.max_frames`. The first clips of the split are evaluated.

    Parameters
    ----------
    config : RunConfig
        Settings of the run; its weights are random.
    prepared : Path
        Folder of a prepared dataset. Its first task is evaluated.
    split : {"dev", "test"}
        Split to evaluate.
    lengths, clips : int
        Number of lengths and of clips.
    rounds : int
        Number of timings.

    Returns
    -------
    DataFrame
        Rows of :func:`compare` for the two ways.

    Raises
    ------
    ElasticASTError
        If the logits of the two ways differ by more than :data:`SAME_LOGITS`.
    """
    task = next(iter(read_classes(prepared / "classes.json")))
    config = validate(RunConfig, deep_merge(config.model_dump(mode="json"), {"task": task}), "--model")
    samples, used = Clips(prepared, split, task), slice(0, clips)
    x = np.linspace(config.view.max_frames / lengths, config.view.max_frames, lengths).round().tolist()
    torch.manual_seed(config.seed)
    model = build_model(config, len(samples.classes))

    def logits(x: list[float]) -> Tensor:
        evaluation = Evaluation(x_name="max_frames", x=x, split=split)
        with Progress("sweep", clips) as log:
            only = [range(min(clips, len(samples)))]
            return torch.stack([*sweep(model, samples, config, NORM, evaluation, log, only=only).values()])[:, used]

    ways = {
        "one pass per length": lambda: torch.cat([logits([length]) for length in x]),
        "one pass": lambda: logits(x),
    }
    _check_same("logits", *(way() for way in ways.values()), SAME_LOGITS)
    return compare(ways, rounds)


def compare(
    ways: dict[str, Step], rounds: int, device: torch.device = CPU, progress: str | None = None
) -> pd.DataFrame:
    """Time ways alternately, see :func:`~elasticast.benchmarks.timing.time_alternately`.

    Returns
    -------
    DataFrame
        One row per way: ``way``; ``seconds``, the median, and its quartiles ``seconds_q1`` and ``seconds_q3``;
        ``speedup`` and ``cpu_speedup``, the median ratio of the time of the first way to that of this one in the same
        round, in wall-clock and in processor time.
    """
    timings, first, rows = time_alternately(ways, rounds, device, progress), next(iter(ways)), []
    for way, times in timings.items():
        q1, median, q3 = np.quantile(times[:, 0], [0.25, 0.5, 0.75])
        speedup, cpu_speedup = np.median(timings[first] / times, 0)
        row = {"way": way, "seconds": median, "seconds_q1": q1, "seconds_q3": q3}
        rows.append({**row, "speedup": speedup, "cpu_speedup": cpu_speedup})
    return pd.DataFrame(rows)


def _check_same(what: str, one: Tensor, other: Tensor, tolerance: float) -> None:
    difference = float((one - other).abs().max())
    if not difference <= tolerance:
        raise ElasticASTError(f"{what} of the ways differ by {difference:g}, more than {tolerance:g}")
