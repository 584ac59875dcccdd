"""The models of this package."""

from elasticast.config.model.aum import AuMSettings
from elasticast.config.model.cnn import CNNSettings
from elasticast.config.model.common import ModelSettings
from elasticast.config.model.transformers import ASTSettings, ElasticASTSettings

BUILT_IN: dict[str, type[ModelSettings]] = {
    "elasticast": ElasticASTSettings,
    "ast": ASTSettings,
    "aum": AuMSettings,
    "cnn": CNNSettings,
}
"""Settings of the models of this package, by kind."""
