"""Base class of all settings: strict types, no unknown keys, no change after validation."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(gt=0, lt=2**31)]
NaturalInt = Annotated[int, Field(ge=0, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""PyTorch accepts no larger seeds."""
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
TaskKind = Literal["single", "multi", "frames"]
"""One label per clip, several labels per clip, or several events with onset and offset."""
Scores = Literal["exact", "released_fp16_sigmoid"]
PRIMARY_METRIC: dict[TaskKind, str] = {"single": "accuracy", "multi": "mAP", "frames": "event_F1"}
"""Metric of each kind of task that is drawn in figures, has confidence intervals, and selects weights."""


class Settings(BaseModel):
    """Base of all settings: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def digest(value: Any) -> str:
    """Hex digest of a settings object or of any JSON value."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
