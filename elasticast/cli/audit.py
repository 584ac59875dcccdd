"""The subcommand `elasticast audit`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from elasticast.cli.options import Out, Threads, only_with

# Imports are inside the function, as in `elasticast.cli`.


def audit(
    context: typer.Context,
    encoders: Annotated[
        list[str],
        typer.Argument(
            metavar="ENCODER",
            help="folder of a trained run or other weights, hf:OWNER/NAME, transformers:FOLDER, naflexvit:FOLDER, "
            "passt:NAME, random:KIND, or FILE.py:CLASS, whose code is run; see docs/audit.md",
        ),
    ],
    out: Out,
    data: Annotated[
        Path | None, typer.Option(help="folder of a prepared dataset; default: a small built-in set")
    ] = None,
    split: Annotated[Literal["train", "dev", "test"], typer.Option(help="with --data: split of the clips")] = "test",
    task: Annotated[str | None, typer.Option(help="with --data: task of the labels; default: the first")] = None,
    clips: Annotated[int, typer.Option(min=4, help="number of clips")] = 40,
    budget: Annotated[float, typer.Option(min=1, help="time to spend on each encoder (s), a guide")] = 60.0,
    threads: Threads = 1,
) -> None:
    """Measure how encoders behave: consistency, length, sampling rate, cost. Nothing is trained."""
    only_with(context, "--data", data is not None, "split", "task")
    import torch

    from elasticast.audit.clips import built_in, from_prepared
    from elasticast.audit.run import audit as run

    torch.set_num_threads(threads)
    chosen = from_prepared(data, split, task, clips) if data else built_in(clips)
    typer.echo(run(encoders, chosen, out, budget))
