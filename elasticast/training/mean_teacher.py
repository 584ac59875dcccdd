"""The mean teacher: a moving average of the weights of a model."""

import copy

import torch
from torch import Tensor, nn

from elasticast.config import Train
from elasticast.data.packing import PackedBatch
from elasticast.models.frame_head import FrameLogits


class MeanTeacher:
    """A moving average of the weights of a model (Tarvainen and Valpola 2017). No gradient flows into it.

    Parameters
    ----------
    model : nn.Module
        The student.
    ema : float
        How much of the average a step keeps at most, see `train.mean_teacher.ema`.
    """

    def __init__(self, model: nn.Module, ema: float):
        self.model, self.ema = copy.deepcopy(model).requires_grad_(False), ema

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """Add the weights of the student after its step number `step`, counted from 0, to the average."""
        pairs = zip(self.model.state_dict().values(), student.state_dict().values(), strict=True)
        for average, weight in pairs:
            if average.is_floating_point():  # equal values stay equal, bit for bit
                average.lerp_(weight, 1 - min(self.ema, step / (step + 1)))
            else:
                average.copy_(weight)

    @torch.no_grad()
    def __call__(self, batch: PackedBatch) -> Tensor | FrameLogits:
        """Logits of clips `[B, C]`; in tasks of kind ``frames`` also those of time patches."""
        frames = {"frames": True} if batch.frame_targets is not None else {}
        return self.model.eval()(batch.teacher, **frames)


def mean_teacher_of(model: nn.Module, train: Train) -> MeanTeacher | None:
    """The mean teacher of a run that starts with this model; None if no stage compares with it and it is not kept."""
    used = any(stage.consistency for stage in train.stages or []) or train.mean_teacher.keep == "teacher"
    return MeanTeacher(model, train.mean_teacher.ema) if used else None
