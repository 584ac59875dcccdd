"""The subcommands of `elasticast bench`."""

import itertools
import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from elasticast.cli.options import Data, Threads, only_with

if TYPE_CHECKING:
    import pandas as pd
    import torch

bench = typer.Typer(no_args_is_help=True, help="Measure speed. What is compared is timed in turns.")

Lengths = StrEnum("Lengths", ["log-uniform", "voxceleb", "uniform", "speech", "equal"])

STAGE_IMPORTS = {
    "prepare": "elasticast.data.prepare",
    "stats": "elasticast.data.stats",
    "train": "elasticast.training.loop",
    "evaluate": "elasticast.evaluation.run",
    "resample": "elasticast.evaluation.intervals",
}
"""Kind of job to the module that it imports."""

# Imports are inside the subcommands, as in `elasticast.cli`.


@bench.command()
def reading(
    data: Data,
    split: Annotated[Literal["train", "dev", "test"], typer.Option(help="split to read")] = "train",
    clips: Annotated[int, typer.Option(min=2, help="number of clips per measurement")] = 1000,
    workers: Annotated[
        list[int] | None, typer.Option(min=0, help="number of loader processes; repeatable; default: 0, 2 and 4")
    ] = None,
) -> None:
    """Time reading random clips from the waveform store and from the original audio files."""
    from elasticast.benchmarks.storage import measure_reading

    typer.echo(measure_reading(data, split, clips, workers or [0, 2, 4]).round(2).to_string(index=False))


@bench.command()
def loader(
    data: Data,
    model: Annotated[str, typer.Option(help="as for `packing`")] = "tiny",
    clips: Annotated[int, typer.Option(min=1, help="number of clips per batch")] = 12,
    batches: Annotated[int, typer.Option(min=1, help="number of batches per measurement")] = 10,
    workers: Annotated[list[int] | None, typer.Option(min=0, help="as for `reading`")] = None,
    max_frames: Annotated[int, typer.Option(min=1, help="length of the longest clip (frames)")] = 3072,
    rounds: Annotated[int, typer.Option(min=1, help="number of timings")] = 5,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="as for `packing`")] = "auto",
    threads: Threads = 1,
    out: Annotated[Path | None, typer.Option(help="CSV file to write")] = None,
) -> None:
    """Time loading batches for a training, and the share of a training step that waits for them."""
    import torch

    from elasticast.benchmarks.loading import measure_loading
    from elasticast.benchmarks.setup import model_config, resolve_device

    torch.set_num_threads(threads)
    config, target = model_config(model, max_frames), resolve_device(device)
    options = {"clips": clips, "batches": batches, "rounds": rounds}
    table = measure_loading(config, data, workers=workers or [0, 2, 4], device=target, **options)
    _report(table, {"model": model, **options}, threads, out, target)


@bench.command()
def scaling(
    model: Annotated[str, typer.Option(help="as for `packing`")] = "tiny",
    clips: Annotated[
        list[int] | None, typer.Option(min=1, help="number of clips of 10 s; repeatable; default: 1, 2, 4, 8 and 16")
    ] = None,
    seconds: Annotated[
        list[float] | None,
        typer.Option(min=0.2, help="length of a single clip; repeatable; default: 10, 30, 60, 120, 300 and 600 s"),
    ] = None,
    budget: Annotated[
        list[int] | None,
        typer.Option(min=1, help="token budget; repeatable; default: 2048, 4096, 8192 and 16384"),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="number of timings")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="seed of the lengths, weights and inputs")] = 0,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="as for `packing`")] = "auto",
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="precision, set by autocast")] = "fp32",
    threads: Threads = 1,
    out: Annotated[Path | None, typer.Option(help="CSV file to write")] = None,
) -> None:
    """Time training steps for more clips, longer clips and larger token budgets, and fit exponents."""
    import torch

    from elasticast.benchmarks.scaling import exponents, measure_scaling
    from elasticast.benchmarks.setup import model_config, resolve_device, usable_backends

    torch.set_num_threads(threads)
    lengths, target = seconds or [10, 30, 60, 120, 300, 600], resolve_device(device)
    config = model_config(model, 16 * math.ceil(100 * max(30, *lengths) / 16))  # 100 frames per second
    table = measure_scaling(
        config,
        usable_backends(target, precision)[0],
        clips=clips or [1, 2, 4, 8, 16],
        seconds=lengths,
        budgets=budget or [2048, 4096, 8192, 16384],
        device=target,
        precision=precision,
        rounds=rounds,
        seed=seed,
    )
    _report(table, {"model": model, "precision": precision, "rounds": rounds, "seed": seed}, threads, out, target)
    typer.echo("exponents of the costs over the number of tokens")
    typer.echo(exponents(table).round(2).to_string(index=False))


