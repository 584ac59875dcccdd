"""The commands of `elasticast bench`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from elasticast.cli.options import Data, Threads

bench = typer.Typer(no_args_is_help=True, help="Measure speed. The variants are timed alternately, round by round.")

# Commands import what they need when they run, as in `elasticast.cli`.


@bench.command()
def reading(
    data: Data,
    split: Annotated[str, typer.Option(help="split to read")] = "train",
    clips: Annotated[int, typer.Option(min=2, help="number of clips per measurement")] = 1000,
    workers: Annotated[
        list[int] | None,
        typer.Option(min=0, help="number of loader processes; can be repeated; default: 0, 2 and 4"),
    ] = None,
) -> None:
    """Compare reading random clips from the waveform store with decoding the original audio files."""
    from elasticast.benchmarks.storage import reading as measure

    typer.echo(measure(data, split, clips, workers or [0, 2, 4]).round(2).to_string(index=False))


@bench.command()
def packing(
    model: Annotated[
        str, typer.Option(help="tiny, base (ViT-B), SUITE/EXPERIMENT, or config.yaml of a run; weights are random")
    ] = "tiny",
    data: Annotated[
        Path | None,
        typer.Option(help="folder of a prepared dataset to take clip lengths from; default: log-uniform lengths"),
    ] = None,
    split: Annotated[str, typer.Option(help="with --data: split to take lengths from")] = "train",
    clips: Annotated[int, typer.Option(min=1, help="number of clips per batch")] = 12,
    shortest: Annotated[int, typer.Option(min=1, help="without --data: length of the shortest clip (frames)")] = 64,
    max_frames: Annotated[int, typer.Option(min=1, help="length of the longest clip (frames)")] = 3072,
    bucket: Annotated[int, typer.Option(min=1, help="number of clips per bucket")] = 4,
    row_tokens: Annotated[
        list[int] | None,
        typer.Option(min=1, help="number of tokens per row; can be repeated; default: 512, 1024, 2048, 4096 and 8192"),
    ] = None,
    way: Annotated[
        list[str] | None,
        typer.Option(help="way of batching to compare with packing; can be repeated; default: all ways"),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="how many times each way is timed")] = 7,
    seed: Annotated[int, typer.Option(min=0, help="seed of lengths, weights and inputs")] = 0,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="device; auto selects cuda if it is available")
    ] = "auto",
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="autocast type")] = "fp32",
    threads: Threads = 1,
    out: Annotated[Path | None, typer.Option(help="CSV file to write; default: only print the table")] = None,
) -> None:
    """Time a model on the same clips when they are packed, padded, put into buckets or rows, or run one by one."""
    import torch

    from elasticast.benchmarks.padding import packing as measure
    from elasticast.benchmarks.report import show, write
    from elasticast.benchmarks.setup import batch_tokens, device_of, model_config, ways_of

    torch.set_num_threads(threads)
    config, used_device = model_config(model, max_frames), device_of(device)
    tokens = batch_tokens(config, clips, seed, prepared=data, split=split, shortest=shortest)
    rows = row_tokens or [512, 1024, 2048, 4096, 8192]
    ways, left_out = ways_of(config, tokens, used_device, bucket=bucket, row_tokens=rows, names=way or [])
    results = measure(config, tokens, ways, device=used_device, precision=precision, rounds=rounds, seed=seed)
    show(results, left_out)
    if out is not None:
        lengths = str(data) if data else f"log-uniform {shortest}-{max_frames}"
        options = {
            "model": model,
            "lengths": lengths,
            "clips": clips,
            "precision": precision,
            "rounds": rounds,
            "seed": seed,
        }
        write(results, options, used_device, out)
