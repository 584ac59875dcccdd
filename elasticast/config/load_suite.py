"""Load suites: merge and check the defaults, experiments and evaluations of a YAML file before anything runs.

A suite file (``config/suites/NAME.yaml``) holds ``defaults``, ``experiments`` and ``evaluations``. An experiment
holds only its differences from the defaults or from a ``base`` experiment. A suite that ``extends`` another holds only
its differences from it.
`elasticast.config.merging` reads and merges the files, `elasticast.config.resolving` checks each experiment.
"""

from pathlib import Path
from typing import Any

from elasticast.config.deciding import deciding, without_effect
from elasticast.config.folds import with_folds
from elasticast.config.merging import SuiteFile, locate, merge_experiment, merge_folds, read_suite
from elasticast.config.names import name_error, no_such_file
from elasticast.config.reading import deep_merge, read_run_yaml, read_yaml, validate
from elasticast.config.resolving import Resolver, collect
from elasticast.config.run import INIT, OF_RUN, RunConfig, RunSettings, init_problems, teacher_problems
from elasticast.config.suite import Suite, SuiteHead, claim_problems, hop_problems, reference_problems
from elasticast.config.workflow import WorkflowConfig
from elasticast.errors import ConfigError, Problem, distinct

WORKFLOW_FILE = "config/config.yaml"
WORKFLOW_SETTINGS = f"{WORKFLOW_FILE} or --config"
"""Where Snakemake takes the settings of the workflow from, for messages."""


def load_workflow_config(value: dict[str, Any], file: str = WORKFLOW_FILE) -> WorkflowConfig:
    """Check the settings of the workflow."""
    return validate(WorkflowConfig, value, file)


def load_run_config(path: Path, also: dict[str, Any] | None = None) -> RunConfig:
    """Read a run's `config.yaml`.

    Parameters
    ----------
    path : Path
        The file.
    also : dict, optional
        Values of settings that cannot change results, which the file of a workflow does not hold. They override those
        of the file.

    Raises
    ------
    ConfigError
        If the file or `also` has mistakes, or if `also` holds other settings.
    DataError
        If the file was damaged, or written for another run.
    """
    run = validate(RunConfig, read_run_yaml(path), str(path))
    if not also:
        return run
    changed = validate(RunConfig, deep_merge(run.model_dump(mode="json"), also), "--also")
    if deciding(changed) != deciding(run):
        message = f"may only hold settings that cannot change results: {without_effect(run)}"
        raise ConfigError([Problem("--also", (), message, also)])
    return changed


def load_resolved_suite(path: Path) -> Suite:
    """Read `results/SUITE/summary/suite.yaml`: a suite as it was run."""
    return validate(Suite, read_yaml(path), str(path))


def load_suite(name: str, config_dir: Path = Path("config")) -> Suite:
    """Read, merge and check a suite.

    Parameters
    ----------
    name : str
        File name in ``config_dir/suites`` without ``.yaml``.
    config_dir : Path
        Folder that holds ``suites`` and ``datasets``.

    Raises
    ------
    ConfigError
        With all problems of the suite and of the datasets it uses.
    """
    folder = config_dir / "suites"
    if error := name_error(name, folder.name):
        raise ConfigError([Problem(str(folder), (), error, name)])
    file = read_suite(name, folder)
    head = {"title": name, "claims": {}, "references": [], "folds": {}} | {
        k: file.merged[k] for k in SuiteHead.model_fields if k in file.merged
    }
    head["folds"] = merge_folds(file)
    _, head_problems = collect({"head": (SuiteHead, head, "")})
    problems = [problem.at(file.file_of(problem.key[:1])) for problem in head_problems]
    resolver = Resolver(file.merged["evaluations"], config_dir)
    problems += [_at_evaluation(file, problem) for problem in resolver.problems]
    problems += locate(file, _resolve_experiments(file, resolver), resolver.experiments)
    if problems:
        raise ConfigError(distinct(problems))
    parts = ("experiments", "runs", "evaluations", "datasets")
    fields = {**head, "name": name, **{part: getattr(resolver, part) for part in parts}}
    suite = validate(Suite, fields, file.path)
    problems = [problem.at("", run) for run in suite.runs for problem in order_problems(run, suite.runs)]
    if problems := [*problems, *hop_problems(suite)]:
        raise ConfigError([problem.at(file.path, "experiments") for problem in problems])
    if problems := reference_problems(suite):
        raise ConfigError([problem.at(file.file_of(("references",))) for problem in problems])
    if problems := claim_problems(suite):
        raise ConfigError([problem.at(file.file_of(("claims",), problem.key), "claims") for problem in problems])
    return with_folds(suite, file.file_of(("folds",)), config_dir)


def load_other_suite(settings: WorkflowConfig, suite: Suite, config_dir: Path = Path("config")) -> Suite | None:
    """The suite named by the setting `beside`, whose curves are added to this suite's figures; None if it is null.

    Raises
    ------
    ConfigError
        If there is no such suite, if it is this suite, or if the two suites have no curve in common.
    """
    name = settings.beside
    if name is None:
        return None

    def refuse(message: str) -> ConfigError:
        return ConfigError([Problem(WORKFLOW_SETTINGS, ("beside",), message, name)])

    if missing := no_such_file(config_dir / "suites", name):
        raise refuse(missing)
    if name == suite.name:
        raise refuse("this is the suite itself; expected another suite, or null")
    other, swept = load_suite(name, config_dir), ("max_frames", "compression")
    if not any(suite.shares_curve(other, experiment, x_name) for experiment in suite.runs for x_name in swept):
        raise refuse(
            f"no experiment has the same name, metric and sweep as one of suite {suite.name!r}. Its experiments are: "
            f"{', '.join(other.runs)}. Expected one of: {', '.join(suite.runs)}"
        )
    return other


def order_problems(name: str, runs: dict[str, RunSettings]) -> list[Problem]:
    """Problems of a run that needs the weights of others: unknown ones, cycles, and models or teachers that do not fit.

    Parameters
    ----------
    name : str
        The run.
    runs : dict of str to RunSettings
        Every run that can be named, and this one.
    """
    problems = []
    for key, other in runs[name].trained_first.items():
        message = None
        if other not in runs:
            message = f"no such experiment. Expected one of: {', '.join(runs)}"
        elif name in _trained_before(other, runs):
            message = "leads back to itself"
        if message:
            problems.append(Problem.between(key, OF_RUN + other, message))
        elif key == INIT:
            problems += init_problems(runs[name], runs[other])
        else:
            problems += teacher_problems(runs[name], key, OF_RUN + other, runs[other])
    return problems


def _trained_before(name: str, runs: dict[str, RunSettings]) -> set[str]:
    """A run, and every run that is trained before it."""
    seen, todo = set(), [name]
    while todo:
        if (run := todo.pop()) in runs and run not in seen:
            seen.add(run)
            todo += runs[run].trained_first.values()
    return seen


def _resolve_experiments(file: SuiteFile, resolver: Resolver) -> dict[str, list[Problem]]:
    """Problems by experiment; their keys are relative to it."""
    problems: dict[str, list[Problem]] = {}
    for name in file.merged["experiments"]:
        try:
            problems[name] = resolver.add(name, merge_experiment(file, name))
        except ConfigError as error:
            problems[name] = error.problems
    return problems


def _at_evaluation(file: SuiteFile, problem: Problem) -> Problem:
    """A problem whose key begins with an evaluation's name, in the file that sets the value."""
    name, *key = problem.key
    return problem.at(file.file_of(("evaluations", name), tuple(key)), "evaluations")
