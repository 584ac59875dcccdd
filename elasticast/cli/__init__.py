"""Train and evaluate audio transformers: one command for each stage of the workflow."""

import json
import logging
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from elasticast.cli.bench import bench
from elasticast.cli.options import ConfigFile, Data, Out, Threads
from elasticast.errors import ElasticASTError

if TYPE_CHECKING:
    from elasticast.config import Suite

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

# Commands import what they need when they run: torch takes seconds to import, and most commands do not use it.


@app.command()
def configure(settings: Annotated[str, typer.Option(help="settings as JSON")], out: Out) -> None:
    """Write settings that the workflow has computed to a YAML file."""
    import yaml

    from elasticast.files import write_text

    write_text(out, yaml.safe_dump(json.loads(settings), sort_keys=False))


@app.command()
def resolve(
    suite: Annotated[str, typer.Option(help="name of a file in config/suites")],
    out: Out,
    ablation: Annotated[
        str | None, typer.Option(help="name of a file in config/ablations; write this ablation of the suite instead")
    ] = None,
) -> None:
    """Write a suite or one of its ablations after merging and checking all settings."""
    import yaml

    from elasticast.files import write_text

    write_text(out, yaml.safe_dump(_resolved(suite, ablation).model_dump(mode="json"), sort_keys=False))


def _resolved(suite: str, ablation: str | None) -> "Suite":
    from elasticast.config.load_ablation import load_ablation
    from elasticast.config.load_suite import load_suite

    return load_ablation(ablation, suite) if ablation else load_suite(suite)


@app.command()
def prepare(
    dataset: Annotated[str, typer.Option(help="name of a file in config/datasets, or the path of such a file")],
    root: Annotated[Path, typer.Option(help="folder with downloaded datasets")],
    out: Out,
    workers: Annotated[int, typer.Option(min=1, help="number of processes that decode audio")] = 1,
    ids: Annotated[
        Path | None, typer.Option(help="file with the ids of the clips to use, one per line; default: all clips")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="K/N", help="only decode the K-th of N shares of the clips, such as 2/8")
    ] = None,
) -> None:
    """Download or generate the audio of a dataset, decode it, and write the manifest and the waveform stores."""
    from elasticast.config.resolving import load_dataset
    from elasticast.data import prepare as job

    path = Path(dataset) if dataset.endswith((".yaml", ".yml")) else Path("config/datasets", f"{dataset}.yaml")
    config = load_dataset(path)
    if ids is not None:
        config = config.model_copy(update={"ids": str(ids.absolute())})
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that temporary files are deleted
    if shard is None:
        job.prepare(config, root, out, workers=workers)
    else:
        job.prepare_shard(config, root, out, *_parse_shard(shard), workers=workers)


