"""Errors that are printed to users as one message, without a traceback."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

NO_VALUE: Any = object()
"""Marks a problem without a value, such as a missing key or an unreadable file."""
MAX_VALUE_CHARACTERS = 120


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return a question that ends with a space and names what is like `name`, for messages; "" if nothing is.

    Names are alike if they have similar letters, or if one has the initials of the other: ``learning_rate``, ``lr``.
    """
    known = list(known)
    initials = "".join(word[0] for word in str(name).split("_") if word)
    similar = get_close_matches(str(name), known, 3) or [other for other in known if other == initials]
    return f"did you mean {' or '.join(f'`{other}`' for other in similar)}? " if similar else ""


class ElasticASTError(Exception):
    """An error that users can fix; the message explains how."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a configuration.

    Attributes
    ----------
    file : str
        The file, or another source of the settings, such as an option of a command. Empty until it is known.
    key : tuple of str
        Keys from the top of the file to the wrong value; empty if the whole file is wrong.
    message : str
        What is wrong, and what is expected instead.
    value : Any
        The wrong value, or `NO_VALUE`.
    combined : bool
        Whether the value is valid by itself but does not fit other settings. The problem is then reported for the
        experiment that combines them, not for the section that sets the value.
    """

    file: str
    key: tuple[str, ...]
    message: str
    value: Any = NO_VALUE
    combined: bool = False

    @classmethod
    def between(cls, key: str, value: Any, message: str) -> "Problem":
        """A problem of a setting (dotted key) that does not fit other settings."""
        return cls("", tuple(key.split(".")), message, value, combined=True)

    def at(self, file: str, *section: str) -> "Problem":
        """Copy of the problem with its file, and with `section` before its key."""
        return replace(self, file=file, key=(*section, *self.key))

    def __str__(self) -> str:
        setting = ".".join(self.key)
        if self.value is not NO_VALUE:
            value = repr(self.value)
            if len(value) > MAX_VALUE_CHARACTERS:
                value = f"{value[:MAX_VALUE_CHARACTERS]} ..."
            setting = f"{setting} = {value}" if setting else value
        return ": ".join(part for part in (self.file, setting, self.message) if part)


def distinct(problems: Iterable[Problem]) -> list[Problem]:
    """Remove repeated problems and keep the order."""
    return list({repr(problem): problem for problem in problems}.values())


class SettingsError(ValueError):
    """Raised by validators of settings to report problems; `elasticast.config.reading` collects them."""

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        super().__init__("; ".join(map(str, problems)))


class ConfigError(ElasticASTError, ValueError):
    """One or more mistakes in a configuration.

    Parameters
    ----------
    problems : list of Problem
        All problems.
    """

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        head = "" if len(problems) == 1 else f"{len(problems)} problems in the configuration:\n"
        super().__init__(head + "\n".join(map(str, problems)))


class DataError(ElasticASTError):
    """Audio or annotations that are missing, damaged or unusable."""
