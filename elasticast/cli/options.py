"""Options that several verbs of the command have."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Option("--config", help="settings file")]
Out = Annotated[Path, typer.Option(help="what to write, or the folder to write into")]
Data = Annotated[Path, typer.Option(help="folder of a prepared dataset")]
Threads = Annotated[int, typer.Option(help="CPU threads (of each process, under torchrun)")]
