"""Suites: defaults, experiments and evaluations of one YAML file, merged and checked before anything runs.

A suite file (``config/suites/NAME.yaml``) holds ``defaults``, ``experiments`` (each only its difference from the
defaults or from a ``base`` experiment) and ``evaluations``, or only its difference from a suite that it ``extends``.
`elasticast.config.merging` reads and merges them; here the outcome is validated into one
:class:`~elasticast.config.RunConfig` per experiment and seed.
"""

from pathlib import Path
from typing import Any

from elasticast.config.dataset import DatasetConfig
from elasticast.config.evaluation import Evaluation, sweep_problems
from elasticast.config.merging import SuiteFile, merge_experiment, read_suite, said_once, unknown_file
from elasticast.config.reading import read_yaml, validate
from elasticast.config.run import OF_RUN, RunConfig, RunSettings
from elasticast.config.suite import Experiment, Suite, SuiteHead, claim_problems
from elasticast.config.workflow import WorkflowConfig
from elasticast.errors import ConfigError
from elasticast.files import write_json


def load_workflow_config(value: dict[str, Any], where: str = "config/config.yaml") -> WorkflowConfig:
    """Validate the workflow's own configuration."""
    return validate(WorkflowConfig, value, where)


def write_schema(path: Path = Path("workflow/schemas/config.schema.json")) -> None:
    """Write the JSON schema of `config/config.yaml`; ``python -m elasticast.config.load_suite`` does it."""
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
    if unknown := unknown_file(config_dir / "datasets", name):
        raise ConfigError([f"{where}: dataset: {unknown}"])
    return load_dataset(config_dir / "datasets" / f"{name}.yaml")


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
    suite, problems = read_suite(name, path.parent), []
    head = {"title": name, "claims": {}} | {k: suite.merged[k] for k in SuiteHead.model_fields if k in suite.merged}
    _, wrong = _collect({"head": (SuiteHead, head, "")})
    problems += [suite.file_of(problem.split(": ")[1].split(".")[0]) + problem for problem in wrong]
    resolver = Resolver(suite.merged["evaluations"], config_dir)
    problems += [_of_evaluation(suite, problem) for problem in resolver.problems]
    problems += said_once(suite, _resolve_experiments(suite, resolver), resolver.experiments)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    parts = ("experiments", "runs", "evaluations", "datasets")
    fields = {**head, "name": name, **{part: getattr(resolver, part) for part in parts}}
    resolved = validate(Suite, fields, suite.path)
    if problems := _starts(resolved):
        raise ConfigError([f"{suite.path}: experiments.{p}" for p in problems])
    if problems := claim_problems(resolved):
        raise ConfigError([f"{suite.file_of('claims', f': {p}')}: claims.{p}" for p in problems])
    return resolved


def load_beside(settings: WorkflowConfig, suite: Suite, config_dir: Path = Path("config")) -> Suite | None:
    """The suite whose curves stand beside those of the suite at hand; none where none is asked for.

    Raises
    ------
    ConfigError
        If it is unknown, the suite at hand, or has no curve in common with it.
    """
    name, where = settings.beside, "config/config.yaml: beside"
    if name is None:
        return None
    if unknown := unknown_file(config_dir / "suites", name):
        raise ConfigError([f"{where}: {unknown}"])
    if name == suite.name:
        raise ConfigError([f"{where}: {name!r} is the suite itself; name another one, or null"])
    other, swept = load_suite(name, config_dir), ("max_frames", "compression")
    if not any(suite.shares_curve(other, experiment, x_name) for experiment in suite.runs for x_name in swept):
        raise ConfigError(
            [
                f"{where}: suite {name!r} has no experiment of the same name, metric and sweep as one of suite "
                f"{suite.name!r}. There is: {', '.join(other.runs)}; expected one of: {', '.join(suite.runs)}"
            ]
        )
    return other


