"""Options shared by several subcommands, and the groups of subcommands in `elasticast --help`."""

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

USE, DATA, INSIDE = "Use a model", "Data and suites", "Inside the workflow"
"""Titles of the groups, in the order of `elasticast --help`; the last holds what the rules of the workflow call."""

ConfigFile = Annotated[Path, typer.Option("--config", help="settings file")]
Out = Annotated[Path, typer.Option(help="file or folder to write")]
Data = Annotated[Path, typer.Option(help="folder of a prepared dataset")]
ModelFile = Annotated[
    Path | None,
    typer.Option(help="file of the model's class, if `model.kind` names one; code that a model brings must equal it"),
]
ModelFiles = Annotated[
    list[Path] | None,
    typer.Option("--model-file", help="file of the class of the model, or of the teacher; repeat for several"),
]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="run the code of a model that brings its own; read it before")
]
Threads = Annotated[int, typer.Option(help="number of CPU threads; per process under torchrun")]


class Verbs(TyperGroup):
    """The subcommands, in the order of their groups."""

    def list_commands(self, ctx: typer.Context) -> list[str]:
        """Names of the subcommands."""
        panels = (USE, DATA, INSIDE)
        return sorted(self.commands, key=lambda name: panels.index(self.commands[name].rich_help_panel or INSIDE))


def only_with(context: typer.Context, what: str, present: bool, *options: str) -> None:
    """Refuse options that would have no effect.

    Parameters
    ----------
    context : typer.Context
        Context of the subcommand.
    what : str
        What the options need, such as another option, for the message.
    present : bool
        Whether it was given.
    *options : str
        Names of the parameters of the subcommand.

    Raises
    ------
    typer.BadParameter
        If one of them is on the command line, but what it needs is not.
    """
    for option in options:
        given = context.get_parameter_source(option)
        if not present and given is not None and given.name == "COMMANDLINE":
            name = next(p.opts[0] for p in context.command.params if p.name == option)
            raise typer.BadParameter(f"has no effect without {what}", param_hint=name)
