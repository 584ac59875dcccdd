"""Choose lengths, the size of the models and the length of training for the data and the machine."""

from dataclasses import dataclass

import numpy as np

from elasticast.config import FrontEnd, RunConfig
from elasticast.config.frames import native_frames
from elasticast.config.reading import validate
from elasticast.errors import DataError
from elasticast.new_suite.machine import Machine
from elasticast.new_suite.survey import Survey

PATCH = 16
POINTS = 8
"""Points of the sweep over lengths, in addition to the lengths of the ASTs."""
LONGEST = {"cpu": 1024, "gpu": 3072}
"""Length in frames to which longer clips are cut."""
EPOCHS, FEWEST_STEPS, MOST_STEPS = 60, 200, 20000
EFFICIENCY = {"cpu": 0.7, "gpu": 0.2}
"""Speed of training as a share of that of matrix products: 0.72-1.06 was measured on a CPU (widths 96 and 192, clips of
128 and 512 frames, batches of 16). That of a GPU is assumed."""
STEP_SECONDS, AUDIO_SECONDS = 0.02, 0.0006
"""Time per step and per second of audio (log-mel) that does not depend on the model, in s."""
TOKENS_PER_GIB = 1000
"""Tokens of a batch per GiB of memory of a GPU, for the largest size."""


@dataclass(frozen=True)
class Size:
    """Settings of the models, and the fewest training clips from which they are considered."""

    model: dict[str, int]
    lr: float
    fewest_clips: int


SIZES = (
    Size({"dim": 384, "depth": 12, "heads": 6}, 2.0e-4, 20000),
    Size({"dim": 192, "depth": 6, "heads": 3}, 5.0e-4, 4000),
    Size({"dim": 96, "depth": 3, "heads": 3}, 8.0e-4, 0),
)


@dataclass(frozen=True)
class SuitePlan:
    """Sizes of a suite.

    Attributes
    ----------
    size : Size
        The models.
    longest : int
        Longest clip that ElasticAST is given, in frames.
    quartiles : list of int
        Lengths of the ASTs, in frames.
    sweep : list of int
        Lengths of the evaluation, in frames.
    batch, steps : int
        Clips per step, steps of training.
    precision : str
        Setting `train.precision`.
    minutes : float
        Estimated time of all trainings.
    machine : Machine
        The machine that the suite is sized for.
    """

    size: Size
    longest: int
    quartiles: list[int]
    sweep: list[int]
    batch: int
    steps: int
    precision: str
    minutes: float
    machine: Machine


def size_suite(survey: Survey, machine: Machine, minutes: float) -> SuitePlan:
    """Choose the largest models that can be trained for :data:`EPOCHS` epochs in the given time.

    If not even the smallest can, training is shorter, but has at least :data:`FEWEST_STEPS` steps.

    Parameters
    ----------
    minutes : float
        Time for all trainings.

    Raises
    ------
    DataError
        If the length of no clip is known.
    """
    frames = _frames(survey)
    longest = min(int(frames.max()), LONGEST["gpu" if machine.gpu_gib else "cpu"])
    quartiles = sorted({_whole(q) for q in np.quantile(np.minimum(frames, longest), [0.25, 0.5, 0.75])})
    clips = int(((survey.clips["split"] == "train") & (survey.clips["reason"] == "")).sum())
    batch = max(2, min(_largest_batch(machine, longest), clips // 2))
    lengths = [*quartiles, *[float(np.minimum(frames, longest).mean())] * 2]  # the last two: ElasticAST, buckets
    steps = min(MOST_STEPS, max(FEWEST_STEPS, round(EPOCHS * clips / batch)))
    for size in SIZES:
        if clips < size.fewest_clips:
            continue
        per_step = sum(_step_seconds(survey, machine, size, batch, length) for length in lengths)
        per_step *= len(survey.classes) / min(machine.runs_at_once, len(lengths) * len(survey.classes))
        if per_step * steps <= 60 * minutes:
            break
    steps = max(FEWEST_STEPS, min(steps, int(60 * minutes / per_step)))
    sweep = sorted({*quartiles, *_points(int(frames.min()), longest)})
    precision = "bf16" if machine.gpu_gib else "fp32"
    return SuitePlan(size, longest, quartiles, sweep, batch, steps, precision, per_step * steps / 60, machine)


def _frames(survey: Survey) -> np.ndarray:
    """Native lengths in frames of the clips that were measured."""
    seconds = survey.clips["duration"].dropna().to_numpy()
    if not len(seconds):
        reasons = ", ".join(sorted(set(survey.unusable))[:5]) or "the lengths of the files are unknown"
        raise DataError(f"{survey.settings['folder']}: no clip can be used ({reasons})")
    front_end = FrontEnd()
    return np.array([native_frames(round(s * front_end.sample_rate), front_end, PATCH) for s in seconds])


def _whole(frames: float) -> int:
    """A length in whole patches."""
    return max(PATCH, PATCH * round(frames / PATCH))


def _points(shortest: int, longest: int) -> list[int]:
    """Lengths from the shortest to the longest clip, at growing distances."""
    return [_whole(frames) for frames in np.geomspace(max(shortest, PATCH), longest, POINTS)]


def _largest_batch(machine: Machine, longest: int) -> int:
    if not machine.gpu_gib:
        return 16
    tokens = longest / PATCH * FrontEnd().mel_bins / PATCH
    return max(4, min(64, int(TOKENS_PER_GIB * machine.gpu_gib / tokens)))


def _step_seconds(survey: Survey, machine: Machine, size: Size, batch: int, frames: float) -> float:
    """Time of a step of one run."""
    task = next(iter(survey.classes))
    settings = {
        "experiment": "sized",
        "seed": 0,
        "dataset": "sized",
        "task": task,
        "train": {"steps": 1, "batch": {"clips": 1}},
    }
    run = validate(RunConfig, settings | {"model": {"kind": "elasticast", **size.model}}, "the size of the suite")
    tokens = round(frames / PATCH) * run.model.patches(run.front_end.mel_bins)
    forward = run.model.flops(tokens, max(map(len, survey.classes.values())))
    audio = frames * run.front_end.hop_ms / 1000
    speed = EFFICIENCY["gpu" if machine.gpu_gib else "cpu"] * machine.flops
    compute, load = batch * 3 * forward / speed, batch * AUDIO_SECONDS * audio
    return STEP_SECONDS + (max(compute, load / machine.workers) if machine.workers else compute + load)
