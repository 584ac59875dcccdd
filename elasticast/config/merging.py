"""Suite files as they lie on disk: read with what they extend, merged, each value traceable to its file.

A suite that ``extends`` another holds only its difference from it. All files of the chain are deep-merged, the nearest
last; ``every`` is laid over each experiment after its defaults, bases and own difference.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elasticast.config.reading import deep_merge, read_yaml, unknown_keys
from elasticast.config.run import RunConfig
from elasticast.config.suite import Experiment
from elasticast.errors import ConfigError

REQUIRED = ("defaults", "evaluations", "experiments", "seeds")
OPTIONAL = ("claims", "datasets", "every", "extends", "title")
SECTIONS = ("defaults", "experiments", "evaluations", "every", "datasets", "claims")
"""Keys whose values are mappings; `REQUIRED` ones among them hold something."""
DIFFERENCE_KEYS = {"base", *Experiment.model_fields, *RunConfig.model_fields} - {"experiment", "seed"}


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
        Path and content of each file, the farthest ancestor first, this file last.
    """

    path: str
    merged: dict[str, Any]
    layers: tuple[tuple[str, dict[str, Any]], ...]

    def file_with(self, section: str, problem: str) -> str | None:
        """The nearest file that holds the key a problem of a section begins with.

        Parameters
        ----------
        section : str
            Dotted, such as ``experiments.elastic``.
        problem : str
            Such as ``: train.lr: ...``.
        """
        if not problem.startswith(": "):
            return None
        return next((path for path, place in self._places(section) if stands_in(place, problem)), None)

    def file_of(self, section: str, problem: str = "") -> str:
        """As :meth:`file_with`; else the nearest file that has the section, else the suite's own."""
        return self.file_with(section, problem) or next((path for path, _ in self._places(section)), self.path)

    def _places(self, section: str) -> Iterator[tuple[str, Any]]:
        """Each file that has a section, the nearest first, and what it holds there."""
        for path, content in reversed(self.layers):
            place = find(content, section.split("."))
            if place is not _ABSENT:
                yield path, place


_ABSENT = object()


def find(value: Any, keys: list[str]) -> Any:
    """What lies under a chain of keys; `_ABSENT` if nothing does."""
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return _ABSENT
        value = value[key]
    return value


def stands_in(settings: Any, problem: str) -> bool:
    """Whether the key a problem begins with is set in `settings`."""
    for key in problem.split(": ")[1].split("."):
        if not isinstance(settings, dict) or key not in settings:
            return isinstance(settings, list) and key.isdigit()
        settings = settings[key]
    return True


def read_suite(name: str, folder: Path) -> SuiteFile:
    """Read a suite file and those it extends, and check what holds whatever the experiments say.

    Raises
    ------
    ConfigError
        With all problems of all files at once.
    """
    layers = _layers(folder / f"{name}.yaml")
    merged: dict[str, Any] = {}
    for _, content in layers:
        merged = deep_merge(merged, content)
    suite = SuiteFile(layers[-1][0], merged, layers)
    problems = [p for path, content in layers for p in unknown_keys(content, {*REQUIRED, *OPTIONAL}, path)]
    problems += [f"{suite.path}: {key}: this key is required" for key in REQUIRED if key not in merged]
    problems = problems or _wrong_sections(suite)
    if not problems:
        allowed = DIFFERENCE_KEYS - {"base"}
        laid = [(path, key, content.get(key, {})) for path, content in layers for key in ("defaults", "every")]
        problems = [p for path, key, value in laid for p in unknown_keys(value, allowed, f"{path}: {key}")]
        problems += _wrong_renames(suite, folder.parent / "datasets")
    if problems:
        raise ConfigError(problems)
    return suite