@bench.command()
def plan(
    model: Annotated[str, typer.Option(help="as for `packing`")] = "base",
    clips: Annotated[
        list[int] | None,
        typer.Option(min=1, help="number of training clips; repeatable; default: AudioSet, and 100 times that"),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="length of each clip")] = 10.0,
    epochs: Annotated[float, typer.Option(min=0, help="number of epochs")] = 15,
    classes: Annotated[int, typer.Option(min=1, help="number of classes")] = 527,
    days: Annotated[float, typer.Option(min=0.001, help="how long the training may take")] = 1.0,
    tflops: Annotated[
        float | None, typer.Option(min=0.001, help="10^12 operations per second of a GPU in a training step")
    ] = None,
    core_clips: Annotated[
        float | None, typer.Option(min=0.001, help="clips of 10 s per second that a core reads and turns into log-mels")
    ] = None,
) -> None:
    """Estimate GPU hours, GPUs, cores, disk and memory of a training from measured rates."""
    import pandas as pd

    from elasticast.benchmarks.planning import CORE_CLIPS, STEP_TFLOPS, plan_training
    from elasticast.benchmarks.setup import model_config

    config = model_config(model, 16 * math.ceil(100 * seconds / 16))
    options = {"seconds": seconds, "epochs": epochs, "classes": classes, "days": days}
    rates = {"tflops": tflops or STEP_TFLOPS, "core_clips": core_clips or CORE_CLIPS}
    plans = [plan_training(config, count, **options, **rates) for count in clips or [2_084_320, 208_432_000]]
    typer.echo(", ".join(f"{name} {value:g}" for name, value in {**options, **rates}.items()))
    typer.echo(pd.concat(plans, axis=1).to_string(header=False, float_format=_rounded))


@bench.command()
def frontend(
    seconds: Annotated[
        list[float] | None, typer.Option(min=0.1, help="length of a clip; repeatable; default: 0.3, 1, 3 and 10 s")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="number of timings")] = 21,
    out: Annotated[Path | None, typer.Option(help="CSV file to write")] = None,
) -> None:
    """Time log-mels against torchaudio's `kaldi.fbank`, clip by clip in one thread."""
    import torch

    from elasticast.benchmarks.stages import measure_front_end
    from elasticast.config import FrontEnd

    table = measure_front_end(FrontEnd(), seconds or [0.3, 1, 3, 10], rounds)
    _report(table, {"rounds": rounds}, 1, out, torch.device("cpu"))


@bench.command("sweep")
def sweep_(
    data: Data,
    model: Annotated[str, typer.Option(help="as for `packing`")] = "tiny",
    split: Annotated[Literal["dev", "test"], typer.Option(help="split to evaluate")] = "test",
    lengths: Annotated[int, typer.Option(min=2, help="number of lengths")] = 25,
    clips: Annotated[int, typer.Option(min=1, help="number of clips")] = 64,
    max_frames: Annotated[int, typer.Option(min=1, help="longest length (frames)")] = 768,
    rounds: Annotated[int, typer.Option(min=1, help="number of timings")] = 5,
    threads: Threads = 1,
    out: Annotated[Path | None, typer.Option(help="CSV file to write")] = None,
) -> None:
    """Time a sweep of one checkpoint over many lengths: in one pass, and in one pass per length."""
    import torch

    from elasticast.benchmarks.setup import model_config
    from elasticast.benchmarks.stages import measure_sweep

    torch.set_num_threads(threads)
    config, options = model_config(model, max_frames), {"lengths": lengths, "clips": clips, "rounds": rounds}
    table = measure_sweep(config, data, split, **options)
    _report(table, {"model": model, **options}, threads, out, torch.device("cpu"))


