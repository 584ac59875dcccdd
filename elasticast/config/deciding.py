"""Which settings decide the weights of a run, and which cannot change them."""

from typing import Any

from pydantic import BaseModel

NO_EFFECT = {"changes_results": False}
"""`json_schema_extra` of a field whose value cannot change the weights of a run, such as how often it is logged.

The identity of a checkpoint, `config_digest`, and what runs a training again do not depend on such fields. Tests prove
for each of them that it does not change a bit of the weights.
"""


def deciding(settings: BaseModel, **options: Any) -> dict[str, Any]:
    """Settings of a run as JSON values, without the fields that cannot change results (:data:`NO_EFFECT`).

    Parameters
    ----------
    settings : BaseModel
        The settings; those nested in it as fields are treated the same way.
    **options
        Options of :meth:`pydantic.BaseModel.model_dump`.
    """
    values = settings.model_dump(mode="json", **options)
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if field.json_schema_extra == NO_EFFECT:
            values.pop(name, None)
        elif name in values and isinstance(value, BaseModel):
            values[name] = deciding(value, **options)
    return values


def without_effect(settings: BaseModel) -> dict[str, Any]:
    """The settings that :func:`deciding` leaves out, as JSON values."""
    values = settings.model_dump(mode="json")
    left_out = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if field.json_schema_extra == NO_EFFECT:
            left_out[name] = values[name]
        elif isinstance(value, BaseModel) and (nested := without_effect(value)):
            left_out[name] = nested
    return left_out
