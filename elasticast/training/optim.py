"""Optimiser and learning-rate schedule."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from elasticast.config import Train
from elasticast.models.adapters import follows_blocks


def build_optimizer(model: nn.Module, train: Train, transformer_lr: float | None = None) -> torch.optim.Optimizer:
    """Adam with L2 regularisation or AdamW, on the weights that train; all of them, or matrices only, decay.

    With `transformer_lr` or `train.layer_decay`, groups of weights have a `factor`, see :func:`rate_factors`.
    """
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[train.optimizer]
    # one kernel for all weights on a GPU, where a small model would otherwise wait for hundreds of launches
    on_gpu = next(model.parameters()).is_cuda
    options = {"lr": train.lr, "betas": tuple(train.betas), "fused": on_gpu or None}
    trained = [p for p in model.parameters() if p.requires_grad]
    factors = rate_factors(model, train, transformer_lr)
    if train.decay == "all":
        groups = [{"params": trained, "weight_decay": train.weight_decay}]
        return kind(_divided(groups, factors), **options)
    linear = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    decayed = [p for p in trained if id(p) in linear]
    others = [p for p in trained if id(p) not in linear]
    groups = [{"params": decayed, "weight_decay": train.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return kind(_divided(groups, factors), **options)


def rate_factors(model: nn.Module, train: Train, transformer_lr: float | None = None) -> dict[nn.Parameter, float]:
    """Learning rate of each parameter, divided by `train.lr`; empty if all have the same.

    The heads and the pooling have `train.lr`. The rest has `transformer_lr`, by default the same, times
    `train.layer_decay` to the power of the number of layers above (Clark et al. 2020, Bao et al. 2021): 0 for the
    LayerNorm after the last layer, 1 for the last layer, and one more than there are layers for what comes before the
    first one.
    """
    if transformer_lr is None and train.layer_decay == 1:
        return {}
    highest = 1.0 if transformer_lr is None else transformer_lr / train.lr
    return {
        p: 1.0 if follows_blocks(name, model) else highest * train.layer_decay ** _layers_above(name, model)
        for name, p in model.named_parameters()
    }


def _layers_above(name: str, model: nn.Module) -> int:
    """How many layers are above a parameter that is not part of the heads, with its own layer."""
    blocks = model.settings.traits.blocks
    if blocks is None:
        return 0
    count, norm = len(model.get_submodule(blocks)), f"{blocks.rpartition('.')[0]}.norm.".lstrip(".")
    if name.startswith(f"{blocks}."):
        return count - int(name.removeprefix(f"{blocks}.").split(".")[0])
    return 0 if name.startswith(norm) else count + 1


def _divided(groups: list[dict], factors: dict[nn.Parameter, float]) -> list[dict]:
    """Groups of weights, each divided by their factors."""
    if not factors:
        return groups
    divided = []
    for group in groups:
        for factor in sorted({factors[p] for p in group["params"]}):
            chosen = [p for p in group["params"] if factors[p] == factor]
            divided.append({**group, "params": chosen, "factor": factor})
    return divided


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Load the state of an optimiser, which may come from a machine with another kind of device."""
    for group, now in zip(state["param_groups"], optimizer.param_groups, strict=True):
        group["fused"] = now["fused"]
    optimizer.load_state_dict(state)


def learning_rate(train: Train, step: int, total: int, steps_per_epoch: float, scores: Sequence[float] = ()) -> float:
    """Learning rate of a step: linear warm-up, then the schedule.

    Parameters
    ----------
    step, total : int
        Number of steps done so far, and in the whole run. With `train.phases`, both count from the start of a phase.
    steps_per_epoch : float
        Mean number of steps per epoch; the ``step`` schedule decays at whole epochs.
    scores : sequence of float
        Scores of the evaluations so far, for the ``plateau`` schedule.
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
    if schedule.kind == "plateau":
        return train.lr * schedule.gamma ** count_plateaus(scores, schedule.patience)
    return train.lr


def count_plateaus(scores: Sequence[float], patience: int) -> int:
    """How often `patience` scores in a row were not better than the best one before.

    Counting starts anew after each. The rate falls after the same scores as with PyTorch's
    ``ReduceLROnPlateau(mode="max", threshold=0, patience=patience - 1)``, whose patience is the number of scores that
    it lets pass.
    """
    best, waited, plateaus = -math.inf, 0, 0
    for score in scores:
        best, waited = (score, 0) if score > best else (best, waited + 1)
        if waited == patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus


def _warmup_rate(train: Train, step: int, warmup: int) -> float:
    lowest = train.warmup_start * train.lr
    if train.warmup_hold is not None:
        step -= step % train.warmup_hold
    elif not lowest:
        step += 1  # without it, the first step would change nothing
    return lowest + (train.lr - lowest) * step / warmup
