"""Read suite files, merge them with the files that they extend, and record which file sets each value.

A suite that ``extends`` another holds only its differences from it. Each file of the chain is deep-merged over the one
that it extends. The settings of an experiment are merged in this order: defaults, bases, its differences, ``every``.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elasticast.config.model.kinds import BUILT_IN
from elasticast.config.model.own_code import fields_of
from elasticast.config.names import name_error, no_such_file
from elasticast.config.reading import deep_merge, not_a_mapping, read_yaml, unknown_keys
from elasticast.config.run import RunConfig
from elasticast.config.suite import Experiment
from elasticast.errors import ConfigError, Problem, distinct

REQUIRED = ("defaults", "evaluations", "experiments", "seeds")
OPTIONAL = ("claims", "datasets", "every", "extends", "folds", "references", "title")
SECTIONS = ("defaults", "experiments", "evaluations", "every", "datasets", "claims", "folds")
"""Keys whose values are mappings. Those in `REQUIRED` must not be empty."""
NAMED = ("experiments", "evaluations", "claims")
"""Keys whose values are mappings from names that users choose."""
DIFFERENCE_KEYS = {"base", *Experiment.model_fields, *RunConfig.model_fields} - {"experiment", "seed"}
"""Keys of an experiment."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class SuiteFile:
    """A suite file merged with those it extends.

    Attributes
    ----------
    path : str
        Path of the file.
    merged : dict
        Its content, merged over that of the files it extends.
    layers : tuple of (str, dict)
        Path and content of each file, from the one that extends no other to this one.
    """

    path: str
    merged: dict[str, Any]
    layers: tuple[tuple[str, dict[str, Any]], ...]

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders of files that settings may name: that of the suite, and the current one."""
        return Path(self.path).parent, Path()

    def file_with(self, section: Key, key: Key) -> str | None:
        """The last file of the chain that sets a key in a section, such as ``("experiments", "elastic")``."""
        return next((path for path, content in self._files_with(section) if is_set(content, key)), None)

    def file_of(self, section: Key, key: Key = ()) -> str:
        """The result of :meth:`file_with`, else the last file that has the section, else this file."""
        return self.file_with(section, key) or next((path for path, _ in self._files_with(section)), self.path)

    def _files_with(self, section: Key) -> Iterator[tuple[str, Any]]:
        """Path and section of each file that has the section, this file first."""
        for path, content in reversed(self.layers):
            value = _lookup(content, section)
            if value is not _ABSENT:
                yield path, value


_ABSENT = object()


def _lookup(value: Any, key: Key) -> Any:
    """The value at nested keys, or `_ABSENT`."""
    for part in key:
        if not isinstance(value, dict) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def is_set(settings: Any, key: Key) -> bool:
    """Whether `settings` have a nested key. A part after a list counts as present if it is a number."""
    for part in key:
        if not isinstance(settings, dict) or part not in settings:
            return isinstance(settings, list) and part.isdigit()
        settings = settings[part]
    return bool(key)


def read_suite(name: str, folder: Path) -> SuiteFile:
    """Read a suite file and the files it extends, and check all but the settings of experiments.

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
    """Path and content of a file and of those it extends, in the order of merging."""
    layers = [(str(path), read_yaml(path))]
    while "extends" in layers[0][1]:
        file, name = layers[0][0], layers[0][1]["extends"]
        if missing := no_such_file(path.parent, name):
            raise ConfigError([Problem(file, ("extends",), missing, name)])
        extended = path.with_name(f"{name}.yaml")
        if any(str(extended) == path for path, _ in layers):
            raise ConfigError([Problem(file, ("extends",), "leads back to itself", name)])
        layers.insert(0, (str(extended), read_yaml(extended)))
    return tuple(layers)


def _section_problems(suite: SuiteFile) -> list[Problem]:
    sections = [(path, key, content[key]) for path, content in suite.layers for key in SECTIONS if key in content]
    wrong = [(path, key, value) for path, key, value in sections if not isinstance(value, dict)]
    wrong += [(suite.path, key, {}) for key in SECTIONS if key in REQUIRED and suite.merged[key] == {}]
    if wrong:
        return [not_a_mapping(value, path, key) for path, key, value in wrong]
    names = [(path, key, name) for path, key, value in sections if key in NAMED for name in value]
    return [Problem(path, (key, name), error, name) for path, key, name in names if (error := name_error(name))]


def _renaming_problems(suite: SuiteFile, folder: Path) -> list[Problem]:
    """Problems of `datasets`: unknown datasets, and replaced datasets that are not used."""
    problems, used = [], _used_datasets(suite)
    for old, new in suite.merged.get("datasets", {}).items():
        message = no_such_file(folder, new)
        if old not in used:
            message = f"no experiment uses the dataset {old!r}, and it is no fold. Used: {', '.join(sorted(used))}"
        if message:
            file = suite.file_of(("datasets",), (old,))
            problems.append(Problem(file, ("datasets", old), message, new))
    if not problems and len(merge_folds(suite)) < len(suite.merged.get("folds", {})):
        message = "replaces two datasets with `folds` by the same one; expected another one for each"
        problems.append(Problem(suite.file_of(("datasets",)), ("datasets",), message, suite.merged["datasets"]))
    return problems