def _layers(path: Path) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The chain of files, the farthest ancestor first."""
    layers = [(str(path), read_yaml(path))]
    while "extends" in layers[0][1]:
        where, name = layers[0][0], layers[0][1]["extends"]
        further = path.with_name(f"{name}.yaml")
        if unknown := unknown_file(path.parent, name):
            raise ConfigError([f"{where}: extends: {unknown}"])
        if any(str(further) == seen for seen, _ in layers):
            raise ConfigError([f"{where}: extends: {name!r} leads back to itself"])
        layers.insert(0, (str(further), read_yaml(further)))
    return tuple(layers)


def _wrong_sections(suite: SuiteFile) -> list[str]:
    said = [(path, key, content[key]) for path, content in suite.layers for key in SECTIONS if key in content]
    said = [(path, key, value) for path, key, value in said if not isinstance(value, dict)]
    said += [(suite.path, key, {}) for key in SECTIONS if key in REQUIRED and suite.merged[key] == {}]
    return [f"{path}: {key}: expected keys and values, found {value!r}" for path, key, value in said]


def _wrong_renames(suite: SuiteFile, folder: Path) -> list[str]:
    """Problems of `datasets`: names that are none, and renamed datasets that no experiment uses."""
    problems, used = [], _used_datasets(suite)
    for old, new in suite.merged.get("datasets", {}).items():
        problem = unknown_file(folder, new)
        if old not in used:
            problem = f"no experiment uses this dataset. Used: {', '.join(sorted(used))}"
        if problem:
            problems.append(f"{suite.file_of('datasets', f': {old}: ')}: datasets.{old}: {problem}")
    return problems


def _used_datasets(suite: SuiteFile) -> set[str]:
    """Datasets that experiments name, before they are renamed; those of experiments that are wrong are left out."""
    used = set()
    for name in suite.merged["experiments"]:
        with contextlib.suppress(ConfigError):
            merged = deep_merge(_difference(suite.merged, name, ""), suite.merged.get("every", {}))
            used.add(str(merged.get("dataset")))
    return used


def unknown_file(folder: Path, name: Any) -> str:
    """What to say where `name` is no YAML file in a folder; empty where it is one."""
    path = folder / f"{name}.yaml"
    if isinstance(name, str) and path.is_file():
        return ""
    known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
    return f"{name!r} is unknown ({path} does not exist). There is: {known}"


def merge_experiment(suite: SuiteFile, name: str, where: str) -> dict[str, Any]:
    """Defaults, the chain of `base` experiments, the experiment's own difference, `every`; its dataset renamed.

    Raises
    ------
    ConfigError
        If it is no mapping, has an unknown key, or its bases lead nowhere or in a circle.
    """
    merged = deep_merge(_difference(suite.merged, name, where), suite.merged.get("every", {}))
    dataset = merged.get("dataset")
    if isinstance(dataset, str):
        merged["dataset"] = suite.merged.get("datasets", {}).get(dataset, dataset)
    return merged


def _difference(raw: dict, name: str, where: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    difference = raw["experiments"][name]
    if not isinstance(difference, dict):
        raise ConfigError([f"{where}: expected keys and values, found {difference!r}"])
    unknown = unknown_keys(difference, DIFFERENCE_KEYS, where)
    if unknown:
        raise ConfigError(unknown)
    base = difference.get("base")
    if base is None:
        start = raw["defaults"]
    elif base == name or base in seen:
        raise ConfigError([f"{where}: base: {base!r} leads back to itself"])
    elif not isinstance(base, str) or base not in raw["experiments"]:
        raise ConfigError([f"{where}: base: unknown experiment {base!r}. There is: {', '.join(raw['experiments'])}"])
    else:
        start = _difference(raw, base, where, (*seen, name))
    return deep_merge(start, {k: v for k, v in difference.items() if k != "base"})


def said_once(suite: SuiteFile, wrong: dict[str, list[str]], valid: Iterable[str]) -> list[str]:
    """All problems, a wrong value under where it stands (defaults, base, experiment, every), once.

    A `valid` experiment has no wrong value, only values that do not go together: that is always its own problem, and
    the suite's that brought them together.
    """
    raw, problems = suite.merged, []
    for name, found in wrong.items():
        difference = raw["experiments"][name]
        base = difference.get("base") if isinstance(difference, dict) else None
        inherited = wrong.get(base, ()) if isinstance(base, str) and base != name else ()
        wrong_value = name not in valid
        for problem in found:
            if not problem.startswith(": "):  # of another file
                problems.append(problem)
                continue
            section = f"experiments.{name}"
            if wrong_value and stands_in(raw.get("every"), problem):
                section = "every"
            elif wrong_value and base is None and _of_defaults(raw, difference, problem):
                section = "defaults"
            elif problem in inherited:
                continue
            file = suite.file_with(section, problem) if wrong_value else None
            problems.append(f"{file or suite.path}: {section}{problem}")
    return list(dict.fromkeys(problems))


def _of_defaults(raw: dict[str, Any], difference: Any, problem: str) -> bool:
    return stands_in(raw["defaults"], problem) and not stands_in(difference, problem)
