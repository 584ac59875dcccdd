"""Reading YAML and checking it against settings: all problems at once, each with the file, the key and the value."""

import copy
import difflib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from elasticast.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML in which no key stands twice: the first of two experiments of one name would be lost in silence."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if names.count(key.value) > 1:
                raise yaml.composer.ComposerError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
        return node


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping, with an error that names the file and line."""
    if not path.is_file():
        near = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise ConfigError([f"{path}: no such file; there is: {', '.join(near) or 'nothing'}"])
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not valid YAML: {error}"]) from None
    if not isinstance(value, dict):
        raise ConfigError([f"{path}: expected keys and values, found {type(value).__name__}"])
    return value


def deep_merge(base: dict[str, Any], difference: dict[str, Any]) -> dict[str, Any]:
    """`base` with `difference` laid over it, mappings merged key by key, all else replaced."""
    merged = copy.deepcopy(base)
    for key, value in difference.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = deep_merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _yaml_float(number: float) -> str:
    """`number` in a form that YAML reads as a number: 1.0e-5, not 1e-5 or 1.0e-05."""
    mantissa, exponent = f"{number:e}".split("e")
    mantissa = mantissa.rstrip("0")
    sign = "-" if int(exponent) < 0 else "+"
    return f"{mantissa}{'0' if mantissa.endswith('.') else ''}e{sign}{abs(int(exponent))}"


def _number_hint(value: str, *, whole: bool) -> str:
    """What to write for a number that came as a string."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        return f"{value!r} is not a number"
    if "e" not in value.lower():
        return f"{value!r} is a string: write {value.strip()}"
    right = int(number) if whole and number.is_integer() else _yaml_float(number)
    return f"{value!r} is a string: write {right} (YAML reads 1e-5 as text and 1.0e-5 as a number)"


def _unknown_key(key: Any, allowed: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(key), allowed, n=1)
    return f"unknown key{f', did you mean `{near[0]}`?' if near else '.'} Allowed: {', '.join(sorted(allowed))}"


def unknown_keys(value: dict, allowed: Iterable[str], where: str) -> list[str]:
    """A problem for each key of `value` that is not in `allowed`."""
    return [f"{where}: {key}: {_unknown_key(key, allowed)}" for key in value if key not in allowed]


def _hint(error: dict[str, Any], allowed: list[str]) -> str:
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        return _unknown_key(error["loc"][-1], allowed)
    if kind in ("float_type", "int_type") and isinstance(value, str):
        return _number_hint(value, whole=kind == "int_type")
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"expected keys and values, found {value!r}"
    if kind == "missing":
        return "this key is required"
    if kind == "union_tag_invalid":
        context = error["ctx"]
        return f"{context['discriminator']} {context['tag']!r} is unknown. Allowed: {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"the key {error['ctx']['discriminator']} is required"
    message = error["msg"].removeprefix("Value error, ")
    return message if isinstance(value, dict) else f"{message}, got {value!r}"


def _allowed_keys(model: type[BaseModel], location: tuple) -> list[str]:
    """Keys allowed at the place of an unknown one, following the discriminators in `location`."""
    current: Any = model
    for part in location[:-1]:
        fields = getattr(current, "model_fields", {})
        if part in fields:
            current = fields[part].annotation
        options = getattr(current, "__args__", ())
        if type(None) in options:  # settings that may be left out
            current, options = options[0], ()
        for option in options:
            if any(part in getattr(f.annotation, "__args__", ()) for f in getattr(option, "model_fields", {}).values()):
                current = option
    return list(getattr(current, "model_fields", {}))


_TAGS = ("elasticast", "ast", "[key]", "[share]", "[range]")
"""What pydantic puts between the keys and a reader of the file does not see there: the tags of unions."""


def validate(model: Any, value: Any, where: str) -> Any:
    """Validate `value`; every problem names `where` and the key.

    Raises
    ------
    ConfigError
        With all problems at once.
    """
    try:
        return TypeAdapter(model).validate_python(value)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            root = model
            location = item["loc"]
            if not isinstance(model, type):  # a discriminated union: its first location is the tag
                options = model.__origin__.__args__
                tagged = [o for o in options if location and location[0] in repr(o.model_fields)]
                root, location = (tagged[0], location[1:]) if tagged else (options[0], location)
            key = ".".join(str(p) for p in location if p not in _TAGS)
            problems.append(f"{where}: {key + ': ' if key else ''}{_hint(item, _allowed_keys(root, location))}")
        raise ConfigError(list(dict.fromkeys(problems))) from None
