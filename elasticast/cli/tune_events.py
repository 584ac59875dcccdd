"""The subcommand `elasticast tune-events`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from elasticast.cli.options import Out, Threads, TrustCode

# Imports are inside the function, as in `elasticast.cli`.


def tune_events(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="folder of a trained run with a frame head, or other weights")
    ],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="folder of a prepared dataset with a split dev")],
    out: Out,
    method: Annotated[
        Literal["boxes", "median"], typer.Option(help="what to choose: change-point boxes, or median filters")
    ] = "boxes",
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="score above which a class counts as detected")
    ] = 0.5,
    task: Annotated[str | None, typer.Option(help="task of the events; default: the one that fits the model")] = None,
    threads: Threads = 1,
    trust_code: TrustCode = False,
) -> None:
    """Choose for each class how events follow from scores, by event F1 on split dev; for `detection` and `predict`."""
    import torch

    from elasticast.inference.tuning import tune_events as tune

    torch.set_num_threads(threads)
    table = tune(model, data, out, method=method, threshold=threshold, task=task, trust_code=trust_code)
    typer.echo(table.to_string(index=False, float_format="{:.3g}".format))
    typer.echo(f"written: {out}")
