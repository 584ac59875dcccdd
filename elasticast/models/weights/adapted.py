"""Weights of adapted models: a run holds the parameters that it trained, and names the weights that it adapted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from elasticast.config import RunConfig
from elasticast.config.model.adapting import LoRA
from elasticast.errors import DataError
from elasticast.models import build_model
from elasticast.models.adapters import load_trained, merge_low_rank
from elasticast.models.trained import BASE
from elasticast.models.weights.adapt import load_weights
from elasticast.models.weights.content import Weights


def start_model(model: nn.Module, weights: Weights, config: RunConfig, *, keep_head: bool = True) -> list[str]:
    """Load the weights that a run starts from, see :func:`~elasticast.models.weights.adapt.load_weights`.

    Raises
    ------
    DataError
        If they do not fit, or if the run freezes parameters that they do not hold.
    """
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    if config.model.adaptation is not None:
        for parameter in frozen.values():
            nn.init.constant_(parameter, torch.nan)
    notes = load_weights(model, plain(weights), config, keep_head=keep_head)
    if missing := [name for name, p in frozen.items() if p.isnan().any()]:
        raise DataError(
            f"they hold no values for {', '.join(missing)}, which model.adapt.kind = {config.model.adaptation.kind!r} "
            "does not train; use settings of `model` that need no other parameters than the weights have"
        )
    return notes


def plain(weights: Weights) -> Weights:
    """The same weights without `model.adapt`; low-rank updates are added to the weights that they update.

    Raises
    ------
    DataError
        If there is no such model: prompts and adapters cannot be added to other weights.
    """
    model = weights.config.model
    if model.adaptation is None:
        return weights
    if not model.adaptation.plain:
        raise DataError(
            f"{weights.description}: has model.adapt.kind = {model.adaptation.kind!r}, so it is no plain model; start "
            f"from the weights that it adapted, {model.init}"
        )
    lora = model.adaptation if isinstance(model.adaptation, LoRA) else None
    tensors = merge_low_rank(weights.tensors, lora) if lora else weights.tensors
    config = weights.config.model_copy(update={"model": model.model_copy(update={"adapt": None})})
    return replace(weights, tensors=tensors, config=config)


def complete(tensors: dict[str, Tensor], config: RunConfig, classes: int, base: Weights) -> dict[str, Tensor]:
    """All tensors of an adapted model, from those that it trained and the weights that it adapted."""
    with torch.random.fork_rng(devices=[]):
        model = build_model(config, classes)
    start_model(model, base, config)
    load_trained(model, tensors)
    return {name: value.detach() for name, value in model.state_dict().items()}


def check_base(weights: Weights, record: dict[str, Any], path: Path) -> None:
    """Raise an error if weights are not those that a run adapted; `path` is its `model.json`, with this record."""
    if weights.sha256 != record["sha256"]:
        raise DataError(
            f"{path}: {BASE}.source = {record['source']!r}: this run adapted weights with sha256 "
            f"{record['sha256'][:16]}..., but these have {weights.sha256[:16]}...; restore them, or train again"
        )
