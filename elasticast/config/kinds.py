"""The models of this package."""

from elasticast.config.aum import AuMSettings
from elasticast.config.cnn import CNNSettings
from elasticast.config.model import ASTSettings, ElasticASTSettings, ModelSettings

BUILT_IN: dict[str, type[ModelSettings]] = {
    "elasticast": ElasticASTSettings,
    "ast": ASTSettings,
    "aum": AuMSettings,
    "cnn": CNNSettings,
}
"""Settings of the models of this package, by kind."""
