"""Settings of a suite: experiments, evaluations, seeds, and the claims of the paper that it tests.

Labels, colours, claims and released curves never decide what is trained.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from elasticast.config.base import Settings, TaskKind
from elasticast.config.dataset import DatasetConfig
from elasticast.config.evaluation import Evaluation
from elasticast.config.run import RunConfig, RunSettings

Percent = Annotated[float, Field(ge=0, le=100)]


class ReleasedSeries(Settings):
    """A curve that the authors released, see `elasticast.reporting.released_curves`."""

    dataset: str = Field(description="of paper_figures/reference/released_curves.csv")
    series: str = Field(description="of the same file")
    weights: str | None = Field(
        None, description="file in `released_weights` that drew this curve, where it was released"
    )


class Claim(Settings):
    """What the paper says of one flexible model and the fixed-length ones beside it, over one sweep."""

    says: str = Field(description="the claim in words")
    model: str = Field(description="experiment with the flexible model")
    against: list[str] = Field(min_length=1, description="experiments with fixed-length models")
    evaluation: str = Field(description="the sweep, which all of them have")
    within_own: Percent | None = Field(
        None, description="points that the model may lie below each AST at that AST's own length or resolution"
    )
    better: Literal["beyond", "elsewhere"] | None = Field(
        None, description="it is better than each AST at every x above that AST's own, or at every other x"
    )

    @model_validator(mode="after")
    def _testable(self):
        if self.within_own is None and self.better is None:
            raise ValueError("give `within_own`, `better`, or both: without either there is nothing to test")
        return self


class Experiment(Settings):
    """What a suite says of an experiment beside its settings: never re-runs training."""

    label: str
    color: str | None = Field(
        None, pattern="^#[0-9A-Fa-f]{6}$", description="#RRGGBB; none: from the palette, by label"
    )
    evaluations: list[str] = Field(min_length=1)
    released: ReleasedSeries | None = Field(None, description="the authors' curve of the same experiment; none: none")


class SuiteHead(Settings):
    """What a suite file says beside its experiments and evaluations."""

    title: str
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    claims: dict[str, Claim] = Field({}, description="what the paper says, as rules that are tested")

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("each seed stands once")
        return seeds


class Suite(SuiteHead):
    """A suite with all its settings merged and checked; `runs[name]` are the settings of the experiment's runs."""

    name: str
    experiments: dict[str, Experiment]
    runs: dict[str, RunSettings]
    evaluations: dict[str, Evaluation]
    datasets: dict[str, DatasetConfig]

    def run_config(self, experiment: str, seed: int) -> RunConfig:
        """The run of one experiment and seed."""
        return RunConfig.of(self.runs[experiment], experiment, seed)

    def folders(self, experiment: str) -> tuple[str, str]:
        """Where the runs of an experiment lie among the results, and where their evaluations do."""
        return (f"{self.name}/runs/{experiment}",) * 2

    def sweep(self, experiment: str) -> dict[str, Evaluation]:
        """The evaluations of one experiment, by name."""
        return {name: self.evaluations[name] for name in self.experiments[experiment].evaluations}

    def curve(self, experiment: str, x_name: str) -> dict[str, Evaluation]:
        """The evaluations that make a curve over `x_name`: on split test, no grids; windows only without any other."""
        sweeps = {n: e for n, e in self.sweep(experiment).items() if e.x_name == x_name and e.split == "test"}
        some = {n: e for n, e in sweeps.items() if e.compression is None}
        return {n: e for n, e in some.items() if not e.windows} or some

    def shares_curve(self, other: "Suite", experiment: str, x_name: str) -> bool:
        """Whether another suite has an experiment of this name with a curve over `x_name`, in the same metric."""
        there = [suite for suite in (self, other) if experiment in suite.runs and suite.curve(experiment, x_name)]
        return len(there) == 2 and len({suite.task_kind(experiment) for suite in there}) == 1

    def task_kind(self, experiment: str) -> TaskKind:
        """Whether an experiment's task has one label a clip (`single`) or a set (`multi`)."""
        run = self.runs[experiment]
        return self.datasets[run.dataset].tasks[run.task]


def claim_problems(suite: Suite) -> list[str]:
    """Problems between the claims of a suite and the experiments they name, each beginning with ``NAME: key: ``."""
    problems = []
    for name, claim in suite.claims.items():
        for key, experiments in (("model", [claim.model]), ("against", claim.against)):
            problems += [f"{name}: {p}" for e in experiments if (p := _misfit(suite, claim, key, e))]
    return problems


def _misfit(suite: Suite, claim: Claim, key: str, experiment: str) -> str:
    """What is wrong with one experiment of a claim; empty where nothing is."""
    if experiment not in suite.runs:
        return f"{key}: unknown experiment {experiment!r}. There is: {', '.join(suite.runs)}"
    curves = [*suite.curve(experiment, "max_frames"), *suite.curve(experiment, "compression")]
    if claim.evaluation not in curves:
        return f"evaluation: {claim.evaluation!r} is no curve of {experiment}, which has: {', '.join(curves)}"
    run = suite.runs[experiment]
    if (run.model.kind == "ast" and run.view.frames != "native") != (key == "against"):
        wanted = "an `ast` of a fixed length" if key == "against" else "a model that takes any length"
        about = f"kind {run.model.kind!r}, view.frames {run.view.frames!r}"
        return f"{key}: {experiment!r} is of {about}; expected {wanted}"
    return ""
