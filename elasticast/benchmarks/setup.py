"""What `elasticast bench packing` is asked: which model, which clips, which ways, on which device."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from elasticast.benchmarks.batching import Ways, all_ways, chosen
from elasticast.config import ElasticASTSettings, RunConfig
from elasticast.config.frames import compressed_frames
from elasticast.config.load_suite import load_run_config, load_suite
from elasticast.config.reading import deep_merge, validate
from elasticast.data.manifest import read_manifest
from elasticast.data.views import ViewRule
from elasticast.errors import DataError, ElasticASTError
from elasticast.models.attention import resolve_backend
from elasticast.models.device import default_device

MODELS = {"tiny": "mini/events_elastic", "base": "paper/voxceleb1_elastic"}
"""Short names of models: SUITE/EXPERIMENT."""


def model_config(name: str, max_frames: int) -> RunConfig:
    """A run's settings for clips of up to `max_frames` frames, whatever the length it is trained with.

    Parameters
    ----------
    name : str
        A short name, ``SUITE/EXPERIMENT``, or the path of a run's ``config.yaml``.

    Raises
    ------
    ElasticASTError
        If there is no such experiment, or it is no ElasticAST with attention pooling.
    """
    if name.endswith(".yaml"):
        config = load_run_config(Path(name))
    else:
        suite_name, _, experiment = MODELS.get(name, name).partition("/")
        if not experiment:
            raise ElasticASTError(f"--model {name}: expected {', '.join(MODELS)}, SUITE/EXPERIMENT or a config.yaml")
        suite = load_suite(suite_name)
        if experiment not in suite.runs:
            there = ", ".join(suite.runs)
            raise ElasticASTError(f"--model {name}: suite {suite_name!r} has no experiment {experiment!r}: {there}")
        config = suite.run_config(experiment, suite.seeds[0])
    if not (isinstance(config.model, ElasticASTSettings) and config.model.pooling == "attention"):
        raise ElasticASTError(f"--model {name}: expected a model of kind `elasticast` with pooling `attention`")
    longest = {"view": {"frames": "native", "max_frames": max_frames}, "model": {"max_frames": max_frames}}
    return validate(RunConfig, deep_merge(config.model_dump(mode="json"), longest), f"--max-frames {max_frames}")


def batch_tokens(
    config: RunConfig, clips: int, seed: int, *, prepared: Path | None = None, split: str = "train", shortest: int = 64
) -> list[int]:
    """Tokens of a batch's clips, of a prepared split if there is one, else of log-uniform lengths."""
    rng = np.random.default_rng(seed)
    if prepared is None:
        return _tokens_of(config, _drawn(config, clips, rng, shortest))
    return _tokens_of(config, _of_split(config, clips, rng, prepared, split))


def _drawn(config: RunConfig, clips: int, rng: np.random.Generator, shortest: int) -> list[int]:
    """Frames, log-uniform from `shortest` to the longest, cut to whole patches."""
    model, longest = config.model, config.view.max_frames
    if not model.patch <= shortest <= longest:
        raise ElasticASTError(f"--shortest {shortest}: expected {model.patch} to --max-frames = {longest}")
    drawn = shortest * (longest / shortest) ** rng.random(clips)
    return [compressed_frames(frames, 1.0, model.patch, model.stride) for frames in drawn]


def _of_split(config: RunConfig, clips: int, rng: np.random.Generator, prepared: Path, split: str) -> list[int]:
    """Frames of clips drawn without replacement and shown as the run's settings want it, up to the longest."""
    seconds = read_manifest(prepared / "manifest.parquet", split)["duration"].to_numpy()
    if len(seconds) < clips:
        raise DataError(f"{prepared}: split {split!r} has {len(seconds)} usable clips, fewer than --clips = {clips}")
    rule, rate = ViewRule(config), config.front_end.sample_rate
    return [rule.largest(round(seconds[i] * rate)).frames for i in rng.permutation(len(seconds))[:clips]]


def device_of(name: str) -> torch.device:
    """``cpu``, ``cuda``, or with ``auto`` the GPU where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ElasticASTError("--device cuda: there is no GPU here that torch can use")
    return torch.device("cpu") if name == "cpu" else default_device()


def ways_of(
    config: RunConfig,
    tokens: Sequence[int],
    device: torch.device,
    *,
    bucket: int,
    row_tokens: Sequence[int],
    names: Sequence[str] = (),
) -> tuple[Ways, dict[str, str]]:
    """The ways of these names (all, if none) that the device has kernels for, and why others are left out."""
    usual = resolve_backend("auto", device)
    backends = list(dict.fromkeys([usual, "sdpa", "dense"]))
    (limit,) = _tokens_of(config, [config.view.max_frames])
    ways, left_out = all_ways(tokens, limit, backends=backends, bucket=bucket, row_tokens=row_tokens)
    return chosen(ways, left_out, names), left_out


def _tokens_of(config: RunConfig, frames: Sequence[int]) -> list[int]:
    freq = config.model.patches(config.front_end.mel_bins)
    return [freq * config.model.patches(one) for one in frames]
