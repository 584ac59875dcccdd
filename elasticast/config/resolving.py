"""Validate the merged settings of experiments, also together with their dataset and evaluations."""

from pathlib import Path
from typing import Any

from elasticast.config.base import TaskKind
from elasticast.config.dataset import DatasetConfig
from elasticast.config.evaluation import PATCHES, Evaluation, sweep_problems, swept_patches
from elasticast.config.model.own import FileModelSettings, names_file
from elasticast.config.model.own_code import problems_of, resolve
from elasticast.config.names import no_such_file
from elasticast.config.phases import PATCH, refused_phases
from elasticast.config.reading import read_yaml, validate
from elasticast.config.run import RunConfig, RunSettings
from elasticast.config.suite import Experiment
from elasticast.errors import ConfigError, Problem


def load_dataset(path: Path) -> DatasetConfig:
    """Read `config/datasets/NAME.yaml`.

    Raises
    ------
    ConfigError
        With all problems of the file.
    """
    return validate(DatasetConfig, read_yaml(path), str(path))


def collect(items: dict[str, tuple]) -> tuple[dict[str, Any], list[Problem]]:
    """Validate several values.

    Parameters
    ----------
    items : dict of str to tuple
        Arguments of :func:`~elasticast.config.reading.validate` by name.

    Returns
    -------
    tuple of dict and list of Problem
        The valid values by name, and the problems of the others.
    """
    valid, problems = {}, []
    for name, arguments in items.items():
        try:
            valid[name] = validate(*arguments)
        except ConfigError as error:
            problems += error.problems
    return valid, problems


class Resolver:
    """Resolve experiments one by one, and keep the valid ones.

    Parameters
    ----------
    named : dict
        Evaluations as read from the file, by name.
    config_dir : Path
        Folder that holds ``datasets``.

    Attributes
    ----------
    evaluations : dict of str to Evaluation
        The valid evaluations.
    problems : list of Problem
        Problems of the other evaluations; their keys begin with the evaluation's name.
    experiments, runs, datasets : dict
        Valid ones, as in :class:`~elasticast.config.Suite`.
    """

    def __init__(self, named: dict[str, Any], config_dir: Path):
        self.named, self.config_dir = named, config_dir
        self.evaluations, self.problems = collect({n: (Evaluation, v, "", n) for n, v in named.items()})
        self.experiments: dict[str, Experiment] = {}
        self.runs: dict[str, RunSettings] = {}
        self.datasets: dict[str, DatasetConfig] = {}

    def add(self, name: str, merged: dict[str, Any]) -> list[Problem]:
        """Resolve one experiment from its merged settings.

        Returns
        -------
        list of Problem
            Keys are relative to the experiment, without a file, unless the problem is in the dataset's file.
        """
        cosmetic = {k: v for k, v in merged.items() if k in Experiment.model_fields}
        settings = {k: v for k, v in merged.items() if k not in cosmetic} | {"experiment": name, "seed": 0}
        if problems := self._resolve_model(settings):
            return problems
        checked, problems = collect({"experiment": (Experiment, cosmetic, ""), "run": (RunConfig, settings, "")})
        if problems:
            return problems
        experiment, run = checked["experiment"], checked["run"]
        try:
            dataset = self._dataset(run.dataset)
        except ConfigError as error:
            return error.problems
        if problems := _training_problems(run, dataset):
            return problems
        self.experiments[name], self.runs[name] = experiment, run.settings
        return [
            *_own_problems(run),
            *_dataset_problems(run, dataset),
            *_split_problems(run, experiment, dataset, self.evaluations),
            *self._evaluation_problems(run, experiment, dataset.tasks.get(run.task)),
            *_curve_problems(run, experiment, self.evaluations),
        ]

    def _resolve_model(self, settings: dict[str, Any]) -> list[Problem]:
        """Replace a model that names a file by its settings with the traits of the class. Returns its problems."""
        model = settings.get("model")
        if not isinstance(model, dict) or not names_file(model.get("kind")):
            return []
        try:
            settings["model"] = resolve(model, (self.config_dir / "suites", Path()))
        except ConfigError as error:
            return [problem.at("", "model") for problem in error.problems]
        return []

    def _dataset(self, name: str) -> DatasetConfig:
        if name not in self.datasets:
            folder = self.config_dir / "datasets"
            if missing := no_such_file(folder, name):
                raise ConfigError([Problem("", ("dataset",), missing, name)])
            self.datasets[name] = load_dataset(folder / f"{name}.yaml")
        return self.datasets[name]

    def _evaluation_problems(self, run: RunConfig, experiment: Experiment, kind: TaskKind | None) -> list[Problem]:
        problems = []
        for name in experiment.evaluations:
            if name not in self.named:
                message = f"no such evaluation. Expected one of: {', '.join(self.named)}"
                problems.append(Problem.between("evaluations", name, message))
            elif name in self.evaluations:
                problems += [p.at("", "evaluations", name) for p in sweep_problems(run, self.evaluations[name], kind)]
        return problems


