"""What a training on many clips needs: GPU hours, GPUs, cores, disk and memory, from measured rates."""

import pandas as pd

from elasticast.benchmarks.batching import BACKWARD
from elasticast.benchmarks.setup import clip_tokens
from elasticast.config import RunConfig

STEP_TFLOPS = 330.0
"""10^12 operations per second of a training step of ViT-B on one NVIDIA H200 in bf16, with 37,600 tokens per step."""
CORE_CLIPS = 300.0
"""Clips of 10 s that one core reads from the store and turns into log-mels per second."""
SAMPLE_BYTES = 2
"""Size of a sample in the waveform store."""
SAMPLER_BYTES = 80
"""Memory per clip of drawing an epoch with weights: at most 1.3 GiB for 2^24 clips."""
MANIFEST_BYTES = 900
"""Memory per clip of a manifest: 1.8 GB for the 2 million clips of AudioSet."""
# docs/planning.md says where these rates were measured


def plan_training(
    config: RunConfig,
    clips: int,
    *,
    seconds: float,
    epochs: float,
    classes: int,
    days: float,
    tflops: float = STEP_TFLOPS,
    core_clips: float = CORE_CLIPS,
) -> pd.Series:
    """Estimate what a training needs.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    clips : int
        Number of training clips.
    seconds : float
        Length of each clip (s).
    epochs : float
        Number of epochs.
    classes : int
        Number of classes.
    days : float
        How long the training may take.
    tflops : float
        Operations per second of one GPU in a training step (10^12/s).
    core_clips : float
        Clips of 10 s that one core reads and turns into log-mels per second.

    Returns
    -------
    Series
        ``tokens`` and ``step_gflop`` per clip, ``zflop`` (10^21) of the training, ``gpu_clips_per_s`` of one GPU,
        ``gpu_hours``, ``gpus`` for a training of `days`, ``clips_per_s`` of all of them, ``cores`` that load so many
        clips, ``read_mb_per_s`` from the store, ``store_tb``, ``manifest_gb`` and ``sampler_gb`` of memory per process.
    """
    (tokens,) = clip_tokens(config, [seconds])
    flop = (1 + BACKWARD) * config.model.flops(tokens, classes)
    gpu_hours = clips * epochs * flop / (tflops * 1e12) / 3600
    rate, sample_rate = clips * epochs / (days * 86400), config.front_end.sample_rate
    clip_bytes = seconds * sample_rate * SAMPLE_BYTES
    return pd.Series(
        {
            "clips": clips,
            "tokens": tokens,
            "step_gflop": flop / 1e9,
            "zflop": clips * epochs * flop / 1e21,
            "gpu_clips_per_s": tflops * 1e12 / flop,
            "gpu_hours": gpu_hours,
            "gpus": gpu_hours / (24 * days),
            "clips_per_s": rate,
            "cores": rate * seconds / 10 / core_clips,
            "read_mb_per_s": rate * clip_bytes / 1e6,
            "store_tb": clips * clip_bytes / 1e12,
            "manifest_gb": clips * MANIFEST_BYTES / 1e9,
            "sampler_gb": clips * SAMPLER_BYTES / 1e9,
        }
    )
