"""Names of the points, settings and training runs of ablations."""

import re
from collections.abc import Iterable
from typing import Any

from elasticast.config.base import digest
from elasticast.config.deciding import deciding
from elasticast.config.run import RunSettings
from elasticast.config.suite import Suite

_LENGTH = 60  # largest number of characters in the readable part of a name; file systems allow about 255
_REST = len("and_999_more")


def run_name(run: RunSettings, base: str, suite: Suite) -> str:
    """Name of a run: that of the experiment with these settings, if there is one.

    Otherwise the name consists of the base, the settings that differ from it, and a digest. If the settings are too
    long for a file name, some are left out and counted, as in ``lr-0_5--and_2_more``; none is cut. The digest leaves
    out settings that have their default value, so that a setting added later renames no run. Settings that cannot
    change results (see :func:`elasticast.config.deciding.deciding`) are neither compared nor part of the name.
    """
    for experiment, settings in suite.runs.items():
        if deciding(settings) == deciding(run):
            return experiment
    changed = flat_differences(deciding(suite.runs[base]), deciding(run))
    items = [f"{key.rsplit('.', 1)[-1]}-{_slug(format_value(value))}" for key, value in changed.items()]
    hashed = digest(deciding(run, exclude_defaults=True))
    return f"{base}--{_join(items, '--', _LENGTH)}--{hashed[:6]}"


def differences(base: RunSettings, run: RunSettings) -> dict[str, Any]:
    """Dotted settings in which a run differs from the base, with the run's values; None if it has no such setting."""
    changed = flat_differences(base.model_dump(mode="json"), run.model_dump(mode="json"))
    return {key: value for key, value in changed.items() if key.split(".")[:2] != ["model", "code"]}


def flat_differences(base: dict[str, Any], run: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys in which two nested mappings differ, with the values of the second; None if it has no such key."""
    changed: dict[str, Any] = {}
    for key in dict.fromkeys([*base, *run]):
        base_value, value = base.get(key), run.get(key)
        if isinstance(base_value, dict) and isinstance(value, dict):
            changed |= flat_differences(base_value, value, f"{prefix}{key}.")
        elif base_value != value:
            changed[f"{prefix}{key}"] = value
    return changed


def nested(key: str, value: Any) -> dict[str, Any]:
    """A dotted setting as nested mappings."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def format_value(value: Any) -> str:
    """A setting's value as text for readers."""
    if isinstance(value, list):
        return "–".join(map(format_value, value if len(value) < 4 else [value[0], value[-1]]))
    if isinstance(value, dict):
        return ", ".join(f"{k} {format_value(v)}" for k, v in value.items() if v is not None)
    if isinstance(value, bool) or value is None:
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def setting_of(run: RunSettings, key: str) -> Any:
    """Value of a dotted setting; None if the run has no such setting."""
    value: Any = run.model_dump(mode="json")
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def point_label(values: Iterable[Any]) -> str:
    """Label of a grid point in figures and tables: its values."""
    return ", ".join(map(format_value, values))


def point_name(values: tuple) -> str:
    """Name of a grid point, which is part of file names: its values, or those that fit and a digest of all."""
    items = [_slug(format_value(value)) for value in values]
    if len(name := "_".join(items)) <= _LENGTH:
        return name
    return f"{_join(items, '_', _LENGTH - 7)}_{digest(list(values))[:6]}"


def _join(items: list[str], separator: str, length: int) -> str:
    """Join as many whole items as fit into `length` characters; the number of the others follows."""
    if len(joined := separator.join(items)) <= length:
        return joined
    kept: list[str] = []
    for item in items:
        if len(separator.join([*kept, item, "x" * _REST])) <= length:
            kept.append(item)
    return separator.join([*kept, f"and_{len(items) - len(kept)}_more" if kept else f"{len(items)}_settings"])


def _slug(text: str) -> str:
    text = re.sub(r"(?<![\w])-(?=[\d.])", "minus_", text)
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_-") or "none"
