"""Read YAML files and validate settings. All problems are reported at once, each with file, key and value."""

import copy
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from elasticast.checksums import FOLDER, check_folder, check_yaml
from elasticast.config import strict_yaml
from elasticast.config.model.adapting import ADAPTATIONS
from elasticast.config.model.kinds import BUILT_IN
from elasticast.config.names import known_files
from elasticast.errors import NO_VALUE, ConfigError, Problem, SettingsError, did_you_mean, distinct

OWN_FILE = f"delete the file to create it again, or delete its first line and the key `{FOLDER}` to use it as it is"
MAX_BYTES = 32 * 2**20


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises
    ------
    ConfigError
        If the file does not exist, is not valid YAML (with the line), or is not a mapping; also if it is nested or
        repeated (``*alias``) far beyond what a person writes.
    DataError
        If the file begins with a checksum and does not match it, see :mod:`elasticast.checksums`.
    """
    if not path.is_file():
        names = known_files(path.parent)
        message = f"no such file; {did_you_mean(path.stem, names)}Files in this folder: {', '.join(names) or 'none'}"
        raise ConfigError([Problem(str(path), (), message)])
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"has {size / 2**20:.0f} MiB; expected at most {MAX_BYTES // 2**20}")
        text = path.read_text(encoding="utf-8-sig")
        check_yaml(path, text)
        value = strict_yaml.load(text)
    except OSError as error:
        raise ConfigError([Problem(str(path), (), f"cannot be read: {error.strerror}")]) from None
    except (yaml.YAMLError, ValueError) as error:  # an impossible date, a number of too many digits
        raise ConfigError([Problem(str(path), (), f"not valid YAML: {error}")]) from None
    if not isinstance(value, dict):
        raise ConfigError([Problem(str(path), (), f"expected keys and values, got {type(value).__name__}")])
    return value


def read_run_yaml(path: Path) -> dict[str, Any]:
    """Read `config.yaml` or `sweeps.yaml` of a run, see :func:`read_yaml`.

    Raises
    ------
    DataError
        If the file was written for the folder of another run, see :func:`elasticast.checksums.check_folder`.
    """
    value = read_yaml(path)
    check_folder(path, value, OWN_FILE)
    return {key: setting for key, setting in value.items() if key != FOLDER}


def deep_merge(base: dict[str, Any], difference: dict[str, Any]) -> dict[str, Any]:
    """`difference` merged over `base`: mappings are merged key by key, other values are replaced."""
    merged = copy.deepcopy(base)
    for key, value in difference.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = deep_merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _yaml_float(number: float) -> str:
    """`number` in a form that YAML reads as a number: 1.0e-5. YAML reads 1e-5 as text."""
    mantissa, exponent = f"{number:e}".split("e")
    mantissa = mantissa.rstrip("0")
    sign = "-" if int(exponent) < 0 else "+"
    return f"{mantissa}{'0' if mantissa.endswith('.') else ''}e{sign}{abs(int(exponent))}"


def _number_hint(text: str, *, whole: bool) -> str:
    """Error message for text in place of a number, with the number to write if there is one."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        return "is not a number"
    if "e" not in text.lower():
        return f"is text; write {int(number) if text.strip().isdigit() else text.strip()} without quotes"
    right = int(number) if whole and number.is_integer() else _yaml_float(number)
    return f"is text; write {right} (YAML reads 1e-5 as text and 1.0e-5 as a number)"


def _unknown_key(key: Any, allowed: Iterable[str]) -> str:
    return f"unknown key; {did_you_mean(key, allowed)}Allowed: {', '.join(sorted(allowed))}"


def unknown_keys(value: dict, allowed: Iterable[str], file: str, *section: str) -> list[Problem]:
    """A problem for each key of `value` that is not in `allowed`."""
    unknown = [key for key in value if key not in allowed]
    return [Problem(file, (*section, str(key)), _unknown_key(key, allowed)) for key in unknown]


