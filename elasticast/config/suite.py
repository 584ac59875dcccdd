"""Settings of a suite: experiments, evaluations, seeds, and the claims of the paper that it tests.

Labels, colours, claims and released curves do not affect training.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from elasticast.config.base import Seed, Settings, TaskKind
from elasticast.config.dataset import DatasetConfig
from elasticast.config.evaluation import Evaluation
from elasticast.config.names import Line, Name
from elasticast.config.run import RunConfig, RunSettings
from elasticast.errors import Problem

Percent = Annotated[float, Field(ge=0, le=100)]


class ReleasedSeries(Settings):
    """A curve that the authors released, see `elasticast.reporting.released_curves`."""

    dataset: str = Field(description="Column `dataset` of paper_figures/reference/released_curves.csv.")
    series: str = Field(description="Column `series` of the same file.")
    weights: str | None = Field(
        None, description="File in `released_weights` that produced the curve, if the authors released it."
    )


class Claim(Settings):
    """A claim of the paper that compares one flexible model with fixed-length models over one sweep."""

    says: Line = Field(description="The claim in words.")
    model: str = Field(description="Experiment with the flexible model.")
    against: list[str] = Field(min_length=1, description="Experiments with fixed-length models.")
    evaluation: str = Field(description="Evaluation whose results are compared. All these experiments must have it.")
    within_own: Percent | None = Field(
        None, description="The model may be this much below each AST where that AST was trained. [points]"
    )
    better: Literal["beyond", "elsewhere", "native"] | None = Field(
        None,
        description="The model must be better than each AST at every larger x (`beyond`), or at every other x "
        "(`elsewhere`). `native`: on whole clips, the largest x of a sweep over lengths, it must be better than each "
        "AST where that AST was trained, and the 95 % intervals must be apart.",
    )

    @model_validator(mode="after")
    def _testable(self):
        if self.within_own is None and self.better is None:
            raise ValueError("set `within_own`, `better`, or both: without them there is nothing to test")
        return self


class Experiment(Settings):
    """Settings of an experiment that do not affect training."""

    label: Line = Field(description="Name in figures and tables. Experiments with the same label share a colour.")
    color: str | None = Field(
        None, pattern="^#[0-9A-Fa-f]{6}$", description="Colour as `#RRGGBB`; `null`: by kind of model and length."
    )
    evaluations: list[str] = Field(min_length=1, description="Names of the evaluations to run.")
    released: ReleasedSeries | None = Field(
        None, description="The authors' curve for this experiment, if they released one."
    )


def fold_name(name: str, number: int) -> str:
    """Name of an experiment or claim on a fold; folds are counted from 1."""
    return f"{name}_fold{number}"


class SuiteHead(Settings):
    """Keys of a suite file other than experiments and evaluations."""

    title: Line = Field(description="Title of the report and figures.")
    seeds: list[Seed] = Field(min_length=1, description="Every experiment is trained once per seed.")
    claims: dict[Name, Claim] = Field({}, description="Claims of the paper that the suite tests, by name.")
    references: list[str] = Field(
        [],
        description="Experiments that paired tests compare with all others of the same dataset and task. Without one, "
        "they compare all models of different kinds.",
    )
    folds: dict[Name, list[Name]] = Field(
        {},
        description="Cross-validation: datasets, and for each the datasets that are its folds. Experiments and claims "
        "are repeated on each fold, with `_fold1`, `_fold2`, ... added to their names; table 1 has mean ± standard "
        "deviation over the folds.",
    )

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("list each seed once")
        return seeds


class Suite(SuiteHead):
    """A suite with all its settings merged and checked."""

    name: Name = Field(description="Name of the suite.")
    experiments: dict[Name, Experiment] = Field(description="Experiments, by name.")
    runs: dict[Name, RunSettings] = Field(description="Settings of the runs of each experiment, without the seed.")
    evaluations: dict[Name, Evaluation] = Field(description="Evaluations, by name.")
    datasets: dict[Name, DatasetConfig] = Field(description="Datasets that the runs use, by name.")

    def run_config(self, experiment: str, seed: int) -> RunConfig:
        """The run of one experiment and seed."""
        return RunConfig.of(self.runs[experiment], experiment, seed)

    def folders(self, experiment: str) -> tuple[str, str]:
        """Folders of an experiment's runs and of their evaluations, relative to the folder of results."""
        return (f"{self.name}/runs/{experiment}",) * 2

    def packed_experiment(self, dataset: str | None = None) -> str | None:
        """The first model that packs clips of native length, on `dataset` if that is given. None if there is none."""
        for name, run in self.runs.items():
            packed = run.view.frames == "native" and run.model.traits.lengths == "any"
            if packed and dataset in (None, run.dataset):
                return name
        return None

    def sweep(self, experiment: str) -> dict[str, Evaluation]:
        """The evaluations of one experiment, by name."""
        return {name: self.evaluations[name] for name in self.experiments[experiment].evaluations}

    def curve(self, experiment: str, x_name: str) -> dict[str, Evaluation]:
        """The evaluations, by name, that make up the curve of an experiment over `x_name` on split test.

        Grids of length and resolution do not belong to a curve. Evaluations in windows only do if there are no others.
        """
        sweeps = {n: e for n, e in self.sweep(experiment).items() if e.x_name == x_name and e.split == "test"}
        curves = {n: e for n, e in sweeps.items() if e.compression is None}
        return {n: e for n, e in curves.items() if not e.windows} or curves

    def shares_curve(self, other: "Suite", experiment: str, x_name: str) -> bool:
        """Whether another suite has this experiment with a curve over `x_name`, in the same metric and at its hop."""
        suites = [suite for suite in (self, other) if experiment in suite.runs and suite.curve(experiment, x_name)]
        kinds = {(suite.task_kind(experiment), suite.runs[experiment].front_end.hop_ms) for suite in suites}
        return len(suites) == 2 and len(kinds) == 1

    def task_kind(self, experiment: str) -> TaskKind:
        """`single` if an experiment's task has one label per clip, `multi` if it has a set of labels per clip."""
        run = self.runs[experiment]
        return self.datasets[run.dataset].tasks[run.task]