@bench.command()
def tokens(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="folder of a trained run, or other weights, see docs/inference.md")
    ],
    data: Data,
    split: Annotated[Literal["dev", "test"], typer.Option(help="split to evaluate")] = "test",
    share: Annotated[
        list[float] | None,
        typer.Option(min=0.01, max=0.99, help="share of tokens to leave out; repeatable; default: 0.3, 0.5 and 0.7"),
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="number of clips, spread evenly over the split")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="number of timings")] = 5,
    threads: Threads = 1,
    out: Annotated[Path | None, typer.Option(help="CSV file to write")] = None,
) -> None:
    """Time and score a trained model with tokens left out: dropped at the start, or merged or pruned in its blocks."""
    import torch

    from elasticast.benchmarks.tokens import measure_tokens
    from elasticast.inference.length_sweep import on_task
    from elasticast.models.device import default_device
    from elasticast.models.pretrained import load_model

    torch.set_num_threads(threads)
    trained, device = on_task(load_model(model), model, data, split, None), default_device()
    trained.model.to(device)
    options = {"clips": clips, "rounds": rounds}
    table = measure_tokens(trained, data, split, shares=share or [0.3, 0.5, 0.7], **options)
    _report(table, {"model": model, **options}, threads, out, device)


@bench.command()
def suite(
    source: Annotated[
        Path,
        typer.Argument(metavar="SUITE", help="summary/suite.yaml of a finished suite, or jobs.csv of a published one"),
    ],
    results: Annotated[Path, typer.Option(help="folder with the results of all suites")] = Path("results"),
) -> None:
    """Print where the processor time of a finished suite went, stage by stage, and how much of it are imports."""
    from elasticast.benchmarks.timing import import_seconds
    from elasticast.config.load_suite import load_resolved_suite
    from elasticast.published.costs import by_stage, describe, job_table, read_jobs

    jobs = read_jobs(source) if source.suffix == ".csv" else job_table(load_resolved_suite(source), results)
    starts = {job: import_seconds(module) for job, module in STAGE_IMPORTS.items()}
    typer.echo(by_stage(jobs, starts).round(3).to_string(index=False))
    typer.echo(describe(jobs))
    drawing = import_seconds("elasticast.reporting.curves")
    typer.echo(f"jobs that collect tables and draw are not measured; each imports for {drawing:.1f} s")


@bench.command()
def figure(
    tables: Annotated[list[Path], typer.Argument(metavar="CSV...", help="CSV files that the other subcommands wrote")],
    out: Annotated[Path, typer.Option(help="file to write, without extension")],
) -> None:
    """Draw the results of the other subcommands."""
    from elasticast.reporting.bench_figure import bench_caption, draw_bench, read_benches
    from elasticast.reporting.style import paper_style, save

    benches = read_benches(tables)
    with paper_style():
        save(draw_bench(benches), out, bench_caption(benches))


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _report(
    table: "pd.DataFrame", options: dict[str, str | int], threads: int, out: Path | None, device: "torch.device"
) -> None:
    """Print a table, and write it as CSV together with options and machine."""
    import resource

    import torch

    from elasticast.benchmarks.report import write

    typer.echo(table.round(5).to_string(index=False))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    typer.echo(f"{threads} threads, torch {torch.__version__}, peak memory of the process {peak:,} MiB")
    if out is not None:
        write(table, {**options, "peak_mib": peak}, device, out)


