"""The subcommand `elasticast sweep`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from elasticast.cli.options import Out, Threads, TrustCode, only_with

# Imports are inside the function, as in `elasticast.cli`.


def sweep(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="folder of a trained run, or other weights, see docs/inference.md")
    ],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="folder of a prepared dataset")],
    out: Out,
    lengths: Annotated[str | None, typer.Option(help="lengths to evaluate at, such as 1s,2s,500ms")] = None,
    chunks: Annotated[
        str | None, typer.Option(help="instead of lengths: stream the clips in chunks of these lengths")
    ] = None,
    contexts: Annotated[
        str, typer.Option(help="with --chunks: how far chunks attend into the past, such as 0s,1s,inf")
    ] = "0s",
    split: Annotated[Literal["dev", "test"], typer.Option(help="split of the clips")] = "test",
    task: Annotated[str | None, typer.Option(help="task of the labels; default: the one that fits the model")] = None,
    threads: Threads = 1,
    trust_code: TrustCode = False,
) -> None:
    """Evaluate a model at several lengths, or as a stream: print the scores, and write them."""
    if (lengths is None) == (chunks is None):
        raise typer.BadParameter("give either --lengths or --chunks")
    only_with(context, "--chunks", chunks is not None, "contexts")
    import torch

    from elasticast.inference.length_sweep import as_text, length_sweep, parse_lengths
    from elasticast.inference.stream_sweep import stream_sweep

    torch.set_num_threads(threads)
    options = {"split": split, "task": task, "trust_code": trust_code}
    if chunks is not None:
        grid = parse_lengths(chunks, "--chunks"), parse_lengths(contexts, "--contexts", any_context=True)
        typer.echo(as_text(stream_sweep(model, data, *grid, out, **options)))
        typer.echo(f"written: {out}/stream.csv")
        return
    typer.echo(as_text(length_sweep(model, data, parse_lengths(lengths), out, **options)))
    typer.echo(f"written: {out}/sweep.csv, sweep.png, sweep.pdf")
