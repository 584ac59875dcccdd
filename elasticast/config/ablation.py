"""Settings of an ablation: as they are in its file, and resolved."""

import itertools
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from elasticast.config.ablation_names import nested, point_label, point_name
from elasticast.config.base import Seed, Settings
from elasticast.config.names import Line, Name
from elasticast.config.reading import deep_merge
from elasticast.config.run import RunConfig
from elasticast.config.suite import Suite
from elasticast.errors import Problem, SettingsError

BASE = "base"
"""Name of the variant that equals the base experiment, unless a variant of the file equals it."""
Plot = Literal["curves", "factor", "heat_map", "cost"]


class AblationFile(Settings):
    """Settings in an ablation's file for one suite: the section of the suite merged over the rest."""

    title: Line = Field(description="Title of figures and tables.")
    question: Line = Field("", description="The question that the ablation answers, in one sentence.")
    base: str = Field(description="Experiment of the suite that the variants start from.")
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] | None = Field(
        None,
        min_length=1,
        description="Settings with dots (`model.depth`), each with a list of values. Several settings give every "
        "combination. Set either this or `variants`.",
    )
    variants: dict[Name, dict[str, Any]] | None = Field(
        None,
        min_length=1,
        description="Named variants, each with its differences from the base, or from another experiment that it "
        "names as `base`.",
    )
    every: dict[str, Any] = Field({}, description="Settings applied to every base before the differences of a variant.")
    evaluations: dict[Name, Any] = Field({}, description="Further evaluations, in addition to those of the suite.")
    seeds: list[Seed] | None = Field(None, min_length=1, description="Seeds; `null` uses those of the suite.")
    plot: Plot = Field(
        "curves",
        description="The figure. `curves`: score over the sweep. `factor`: score over the first setting of the "
        "grid. `heat_map`: score over lengths and resolutions. `cost`: score over operations.",
    )

    @model_validator(mode="after")
    def _one_kind(self):
        if (self.grid is None) == (self.variants is None):
            raise ValueError("set exactly one of `grid` and `variants`")
        if BASE in (self.variants or {}):
            message = "this name is reserved for the base itself"
            raise SettingsError([Problem("", ("variants", BASE), message)])
        names = Counter(point_name(values) for values in itertools.product(*(self.grid or {}).values()))
        if twice := [name for name, times in names.items() if times > 1]:
            message = f"several points are called {', '.join(twice)}; remove duplicates, or use `variants` with names"
            raise SettingsError([Problem("", ("grid",), message)])
        return self

    def differences(self) -> dict[str, dict[str, Any]]:
        """The difference of each variant from the base, by name."""
        if self.variants is not None:
            return self.variants
        differences = {}
        for values in itertools.product(*self.grid.values()):
            difference: dict[str, Any] = {"label": point_label(values)}
            for key, value in zip(self.grid, values, strict=True):
                difference = deep_merge(difference, nested(key, value))
            differences[point_name(values)] = difference
        return differences


class Ablation(Suite):
    """A resolved ablation: a suite whose experiments are the variants.

    `experiments` and `runs` have one entry per variant. The training runs are stored with those of `suite`;
    ``trained[variant]`` is the name of a variant's run. Variants that differ only in their evaluations share a run. A
    variant with the settings of an experiment of the suite uses the run of that experiment.
    """

    suite: str = Field(description="Suite that holds the training runs of this ablation.")
    question: Line = Field(description="The question that the ablation answers.")
    base: str = Field(description="Variant that the others are compared with.")
    trained: dict[str, str] = Field(description="Name of the training run of each variant.")
    factors: dict[str, dict[str, Any]] = Field(
        description="Settings in which each variant differs from the base, with their values."
    )
    grid: list[str] = Field([], description="Settings of the grid, in the order of the file; empty for named variants.")
    plot: Plot = Field(description="The figure.")

    def run_config(self, experiment: str, seed: int) -> RunConfig:
        """The run of one variant and seed."""
        name = self.trained[experiment]
        return RunConfig.of(self.runs[experiment], name, seed)

    def folders(self, experiment: str) -> tuple[str, str]:
        """Folders of a variant's runs and of their evaluations, relative to the folder of results."""
        return f"{self.suite}/runs/{self.trained[experiment]}", f"{self.suite}/ablations/{self.name}/runs/{experiment}"
