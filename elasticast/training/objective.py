"""What training minimises: the loss of labels, and the difference from a teacher if there is one."""

import torch
import torch.nn.functional as F
from torch import Tensor

from elasticast.config import RunConfig
from elasticast.data.packing import Lengths, PackedBatch
from elasticast.models.frame_head import FrameLogits
from elasticast.training.distributed import World
from elasticast.training.teacher import Teacher


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
    """

    def __init__(self, config: RunConfig, world: World, teacher: Teacher | None = None):
        self.train, self.world, self.teacher = config.train, world, teacher

    def __call__(self, output: Tensor | FrameLogits, batch: PackedBatch, weight: float) -> Tensor:
        """Loss of this rank's part of a batch; `weight` is its share of the clips."""
        by_token, kind = self.train.loss_weights == "token", self.train.loss
        sizes = batch.bounds.diff().float() if by_token else None
        logits = output.clips if isinstance(output, FrameLogits) else output
        loss = compute_loss(logits, batch.targets, kind, sizes)
        if self.teacher is not None:
            distill = self.train.distill
            soft = distillation_loss(logits, self.teacher(batch.teacher), kind, distill.temperature, sizes)
            loss = (1 - distill.weight) * loss + distill.weight * soft
        if isinstance(output, FrameLogits):
            weights = self.train.event_loss
            loss = weights.clips * loss + weights.frames * frames_loss(output, batch, sizes)
        return loss * (self._share_of_tokens(batch, weight) if by_token else weight)

    def _share_of_tokens(self, batch: PackedBatch, weight: float) -> float:
        tokens = len(batch.patches) if weight else 0
        (total,) = self.world.sum(tokens)
        return tokens / total


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


def frames_loss(logits: FrameLogits, batch: PackedBatch, sizes: Tensor | None = None) -> Tensor:
    """Mean loss of the time patches of a batch, binary cross-entropy.

    It is the mean over clips of the mean over the time patches that have tokens, so that every clip counts the same,
    whatever its length.

    Parameters
    ----------
    logits : FrameLogits
        Logits of R time patches.
    batch : PackedBatch
        With `frame_targets` `[R, C]`.
    sizes : Tensor, optional
        `[B]`, weights of the clips in the mean. By default they are equal.
    """
    losses = F.binary_cross_entropy_with_logits(logits.frames.float(), batch.frame_targets, reduction="none").mean(1)
    seen, zeros = logits.seen.float(), torch.zeros(len(batch), device=losses.device)
    clip = Lengths.of(batch.clip_time_patches, losses.device).owners()
    of_clips = zeros.index_add(0, clip, losses * seen) / zeros.index_add(0, clip, seen)
    return _mean(of_clips, sizes)


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


def _mean(losses: Tensor, sizes: Tensor | None) -> Tensor:
    return losses.mean() if sizes is None else (losses * sizes).sum() / sizes.sum()
