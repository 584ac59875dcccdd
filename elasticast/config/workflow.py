"""Settings of the workflow, `config/config.yaml`: which suite runs, and where files are."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from elasticast.config.base import PositiveInt, Settings


class WorkflowConfig(Settings):
    """`config/config.yaml`: which suite runs, and where things lie."""

    suite: str = Field(description="name of a file in config/suites, without .yaml")
    data_root: str = Field(
        description="folder with downloaded datasets, one sub-folder each; missing ones are fetched into it"
    )
    results: str = Field(description="folder for data, runs and tables")
    weights_root: str = Field(".", description="folder with published weights: where a relative model.init is found")
    released_weights: str | None = Field(
        None, description="folder with the authors' four ElasticAST files, for `snakemake released`"
    )
    beside: str | None = Field(
        None, description="another suite whose curves figures 4 and 5 show as well; its results have to be there"
    )
    partial: bool = Field(False, description="draw and judge with the runs that exist; train and evaluate nothing")
    custom: bool = Field(True, description="include the rules of your own in workflow/custom, see docs/extending.md")
    train_threads: PositiveInt = Field(
        1, description="CPU threads of a training run; part of what makes a CPU run repeatable"
    )
    train_gpus: Annotated[int, Field(ge=0)] = Field(
        0,
        description="GPUs that a training run asks a cluster for, one process each; 0: none, the run uses what it sees",
    )

    @field_validator("partial", "custom", "beside", mode="before")
    @classmethod
    def _of_the_command_line(cls, value: Any) -> Any:
        # `--config partial=true` arrives as text: Snakemake knows Python's True only
        return {"true": True, "false": False, "null": None}.get(value, value) if isinstance(value, str) else value
