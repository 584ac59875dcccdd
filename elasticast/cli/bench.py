"""The verbs of `elasticast bench`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from elasticast.cli.options import Data, Threads

bench = typer.Typer(no_args_is_help=True, help="Measure speed: what is compared runs side by side, in turns.")

# Imports stand inside the verbs, as in `elasticast.cli`.


@bench.command()
def reading(
    data: Data,
    split: Annotated[str, typer.Option(help="split to read")] = "train",
    clips: Annotated[int, typer.Option(min=2, help="clips a measurement")] = 1000,
    workers: Annotated[list[int] | None, typer.Option(min=0, help="loader processes, repeatable [0, 2, 4]")] = None,
) -> None:
    """Read random clips from the waveform store and from the audio files it was made of."""
    from elasticast.benchmarks.storage import measure_reading

    typer.echo(measure_reading(data, split, clips, workers or [0, 2, 4]).round(2).to_string(index=False))


@bench.command()
def packing(
    model: Annotated[
        str, typer.Option(help="tiny, base (ViT-B), SUITE/EXPERIMENT, or config.yaml of a run; weights are random")
    ] = "tiny",
    data: Annotated[Path | None, typer.Option(help="lengths of a prepared dataset; else log-uniform ones")] = None,
    split: Annotated[str, typer.Option(help="with --data: its split")] = "train",
    clips: Annotated[int, typer.Option(min=1, help="clips a batch")] = 12,
    shortest: Annotated[int, typer.Option(min=1, help="without --data: shortest clip (frames)")] = 64,
    max_frames: Annotated[int, typer.Option(min=1, help="longest clip (frames)")] = 3072,
    bucket: Annotated[int, typer.Option(min=1, help="clips a bucket")] = 4,
    row_tokens: Annotated[
        list[int] | None, typer.Option(min=1, help="tokens a row, repeatable [512, 1024, 2048, 4096, 8192]")
    ] = None,
    way: Annotated[list[str] | None, typer.Option(help="time this way, beside packed; repeatable [all]")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="how often each way is timed")] = 7,
    seed: Annotated[int, typer.Option(min=0, help="of lengths, weights and inputs")] = 0,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="auto: cuda where there is one")] = "auto",
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="of what is timed, by autocast")] = "fp32",
    threads: Threads = 1,
    out: Annotated[Path | None, typer.Option(help="CSV file to write")] = None,
) -> None:
    """Take the same clips through a model packed, padded, in buckets, in rows, and one at a time."""
    import torch

    from elasticast.benchmarks.padding import measure_packing
    from elasticast.benchmarks.report import show, write
    from elasticast.benchmarks.setup import batch_tokens, build_ways, model_config, resolve_device

    torch.set_num_threads(threads)
    config, where = model_config(model, max_frames), resolve_device(device)
    tokens = batch_tokens(config, clips, seed, prepared=data, split=split, shortest=shortest)
    rows = row_tokens or [512, 1024, 2048, 4096, 8192]
    ways, left_out = build_ways(config, tokens, where, bucket=bucket, row_tokens=rows, names=way or [])
    found = measure_packing(config, tokens, ways, device=where, precision=precision, rounds=rounds, seed=seed)
    show(found, left_out)
    if out is not None:
        lengths = str(data) if data else f"log-uniform {shortest}-{max_frames}"
        asked = {
            "model": model,
            "lengths": lengths,
            "clips": clips,
            "precision": precision,
            "rounds": rounds,
            "seed": seed,
        }
        write(found, asked, where, out)
