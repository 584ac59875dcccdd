"""Options shared by several subcommands."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Option("--config", help="settings file")]
Out = Annotated[Path, typer.Option(help="file or folder to write")]
Data = Annotated[Path, typer.Option(help="folder of a prepared dataset")]
Threads = Annotated[int, typer.Option(help="number of CPU threads; per process under torchrun")]
