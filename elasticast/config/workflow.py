"""Settings of the workflow, `config/config.yaml`: which suite runs, and where files are."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from elasticast.config.base import PositiveInt, Settings


class WorkflowConfig(Settings):
    """Settings in `config/config.yaml`."""

    suite: str = Field(description="Name of a file in `config/suites`, without `.yaml`.")
    data_root: str = Field(
        description="Folder with downloaded datasets, one sub-folder each. Missing datasets are downloaded into "
        "it if they can be."
    )
    results: str = Field(description="Folder for data, runs and tables.")
    weights_root: str = Field(
        ".", description="Folder with published weights. A relative `model.init` is looked up in it."
    )
    released_weights: str | None = Field(
        None, description="Folder with the authors' four ElasticAST files, for `snakemake released`."
    )
    beside: str | None = Field(
        None, description="Another suite whose curves are added to figures 4 and 5. Its results must exist."
    )
    partial: bool = Field(
        False, description="Draw and judge with the runs that exist, without training or evaluating anything."
    )
    custom: bool = Field(True, description="Include the rules in `workflow/custom`, see docs/extending.md.")
    train_threads: PositiveInt = Field(
        1,
        description="CPU threads of a training run or evaluation. Results on a CPU repeat bit for bit only with "
        "the same number.",
    )
    train_gpus: Annotated[int, Field(ge=0)] = Field(
        0,
        description="GPUs that a training run asks a cluster for, one process each. With 0, a run uses the GPU it "
        "sees.",
    )

    @field_validator("partial", "custom", "beside", mode="before")
    @classmethod
    def _parse_text(cls, value: Any) -> Any:
        # Snakemake passes `--config partial=true` as text, because it parses only Python's True
        return {"true": True, "false": False, "null": None}.get(value, value) if isinstance(value, str) else value
