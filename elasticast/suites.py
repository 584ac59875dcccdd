"""Suites: defaults, experiments and evaluations of one YAML file, merged and checked before anything runs.

A suite file (``config/suites/NAME.yaml``) holds ``defaults``, ``experiments`` (each only its difference from the
defaults or from a ``base`` experiment) and ``evaluations``. Defaults and differences are deep-merged and
validated into one :class:`~elasticast.config.RunConfig` per experiment and seed.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from elasticast.config import (
    Evaluation,
    Experiment,
    RunConfig,
    Suite,
    SuiteHead,
    WorkflowConfig,
)
from elasticast.dataset_config import DatasetConfig
from elasticast.errors import ConfigError
from elasticast.files import write_json
from elasticast.option_checks import sweep_problems
from elasticast.validation import deep_merge, read_yaml, unknown_keys, validate

_DIFFERENCE_KEYS = {"base", *Experiment.model_fields, *RunConfig.model_fields} - {"experiment", "seed"}


def load_workflow_config(value: dict[str, Any], where: str = "config/config.yaml") -> WorkflowConfig:
    """Validate the workflow's own configuration."""
    return validate(WorkflowConfig, value, where)


def write_schema(path: Path = Path("workflow/schemas/config.schema.json")) -> None:
    """Write the JSON schema of `config/config.yaml`; ``python -m elasticast.suites`` does it."""
    write_json(path, {"$schema": "https://json-schema.org/draft/2020-12/schema", **WorkflowConfig.model_json_schema()})


def load_run_config(path: Path) -> RunConfig:
    """Read a run's `config.yaml`."""
    return validate(RunConfig, read_yaml(path), str(path))


def load_resolved_suite(path: Path) -> Suite:
    """Read `results/SUITE/summary/suite.yaml`: a suite as it was run."""
    return validate(Suite, read_yaml(path), str(path))


def load_dataset(path: Path) -> DatasetConfig:
    """Read `config/datasets/NAME.yaml`."""
    return validate(DatasetConfig, read_yaml(path), str(path))


def _load_named_dataset(config_dir: Path, name: str, where: str) -> DatasetConfig:
    path = config_dir / "datasets" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise ConfigError([f"{where}: dataset: {name!r} is unknown ({path} does not exist). There is: {known}"])
    return load_dataset(path)


def load_suite(name: str, config_dir: Path = Path("config")) -> Suite:
    """Read, merge and check a suite; all problems of all its experiments are raised at once.

    Parameters
    ----------
    name : str
        File name in ``config_dir/suites`` without ``.yaml``.
    config_dir : Path
        Folder that holds ``suites`` and ``datasets``.

    Raises
    ------
    ConfigError
        If anything in the suite or in a dataset it uses is wrong.
    """
    path = config_dir / "suites" / f"{name}.yaml"
    if name == "data":
        raise ConfigError(
            [f"{path}: a suite cannot be called 'data': that folder of the results holds the prepared data"]
        )
    raw = read_yaml(path)
    problems: list[str] = []
    known = {"title", "seeds", "defaults", "experiments", "evaluations"}
    problems += unknown_keys(raw, known, str(path))
    problems += [f"{path}: {key}: this key is required" for key in sorted(known - {"title"}) if key not in raw]
    if problems:
        raise ConfigError(problems)

    for key in ("defaults", "experiments", "evaluations"):
        if not isinstance(raw[key], dict) or not raw[key]:
            problems.append(f"{path}: {key}: expected keys and values, found {raw[key]!r}")
    if problems:
        raise ConfigError(problems)
    problems += unknown_keys(raw["defaults"], _DIFFERENCE_KEYS - {"base"}, f"{path}: defaults")
    if problems:
        raise ConfigError(problems)

    head = {"title": raw.get("title", name), "seeds": raw["seeds"]}
    _collect(problems, {"head": (SuiteHead, head, str(path))})
    evaluations = _collect(
        problems, {n: (Evaluation, v, f"{path}: evaluations.{n}") for n, v in raw["evaluations"].items()}
    )
    experiments, runs, datasets = {}, {}, {}
    wrong: dict[str, list[str]] = {}
    for key, difference in raw["experiments"].items():
        where = f"{path}: experiments.{key}"
        found: list[str] = []
        try:
            merged = _merge_experiment(raw, key, difference, where)
            experiment, run = _split_experiment(key, merged, where, found)
            if run.dataset not in datasets:
                datasets[run.dataset] = _load_named_dataset(config_dir, run.dataset, where)
            found += _check_experiment(run, experiment, datasets[run.dataset], raw["evaluations"], evaluations, where)
            experiments[key], runs[key] = experiment, run.model_dump(mode="json", exclude={"experiment", "seed"})
        except ConfigError as error:
            found += error.problems
        wrong[key] = [p.removeprefix(where) for p in found]
    problems += _said_once(raw, wrong, experiments, str(path))
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    fields = {**head, "name": name, "experiments": experiments, "runs": runs}
    return validate(Suite, {**fields, "evaluations": evaluations, "datasets": datasets}, str(path))