def hop_problems(suite: Suite) -> list[Problem]:
    """Problems of experiments that share a panel of a figure, but not the hop; their keys begin with the experiment.

    The same number of frames would be another number of seconds, and the same compression another resolution.
    """
    first, problems = {}, []
    for name, run in suite.runs.items():
        swept = [x_name for x_name in ("max_frames", "compression") if suite.curve(name, x_name)]
        others = [first.setdefault((run.dataset, run.task, x_name), name) for x_name in swept]
        different = [other for other in others if suite.runs[other].front_end.hop_ms != run.front_end.hop_ms]
        if different:
            other = different[0]
            message = (
                f"differs from experiment {other!r}, which has {suite.runs[other].front_end.hop_ms} and is drawn in "
                "the same panel: the same x would be another length or resolution. Vary view.compression instead"
            )
            problems.append(Problem.between("front_end.hop_ms", run.front_end.hop_ms, message).at("", name))
    return problems


def reference_problems(suite: Suite) -> list[Problem]:
    """Problems of references that are no experiments."""
    message = f"no such experiment. Expected one of: {', '.join(suite.runs)}"
    return [Problem.between("references", name, message) for name in suite.references if name not in suite.runs]


def claim_problems(suite: Suite) -> list[Problem]:
    """Problems of claims that do not fit the experiments they name; their keys begin with the claim's name."""
    problems = []
    for name, claim in suite.claims.items():
        for key, experiments in (("model", [claim.model]), ("against", claim.against)):
            checked = [_claim_problem(suite, claim, key, experiment) for experiment in experiments]
            problems += [problem.at("", name) for problem in checked if problem is not None]
    return problems


def _claim_problem(suite: Suite, claim: Claim, key: str, experiment: str) -> Problem | None:
    """The problem of one experiment of a claim, or None."""
    if experiment not in suite.runs:
        message = f"no such experiment. Expected one of: {', '.join(suite.runs)}"
        return Problem.between(key, experiment, message)
    curves = [*suite.curve(experiment, "max_frames"), *suite.curve(experiment, "compression")]
    if claim.evaluation not in curves:
        message = f"is not a curve of experiment {experiment!r}. Expected one of: {', '.join(curves)}"
        return Problem.between("evaluation", claim.evaluation, message)
    if claim.better == "native" and suite.evaluations[claim.evaluation].x_name != "max_frames":
        message = "`better: native` compares lengths; expected an evaluation with x_name: max_frames"
        return Problem.between("evaluation", claim.evaluation, message)
    run = suite.runs[experiment]
    if run.fixed_length != (key == "against"):
        expected = "a model of one fixed length (such as an `ast`)" if key == "against" else "one that takes any length"
        has = f"experiment has model.kind = {run.model.kind!r} and view.frames = {run.view.frames!r}"
        return Problem.between(key, experiment, f"{has}; expected {expected}")
    return None
