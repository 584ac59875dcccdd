"""What all settings have in common: strict types, no unknown keys, nothing that changes after validation."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
TaskKind = Literal["single", "multi"]
PRIMARY_METRIC: dict[TaskKind, str] = {"single": "accuracy", "multi": "mAP"}
"""What figures show, intervals are of and weights are chosen by."""


class Settings(BaseModel):
    """Base of all settings: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
