"""The mean teacher: a moving average of the weights of a model.

Shapes: B clips, M of them are mixtures, R time patches of all clips, C classes.
"""

import copy
import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elasticast.config import Train
from elasticast.data.packing import Lengths, PackedBatch
from elasticast.models.frame_head import FrameLogits


class Scores(NamedTuple):
    """Scores of clips `[B, C]` and of their time patches `[R, C]`, in [0, 1]; None for models without frame head."""

    clips: Tensor
    frames: Tensor | None


def scores_of(logits: Tensor | FrameLogits, kind: str) -> Scores:
    """Scores for logits of clips `[B, C]`, and of time patches if there are any.

    `kind` is the loss of labels, "bce" or "ce": scores of clips are sigmoids or a softmax. Those of time patches are
    sigmoids.
    """
    clips, frames = (logits.clips, logits.frames) if isinstance(logits, FrameLogits) else (logits, None)
    clips = clips.float().sigmoid() if kind == "bce" else clips.float().softmax(1)
    return Scores(clips, None if frames is None else frames.float().sigmoid())


class MeanTeacher:
    """A moving average of the weights of a model (Tarvainen and Valpola 2017). No gradient flows into it.

    Parameters
    ----------
    model : nn.Module
        The student.
    train : Train
        Settings of the training: its loss, and `mean_teacher.ema`, how much of the average a step keeps at most.
    """

    def __init__(self, model: nn.Module, train: Train):
        self.model, self.ema, self.kind = copy.deepcopy(model).requires_grad_(False), train.mean_teacher.ema, train.loss

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
    def __call__(self, batch: PackedBatch) -> Scores:
        """Scores of the clips; in tasks of kind ``frames`` also those of time patches.

        Where it is given both clips of a mixture, its scores for them are mixed.
        """
        options, heard = {"frames": True} if batch.frame_targets is not None else {}, batch.teacher
        alone = scores_of(self.model.eval()(heard, **options), self.kind)
        if heard.partners is None:
            return alone
        return mixed_scores(alone, scores_of(self.model(heard.partners, **options), self.kind), heard)


def mixed_scores(alone: Scores, others: Scores, batch: PackedBatch) -> Scores:
    """Scores of mixtures, in the shares of their clips (Verma et al. 2019).

    Parameters
    ----------
    alone, others : Scores
        Of the B clips of a batch, and of the M partners of those that have one.
    batch : PackedBatch
        The clips. A clip without partner keeps its scores.
    """
    device, counts = batch.shares.device, batch.clip_time_patches
    places = torch.tensor(batch.partnered).to(device, non_blocking=True)
    clips = _mixed(alone.clips, others.clips, places, batch.shares)
    if alone.frames is None:
        return Scores(clips, None)
    first = [0, *itertools.accumulate(counts)]
    rows = torch.cat([torch.arange(first[place], first[place + 1]) for place in batch.partnered])
    shares = batch.shares.index_select(0, Lengths.of(counts, device).owners())
    return Scores(clips, _mixed(alone.frames, others.frames, rows.to(device, non_blocking=True), shares))


def _mixed(alone: Tensor, others: Tensor, rows: Tensor, shares: Tensor) -> Tensor:
    """Mix the scores `others` into these rows of `alone`; the other rows have shares of 1."""
    partners = alone.index_copy(0, rows, others)
    return shares[:, None] * alone + (1 - shares)[:, None] * partners


def mean_teacher_of(model: nn.Module, train: Train) -> MeanTeacher | None:
    """The mean teacher of a run that starts with this model; None if no stage compares with it and it is not kept."""
    used = any(stage.consistency for stage in train.stages or []) or train.mean_teacher.keep == "teacher"
    return MeanTeacher(model, train) if used else None
