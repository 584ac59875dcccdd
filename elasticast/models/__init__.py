"""Models: AST and ElasticAST, which share a transformer trunk."""

from torch import nn

from elasticast.config import ModelSettings, RunConfig
from elasticast.models.ast import AST
from elasticast.models.elasticast import ElasticAST

__all__ = ["AST", "ElasticAST", "build_model"]

MODULES: dict[type[ModelSettings], type[nn.Module]] = {module.Settings: module for module in (AST, ElasticAST)}
"""The module of each settings class of this package."""


def build_model(config: RunConfig, classes: int) -> nn.Module:
    """Build the model of a run, initialised from torch's global random state.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    classes : int
        Number of classes.
    """
    settings = config.model
    grid = settings.patches(config.front_end.mel_bins), settings.patches(config.view.longest)
    return MODULES[type(settings)](settings, grid=grid, classes=classes)
