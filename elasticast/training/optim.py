"""Optimiser, learning-rate schedule and loss."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elasticast.config import Train
from elasticast.data.packing import Lengths, PackedBatch


def build_optimizer(model: nn.Module, train: Train) -> torch.optim.Optimizer:
    """Adam with L2 regularisation or AdamW, on all weights or on the matrices of linear layers."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[train.optimizer]
    # one kernel for all weights on a GPU, where a small model would otherwise wait for hundreds of launches
    on_gpu = next(model.parameters()).is_cuda
    options = {"lr": train.lr, "betas": tuple(train.betas), "fused": on_gpu or None}
    if train.decay == "all":
        return kind(model.parameters(), weight_decay=train.weight_decay, **options)
    linear = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    decayed = [p for p in model.parameters() if id(p) in linear]
    others = [p for p in model.parameters() if id(p) not in linear]
    groups = [{"params": decayed, "weight_decay": train.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return kind(groups, **options)


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Load the state of an optimiser, which may come from a machine with another kind of device."""
    for group, now in zip(state["param_groups"], optimizer.param_groups, strict=True):
        group["fused"] = now["fused"]
    optimizer.load_state_dict(state)


def learning_rate(train: Train, step: int, total: int, steps_per_epoch: float) -> float:
    """Learning rate of a step: linear warm-up, then the schedule.

    Parameters
    ----------
    step, total : int
        Number of steps done so far, and in the whole run.
    steps_per_epoch : float
        Mean number of steps per epoch; the ``step`` schedule decays at whole epochs.
    """
    warmup = round(train.warmup_epochs * steps_per_epoch) if train.warmup_epochs else train.warmup_steps
    if step < warmup:
        return _warmup_rate(train, step, warmup)
    schedule = train.schedule
    if schedule.kind == "cosine":
        done = (step - warmup) / max(1, total - warmup)
        return train.lr * 0.5 * (1 + math.cos(math.pi * done))
    if schedule.kind == "step":
        epoch = math.floor(step / steps_per_epoch)
        decays = max(0, math.floor((epoch - schedule.start_epoch) / schedule.every_epochs) + 1)
        return train.lr * schedule.gamma**decays
    return train.lr


def _warmup_rate(train: Train, step: int, warmup: int) -> float:
    lowest = train.warmup_start * train.lr
    if train.warmup_hold is not None:
        step -= step % train.warmup_hold
    elif not lowest:
        step += 1  # without it, the first step would change nothing
    return lowest + (train.lr - lowest) * step / warmup


def compute_loss(logits: Tensor, targets: Tensor, kind: str) -> Tensor:
    """Mean loss of a batch.

    Parameters
    ----------
    logits, targets : Tensor
        `[B, C]`; targets in [0, 1].
    kind : {"bce", "ce"}
        Binary cross-entropy over classes, or cross-entropy.
    """
    logits = logits.float()
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(logits, targets)
    return F.cross_entropy(logits, targets)


def training_loss(model: nn.Module, batch: PackedBatch, train: Train) -> Tensor:
    """Mean loss of a batch; with events, the loss of clips plus that of frames, weighted by `train.loss_weights`.

    The loss of frames is the mean over clips of the mean binary cross-entropy of the time patches that have tokens. So
    every clip counts the same, whatever its length.
    """
    if batch.frame_targets is None:
        return compute_loss(model(batch), batch.targets, train.loss)
    logits = model(batch, frames=True)
    loss = F.binary_cross_entropy_with_logits(logits.frames.float(), batch.frame_targets, reduction="none").mean(1)
    clip, seen = Lengths.of(batch.clip_time_patches, loss.device).owners(), logits.seen.float()
    count = torch.zeros(len(batch), device=loss.device).index_add(0, clip, seen)
    frames = (loss * seen / count.index_select(0, clip)).sum() / len(batch)
    weights = train.loss_weights
    return weights.clips * compute_loss(logits.clips, batch.targets, train.loss) + weights.frames * frames
