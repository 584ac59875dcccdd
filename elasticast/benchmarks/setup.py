"""Inputs of `elasticast bench packing`: the model, the clips, the ways and the device."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from elasticast.benchmarks.batching import Ways, all_ways, select_ways
from elasticast.benchmarks.rows import RowElasticAST
from elasticast.config import RunConfig
from elasticast.config.frames import compressed_frames
from elasticast.config.load_suite import load_run_config, load_suite
from elasticast.config.reading import deep_merge, validate
from elasticast.data.manifest import read_manifest
from elasticast.data.views import ViewRule
from elasticast.errors import DataError, ElasticASTError
from elasticast.models.attention import why_not
from elasticast.models.device import PRECISIONS, default_device

MODELS = {"tiny": "soundscapes/events_elastic", "ti": "paper/voxceleb1_elastic", "base": "paper/voxceleb1_elastic"}
"""Short names of models: SUITE/EXPERIMENT."""
SIZES = {"ti": {"dim": 192, "heads": 3}}
"""Settings of the model that differ: a ViT-Ti has the depth of a ViT-B."""


def model_config(name: str, max_frames: int) -> RunConfig:
    """Settings of a run, changed to clips of up to `max_frames` frames.

    Parameters
    ----------
    name : str
        A key of :data:`MODELS`, ``SUITE/EXPERIMENT``, or the path of the ``config.yaml`` of a run.
    max_frames : int
        Length of the longest clip.

    Raises
    ------
    ElasticASTError
        If the experiment does not exist, or if its model is not an ElasticAST with attention pooling.
    """
    if name.endswith(".yaml"):
        config = load_run_config(Path(name))
    else:
        suite_name, _, experiment = MODELS.get(name, name).partition("/")
        if not experiment:
            raise ElasticASTError(f"--model {name}: expected {', '.join(MODELS)}, SUITE/EXPERIMENT or a config.yaml")
        suite = load_suite(suite_name)
        if experiment not in suite.runs:
            names = ", ".join(suite.runs)
            raise ElasticASTError(
                f"--model {name}: suite {suite_name!r} has no experiment {experiment!r}; expected one of {names}"
            )
        config = suite.run_config(experiment, suite.seeds[0])
    if not (isinstance(config.model, RowElasticAST.Settings) and config.model.pooling == "attention"):
        raise ElasticASTError(f"--model {name}: expected a model of kind `elasticast` with pooling `attention`")
    sizes = {"max_frames": max_frames, **SIZES.get(name, {})}
    longest = {"view": {"frames": "native", "max_frames": max_frames}, "model": sizes}
    return validate(RunConfig, deep_merge(config.model_dump(mode="json"), longest), f"--max-frames {max_frames}")


LENGTHS = {
    "voxceleb": lambda rng, clips: np.minimum(4 + np.exp(rng.normal(math.log(2.5), 1.0, clips)), 30),
    "uniform": lambda rng, clips: rng.uniform(1, 10, clips),
    "speech": lambda rng, clips: rng.uniform(0.2, 2.3, clips),
    "equal": lambda rng, clips: np.full(clips, 10.24),
}
"""Distributions of lengths in seconds. `voxceleb` is like VoxCeleb1: at least 4 s, median 6.5 s, up to 30 s."""


def batch_tokens(
    config: RunConfig,
    clips: int,
    seed: int,
    *,
    prepared: Path | None = None,
    split: str = "train",
    lengths: str = "log-uniform",
    shortest: int = 64,
) -> list[int]:
    """Number of tokens of each clip of a random batch.

    Parameters
    ----------
    config : RunConfig
        Settings of the run, see :func:`model_config`.
    clips : int
        Number of clips.
    seed : int
        Seed of the random draw.
    prepared : Path, optional
        Folder of a prepared dataset to draw the clips from. Default: draw lengths at random.
    split : str
        Split of the prepared dataset.
    lengths : str
        Without `prepared`: a key of :data:`LENGTHS`, or ``log-uniform``.
    shortest : int
        Shortest length in frames with ``log-uniform``.
    """
    rng = np.random.default_rng(seed)
    if prepared is None and lengths == "log-uniform":
        return _token_counts(config, _random_lengths(config, clips, rng, shortest))
    drawn = LENGTHS[lengths](rng, clips) if prepared is None else _seconds_of_split(clips, rng, prepared, split)
    return clip_tokens(config, drawn)


def clip_tokens(config: RunConfig, seconds: Iterable[float]) -> list[int]:
    """Number of tokens of clips of these lengths in seconds; a longer clip has the length of its longest view."""
    rule, rate = ViewRule(config), config.front_end.sample_rate
    return _token_counts(config, [rule.largest(round(length * rate)).frames for length in seconds])


def _random_lengths(config: RunConfig, clips: int, rng: np.random.Generator, shortest: int) -> list[int]:
    """Log-uniform lengths in frames from `shortest` to the longest clip, cut to whole patches."""
    model, longest = config.model, config.view.max_frames
    if not model.patch <= shortest <= longest:
        raise ElasticASTError(f"--shortest {shortest}: expected {model.patch} to --max-frames = {longest}")
    drawn = shortest * (longest / shortest) ** rng.random(clips)
    return [compressed_frames(frames, 1.0, model.patch, model.stride) for frames in drawn]


def _seconds_of_split(clips: int, rng: np.random.Generator, prepared: Path, split: str) -> np.ndarray:
    """Lengths in seconds of clips drawn without replacement."""
    seconds = read_manifest(prepared / "manifest.parquet", split)["duration"].to_numpy()
    if len(seconds) < clips:
        raise DataError(f"{prepared}: split {split!r} has {len(seconds)} usable clips, fewer than --clips = {clips}")
    return seconds[rng.permutation(len(seconds))[:clips]]


def resolve_device(name: str) -> torch.device:
    """Device of a name: ``cpu``, ``cuda``, or ``auto``, which is the GPU if there is one.

    Raises
    ------
    ElasticASTError
        If `name` is ``cuda`` and there is no usable GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ElasticASTError("--device cuda: torch finds no GPU on this machine; use cpu or auto")
    return torch.device("cpu") if name == "cpu" else default_device()


