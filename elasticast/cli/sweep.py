"""The subcommand `elasticast sweep`."""

from pathlib import Path
from typing import Annotated

import typer

from elasticast.cli.options import Out, Threads, TrustCode

# Imports are inside the function, as in `elasticast.cli`.


def sweep(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="folder of a trained run, or other weights, see docs/inference.md")
    ],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="folder of a prepared dataset")],
    lengths: Annotated[str, typer.Option(help="lengths to evaluate at, such as 1s,2s,500ms")],
    out: Out,
    split: Annotated[str, typer.Option(help="split of the clips")] = "test",
    task: Annotated[str | None, typer.Option(help="task of the labels; default: the one that fits the model")] = None,
    threads: Threads = 1,
    trust_code: TrustCode = False,
) -> None:
    """Evaluate a model at several lengths: print the scores, write a table and a figure."""
    import torch

    from elasticast.inference.length_sweep import as_text, length_sweep, parse_lengths

    torch.set_num_threads(threads)
    seconds = parse_lengths(lengths)
    table = length_sweep(model, data, seconds, out, split=split, task=task, trust_code=trust_code)
    typer.echo(as_text(table))
    typer.echo(f"written: {out}/sweep.csv, sweep.png, sweep.pdf")
