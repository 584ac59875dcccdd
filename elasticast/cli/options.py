"""Options shared by several subcommands."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Option("--config", help="settings file")]
Out = Annotated[Path, typer.Option(help="file or folder to write")]
Data = Annotated[Path, typer.Option(help="folder of a prepared dataset")]
ModelFile = Annotated[
    Path | None,
    typer.Option(help="file of the model's class, if `model.kind` names one; code that a model brings must equal it"),
]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="run the code of a model that brings its own; read it before")
]
Threads = Annotated[int, typer.Option(help="number of CPU threads; per process under torchrun")]