@bench.command()
def packing(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            help="tiny, ti (ViT-Ti), base (ViT-B), SUITE/EXPERIMENT, or config.yaml of a run; with random weights"
        ),
    ] = "tiny",
    data: Annotated[
        Path | None, typer.Option(help="prepared dataset to take the clip lengths from; default: log-uniform lengths")
    ] = None,
    split: Annotated[
        Literal["train", "dev", "test"], typer.Option(help="with --data: split to take the lengths from")
    ] = "train",
    clips: Annotated[
        list[int] | None, typer.Option(min=1, help="number of clips per batch; repeatable; default: 12")
    ] = None,
    lengths: Annotated[
        list[Lengths] | None,
        typer.Option(
            help="without --data: how the clips' lengths are drawn; uniform: 1-10 s, speech: 0.2-2.3 s; repeatable; "
            "default: log-uniform"
        ),
    ] = None,
    shortest: Annotated[int, typer.Option(min=1, help="log-uniform: length of the shortest clip (frames)")] = 64,
    max_frames: Annotated[int, typer.Option(min=1, help="length of the longest clip (frames)")] = 3072,
    bucket: Annotated[int, typer.Option(min=1, help="number of clips per bucket")] = 4,
    row_tokens: Annotated[
        list[int] | None,
        typer.Option(min=1, help="tokens per row; repeatable; default: 512, 1024, 2048, 4096 and 8192"),
    ] = None,
    way: Annotated[
        list[str] | None, typer.Option(help="way of batching to time in addition to packed; repeatable; default: all")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="number of timings per way of batching")] = 7,
    seed: Annotated[int, typer.Option(min=0, help="seed of the lengths, weights and inputs")] = 0,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="device; auto: cuda if available, else cpu")
    ] = "auto",
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="precision, set by autocast")] = "fp32",
    threads: Threads = 1,
    markdown: Annotated[bool, typer.Option("--markdown", help="print tables as Markdown")] = False,
    out: Annotated[Path | None, typer.Option(help="CSV file to write")] = None,
) -> None:
    """Compare ways to batch the same clips: packed, padded, in buckets, in rows, one at a time."""
    only_with(context, "--data", data is not None, "split")
    only_with(context, "drawn lengths: --data has its own", data is None, "lengths", "shortest")
    import pandas as pd
    import torch

    from elasticast.benchmarks.padding import measure_packing
    from elasticast.benchmarks.report import show, write
    from elasticast.benchmarks.setup import batch_tokens, build_ways, model_config, resolve_device

    torch.set_num_threads(threads)
    config, target = model_config(model, max_frames), resolve_device(device)
    rows, tables = row_tokens or [512, 1024, 2048, 4096, 8192], []
    for drawn, count in itertools.product(lengths or ["log-uniform"], clips or [12]):
        tokens = batch_tokens(config, count, seed, prepared=data, split=split, lengths=drawn, shortest=shortest)
        ways, left_out = build_ways(
            config, tokens, target, bucket=bucket, row_tokens=rows, names=way or [], precision=precision
        )
        timings = measure_packing(config, tokens, ways, device=target, precision=precision, rounds=rounds, seed=seed)
        source = str(data) if data else f"log-uniform {shortest}-{max_frames}" if drawn == "log-uniform" else drawn
        typer.echo(f"{count} clips, {source}, {sum(tokens):,} tokens")
        show(timings, left_out, markdown=markdown)
        tables.append(timings.assign(lengths=source, clips=count))
    if out is not None:
        options = {"model": model, "precision": precision, "rounds": rounds, "seed": seed}
        write(pd.concat(tables), options, target, out)


@bench.command()
def others(
    model: Annotated[str, typer.Option(help="sizes, as for `packing`")] = "tiny",
    clips: Annotated[list[int] | None, typer.Option(min=1, help="as for `packing`")] = None,
    lengths: Annotated[list[Lengths] | None, typer.Option(help="as for `packing`; default: voxceleb")] = None,
    max_frames: Annotated[int, typer.Option(min=1, help="length of the longest clip (frames)")] = 3072,
    other: Annotated[list[str] | None, typer.Option(help="implementation; repeatable; default: all")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="number of timings")] = 7,
    seed: Annotated[int, typer.Option(min=0, help="seed of the lengths, weights and inputs")] = 0,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="as for `packing`")] = "auto",
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="precision, set by autocast")] = "fp32",
    threads: Threads = 1,
    markdown: Annotated[bool, typer.Option("--markdown", help="print tables as Markdown")] = False,
    out: Annotated[Path | None, typer.Option(help="CSV file to write")] = None,
) -> None:
    """Compare ElasticAST with NaViT of vit-pytorch, NaFlexVit of timm and Hugging Face's AST on the same clips."""
    import pandas as pd
    import torch

    from elasticast.benchmarks.others import measure_others, select_others
    from elasticast.benchmarks.report import show_others, write
    from elasticast.benchmarks.setup import batch_tokens, model_config, resolve_device, usable_backends

    torch.set_num_threads(threads)
    names, config, target, tables = (
        select_others(other or []),
        model_config(model, max_frames),
        resolve_device(device),
        [],
    )
    for drawn, count in itertools.product(lengths or ["voxceleb"], clips or [12]):
        tokens = batch_tokens(config, count, seed, lengths=drawn)
        options = {"device": target, "precision": precision, "rounds": rounds, "seed": seed}
        table, left_out = measure_others(config, tokens, names, usable_backends(target, precision)[0], **options)
        typer.echo(f"{count} clips, {drawn}, {sum(tokens):,} patches, {precision}, {threads} threads")
        show_others(table, left_out, markdown=markdown)
        tables.append(table.assign(lengths=str(drawn), clips=count))
    if out is not None:
        write(pd.concat(tables), {"model": model, "precision": precision, "rounds": rounds, "seed": seed}, target, out)