def _curve_problems(run: RunConfig, experiment: Experiment, evaluations: dict[str, Evaluation]) -> list[Problem]:
    """Problems of evaluations that would be one curve, but treat the remainder after the last patch differently."""
    problems, keeps = [], {}
    for name in experiment.evaluations:
        sweep = evaluations.get(name)
        if sweep is None or sweep.x_name not in PATCHES:
            continue
        keep = next(iter(swept_patches(run, sweep).values())).keep
        if keeps.setdefault(sweep.x_name, keep) != keep:
            message = f"another evaluation with x_name: {sweep.x_name} differs in it, and both would be one curve"
            problems.append(Problem.between(f"evaluations.{name}.remainder", sweep.remainder, message))
    return problems


def _own_problems(run: RunConfig) -> list[Problem]:
    """Problems that a model in a file finds; those of the models of this package are found with the other settings."""
    return problems_of(run.model, run) if isinstance(run.model, FileModelSettings) else []


def _training_problems(run: RunConfig, dataset: DatasetConfig) -> list[Problem]:
    """The problem of a dataset without training clips."""
    if "train" in dataset.splits():
        return []
    message = (
        "no model can train on it: all its clips are in split test, as `all_test` in "
        f"config/datasets/{run.dataset}.yaml says; evaluate trained models on it with `elasticast sweep`"
    )
    return [Problem("", ("dataset",), message, run.dataset)]


def _dataset_problems(run: RunConfig, dataset: DatasetConfig) -> list[Problem]:
    """Problems of a run that does not fit its dataset."""
    problems = []
    if run.task not in dataset.tasks:
        message = f"dataset {run.dataset!r} has no such task. Expected one of: {', '.join(dataset.tasks)}"
        problems.append(Problem.between("task", run.task, message))
    elif dataset.tasks[run.task] != "single" and run.train.loss == "ce":
        message = f"needs one label per clip, but clips of task {run.task!r} have several; use 'bce'"
        problems.append(Problem.between("train.loss", "ce", message))
    else:
        problems += _frames_problems(run, dataset.tasks[run.task])
    if run.front_end.sample_rate != dataset.store_rate:
        message = f"differs from store_rate = {dataset.store_rate} Hz of dataset {run.dataset!r}; use the same rate"
        problems.append(Problem.between("front_end.sample_rate", run.front_end.sample_rate, message))
    return problems


def _frames_problems(run: RunConfig, kind: TaskKind) -> list[Problem]:
    """Problems of a model with a frame head, or of a task that needs one."""
    model, problems, task = run.model, [], f"task {run.task!r} is of kind {kind!r}"
    key, value = ("model.frame_head", model.frame_head) if hasattr(model, "frame_head") else ("model.kind", model.kind)
    if kind != "frames":
        message = f"{task}, and only tasks of kind 'frames' train a frame head; use false"
        return [Problem.between(key, value, message)] if model.traits.frames else []
    if not model.traits.frames:
        message = f"{task} and needs a model with a frame head: kind elasticast or ast, with frame_head = true"
        problems.append(Problem.between(key, value, message))
    if model.traits.random_offset:
        message = f"{task}: labels cannot follow a random time offset; use false"
        problems.append(Problem.between("model.time_offset", True, message))
    if getattr(model, "patch_sizes", None) is not None:
        message = f"{task}: labels do not follow patches of other sizes; use null"
        problems.append(Problem.between("model.patch_sizes", model.patch_sizes, message))
    if any(phase.resolution == PATCH for phase in run.train.phases or []):
        problems.append(refused_phases(run, f"{task}: labels do not follow wider patches; use another resolution"))
    if run.train.distill is not None and not run.train.event_loss.clips:
        message = "expected a weight above 0: with train.distill, the teacher's term is part of the loss of clips"
        problems.append(Problem.between("train.event_loss.clips", run.train.event_loss.clips, message))
    warp = run.train.spec_augment.warp
    if warp is not None and warp.kind == "released":
        message = f"{task}: labels cannot follow a warp that differs between mel bands; use 'specaugment'"
        problems.append(Problem.between("train.spec_augment.warp.kind", warp.kind, message))
    return problems


def _split_problems(
    run: RunConfig, experiment: Experiment, dataset: DatasetConfig, evaluations: dict[str, Evaluation]
) -> list[Problem]:
    """Problems of evaluations on splits that the dataset does not have."""
    splits = {f"evaluations.{n}.split": evaluations[n].split for n in experiment.evaluations if n in evaluations}
    if run.train.select is not None:
        splits["train.select.split"] = run.train.select.split
    message = f"dataset {run.dataset!r} has no such split; {dataset.dev_remedy} in config/datasets/{run.dataset}.yaml"
    return [
        Problem.between(key, split, message)
        for key, split in splits.items()
        if split not in dataset.splits() and not dataset.dev_share
    ]