def _parse_shard(text: str) -> tuple[int, int]:
    """Parse K and N of a shard such as ``2/8``."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise typer.BadParameter(f"{text!r}: expected K/N with K from 1 to N, such as 2/8", param_hint="--shard")
    return int(match[1]), int(match[2])


@app.command()
def stats(
    front_end: Annotated[str, typer.Option(help="front end settings as JSON")],
    data: Data,
    out: Out,
    clips: Annotated[
        int | None, typer.Option(min=1, help="number of training clips to use, evenly spaced; default: all clips")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="number of worker processes")] = 1,
    module: Annotated[
        str | None,
        typer.Option(help="module of the dataset, such as audioset; adds the statistics released for it to the file"),
    ] = None,
) -> None:
    """Compute the normalisation statistics of the training split of a prepared dataset."""
    from elasticast.config import FrontEnd
    from elasticast.config.reading import validate
    from elasticast.data.stats import write_stats

    settings = validate(FrontEnd, json.loads(front_end), "--front-end")
    write_stats(data, settings, out, clips=clips, workers=workers, module=module)


@app.command()
def train(
    config: ConfigFile,
    data: Data,
    out: Out,
    norm: Annotated[
        Path | None, typer.Option(help="normalisation statistics; not needed if the settings of the run contain `norm`")
    ] = None,
    threads: Threads = 1,
    weights_root: Annotated[Path, typer.Option(help="folder that relative paths in model.init refer to")] = Path(),
) -> None:
    """Train a model, or resume from the last checkpoint. Start it with torchrun to use several GPUs."""
    import torch

    from elasticast.config.load_suite import load_run_config
    from elasticast.training.distributed import joined
    from elasticast.training.inputs import read_inputs
    from elasticast.training.loop import Trainer

    torch.set_num_threads(threads)
    with joined() as world:
        run = load_run_config(config)
        Trainer(run, read_inputs(run, data, out, norm=norm, weights_root=weights_root), out, world).fit()


@app.command()
def evaluate(
    model: Annotated[Path, typer.Option(help="folder of a trained run, or with --run a file of published weights")],
    config: ConfigFile,
    data: Data,
    out: Out,
    threads: Threads = 1,
    run: Annotated[
        Path | None, typer.Option(help="config.yaml with the settings to use with published weights")
    ] = None,
) -> None:
    """Evaluate a model over the sweeps of a settings file. Write the metrics and the predictions for each clip."""
    import torch

    from elasticast.evaluation.run import evaluate_run

    torch.set_num_threads(threads)
    evaluate_run(model, config, data, out, run)


@app.command()
def resample(
    predictions: Annotated[list[Path], typer.Argument(help="predictions.h5 of every seed of one experiment")],
    out: Out,
    draws: Annotated[int, typer.Option(min=1, help="number of bootstrap draws")] = 1000,
    threads: Threads = 1,
) -> None:
    """Compute bootstrap scores of one experiment over test clips. `elasticast intervals` reads them."""
    import torch

    from elasticast.evaluation.intervals import resample as run

    torch.set_num_threads(threads)
    run(predictions, out, draws)


@app.command()
def intervals(
    resampled: Annotated[list[Path], typer.Argument(help="output of `elasticast resample` for every experiment")],
    out: Annotated[Path, typer.Option(help="CSV file for the intervals")],
    pairs: Annotated[Path, typer.Option(help="CSV file for the differences between each ElasticAST and each AST")],
) -> None:
    """Compute confidence intervals over seeds and clips, and compare pairs of models on the same clips."""
    from elasticast.evaluation.intervals import write_tables

    write_tables(resampled, out, pairs)


@app.command()
def predict(
    model: Annotated[
        str, typer.Argument(metavar="CKPT", help="folder of a trained run, or other weights (see docs/inference.md)")
    ],
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="audio files of any sample rate, number of channels and length"),
    ],
    top_k: Annotated[int, typer.Option(min=1, help="number of labels per file")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV instead of a table")] = False,
    timeline: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="folder for scores over time; writes FILE.csv, FILE.png and FILE.pdf"),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(help="split longer files into windows of this length (s); default: the training length"),
    ] = None,
    overlap: Annotated[float, typer.Option(help="share of each window that overlaps with the next one")] = 0.5,
    pooling: Annotated[
        Literal["mean", "max"], typer.Option(help="how the logits of the windows of a file are combined")
    ] = "mean",
    threads: Annotated[
        int | None, typer.Option(min=1, help="number of CPU threads; default: chosen by PyTorch")
    ] = None,
) -> None:
    """Classify audio files with a trained model."""
    if as_json and as_csv:
        raise typer.BadParameter("give one of --json and --csv")
    import torch

    from elasticast.inference.classifier import load_pretrained
    from elasticast.inference.prediction import print_predictions

    if threads:
        torch.set_num_threads(threads)
    options = {"window": window, "overlap": overlap, "pooling": pooling, "timeline": timeline is not None}
    classifier = load_pretrained(model)
    predictions = classifier.predict(files, top_k=top_k, on_error="keep", **options)
    print_predictions(predictions, "json" if as_json else "csv" if as_csv else "table")
    if timeline:
        from elasticast.inference.timeline import write_timelines

        write_timelines(predictions, classifier.classes, timeline, top_k)
    if any(p.error for p in predictions):
        raise typer.Exit(1)


@app.command()
def export(run: Annotated[Path, typer.Argument(help="folder of a trained run")], out: Out) -> None:
    """Export a trained run to a folder that works without the suite, with weights, settings and a model card."""
    from elasticast.inference.export import export as write

    write(run, out)


@app.command()
def collect(
    table: Annotated[Literal["metrics", "runs", "data", "norms"], typer.Argument(help="table to write")],
    out: Out,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="files to join. metrics: metrics.csv of runs; runs: run.json of runs; data: summary.csv of datasets; "
            "norms: norm-*.json of datasets, and config.yaml of runs whose settings contain `norm`"
        ),
    ] = None,
) -> None:
    """Join the outputs of runs or datasets into one table."""
    from elasticast.reporting import collect as tables

    getattr(tables, table)(files or [], out)


app.add_typer(bench, name="bench")


@app.command()
def status(
    suite: Annotated[
        str | None,
        typer.Option(help="name of a file in config/suites; default: the suite set in config/config.yaml"),
    ] = None,
    ablation: Annotated[
        str | None, typer.Option(help="name of a file in config/ablations; list the runs of this ablation instead")
    ] = None,
    records: Annotated[Path, typer.Option(help="folder with the job records of Snakemake")] = Path(
        ".snakemake/submitit"
    ),
) -> None:
    """List the runs of a suite with their state, last step, remaining time, job and log."""
    from elasticast.config.load_suite import load_workflow_config
    from elasticast.config.reading import read_yaml
    from elasticast.jobs.status import suite_status, table

    settings = load_workflow_config(read_yaml(Path("config/config.yaml")))
    resolved = _resolved(suite or settings.suite, ablation)
    typer.echo(table(suite_status(resolved, Path(settings.results), records)))


def main() -> None:
    """Run the command. Errors that users can fix are printed as one message, without a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs every glyph that goes into a PDF
    try:
        app()
    except ElasticASTError as error:
        sys.exit(f"error: {error}")
    except OSError as error:  # such as a full disk, a folder without write permission, a missing file
        reason = error.strerror or str(error)
        sys.exit(f"error: {error.filename}: {reason}" if error.filename else f"error: {reason}")