def _said_once(raw: dict, wrong: dict[str, list[str]], valid: Iterable[str], path: str) -> list[str]:
    """All problems, a wrong value under where it stands (defaults, base, experiment), not under each that inherits it.

    A `valid` experiment has no wrong value, only values that do not go together: that is always its own problem.
    """
    problems = []
    for name, found in wrong.items():
        difference = raw["experiments"][name]
        base = difference.get("base") if isinstance(difference, dict) else None
        inherited = wrong.get(base, ()) if isinstance(base, str) and base != name else ()
        value_of_defaults = base is None and name not in valid
        for problem in found:
            if not problem.startswith(": "):  # of another file
                problems.append(problem)
            elif value_of_defaults and _stands_in(raw["defaults"], problem) and not _stands_in(difference, problem):
                problems.append(f"{path}: defaults{problem}")
            elif problem not in inherited:
                problems.append(f"{path}: experiments.{name}{problem}")
    return problems


def _stands_in(settings: Any, problem: str) -> bool:
    """Whether the key a problem begins with is set in `settings`."""
    for key in problem.split(": ")[1].split("."):
        if not isinstance(settings, dict) or key not in settings:
            return isinstance(settings, list) and key.isdigit()
        settings = settings[key]
    return True


def _split_experiment(name: str, merged: dict, where: str, problems: list[str]) -> tuple[Experiment, RunConfig]:
    """What a suite says of an experiment, and the settings of its runs; the problems of both are raised together."""
    cosmetic = {k: v for k, v in merged.items() if k in Experiment.model_fields}
    settings = {k: v for k, v in merged.items() if k not in cosmetic} | {"experiment": name, "seed": 0}
    parts = {"experiment": (Experiment, cosmetic, where), "run": (RunConfig, settings, where)}
    checked = _collect(problems, parts)
    if len(checked) < len(parts):
        raise ConfigError([])
    return checked["experiment"], checked["run"]


def _collect(problems: list[str], items: dict[str, tuple]) -> dict[str, Any]:
    found = {}
    for name, (model, value, where) in items.items():
        try:
            found[name] = validate(model, value, where)
        except ConfigError as error:
            problems += error.problems
    return found


def _merge_experiment(raw: dict, name: str, difference: dict, where: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """Defaults, then the chain of `base` experiments, then the experiment's own difference."""
    if not isinstance(difference, dict):
        raise ConfigError([f"{where}: expected keys and values, found {difference!r}"])
    unknown = unknown_keys(difference, _DIFFERENCE_KEYS, where)
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
        start = _merge_experiment(raw, base, raw["experiments"][base], where, (*seen, name))
    return deep_merge(start, {k: v for k, v in difference.items() if k != "base"})


def _check_experiment(
    run: RunConfig, experiment: Experiment, dataset: Any, named: dict, evaluations: dict[str, Evaluation], where: str
) -> list[str]:
    """Problems between an experiment, its dataset and its sweeps (`named` in the file, `evaluations` when valid)."""
    problems = []
    if run.task not in dataset.tasks:
        allowed = ", ".join(dataset.tasks)
        problems.append(f"{where}: task: {run.task!r} is no task of dataset {run.dataset!r}. Allowed: {allowed}")
    elif dataset.tasks[run.task] == "multi" and run.train.loss == "ce":
        problems.append(f"{where}: train.loss: 'ce' needs one label a clip, task {run.task!r} has several: use 'bce'")
    if run.front_end.sample_rate != dataset.store_rate:
        problems.append(
            f"{where}: front_end.sample_rate: {run.front_end.sample_rate}, but dataset {run.dataset!r} is stored at "
            f"store_rate = {dataset.store_rate} Hz"
        )
    problems += [f"{where}: {problem}" for problem in _check_splits(run, experiment, dataset, evaluations)]
    for name in experiment.evaluations:
        if name not in named:
            problems.append(f"{where}: evaluations: unknown evaluation {name!r}. There is: {', '.join(named)}")
        elif name in evaluations:
            problems += sweep_problems(run, name, evaluations[name], where)
    return problems


def _check_splits(
    run: RunConfig, experiment: Experiment, dataset: Any, evaluations: dict[str, Evaluation]
) -> list[str]:
    """Problems of splits that are measured and that the dataset does not have."""
    splits = {f"evaluations.{n}.split": evaluations[n].split for n in experiment.evaluations if n in evaluations}
    if run.train.select is not None:
        splits["train.select.split"] = run.train.select.split
    return [
        f"{key}: {split!r}, but dataset {run.dataset!r} has no such split; `dev_share` in config/datasets/"
        f"{run.dataset}.yaml sets clips of the training split aside"
        for key, split in splits.items()
        if split not in dataset.splits() and not dataset.dev_share
    ]


if __name__ == "__main__":
    write_schema()
