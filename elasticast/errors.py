"""The errors shown to users: one clear message, no traceback."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

NO_VALUE: Any = type("NoValue", (), {"__repr__": lambda _: "NO_VALUE"})()
"""The value of a problem that has none: a missing or unknown key, a file that cannot be read."""
MAX_CHARACTERS = 120
"""Longest value printed in a problem."""


class ElasticASTError(Exception):
    """Something a user can put right; the message says what and how."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a configuration.

    Attributes
    ----------
    file : str
        The file, or what else the settings come from (an option of a command, say). Empty until it is known.
    key : tuple of str
        Keys from the top of the file to the wrong value; empty if the whole file is wrong.
    message : str
        What would be right.
    value : Any
        The wrong value, or `NO_VALUE`.
    combined : bool
        Whether the value is wrong only together with other settings. The mistake then belongs to whatever combined
        them, and not to the place that sets the value.
    """

    file: str
    key: tuple[str, ...]
    message: str
    value: Any = NO_VALUE
    combined: bool = False

    @classmethod
    def between(cls, key: str, value: Any, message: str) -> "Problem":
        """A setting, by its dotted key, that does not go together with others."""
        return cls("", tuple(key.split(".")), message, value, combined=True)

    def at(self, file: str, *section: str) -> "Problem":
        """The problem in a file, its key below a section of it."""
        return replace(self, file=file, key=(*section, *self.key))

    def __str__(self) -> str:
        setting = ".".join(self.key)
        if self.value is not NO_VALUE:
            text = repr(self.value)
            text = text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} ..."
            setting = f"{setting} = {text}" if setting else text
        return ": ".join(part for part in (self.file, setting, self.message) if part)


def distinct(problems: Iterable[Problem]) -> list[Problem]:
    """The problems without repetitions, in their order."""
    return list({str(problem): problem for problem in problems}.values())


class SettingsError(ValueError):
    """Raised by validators of settings for several problems at once; `elasticast.config.reading` collects them."""

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        super().__init__("; ".join(map(str, problems)))


class ConfigError(ElasticASTError, ValueError):
    """One or more mistakes in a configuration.

    Parameters
    ----------
    problems : list of Problem
        All of them.
    """

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        head = "" if len(problems) == 1 else f"{len(problems)} problems in the configuration:\n"
        super().__init__(head + "\n".join(map(str, problems)))


class DataError(ElasticASTError):
    """Audio or annotations that are missing, damaged or unusable."""