def _used_datasets(suite: SuiteFile) -> set[str]:
    """Datasets that experiments and `folds` name, before replacement; those with mistakes are left out."""
    lists = [folds for folds in suite.merged.get("folds", {}).values() if isinstance(folds, list)]
    used = {fold for folds in lists for fold in folds if isinstance(fold, str)}
    for name in suite.merged["experiments"]:
        with contextlib.suppress(ConfigError):
            merged = deep_merge(_with_bases(suite.merged, name, suite.folders), suite.merged.get("every", {}))
            used.add(str(merged.get("dataset")))
    return used


def merge_experiment(suite: SuiteFile, name: str) -> dict[str, Any]:
    """Settings of an experiment: defaults, chain of `base` experiments, its differences, and `every`, merged.

    Its dataset is replaced if the suite's `datasets` replace it.

    Raises
    ------
    ConfigError
        If it is no mapping or has an unknown key, or if its bases do not exist or form a cycle. Keys of the problems
        are relative to the experiment.
    """
    merged = deep_merge(_with_bases(suite.merged, name, suite.folders), suite.merged.get("every", {}))
    dataset = merged.get("dataset")
    if isinstance(dataset, str):
        merged["dataset"] = suite.merged.get("datasets", {}).get(dataset, dataset)
    return merged


def merge_folds(suite: SuiteFile) -> dict[str, Any]:
    """The suite's `folds`; datasets and folds are replaced if its `datasets` replace them."""
    new, folds = suite.merged.get("datasets", {}), suite.merged.get("folds", {})

    def replaced(value: Any) -> Any:
        if isinstance(value, list):
            return [replaced(item) for item in value]
        return new.get(value, value) if isinstance(value, str) else value

    return {replaced(name): replaced(value) for name, value in folds.items()}


def merge_difference(start: dict[str, Any], difference: dict[str, Any], folders: tuple[Path, ...]) -> dict[str, Any]:
    """Settings of an experiment merged over those it starts from.

    If `model.kind` differs, the settings of other kinds are not inherited, unless the new kind has them too. If
    `model.adapt.kind` differs, none of `model.adapt` are inherited.

    Parameters
    ----------
    start, difference : dict
        Settings that the experiment starts from, and its differences.
    folders : tuple of Path
        Folders of files that a kind of model may name.
    """
    model, inherited = difference.get("model"), start.get("model")
    if isinstance(model, dict) and isinstance(inherited, dict) and inherited.get("kind") != model.get("kind", _ABSENT):
        try:
            new, old = (fields_of(settings.get("kind"), folders) for settings in (model, inherited))
        except ConfigError as error:
            raise ConfigError([problem.at("", "model") for problem in error.problems]) from None
        others = set().union(old or (), *(settings.model_fields for settings in BUILT_IN.values()))
        if new is not None:
            kept = {key: value for key, value in inherited.items() if key in new or key not in others}
            start = start | {"model": kept}
    return deep_merge(_without_other_adapt(start, difference), difference)


def _without_other_adapt(start: dict[str, Any], difference: dict[str, Any]) -> dict[str, Any]:
    """The settings without `model.adapt`, if the difference names another kind of it."""
    inherited, adapt = (_adapt_of(settings) for settings in (start, difference))
    if not inherited or "kind" not in adapt or adapt["kind"] == inherited.get("kind"):
        return start
    return start | {"model": {key: value for key, value in start["model"].items() if key != "adapt"}}


def _adapt_of(settings: dict[str, Any]) -> dict[str, Any]:
    model = settings.get("model")
    adapt = model.get("adapt") if isinstance(model, dict) else None
    return adapt if isinstance(adapt, dict) else {}


def _with_bases(raw: dict, name: str, folders: tuple[Path, ...], seen: Key = ()) -> dict[str, Any]:
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
        start = _with_bases(raw, base, folders, (*seen, name))
    return merge_difference(start, {k: v for k, v in difference.items() if k != "base"}, folders)


def locate(suite: SuiteFile, problems: dict[str, list[Problem]], valid: Iterable[str]) -> list[Problem]:
    """All problems of experiments, each once, at the file and section that set the wrong value.

    Parameters
    ----------
    problems : dict
        Problems by experiment. Keys are relative to the experiment; problems of other files already name the file.
    valid : iterable of str
        Experiments whose settings are valid by themselves. Their problems come from the combination with a dataset or
        an evaluation, so they are reported at the experiment in this suite.
    """
    raw, located = suite.merged, []
    for name, experiment_problems in problems.items():
        difference = raw["experiments"][name]
        base = difference.get("base") if isinstance(difference, dict) else None
        inherited = problems.get(base, ()) if isinstance(base, str) and base != name else ()
        for problem in experiment_problems:
            wrong_value = name not in valid and not problem.combined
            if problem.file:
                located.append(problem)
            elif wrong_value and is_set(raw.get("every"), problem.key):
                located.append(_in(suite, problem, "every"))
            elif wrong_value and base is None and _is_default(raw, difference, problem.key):
                located.append(_in(suite, problem, "defaults"))
            elif problem not in inherited:
                section = ("experiments", name)
                file = suite.file_with(section, problem.key) if wrong_value else None
                located.append(problem.at(file or suite.path, *section))
    return distinct(located)


def _in(suite: SuiteFile, problem: Problem, section: str) -> Problem:
    return problem.at(suite.file_with((section,), problem.key) or suite.path, section)


def _is_default(raw: dict[str, Any], difference: Any, key: Key) -> bool:
    return is_set(raw["defaults"], key) and not is_set(difference, key)
