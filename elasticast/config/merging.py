"""Suite files: read together with the files they extend, merged, each value traceable to its file.

A suite that ``extends`` another holds only its difference from it. All files of the chain are deep-merged, each over
the one that it extends. ``every`` is merged over each experiment last, after its defaults, bases and own difference.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elasticast.config.reading import deep_merge, no_such_file, not_a_mapping, read_yaml, unknown_keys
from elasticast.config.run import RunConfig
from elasticast.config.suite import Experiment
from elasticast.errors import ConfigError, Problem, distinct

REQUIRED = ("defaults", "evaluations", "experiments", "seeds")
OPTIONAL = ("claims", "datasets", "every", "extends", "title")
SECTIONS = ("defaults", "experiments", "evaluations", "every", "datasets", "claims")
"""Keys whose values are mappings; those that are `REQUIRED` may not be empty."""
DIFFERENCE_KEYS = {"base", *Experiment.model_fields, *RunConfig.model_fields} - {"experiment", "seed"}
"""Keys of an experiment."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class SuiteFile:
    """A suite file merged with those it extends.

    Attributes
    ----------
    path : str
        The file.
    merged : dict
        Its keys over those of the files it extends.
    layers : tuple of (str, dict)
        Path and content of each file: the one that extends nothing first, this one last.
    """

    path: str
    merged: dict[str, Any]
    layers: tuple[tuple[str, dict[str, Any]], ...]

    def file_with(self, section: Key, key: Key) -> str | None:
        """The last file of the chain that sets a key in a section, such as ``("experiments", "elastic")``."""
        return next((path for path, content in self._files_with(section) if is_set(content, key)), None)

    def file_of(self, section: Key, key: Key = ()) -> str:
        """As :meth:`file_with`; otherwise the last file that has the section; otherwise this file."""
        return self.file_with(section, key) or next((path for path, _ in self._files_with(section)), self.path)

    def _files_with(self, section: Key) -> Iterator[tuple[str, Any]]:
        """Each file that has a section, this file first, and the section's content."""
        for path, content in reversed(self.layers):
            found = _find(content, section)
            if found is not _ABSENT:
                yield path, found


_ABSENT = object()


def _find(value: Any, key: Key) -> Any:
    """The value under a chain of keys; `_ABSENT` if there is none."""
    for part in key:
        if not isinstance(value, dict) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def is_set(settings: Any, key: Key) -> bool:
    """Whether `settings` hold a key, or the list that its last part is an index of."""
    for part in key:
        if not isinstance(settings, dict) or part not in settings:
            return isinstance(settings, list) and part.isdigit()
        settings = settings[part]
    return bool(key)


def read_suite(name: str, folder: Path) -> SuiteFile:
    """Read a suite file and the files it extends, and check everything but the experiments' settings.

    Raises
    ------
    ConfigError
        With all problems of all files at once.
    """
    layers = _read_chain(folder / f"{name}.yaml")
    merged: dict[str, Any] = {}
    for _, content in layers:
        merged = deep_merge(merged, content)
    suite = SuiteFile(layers[-1][0], merged, layers)
    problems = [p for path, content in layers for p in unknown_keys(content, {*REQUIRED, *OPTIONAL}, path)]
    problems += [Problem(suite.path, (key,), "this key is required") for key in REQUIRED if key not in merged]
    problems = problems or _section_problems(suite)
    if not problems:
        allowed = DIFFERENCE_KEYS - {"base"}
        shared = [(path, key, content.get(key, {})) for path, content in layers for key in ("defaults", "every")]
        problems = [p for path, key, value in shared for p in unknown_keys(value, allowed, path, key)]
        problems += _renaming_problems(suite, folder.parent / "datasets")
    if problems:
        raise ConfigError(problems)
    return suite


def _read_chain(path: Path) -> tuple[tuple[str, dict[str, Any]], ...]:
    """A file and those it extends, the one that extends nothing first."""
    layers = [(str(path), read_yaml(path))]
    while "extends" in layers[0][1]:
        file, name = layers[0][0], layers[0][1]["extends"]
        if missing := no_such_file(path.parent, name):
            raise ConfigError([Problem(file, ("extends",), missing, name)])
        extended = path.with_name(f"{name}.yaml")
        if any(str(extended) == seen for seen, _ in layers):
            raise ConfigError([Problem(file, ("extends",), "leads back to itself", name)])
        layers.insert(0, (str(extended), read_yaml(extended)))
    return tuple(layers)


