"""Settings of the workflow, `config/config.yaml`: which suite runs, and where files are."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from elasticast.config.base import NaturalInt, PositiveInt, Settings
from elasticast.config.names import Name


def _folder(name: str) -> str:
    """Check a folder name. A relative one that begins with - becomes absolute, as programs take it for an option."""
    if not name or not name.isprintable():
        raise ValueError("expected the name of a folder without line breaks and other control characters")
    if any(len(part.encode(errors="replace")) > 255 for part in Path(name).parts) or len(name) > 2000:
        raise ValueError("is too long: file systems allow 255 bytes per folder")
    return str(Path(name).absolute()) if name.startswith("-") else name


FolderName = Annotated[str, AfterValidator(_folder)]


class WorkflowConfig(Settings):
    """Settings in `config/config.yaml`."""

    suite: Name = Field(description="Name of a file in `config/suites`, without `.yaml`.")
    data_root: FolderName = Field(
        description="Folder with downloaded datasets, one sub-folder each. Missing datasets are downloaded into "
        "it if they can be."
    )
    results: FolderName = Field(description="Folder for data, runs and tables. Its name contains no { or }.")
    weights_root: FolderName = Field(
        ".",
        description="Folder with published weights. A relative `model.init` is looked up in it, and so is a relative "
        "`train.impulse_responses.folder`.",
    )
    released_weights: FolderName | None = Field(
        None, description="Folder with the authors' four ElasticAST files, for `snakemake released`."
    )
    beside: Name | None = Field(
        None,
        description="Another suite whose results are added to figures 4 and 5 and to the figure `zoo`. Its results "
        "must exist.",
    )
    partial: bool = Field(
        False, description="Draw and judge with the runs that exist, without training or evaluating anything."
    )
    archive_weights: bool = Field(False, description="Add the weights of the runs to the archive, `snakemake archive`.")
    audits: list[Annotated[str, Field(min_length=1)]] | None = Field(
        None,
        min_length=1,
        description="Encoders for `snakemake audits`: `run:NAME` for the first run of an experiment of the suite, or "
        "others, see docs/audit.md. `null`: the first run of every experiment.",
    )
    custom: bool = Field(True, description="Include the rules in `workflow/custom`, see docs/extending.md.")
    train_threads: PositiveInt = Field(
        1,
        description="CPU threads of a training run or evaluation. Results on a CPU repeat bit for bit only with "
        "the same number.",
    )
    train_gpus: NaturalInt = Field(
        0,
        description="GPUs that a training run asks a cluster for, one process each. With 0, a run uses the GPU it "
        "sees; jobs of a cluster that ask for no GPU usually see none.",
    )

    @field_validator("results", "released_weights")
    @classmethod
    def _no_wildcards(cls, name: str | None) -> str | None:
        if name and set("{}") & set(name):
            raise ValueError("expected a name without { and }, which mark wildcards in the file names of Snakemake")
        return name

    @field_validator("partial", "custom", "beside", "archive_weights", mode="before")
    @classmethod
    def _parse_text(cls, value: Any) -> Any:
        # Snakemake passes `--config partial=true` as text, because it parses only Python's True
        return {"true": True, "false": False, "null": None}.get(value, value) if isinstance(value, str) else value
