"""Settings of an ablation: the content of its file, and the ablation after merging and checking."""

import itertools
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from elasticast.config.ablation_names import NAME, format_value, nested, point_name
from elasticast.config.base import Settings
from elasticast.config.reading import deep_merge
from elasticast.config.run import RunConfig
from elasticast.config.suite import Suite
from elasticast.errors import Problem, SettingsError

BASE = "base"
"""Name of the variant that is the unchanged base experiment; it exists only if no other variant equals the base."""
Plot = Literal["curves", "factor", "heat_map", "cost"]


class AblationFile(Settings):
    """Content of an ablation file for one suite, after merging the section of that suite."""

    title: str = Field(description="Title of figures and tables.")
    question: str = Field("", description="The question that the ablation answers, in one sentence.")
    base: str = Field(description="Experiment of the suite that the variants start from.")
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] | None = Field(
        None,
        min_length=1,
        description="Settings with dots (`model.depth`), each with a list of values. Several settings give every "
        "combination. Set either this or `variants`.",
    )
    variants: dict[Annotated[str, Field(pattern=f"^{NAME}$")], dict[str, Any]] | None = Field(
        None,
        min_length=1,
        description="Named variants, each with its differences from the base, or from another experiment that it "
        "names as `base`.",
    )
    every: dict[str, Any] = Field({}, description="Settings applied to every base before the differences of a variant.")
    evaluations: dict[str, Any] = Field({}, description="Further evaluations, in addition to those of the suite.")
    seeds: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, min_length=1, description="Seeds; `null` uses those of the suite."
    )
    plot: Plot = Field(
        "curves",
        description="The figure. `curves`: score over the sweep. `factor`: score over the first setting of the "
        "grid. `heat_map`: score over lengths and resolutions. `cost`: score over operations.",
    )

    @model_validator(mode="after")
    def _one_kind(self):
        if (self.grid is None) == (self.variants is None):
            raise ValueError("give exactly one of `grid` and `variants`")
        if BASE in (self.variants or {}):
            message = "this name is reserved for the base itself"
            raise SettingsError([Problem("", ("variants", BASE), message)])
        names = Counter(point_name(values) for values in itertools.product(*(self.grid or {}).values()))
        if repeated := [name for name, count in names.items() if count > 1]:
            message = f"several points are called {', '.join(repeated)}; remove duplicates, or use named `variants`"
            raise SettingsError([Problem("", ("grid",), message)])
        return self

    def differences(self) -> dict[str, dict[str, Any]]:
        """Differences from the base, by name of the variant."""
        if self.variants is not None:
            return self.variants
        differences = {}
        for values in itertools.product(*self.grid.values()):
            difference: dict[str, Any] = {"label": ", ".join(format_value(value) for value in values)}
            for key, value in zip(self.grid, values, strict=True):
                difference = deep_merge(difference, nested(key, value))
            differences[point_name(values)] = difference
        return differences


class Ablation(Suite):
    """An ablation with all its settings merged and checked: a suite whose experiments are the variants.

    The keys of `experiments` and `runs` are the names of the variants. The training runs are stored with those of
    another suite, under the name ``trained[variant]``. Variants that differ only in their evaluations share a training
    run. A variant whose run settings equal those of an experiment of the suite uses the run of that experiment.
    """

    suite: str = Field(description="Suite whose training runs this ablation adds to.")
    question: str = Field(description="The question that the ablation answers.")
    base: str = Field(description="Variant that the others are compared with.")
    trained: dict[str, str] = Field(description="Name of the training run of each variant.")
    factors: dict[str, dict[str, Any]] = Field(
        description="Settings in which each variant differs from the base, with their values."
    )
    grid: list[str] = Field([], description="Settings of the grid, in the order of the file; empty for named variants.")
    plot: Plot = Field(description="The figure.")

    def run_config(self, experiment: str, seed: int) -> RunConfig:
        """Settings of the training run of one variant and seed."""
        name = self.trained[experiment]
        return RunConfig.of(self.runs[experiment], name, seed)

    def folders(self, experiment: str) -> tuple[str, str]:
        """Folders of the training runs and of the evaluations of a variant, relative to the results."""
        return f"{self.suite}/runs/{self.trained[experiment]}", f"{self.suite}/ablations/{self.name}/runs/{experiment}"