def _section_problems(suite: SuiteFile) -> list[Problem]:
    sections = [(path, key, content[key]) for path, content in suite.layers for key in SECTIONS if key in content]
    wrong = [(path, key, value) for path, key, value in sections if not isinstance(value, dict)]
    wrong += [(suite.path, key, {}) for key in SECTIONS if key in REQUIRED and suite.merged[key] == {}]
    return [not_a_mapping(value, path, key) for path, key, value in wrong]


def _renaming_problems(suite: SuiteFile, folder: Path) -> list[Problem]:
    """Problems of `datasets`: unknown data sets, and renamed data sets that no experiment uses."""
    problems, used = [], _used_datasets(suite)
    for old, new in suite.merged.get("datasets", {}).items():
        message = no_such_file(folder, new)
        if old not in used:
            message = f"no experiment uses the data set {old!r}. Used: {', '.join(sorted(used))}"
        if message:
            file = suite.file_of(("datasets",), (old,))
            problems.append(Problem(file, ("datasets", old), message, new))
    return problems


def _used_datasets(suite: SuiteFile) -> set[str]:
    """Data sets that experiments name, before they are renamed; experiments with mistakes are left out."""
    used = set()
    for name in suite.merged["experiments"]:
        with contextlib.suppress(ConfigError):
            merged = deep_merge(_with_bases(suite.merged, name), suite.merged.get("every", {}))
            used.add(str(merged.get("dataset")))
    return used


def merge_experiment(suite: SuiteFile, name: str) -> dict[str, Any]:
    """Settings of an experiment: defaults, its chain of `base` experiments, its own difference, `every`.

    Its data set is renamed as the suite's `datasets` say.

    Raises
    ------
    ConfigError
        If it is no mapping, has an unknown key, or its bases do not exist or form a circle. The problems' keys are
        counted from the experiment.
    """
    merged = deep_merge(_with_bases(suite.merged, name), suite.merged.get("every", {}))
    dataset = merged.get("dataset")
    if isinstance(dataset, str):
        merged["dataset"] = suite.merged.get("datasets", {}).get(dataset, dataset)
    return merged


def _with_bases(raw: dict, name: str, seen: Key = ()) -> dict[str, Any]:
    difference = raw["experiments"][name]
    if not isinstance(difference, dict):
        raise ConfigError([not_a_mapping(difference, "")])
    unknown = unknown_keys(difference, DIFFERENCE_KEYS, "")
    if unknown:
        raise ConfigError(unknown)
    base = difference.get("base")
    if base is None:
        start = raw["defaults"]
    elif base == name or base in seen:
        raise ConfigError([Problem("", ("base",), "leads back to itself", base)])
    elif not isinstance(base, str) or base not in raw["experiments"]:
        known = ", ".join(raw["experiments"])
        raise ConfigError([Problem("", ("base",), f"no such experiment. Expected one of: {known}", base)])
    else:
        start = _with_bases(raw, base, (*seen, name))
    return deep_merge(start, {k: v for k, v in difference.items() if k != "base"})


def locate(suite: SuiteFile, problems: dict[str, list[Problem]], valid: Iterable[str]) -> list[Problem]:
    """All problems of experiments, each once, in the file and section that sets the wrong value.

    Parameters
    ----------
    problems : dict
        By experiment, their keys counted from the experiment; those of other files have a file already.
    valid : iterable of str
        Experiments whose settings are valid. Their problems lie in what they are combined with (a data set, an
        evaluation), so they belong to the experiment and this suite.
    """
    raw, found = suite.merged, []
    for name, own in problems.items():
        difference = raw["experiments"][name]
        base = difference.get("base") if isinstance(difference, dict) else None
        inherited = problems.get(base, ()) if isinstance(base, str) and base != name else ()
        for problem in own:
            wrong_value = name not in valid and not problem.combined
            if problem.file:
                found.append(problem)
            elif wrong_value and is_set(raw.get("every"), problem.key):
                found.append(_in(suite, problem, "every"))
            elif wrong_value and base is None and _is_default(raw, difference, problem.key):
                found.append(_in(suite, problem, "defaults"))
            elif problem not in inherited:
                section = ("experiments", name)
                file = suite.file_with(section, problem.key) if wrong_value else None
                found.append(problem.at(file or suite.path, *section))
    return distinct(found)


def _in(suite: SuiteFile, problem: Problem, section: str) -> Problem:
    return problem.at(suite.file_with((section,), problem.key) or suite.path, section)


def _is_default(raw: dict[str, Any], difference: Any, key: Key) -> bool:
    return is_set(raw["defaults"], key) and not is_set(difference, key)
