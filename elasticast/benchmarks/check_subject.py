"""The model that `elasticast check-model` checks, and random batches for it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from elasticast.config import FrontEnd, ModelConfig, PatchSize, RunConfig, Traits
from elasticast.config.load_suite import load_suite
from elasticast.config.model.kinds import BUILT_IN
from elasticast.config.model.own import names_file
from elasticast.config.model.own_code import resolve
from elasticast.config.reading import validate
from elasticast.data.packing import PackedBatch, PackedClip, grid_positions, pack
from elasticast.errors import ConfigError, ElasticASTError, did_you_mean
from elasticast.models import build_model
from elasticast.models.pretrained import load_model

CLASSES = 7
SMALL = {"dim": 32, "depth": 2, "heads": 2}
"""Size of a model of this package that is checked by its kind."""
FRAMES = 1024
"""Length of the longest view, if the positions of the model have no limit."""
LONGEST_SECONDS = 600.0
"""Length of the longest clip that is tried."""
SHAKE = 0.05
"""Standard deviation of the noise added to initial weights: a head that starts at zero would pass every comparison."""


class Subject:
    """A model to check.

    Parameters
    ----------
    config : RunConfig
        Settings of the model, its front end and its view.
    classes : int
        Number of classes.
    trained : nn.Module, optional
        The model with trained weights. Default: random weights.

    Attributes
    ----------
    freq : int
        Number of frequency patches.
    longest : int
        Number of time patches of the longest clip to try, whatever its positions cover.
    """

    def __init__(self, config: RunConfig, classes: int = CLASSES, trained: nn.Module | None = None):
        self.config, self.classes, self.trained = config, classes, trained
        self.freq = config.model.patches(config.front_end.mel_bins)
        self.longest = self.time_patches(LONGEST_SECONDS)

    @property
    def traits(self) -> Traits:
        """Traits of the model."""
        return self.config.model.traits

    def build(self, classes: int | None = None, seed: int = 0) -> nn.Module:
        """A model with random weights, in evaluation mode."""
        torch.manual_seed(seed)
        model = build_model(self.config, classes or self.classes)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(SHAKE * torch.randn_like(parameter))
        return model.eval()

    def model(self) -> nn.Module:
        """The model in evaluation mode, with the trained weights if there are any."""
        if self.trained is None:
            return self.build()
        model = build_model(self.config, self.classes)
        model.load_state_dict(self.trained.state_dict())
        return model.eval()

    def seconds(self, time_patches: int) -> float:
        """Length of a clip of `time_patches` patches."""
        model = self.config.model
        return (model.patch + (time_patches - 1) * model.stride) * self.config.front_end.hop_ms / 1000

    def time_patches(self, seconds: float) -> int:
        """Number of whole time patches in `seconds`, at least one."""
        frames = int(1000 * seconds / self.config.front_end.hop_ms)
        return self.config.model.patches(max(frames, self.config.model.patch))

    @property
    def limit(self) -> int | None:
        """Time patches of the longest clip that the positions cover; None if there is no limit."""
        return None if self.traits.longest is None else self.config.model.patches(self.traits.longest)

    def clip(self, time_patches: int, seed: int = 0, patch_size: PatchSize | None = None) -> PackedClip:
        """A clip of random patches, of another size if given."""
        freq = self.freq if patch_size is None else patch_size.rows(self.freq, time_patches)[0]
        grid = grid_positions(freq, time_patches)
        generator = torch.Generator().manual_seed(1000 * seed + time_patches)
        patches = torch.randn(len(grid[0]), self.config.model.patch**2, generator=generator)
        return PackedClip(seed, patches, *grid, torch.zeros(self.classes), patch_size=patch_size)

    def batch(self, lengths: Sequence[int]) -> PackedBatch:
        """A batch of random clips with these numbers of time patches."""
        return pack([self.clip(length, seed) for seed, length in enumerate(lengths)])


def open_subject(name: str, settings: dict[str, Any], *, trust_code: bool = False) -> Subject:
    """The model of a name.

    Parameters
    ----------
    name : str
        A kind of model of this package, ``FILE.py:CLASS``, ``SUITE/EXPERIMENT``, or weights that
        :func:`~elasticast.models.pretrained.load_model` reads.
    settings : dict
        Settings of a model that is named by its kind, those of `model` in a suite.
    trust_code : bool
        Whether to run code that weights bring.

    Raises
    ------
    ElasticASTError
        If there is no such model, or if it cannot be built.
    """
    if names_file(name):
        try:
            model = resolve({**settings, "kind": name}, (Path(),)).model_dump(mode="json")
        except ConfigError as error:
            raise ConfigError([problem.at(name, "model") for problem in error.problems]) from None
        return Subject(_config(name, model))
    if name in BUILT_IN:
        if settings.get("adapt"):  # random weights stand for those that are adapted
            settings = {"init": "none", **settings}
        small = {key: value for key, value in SMALL.items() if key in BUILT_IN[name].model_fields}
        return Subject(_config(name, {**small, **settings, "kind": name}))
    if settings:
        raise ElasticASTError(f"--settings: {name} has its own settings; they are for a kind of model or FILE.py:CLASS")
    suite, _, experiment = name.partition("/")
    if not Path(name).exists() and Path(f"config/suites/{suite}.yaml").is_file():
        loaded = load_suite(suite)
        if experiment not in loaded.runs:
            names = ", ".join(loaded.runs)
            raise ElasticASTError(f"{name}: suite {suite!r} has no experiment {experiment!r}; expected one of: {names}")
        return Subject(loaded.run_config(experiment, loaded.seeds[0]))
    if not Path(name).exists() and (question := did_you_mean(name, BUILT_IN)):
        raise ElasticASTError(f"{name}: no such kind of model, file or folder; {question}Kinds: {', '.join(BUILT_IN)}")
    trained = load_model(name, trust_code=trust_code)
    return Subject(trained.config, len(trained.classes), trained.model)


def _config(name: str, model: dict[str, Any]) -> RunConfig:
    """Settings of a run with this model: a native view if it trains on one, else a fixed one."""
    settings = validate(ModelConfig, model, name, "model")
    frames = FRAMES // settings.patch * settings.patch if settings.limit is None else settings.limit
    bands = FrontEnd().mel_bins // settings.patch * settings.patch or settings.patch
    run = {"experiment": "check", "seed": 0, "dataset": "check", "task": "check", "model": model}
    run["front_end"] = {"mel_bins": bands}
    run |= {"view": {"max_frames": frames}, "train": {"steps": 1, "batch": {"clips": 1}}}
    if settings.traits.one_length or "native" not in settings.traits.views:
        run["view"]["frames"] = frames
    return validate(RunConfig, run, name)


def difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12)).item()


def alone(forward: Callable[[PackedBatch], Tensor], clips: Sequence[PackedClip]) -> Tensor:
    """Logits `[B, C]` of clips, each in a batch of its own."""
    return torch.cat([forward(pack([clip])) for clip in clips])
