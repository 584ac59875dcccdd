"""Settings of training in stages: what trains, and which losses count (Schmid et al. 2024, arXiv 2408.00791)."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from elasticast.config.base import NaturalInt, PositiveFloat, PositiveInt, Settings
from elasticast.errors import Problem

Weight = Annotated[float, Field(ge=0)]


class StageSettings(Settings):
    """A part of a training: which parameters train, how fast, and the weights of losses besides that of labels."""

    share: float = Field(gt=0, le=1, description="Length of this stage, as a share of `steps` or `epochs`.")
    frozen: bool = Field(
        False,
        description="Only the heads and the pooling train; the transformer stays as it is. A first stage needs "
        "`model.init`.",
    )
    lr: PositiveFloat | None = Field(None, description="Learning rate of this stage; `null` means `train.lr`.")
    transformer_lr: PositiveFloat | None = Field(
        None, description="Learning rate of all but the heads and the pooling; `null` means that of the stage."
    )
    warmup_steps: NaturalInt | None = Field(
        None, description="Length of the warm-up of this stage; `null` means that of `train`. [steps]"
    )
    consistency: Weight = Field(
        0.0,
        description="Weight of the mean squared difference from the scores of the mean teacher, on all clips, with "
        "and without labels.",
    )
    interpolation: bool = Field(
        False,
        description="With `consistency`: clips that `train.mixup` mixed are compared with the mixed scores of the mean "
        "teacher for both clips alone (interpolation consistency), not with its scores for the mixture.",
    )
    ramp_steps: NaturalInt = Field(
        0, description="How long `consistency` rises to its value: by exp(-5 (1 - t)^2), with t from 0 to 1. [steps]"
    )
    pseudo_labels: Weight = Field(
        0.0,
        description="Weight of the binary cross-entropy with the pseudo-labels of `train.ensemble`, on all time "
        "patches.",
    )

    @property
    def uses_unlabelled(self) -> bool:
        """Whether clips without labels change what this stage learns."""
        return bool(self.consistency or self.pseudo_labels)

    def consistency_at(self, step: int) -> float:
        """Weight of the mean teacher after `step` steps of this stage (Laine and Aila 2017, section 3)."""
        ramp = math.exp(-5 * (1 - step / self.ramp_steps) ** 2) if step < self.ramp_steps else 1.0
        return self.consistency * ramp


class Averaging(Settings):
    """The mean teacher: a moving average of the weights (Tarvainen and Valpola 2017)."""

    ema: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="How much of the average a step keeps. After n steps, it keeps n / (n + 1) if that is less, which "
        "is the mean of all weights so far.",
    )
    keep: Literal["student", "teacher"] = Field(
        "student", description="Which weights are selected and saved: those that were trained, or their average."
    )


class Unlabelled(Settings):
    """Training clips without labels, or whose labels are not used."""

    share: float = Field(
        ge=0,
        lt=1,
        description="Share of the training clips with labels that are treated as if they had none. They are chosen by "
        "their ids, so they are the same in all runs. 0 for a dataset that has clips without labels, such as `desed`.",
    )
    clips: PositiveInt = Field(
        description="How many clips without labels each batch has besides those with labels, in stages that use them. "
        "[clips]"
    )


def stage_settings(run: Any) -> list[Any]:
    """Settings of each stage: the `RunSettings` of the run, with the learning rate and the warm-up of the stage."""
    return [run.model_copy(update={"train": _at_stage(run.train, stage)}) for stage in run.train.stages]


def _at_stage(train: Any, stage: StageSettings) -> Any:
    changes: dict[str, Any] = {"lr": stage.lr or train.lr}
    if stage.warmup_steps is not None:
        changes |= {"warmup_steps": stage.warmup_steps, "warmup_epochs": None}
    return train.model_copy(update=changes)


def stage_problems(run: Any) -> list[Problem]:
    """Problems of stages that do not fit the other settings of a run (`RunSettings`)."""
    checks = (_without_stages, _unlabelled, _clashing, _frozen, _losses)
    return [problem for check in checks for problem in check(run)]


def _without_stages(run: Any) -> list[Problem]:
    """Problems of settings that only stages use."""
    train, problems = run.train, []
    if train.stages is not None:
        return []
    if train.ensemble is not None:
        message = "needs train.stages: a stage weighs pseudo-labels"
        problems.append(Problem.between("train.ensemble", train.ensemble, message))
    if train.mean_teacher.keep == "teacher":
        message = "needs train.stages: without them there is no mean teacher"
        problems.append(Problem.between("train.mean_teacher.keep", "teacher", message))
    return problems


def _unlabelled(run: Any) -> list[Problem]:
    train, problems = run.train, []
    if train.unlabelled is None:
        return []
    if train.sampler != "shuffle":
        message = "expected 'shuffle' with train.unlabelled: a balanced sampler counts all labels"
        problems.append(Problem.between("train.sampler", train.sampler, message))
    if train.batch.buckets:
        message = "expected false with train.unlabelled: buckets are made of clips with labels"
        problems.append(Problem.between("train.batch.buckets", True, message))
    return problems


def _clashing(run: Any) -> list[Problem]:
    """Problems of settings that cannot be combined with stages."""
    train, problems = run.train, []
    if train.stages is None:
        return []
    for name in ("phases", "distill", "flops"):
        if (value := train.model_dump(exclude_none=True).get(name)) is not None:
            problems.append(Problem.between(f"train.{name}", value, "expected null with train.stages"))
    if train.loss_weights != "clip":
        problems.append(Problem.between("train.loss_weights", "token", "expected 'clip' with train.stages"))
    if train.cuda_graphs:
        problems.append(Problem.between("train.cuda_graphs", True, "expected false with train.stages"))
    if run.model.adaptation is not None:
        message = "expected null with train.stages: a stage says what trains"
        problems.append(Problem.between("model.adapt.kind", run.model.adaptation.kind, message))
    if train.steps is not None:
        short = [stage.share for stage in train.stages if stage.share * train.steps < 1]
        message = f"a stage has less than one of the {train.steps} steps"
        problems += [Problem.between("train.stages", share, message) for share in short]
    return problems


def _frozen(run: Any) -> list[Problem]:
    problems = []
    for number, stage in enumerate(run.train.stages or []):
        if number == 0 and stage.frozen and run.model.init is None:
            message = "needs model.init: the first stage would freeze a transformer that has learned nothing"
            problems.append(Problem.between("train.stages.0.frozen", True, message))
        if stage.frozen and stage.transformer_lr is not None:
            message = "expected null with frozen = true: the transformer does not train in this stage"
            key = f"train.stages.{number}.transformer_lr"
            problems.append(Problem.between(key, stage.transformer_lr, message))
    return problems


def _losses(run: Any) -> list[Problem]:
    """Problems of the mean teacher and of pseudo-labels."""
    train, problems, stages = run.train, [], run.train.stages or []
    if any(stage.consistency for stage in stages) and train.spec_augment.warp is not None:
        message = "expected null with `consistency`: a warp moves sounds, but the mean teacher has them as they are"
        problems.append(Problem.between("train.spec_augment.warp", train.spec_augment.warp.kind, message))
    problems += _interpolation(train)
    weighted = [number for number, stage in enumerate(stages) if stage.pseudo_labels]
    for number in weighted:
        key, value = f"train.stages.{number}.pseudo_labels", stages[number].pseudo_labels
        if train.ensemble is None:
            problems.append(Problem.between(key, value, "needs train.ensemble: the models that make pseudo-labels"))
        elif not run.model.traits.frames:
            problems.append(Problem.between(key, value, "needs model.frame_head: pseudo-labels are of time patches"))
    if stages and train.ensemble is not None and not weighted:
        message = "expected null, or a stage with pseudo_labels above 0"
        problems.append(Problem.between("train.ensemble", train.ensemble, message))
    return problems


def _interpolation(train: Any) -> list[Problem]:
    """Problems of stages with `interpolation` that would have nothing to interpolate."""
    problems = []
    for number, stage in enumerate(train.stages or []):
        key = f"train.stages.{number}.interpolation"
        if stage.interpolation and not stage.consistency:
            problems.append(Problem.between(key, True, "needs consistency above 0 in this stage"))
        if stage.interpolation and not train.mixup:
            problems.append(Problem.between(key, True, "needs train.mixup above 0: no clips are mixed"))
    return problems