def not_a_mapping(value: Any, file: str, *section: str) -> Problem:
    """The problem of a value that should hold keys and values."""
    return Problem(file, section, "expected keys and values", value)


def _allowed_keys(model: type[BaseModel], location: tuple) -> list[str]:
    """Keys allowed at the location of an unknown key; the discriminators in `location` select members of unions."""
    current: Any = model
    for part in location[:-1]:
        fields = getattr(current, "model_fields", {})
        if part in fields:
            current = fields[part].annotation
        options = getattr(current, "__args__", ())
        if type(None) in options and len(options) == 2:  # settings that may be left out
            current, options = options[0], ()
        for option in options:
            if _has_tag(option, part):
                current = option
    return list(getattr(current, "model_fields", {}))


def _has_tag(option: Any, tag: Any) -> bool:
    """Whether a member of a union has a field whose value is `tag`, by which the member is selected."""
    fields = getattr(option, "model_fields", {}).values()
    return any(tag in getattr(field.annotation, "__args__", ()) for field in fields)


_TAGS = (*BUILT_IN, *ADAPTATIONS, "[key]", "[share]", "[range]", "[one]", "[by class]")
"""Tags of unions. pydantic inserts them between the keys of a location, but they are not in the file."""


def one_or_by_class(value: Any) -> str:
    """Tag of a setting that is given for all classes, or by class."""
    return "[by class]" if isinstance(value, dict) else "[one]"


def validate(model: Any, value: Any, file: str, *section: str) -> Any:
    """Validate a value.

    Parameters
    ----------
    model : type
        Settings class, or a union of such classes.
    value : Any
        The value.
    file : str
        Origin of the value, for error messages: a file, or an option of a command.
    section : str
        Nested keys of the value in the file.

    Raises
    ------
    ConfigError
        With all problems at once.
    """
    try:
        return TypeAdapter(model).validate_python(value)
    except ValidationError as error:
        problems = [problem for item in error.errors() for problem in _problems(model, item)]
        raise ConfigError(distinct(problem.at(file, *section) for problem in problems)) from None


def _problems(model: Any, item: dict[str, Any]) -> list[Problem]:
    """The problems of one pydantic error; their keys are relative to the validated value."""
    location = item["loc"]
    if not isinstance(model, type):  # a discriminated union: its first location is the tag
        options = model.__origin__.__args__
        tagged = [option for option in options if location and _has_tag(option, location[0])]
        model, location = (tagged[0], location[1:]) if tagged else (options[0], location)
    key = tuple(str(part) for part in location if part not in _TAGS)
    raised = item.get("ctx", {}).get("error")
    if isinstance(raised, SettingsError):
        return [problem.at("", *key) for problem in raised.problems]
    return [_problem(key, item, _allowed_keys(model, location))]


def _problem(key: tuple[str, ...], item: dict[str, Any], allowed: list[str]) -> Problem:
    kind, value = item["type"], item["input"]
    if kind == "extra_forbidden":
        return Problem("", key, _unknown_key(item["loc"][-1], allowed))
    if kind in ("float_type", "int_type") and isinstance(value, str):
        return Problem("", key, _number_hint(value, whole=kind == "int_type"), value)
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return not_a_mapping(value, "", *key)
    if kind == "missing":
        return Problem("", key, "this key is required")
    if kind == "union_tag_invalid":
        context = item["ctx"]
        tag = (*key, context["discriminator"].strip("'"))
        return Problem("", tag, f"expected one of {context['expected_tags']}", context["tag"])
    if kind == "union_tag_not_found":
        return Problem("", (*key, item["ctx"]["discriminator"].strip("'")), "this key is required")
    message = item["msg"].removeprefix("Value error, ")
    message = re.sub(r"^(Input|List|String|Dictionary) should", "should", message).split(" after validation")[0]
    return Problem("", key, message, NO_VALUE if isinstance(value, dict) else value)
