"""Phases of a training: its parts of different resolution (`train.phases`) or its stages (`train.stages`).

Without these settings there is one phase.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from elasticast.config import Batch, RunConfig
from elasticast.config.phases import Phase, phase_settings
from elasticast.config.stages import StageSettings, stage_settings
from elasticast.data.dataset import ClipDataset, Clips
from elasticast.data.manifest import Known
from elasticast.data.norm import Norm
from elasticast.data.packing import kept_count
from elasticast.data.sampler import Batches, BatchSampler, ClipRequest
from elasticast.errors import DataError, ElasticASTError
from elasticast.models.adapters import follows_blocks
from elasticast.training.cost import ForwardCost, mean_step
from elasticast.training.objective import Unsupervised


@dataclass(frozen=True)
class TrainingPhase:
    """A part of a training in which all clips have the same kind of view, and the same parameters train.

    Attributes
    ----------
    config : RunConfig
        Settings of the run, with the view or the patches of this phase.
    settings : Phase, StageSettings or None
        Its settings in `train.phases` or `train.stages`. None for a training without them.
    sampler : BatchSampler
        Batches of each epoch.
    first_step, first_epoch : int
        Number of steps before this phase, and the epoch that it begins with. Epochs are counted over all phases, so
        that clips are not drawn and augmented in the same way again.
    steps : int
        Number of steps.
    steps_per_epoch : float
        Mean number of steps per epoch.
    unlabelled : BatchSampler or None
        Clips without labels that each batch has besides; None if there are none.
    weak : bool
        Whether classes of some clips are known, but not their times.
    """

    config: RunConfig
    settings: Phase | StageSettings | None
    sampler: BatchSampler
    first_step: int
    first_epoch: int
    steps: int
    steps_per_epoch: float
    unlabelled: BatchSampler | None = None
    weak: bool = False

    @property
    def stage(self) -> StageSettings | None:
        """What trains, and which losses count; None without `train.stages`."""
        return self.settings if isinstance(self.settings, StageSettings) else None

    @property
    def end(self) -> int:
        """Number of steps of the training when this phase ends."""
        return self.first_step + self.steps

    def extra(self, step: int) -> list[ClipRequest]:
        """The clips without labels of the batch after `step` steps of the training."""
        if self.unlabelled is None:
            return []
        epoch, number = divmod(step, self.unlabelled.count(0))
        return _epoch(self.unlabelled, epoch)[number]

    def unsupervised(self, step: int) -> Unsupervised:
        """Weights of the losses that need no labels, after `step` steps of the training."""
        if self.stage is None:
            return Unsupervised(weak=self.weak)
        consistency = self.stage.consistency_at(step - self.first_step)
        return Unsupervised(consistency, self.stage.pseudo_labels, self.unlabelled is not None, self.weak)

    @property
    def compression(self) -> float:
        """Compression of the clips; the first one, if training draws one of several per clip.

        Wider patches do not count: tables of positions are resized to them in every batch.
        """
        return self.config.view.compression[0]

    @property
    def described(self) -> str:
        """The phase in words, for messages."""
        if self.stage is None:
            return f"compression {self.settings.compression:g}"
        return "a stage with a frozen transformer" if self.stage.frozen else "a stage in which all parameters train"

    @property
    def record(self) -> dict[str, float | str]:
        """What `run.json` records; only with `train.phases` or `train.stages`."""
        if self.stage is not None:
            return {"frozen": self.stage.frozen, "steps": self.steps}
        resolution = self.settings.resolution or self.config.view.resolution
        return {"compression": self.settings.compression, "resolution": resolution, "steps": self.steps}


@lru_cache(maxsize=2)
def _epoch(sampler: BatchSampler, epoch: int) -> Batches:
    return sampler.epoch(epoch)


def plan_phases(
    config: RunConfig, clips: Clips, norm: Norm, cost: ForwardCost, teacher: float = 0.0
) -> list[TrainingPhase]:
    """Phases of a run, from the first to the last.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    clips : Clips
        Training clips.
    norm : Norm
        Normalisation statistics.
    cost : ForwardCost
        Cost of a forward pass.
    teacher : float
        Mean operations of the teacher for one clip.

    Raises
    ------
    ElasticASTError
        If `train.flops` allows no step.
    """
    weights = clips.weights if config.train.sampler == "balanced" else None
    configs, shares = stage_settings(config) if config.train.stages else phase_settings(config), [Fraction(1)]
    settings = config.train.phases or config.train.stages or [None]
    if settings != [None]:
        given = [Fraction(str(part.share)) for part in settings]
        shares = [share / sum(given) for share in given]  # they sum to 1 only up to rounding
    datasets = [ClipDataset(clips, at_phase, norm) for at_phase in configs]
    known = datasets[0].known
    with_labels, weak = (None, False) if known is None else (np.flatnonzero(known), Known.CLASSES in known)
    drawn = config.train.batch, config.seed, weights, with_labels
    samplers = [BatchSampler(dataset.tokens(), *drawn) for dataset in datasets]
    phases: list[TrainingPhase] = []
    earlier = Fraction(0)
    for at_phase, setting, share, dataset, sampler in zip(configs, settings, shares, datasets, samplers, strict=True):
        first_step, first_epoch = (phases[-1].end, _next_epoch(phases[-1])) if phases else (0, 0)
        if config.train.flops is not None:
            per_step = mean_step(dataset, sampler, cost, teacher)
            steps, per_epoch = _budgeted(config, share, per_step), sampler.count(first_epoch)
        else:
            if config.train.phase_shares == "flops":
                share *= _cost_ratio(samplers[-1], sampler, cost, config)
            steps, per_epoch = _length(config, share, sampler, first_epoch, earlier)
        earlier += share
        extra = _unlabelled(dataset, setting) if config.train.stages else None
        length = first_step, first_epoch, steps, per_epoch
        phases.append(TrainingPhase(at_phase, setting, sampler, *length, extra, weak))
    return phases


def _unlabelled(dataset: ClipDataset, stage: StageSettings) -> BatchSampler | None:
    """Batches of the clips without labels that a stage uses; None if it uses none."""
    settings = dataset.config.train.unlabelled
    if settings is None or not stage.uses_unlabelled:
        return None
    clips = np.flatnonzero(dataset.known == Known.NOTHING)
    if settings.clips > len(clips):
        raise DataError(
            f"train.unlabelled.clips = {settings.clips} is more than the {len(clips)} clips without labels of the "
            "training split"
        )
    return BatchSampler(dataset.tokens(), Batch(clips=settings.clips), dataset.config.seed, clips=clips)


def _budgeted(config: RunConfig, share: Fraction, per_step: float) -> int:
    """Steps for a share of `train.flops`."""
    budget = float(share) * config.train.flops
    if not (steps := round(budget / per_step)):
        raise ElasticASTError(f"train.flops: {budget:.3g} are less than one step, which needs {per_step:.3g}")
    return steps


def _length(
    config: RunConfig, share: Fraction, sampler: BatchSampler, epoch: int, earlier: Fraction
) -> tuple[int, float]:
    """Steps, and mean steps per epoch, of a share of the training that begins with `epoch`, after `earlier` shares."""
    train = config.train
    if train.steps is not None:
        # so that rounding does not change the sum over phases
        steps = round((earlier + share) * train.steps) - round(earlier * train.steps)
        return max(1, steps), sampler.count(epoch)
    # with a token budget the number of batches differs a little between epochs
    whole, rest = divmod(share * train.epochs, 1)
    steps = sum(sampler.count(epoch + e) for e in range(int(whole)))
    steps = max(1, steps + (round(rest * sampler.count(epoch + int(whole))) if rest else 0))
    return steps, steps / float(share * train.epochs)


def _cost_ratio(full: BatchSampler, phase: BatchSampler, cost: ForwardCost, config: RunConfig) -> Fraction:
    """How many times as long as at full resolution a phase can be, for the same number of operations.

    Clips count with their largest views, and with the mean token dropout. With a token budget, the number of batches is
    that of the first epoch.
    """
    dropout, rounding = sum(config.train.dropout_range) / 2, config.train.token_rounding

    def per_epoch(sampler: BatchSampler) -> int:
        lengths = zip(*(values.tolist() for values in np.unique(sampler.tokens, return_counts=True)), strict=True)
        return sum(clips * cost.clip(kept_count(tokens, dropout, rounding)) for tokens, clips in lengths)

    ratio = Fraction(per_epoch(full), per_epoch(phase))
    return ratio if config.train.steps is None else ratio * Fraction(phase.count(0), full.count(0))


def _next_epoch(phase: TrainingPhase) -> int:
    """The first epoch that a phase does not begin."""
    epoch, steps = phase.first_epoch, 0
    while steps < phase.steps:
        steps += phase.sampler.count(epoch)
        epoch += 1
    return epoch


def let_train(model: nn.Module, stage: StageSettings) -> None:
    """Let the parameters train that train in a stage."""
    model.zero_grad(set_to_none=True)  # gradients of parameters that no longer train would count in their norm
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not stage.frozen or follows_blocks(name, model))


@torch.no_grad()
def refine_positions(model: nn.Module, before: TrainingPhase, after: TrainingPhase) -> None:
    """Interpolate tables of positions at the beginning of a phase, so that they keep their place in time.

    Parameters
    ----------
    model : nn.Module
        The model. Each of its modules with a method `refine` is refined, see
        :meth:`~elasticast.models.positions.FactorisedPositions.refine`.
    before, after : TrainingPhase
        The phase that ended, and the one that begins.
    """
    ratio = before.compression / after.compression
    if ratio == 1:
        return
    run = before.config
    coarse = run.model.patches(run.most_frames(before.compression))
    for module in model.modules():
        if callable(refine := getattr(module, "refine", None)):
            refine(ratio, coarse)