def usable_backends(device: torch.device, precision: str) -> list[str]:
    """Attention backends that work on a device in this precision, the fastest first."""
    dtype = PRECISIONS[precision]
    return [name for name in ("varlen", "xformers", "sdpa", "dense") if why_not(name, device.type, dtype) is None]


def build_ways(
    config: RunConfig,
    tokens: Sequence[int],
    device: torch.device,
    *,
    bucket: int,
    row_tokens: Sequence[int],
    names: Sequence[str] = (),
    precision: str = "fp32",
) -> tuple[Ways, dict[str, str]]:
    """Arrange clips in all ways that the device has kernels for, and select some of them by name.

    Parameters
    ----------
    config : RunConfig
        Settings of the run, see :func:`model_config`.
    tokens : sequence of int
        Number of tokens of each clip.
    device : torch.device
        Device to compute on.
    bucket, row_tokens
        See :func:`~elasticast.benchmarks.batching.all_ways`.
    names : sequence of str
        Names of the ways; if empty, all ways are selected.
    precision : {"fp32", "bf16"}
        Precision of the timed passes.

    Returns
    -------
    ways : dict of str to list of Layout
        Name of each way to its forward passes.
    left_out : dict of str to str
        Name of each way that is not possible to the reason.
    """
    backends = usable_backends(device, precision)
    (limit,) = _token_counts(config, [config.view.max_frames])
    ways, left_out = all_ways(tokens, limit, backends=backends, bucket=bucket, row_tokens=row_tokens)
    return select_ways(ways, left_out, names), left_out


def _token_counts(config: RunConfig, lengths: Sequence[int]) -> list[int]:
    """Number of tokens of clips with these lengths in frames."""
    freq = config.model.patches(config.front_end.mel_bins)
    return [freq * config.model.patches(frames) for frames in lengths]
