"""What training minimises: the loss of labels, and the differences from teachers and pseudo-labels if there are any."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from elasticast.config import RunConfig
from elasticast.data.packing import Lengths, PackedBatch
from elasticast.models.frame_head import FrameLogits
from elasticast.training.distributed import World
from elasticast.training.mean_teacher import MeanTeacher, Scores, scores_of
from elasticast.training.teacher import Teacher


@dataclass(frozen=True)
class Unsupervised:
    """Weights of the losses that need no labels, at one step.

    Attributes
    ----------
    consistency, pseudo_labels : float
        Weights of the differences from the mean teacher and from pseudo-labels.
    unlabelled : bool
        Whether some clips of the batch have no labels, on any rank.
    weak : bool
        Whether classes of some clips may be known, but not their times.
    """

    consistency: float = 0.0
    pseudo_labels: float = 0.0
    unlabelled: bool = False
    weak: bool = False


class Objective:
    """The loss of a batch. The losses of all ranks add up to that of the whole batch.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    world : World
        The processes that train together.
    teacher : Teacher, optional
        The teacher of `train.distill`.
    mean_teacher : MeanTeacher, optional
        The mean teacher of stages.
    """

    def __init__(
        self,
        config: RunConfig,
        world: World,
        teacher: Teacher | None = None,
        mean_teacher: MeanTeacher | None = None,
    ):
        self.train, self.world, self.teacher, self.mean_teacher = config.train, world, teacher, mean_teacher

    def __call__(
        self,
        output: Tensor | FrameLogits,
        batch: PackedBatch,
        weight: float,
        unsupervised: Unsupervised = Unsupervised(),
    ) -> Tensor:
        """Loss of this rank's part of a batch; `weight` is its share of the clips."""
        loss = self._supervised(output, batch, weight, unsupervised)
        if unsupervised.consistency:
            difference = consistency_loss(output, self.mean_teacher(batch), batch, self.train.loss)
            loss = loss + weight * unsupervised.consistency * difference
        if unsupervised.pseudo_labels:
            difference = frames_loss(output, batch.pseudo_targets, batch)
            loss = loss + weight * unsupervised.pseudo_labels * difference
        return loss

    def _supervised(
        self, output: Tensor | FrameLogits, batch: PackedBatch, weight: float, unsupervised: Unsupervised
    ) -> Tensor:
        """Loss of the labels, and the difference from the teacher of `train.distill`."""
        lacking = unsupervised.unlabelled or unsupervised.weak
        sizes, share = self._counted(batch, batch.labelled if lacking else None, weight, lacking)
        if not isinstance(output, FrameLogits):
            return self._clips_loss(output, batch, sizes) * share
        weights, loss = self.train.event_loss, self._clips_loss(output.clips, batch, sizes)
        if not unsupervised.weak:
            loss = weights.clips * loss + weights.frames * frames_loss(output, batch.frame_targets, batch, sizes)
            return loss * share
        sizes, timed = self._counted(batch, batch.timed, weight, True)
        frames = frames_loss(output, batch.frame_targets, batch, sizes)
        return weights.clips * loss * share + weights.frames * frames * timed

    def _clips_loss(self, logits: Tensor, batch: PackedBatch, sizes: Tensor | None) -> Tensor:
        kind, distill = self.train.loss, self.train.distill
        loss = compute_loss(logits, batch.targets, kind, sizes)
        if self.teacher is None:
            return loss
        soft = distillation_loss(logits, self.teacher(batch.teacher), kind, distill.temperature, sizes)
        return (1 - distill.weight) * loss + distill.weight * soft

    def _counted(
        self, batch: PackedBatch, known: Tensor | None, weight: float, lacking: bool
    ) -> tuple[Tensor | None, float]:
        """Weights `[B]` of the clips in a mean, and the share of this rank's part in the whole batch.

        Parameters
        ----------
        batch : PackedBatch
            This rank's part.
        known : Tensor or None
            `[B]` bool, which clips count. None if all do.
        weight : float
            Its share of the clips.
        lacking : bool
            Whether some clips may not count, on any rank.
        """
        if self.train.loss_weights == "token":
            sizes = batch.bounds.diff().float()
            if known is None:
                return sizes, self._share(len(batch.patches), weight)
            return sizes * known, self._share(int((sizes * known).sum()), weight)
        if not lacking:
            return None, weight
        counted = torch.ones(len(batch)) if known is None else known
        return counted.to(batch.targets), self._share(int(counted.sum()), weight)

    def _share(self, count: int, weight: float) -> float:
        """What share of a whole batch this rank's part has, of something that it has `count` of."""
        own = count if weight else 0
        (total,) = self.world.sum(own)
        return own / max(total, 1)  # events of no clip of a batch may be known


