"""Optimiser, learning-rate schedule and loss."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elasticast.config import Train


def build_optimizer(model: nn.Module, train: Train) -> torch.optim.Optimizer:
    """Adam with weight decay on all weights, as in the released recipes, or AdamW with it on matrices only."""
    betas = tuple(train.betas)
    if train.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=train.lr, betas=betas, weight_decay=train.weight_decay)
    linear = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    decayed = [p for p in model.parameters() if id(p) in linear]
    others = [p for p in model.parameters() if id(p) not in linear]
    groups = [{"params": decayed, "weight_decay": train.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=train.lr, betas=betas)


def learning_rate(train: Train, step: int, total: int, steps_per_epoch: float) -> float:
    """Learning rate of a step: linear warm-up, then the schedule.

    Parameters
    ----------
    step, total : int
        Number of steps done so far, and in the whole run.
    steps_per_epoch : float
        Mean number of steps per epoch; the ``step`` schedule decays at whole epochs.
    """
    if step < train.warmup_steps:
        return train.lr * (step + 1) / train.warmup_steps
    schedule = train.schedule
    if schedule.kind == "cosine":
        done = (step - train.warmup_steps) / max(1, total - train.warmup_steps)
        return train.lr * 0.5 * (1 + math.cos(math.pi * done))
    if schedule.kind == "step":
        epoch = math.floor(step / steps_per_epoch)
        decays = max(0, math.floor((epoch - schedule.start_epoch) / schedule.every_epochs) + 1)
        return train.lr * schedule.gamma**decays
    return train.lr


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
