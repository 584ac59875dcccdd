"""Models: AST and ElasticAST, which share a transformer trunk, and models in files of the user."""

from typing import Any

from torch import nn

from elasticast.config import ModelSettings, RunConfig
from elasticast.config.model.own_code import model_class, typed
from elasticast.data.padding import padded
from elasticast.models.adapters import adapt
from elasticast.models.ast import AST
from elasticast.models.aum import AuM
from elasticast.models.cnn import CNN
from elasticast.models.elasticast import ElasticAST

__all__ = ["AST", "CNN", "AuM", "ElasticAST", "build_model"]

MODULES: dict[type[ModelSettings], type[nn.Module]] = {
    module.Settings: module for module in (AST, ElasticAST, AuM, CNN)
}
"""The module of each settings class of this package."""


def build_model(config: RunConfig, classes: int) -> nn.Module:
    """Build the model of a run, initialised from torch's global random state.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    classes : int
        Number of classes.

    Raises
    ------
    DataError
        If the class of the model is in a file that was not allowed to run, see
        :func:`elasticast.config.model.own_code.allow`.
    """
    settings, module = config.model, MODULES.get(type(config.model))
    if module is None:
        settings, module = typed(config.model), model_class(config.model)
    grid = settings.patches(config.front_end.mel_bins), settings.patches(config.view.longest)
    model = module(settings, grid=grid, classes=classes)
    model.settings = settings
    if settings.adaptation is not None:
        adapt(model, settings.adaptation)
    if settings.traits.pads:
        model.register_forward_pre_hook(_pad)
    return model


def _pad(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    batch = inputs[0]
    return padded(batch, model.settings.traits.row_tokens(max(batch.seqlens))), *inputs[1:]
