"""Settings of a model whose class is in a file of the user: `model: {kind: FILE.py:CLASS}`.

These settings are read without running the file. They hold its SHA-256 and the traits of the model, as they were when
a suite named the file. :mod:`elasticast.config.model.own_code` runs it.
"""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, SerializeAsAny, TypeAdapter, WrapValidator

from elasticast.config.base import Settings
from elasticast.config.model.aum import AuMSettings
from elasticast.config.model.cnn import CNNSettings
from elasticast.config.model.common import ModelSettings
from elasticast.config.model.traits import Traits
from elasticast.config.model.transformers import ASTSettings, ElasticASTSettings

FILE, CLASS = r"[^\n]*[^\n/\\:]\.py", r"[A-Za-z_]\w*"
KIND = re.compile(f"(?P<file>{FILE}):(?P<name>{CLASS})")
"""A kind of model that names a file and a class in it."""
OWN_KEYS = ("kind", "code")
"""Keys that no settings class of a user can have."""


def _read_traits(value: Any) -> Traits:
    return TypeAdapter(Traits).validate_python(value)


class ModelCode(Settings):
    """What is known of the file of a model without running it."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file.")
    traits: Annotated[Traits, BeforeValidator(_read_traits)] = Field(description="Traits of the model.")


class FileModelSettings(ModelSettings):
    """Settings of a model whose class is in a file. They have the fields of its settings class in addition."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(pattern=f"^{FILE}:{CLASS}$", description="The model.")
    code: ModelCode = Field(description="The file.")

    @property
    def traits(self) -> Traits:
        """The traits that were recorded when the suite was read."""
        return self.code.traits

    @property
    def summary(self) -> str:
        """The model in words, after its kind."""
        own = [f"{key} {value}" for key, value in self.values.items() if key not in ModelSettings.model_fields]
        return ", ".join([*own, super().summary])

    @property
    def values(self) -> dict[str, Any]:
        """The values of the fields of the settings class in the file."""
        return {key: value for key, value in self.model_dump().items() if key not in OWN_KEYS}


def names_file(kind: Any) -> bool:
    """Whether a kind of model names a file and a class."""
    return isinstance(kind, str) and KIND.fullmatch(kind) is not None


def _own_or_built_in(value: Any, built_in: Any) -> ModelSettings:
    if isinstance(value, FileModelSettings):
        return value
    if isinstance(value, dict) and names_file(value.get("kind")):
        return FileModelSettings.model_validate(value)
    return built_in(value)


ModelConfig = SerializeAsAny[
    Annotated[
        ElasticASTSettings | ASTSettings | AuMSettings | CNNSettings,
        Field(discriminator="kind"),
        WrapValidator(_own_or_built_in),
    ]
]
"""Settings of any model. The JSON schema has the models of this package only."""
