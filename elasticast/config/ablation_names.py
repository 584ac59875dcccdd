"""What the points, settings and training runs of ablations are called."""

import re
from typing import Any

from elasticast.config.base import digest
from elasticast.config.run import RunSettings
from elasticast.config.suite import Suite

NAME = r"\w[\w-]*"
"""Of ablations and variants, which are parts of targets and files."""
_LENGTH = 60  # of the readable part of a name; a path has room for it many times over


def run_name(run: RunSettings, base: str, suite: Suite) -> str:
    """Name of a run: an experiment's that has these settings; else the base's, what differs from it, and a digest.

    The digest leaves out what has its default value, so that a new setting renames no run.
    """
    for experiment, settings in suite.runs.items():
        if settings == run:
            return experiment
    found = differences(suite.runs[base], run)
    said = "--".join(f"{key.rsplit('.', 1)[-1]}-{_slug(shown(value))}" for key, value in found.items())
    hashed = digest(run.model_dump(mode="json", exclude_defaults=True))
    return f"{base}--{said[:_LENGTH].strip('-_')}--{hashed[:6]}"


def differences(base: RunSettings, run: RunSettings) -> dict[str, Any]:
    """Dotted settings in which a run differs from the base, with its values; None where it has no such setting."""
    return _differences(base.model_dump(mode="json"), run.model_dump(mode="json"), "")


def _differences(base: dict[str, Any], run: dict[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in dict.fromkeys([*base, *run]):
        one, other = base.get(key), run.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found |= _differences(one, other, f"{prefix}{key}.")
        elif one != other:
            found[f"{prefix}{key}"] = other
    return found


def nested(key: str, value: Any) -> dict[str, Any]:
    """A dotted setting as mappings within each other."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def shown(value: Any) -> str:
    """A setting's value for readers."""
    if isinstance(value, list):
        return "–".join(map(shown, value if len(value) < 4 else [value[0], value[-1]]))
    if isinstance(value, dict):
        return ", ".join(f"{k} {shown(v)}" for k, v in value.items() if v is not None)
    if isinstance(value, bool) or value is None:
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def point_name(values: tuple) -> str:
    """Name of a grid's point, which is part of file names."""
    return _slug("_".join(shown(value) for value in values))[:_LENGTH]


def _slug(text: str) -> str:
    text = re.sub(r"(?<![\w])-(?=[\d.])", "minus_", text)
    return re.sub(r"[^\w-]+", "_", text).strip("_-") or "none"
