"""Settings of the models (`model` of an experiment): one class per kind of model.

A model of the package, and a part that several models share, such as token merging, has a module of its own. `own` has
the settings of models in files of users; `own_code` runs these files.
"""

from elasticast.config.model.aum import AuMSettings
from elasticast.config.model.cnn import CNNSettings
from elasticast.config.model.common import ModelSettings
from elasticast.config.model.context import Context
from elasticast.config.model.own import ModelConfig
from elasticast.config.model.patch_sizes import PatchSize, PatchSizes
from elasticast.config.model.token_merging import TokenMerging
from elasticast.config.model.traits import Traits
from elasticast.config.model.transformers import ASTSettings, ElasticASTSettings, TransformerSettings

__all__ = [
    "ASTSettings",
    "AuMSettings",
    "CNNSettings",
    "Context",
    "ElasticASTSettings",
    "ModelConfig",
    "ModelSettings",
    "PatchSize",
    "PatchSizes",
    "TokenMerging",
    "Traits",
    "TransformerSettings",
]