def _starts(suite: Suite) -> list[str]:
    """Problems of experiments that start from the weights of others: unknown ones, and circles."""
    problems = []
    for name in suite.runs:
        seen, start = [name], suite.runs[name].starts_from
        while start in suite.runs and start not in seen:
            seen, start = [*seen, start], suite.runs[start].starts_from
        if start in seen:
            problems.append(f"{name}: model.init: {OF_RUN + start!r} leads back to itself")
        elif start is not None and seen == [name]:
            problems.append(f"{name}: model.init: {unknown_start(start, suite)}")
    return problems


def unknown_start(start: str, suite: Suite) -> str:
    """What to say of a `model.init` that names no experiment."""
    return f"{OF_RUN + start!r}: no such experiment. There is: {', '.join(suite.runs)}"


class Resolver:
    """Experiments that are resolved one by one, and what they have in common.

    Parameters
    ----------
    named : dict
        Evaluations, as a file has them.
    config_dir : Path
        Folder that holds ``datasets``.

    Attributes
    ----------
    evaluations : dict of str to Evaluation
        Those that are valid.
    problems : list of str
        What is wrong with the others, each beginning with the name of one.
    experiments, runs, datasets : dict
        As in :class:`~elasticast.config.Suite`, as far as they are valid.
    """

    def __init__(self, named: dict[str, Any], config_dir: Path):
        self.named, self.config_dir = named, config_dir
        self.evaluations, self.problems = _collect({n: (Evaluation, v, n) for n, v in named.items()})
        self.experiments: dict[str, Experiment] = {}
        self.runs: dict[str, RunSettings] = {}
        self.datasets: dict[str, DatasetConfig] = {}

    def add(self, name: str, merged: dict[str, Any], where: str) -> list[str]:
        """Resolve one experiment of merged settings; what is wrong with it, each beginning with `where`."""
        found: list[str] = []
        try:
            experiment, run = _split_experiment(name, merged, where, found)
            if run.dataset not in self.datasets:
                self.datasets[run.dataset] = _load_named_dataset(self.config_dir, run.dataset, where)
            found += _check_experiment(run, experiment, self.datasets[run.dataset], self.named, self.evaluations, where)
            self.experiments[name] = experiment
            self.runs[name] = run.settings
        except ConfigError as error:
            found += error.problems
        return found


def _resolve_experiments(suite: SuiteFile, resolver: Resolver) -> dict[str, list[str]]:
    """What is wrong, by experiment."""
    wrong: dict[str, list[str]] = {}
    for key in suite.merged["experiments"]:
        where = f"{suite.path}: experiments.{key}"
        try:
            found = resolver.add(key, merge_experiment(suite, key, where), where)
        except ConfigError as error:
            found = error.problems
        wrong[key] = [p.removeprefix(where) for p in found]
    return wrong


def _of_evaluation(suite: SuiteFile, problem: str) -> str:
    name, _, rest = problem.partition(": ")
    section = f"evaluations.{name}"
    return f"{suite.file_of(section, f': {rest}')}: {section}: {rest}"


def _split_experiment(name: str, merged: dict, where: str, problems: list[str]) -> tuple[Experiment, RunConfig]:
    """What a suite says of an experiment, and the settings of its runs; the problems of both are raised together."""
    cosmetic = {k: v for k, v in merged.items() if k in Experiment.model_fields}
    settings = {k: v for k, v in merged.items() if k not in cosmetic} | {"experiment": name, "seed": 0}
    parts = {"experiment": (Experiment, cosmetic, where), "run": (RunConfig, settings, where)}
    checked, wrong = _collect(parts)
    problems += wrong
    if wrong:
        raise ConfigError([])
    return checked["experiment"], checked["run"]


def _collect(items: dict[str, tuple]) -> tuple[dict[str, Any], list[str]]:
    """What is valid of (model, value, where), by name, and all that is wrong with the rest."""
    found, problems = {}, []
    for name, (model, value, where) in items.items():
        try:
            found[name] = validate(model, value, where)
        except ConfigError as error:
            problems += error.problems
    return found, problems


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