def compute_loss(logits: Tensor, targets: Tensor, kind: str, sizes: Tensor | None = None) -> Tensor:
    """Mean loss of a batch.

    Parameters
    ----------
    logits, targets : Tensor
        `[B, C]`; targets in [0, 1].
    kind : {"bce", "ce"}
        Binary cross-entropy over classes, or cross-entropy.
    sizes : Tensor, optional
        `[B]`, weights of the clips in the mean. By default they are equal.
    """
    loss = F.binary_cross_entropy_with_logits if kind == "bce" else F.cross_entropy
    if sizes is None:
        return loss(logits.float(), targets)
    losses = loss(logits.float(), targets, reduction="none")
    return _mean(losses.mean(1) if kind == "bce" else losses, sizes)


def frames_loss(logits: FrameLogits, targets: Tensor, batch: PackedBatch, sizes: Tensor | None = None) -> Tensor:
    """Mean loss of the time patches of a batch, binary cross-entropy.

    It is the mean over clips of the mean over the time patches that have tokens, so that every clip counts the same,
    whatever its length.

    Parameters
    ----------
    logits : FrameLogits
        Logits of R time patches.
    targets : Tensor
        `[R, C]`, in [0, 1].
    batch : PackedBatch
        The clips.
    sizes : Tensor, optional
        `[B]`, weights of the clips in the mean. By default they are equal.
    """
    losses = F.binary_cross_entropy_with_logits(logits.frames.float(), targets, reduction="none").mean(1)
    return _mean(_over_clips(losses, logits.seen, batch), sizes)


def _over_clips(values: Tensor, seen: Tensor, batch: PackedBatch) -> Tensor:
    """Mean `[B]` of the values `[R]` of the time patches of each clip that are `seen` `[R]`."""
    counted, zeros = seen.float(), torch.zeros(len(batch), device=values.device)
    clip = Lengths.of(batch.clip_time_patches, values.device).owners()
    return zeros.index_add(0, clip, values * counted) / zeros.index_add(0, clip, counted)


def distillation_loss(
    student: Tensor, teacher: Tensor, kind: str, temperature: float = 1.0, sizes: Tensor | None = None
) -> Tensor:
    """Mean difference of a student from its teacher, 0 if they agree (Hinton et al. 2015, section 2).

    It is the Kullback-Leibler divergence of the student's scores from those of the teacher: over classes for `ce`, of
    each class on its own, averaged over classes, for `bce`. The logits are divided by the temperature, and the result
    is multiplied by its square, so that the size of gradients does not depend on it.

    Parameters
    ----------
    student, teacher : Tensor
        Logits `[B, C]`.
    kind : {"bce", "ce"}
        Kind of the loss.
    temperature : float
        The temperature.
    sizes : Tensor, optional
        `[B]`, weights of the clips in the mean. By default they are equal.
    """
    student, teacher = student.float() / temperature, teacher.float() / temperature
    if kind == "bce":
        scores = teacher.sigmoid()
        cross, entropy = (
            F.binary_cross_entropy_with_logits(logits, scores, reduction="none") for logits in (student, teacher)
        )
        losses = (cross - entropy).mean(1)
    else:
        logs = (logits.log_softmax(1) for logits in (student, teacher))
        losses = F.kl_div(*logs, log_target=True, reduction="none").sum(1)
    return temperature**2 * _mean(losses, sizes)


def consistency_loss(student: Tensor | FrameLogits, teacher: Scores, batch: PackedBatch, kind: str) -> Tensor:
    """Mean squared difference of scores: that of clips, and if there are logits of time patches, also that of these.

    Parameters
    ----------
    student : Tensor or FrameLogits
        Logits of clips `[B, C]`, and of time patches `[R, C]`. Patches that the student has not seen do not count.
    teacher : Scores
        Scores of the same clips and time patches.
    batch : PackedBatch
        The clips.
    kind : {"bce", "ce"}
        Kind of the loss of labels, see :func:`~elasticast.training.mean_teacher.scores_of`.
    """
    ours = scores_of(student, kind)
    loss = (ours.clips - teacher.clips).square().mean()
    if ours.frames is not None:
        squares = (ours.frames - teacher.frames).square().mean(1)
        loss = loss + _over_clips(squares, student.seen, batch).mean()
    return loss


def _mean(losses: Tensor, sizes: Tensor | None) -> Tensor:
    # a rank may have no clip with labels; its mean, 0, then has no weight
    return losses.mean() if sizes is None else (losses * sizes).sum() / sizes.sum().clamp(min=1)
