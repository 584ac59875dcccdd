"""The `elasticast` command: one verb a stage of the workflow."""

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

# Imports stand inside the verbs: torch takes seconds to import and most verbs do without it.


@app.command()
def configure(settings: Annotated[str, typer.Option(help="JSON")], out: Out) -> None:
    """Write settings worked out by the workflow as a YAML file."""
    import yaml

    from elasticast.files import write_text

    write_text(out, yaml.safe_dump(json.loads(settings), sort_keys=False))


@app.command()
def resolve(
    suite: Annotated[str, typer.Option(help="name of a file in config/suites")],
    out: Out,
    ablation: Annotated[str | None, typer.Option(help="name of a file in config/ablations: that, instead")] = None,
) -> None:
    """Write a suite, or an ablation of it, as it is run: defaults and experiments merged and checked."""
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
    workers: Annotated[int, typer.Option(min=1, help="processes that decode")] = 1,
    ids: Annotated[Path | None, typer.Option(help="use these clips only: a file with ids, one a line")] = None,
    shard: Annotated[str | None, typer.Option(metavar="K/N", help="decode the K-th of N shares only")] = None,
) -> None:
    """Fetch or generate a dataset's audio, decode it, and write manifest and waveform store."""
    from elasticast.config.resolving import load_dataset
    from elasticast.data import prepare as job

    path = Path(dataset) if dataset.endswith((".yaml", ".yml")) else Path("config/datasets", f"{dataset}.yaml")
    config = load_dataset(path)
    if ids is not None:
        config = config.model_copy(update={"ids": str(ids.absolute())})
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # leaves nothing half-written behind
    if shard is None:
        job.prepare(config, root, out, workers=workers)
    else:
        job.prepare_shard(config, root, out, *_share(shard), workers=workers)


def _share(text: str) -> tuple[int, int]:
    """``2/8`` as numbers."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise typer.BadParameter(f"{text!r}: expected K/N with K from 1 to N, such as 2/8", param_hint="--shard")
    return int(found[1]), int(found[2])


@app.command()
def stats(
    front_end: Annotated[str, typer.Option(help="front end, JSON")],
    data: Data,
    out: Out,
    clips: Annotated[int | None, typer.Option(min=1, help="training clips, evenly spaced; else all")] = None,
    workers: Annotated[int, typer.Option(min=1, help="processes that compute")] = 1,
    module: Annotated[
        str | None, typer.Option(help="module of the dataset, to compare with what was released for it")
    ] = None,
) -> None:
    """Compute the normalisation statistics of a prepared dataset's training split."""
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
    norm: Annotated[Path | None, typer.Option(help="statistics file; not needed where the run's settings say")] = None,
    threads: Threads = 1,
    weights_root: Annotated[Path, typer.Option(help="folder in which a relative model.init lies")] = Path(),
) -> None:
    """Train one run, going on from its checkpoint if there is one; on several GPUs under torchrun."""
    import torch

    from elasticast.config.load_suite import load_run_config
    from elasticast.training.distributed import join_processes
    from elasticast.training.inputs import read_inputs
    from elasticast.training.loop import Trainer

    torch.set_num_threads(threads)
    with join_processes() as world:
        run = load_run_config(config)
        Trainer(run, read_inputs(run, data, out, norm=norm, weights_root=weights_root), out, world).fit()


@app.command()
def evaluate(
    model: Annotated[Path, typer.Option(help="folder of a trained run; with --run, a file of published weights")],
    config: ConfigFile,
    data: Data,
    out: Out,
    threads: Threads = 1,
    run: Annotated[Path | None, typer.Option(help="config.yaml of the run that published weights stand for")] = None,
) -> None:
    """Evaluate a trained run over the sweeps of a settings file; write tidy metrics and each clip's predictions."""
    import torch

    from elasticast.evaluation.run import evaluate_run

    torch.set_num_threads(threads)
    evaluate_run(model, config, data, out, run)


@app.command()
def resample(
    predictions: Annotated[list[Path], typer.Argument(help="predictions.h5 of every seed of one experiment")],
    out: Out,
    draws: Annotated[int, typer.Option(min=1, help="how often")] = 1000,
    threads: Threads = 1,
) -> None:
    """Resample the scores of an experiment over clips, for its intervals and comparisons."""
    import torch

    from elasticast.evaluation.intervals import resample as run

    torch.set_num_threads(threads)
    run(predictions, out, draws)


@app.command()
def intervals(
    resampled: Annotated[list[Path], typer.Argument(help="what `elasticast resample` wrote, of every experiment")],
    out: Annotated[Path, typer.Option(help="table of the intervals")],
    pairs: Annotated[Path, typer.Option(help="table of the differences of each ElasticAST and each AST")],
) -> None:
    """Write intervals over seeds and clips, and paired comparisons of models on the same clips."""
    from elasticast.evaluation.intervals import write_tables

    write_tables(resampled, out, pairs)


@app.command()
def predict(
    model: Annotated[
        str, typer.Argument(metavar="CKPT", help="folder of a trained run, or other weights: docs/inference.md")
    ],
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="audio of any rate, channels and length")],
    top_k: Annotated[int, typer.Option(min=1, help="labels a file")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV instead of a table")] = False,
    timeline: Annotated[
        Path | None, typer.Option(file_okay=False, help="folder for the scores over time: FILE.csv, FILE.png, FILE.pdf")
    ] = None,
    window: Annotated[float | None, typer.Option(help="longest span shown at once (s); else as trained")] = None,
    overlap: Annotated[float, typer.Option(help="share of a window that the next one covers again")] = 0.5,
    pooling: Annotated[Literal["mean", "max"], typer.Option(help="of the logits over windows")] = "mean",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; else all")] = None,
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
    found = classifier.predict(files, top_k=top_k, on_error="keep", **options)
    print_predictions(found, "json" if as_json else "csv" if as_csv else "table")
    if timeline:
        from elasticast.inference.timeline import write_timelines

        write_timelines(found, classifier.classes, timeline, top_k)
    if any(p.error for p in found):
        raise typer.Exit(1)


@app.command()
def export(run: Annotated[Path, typer.Argument(help="folder of a trained run")], out: Out) -> None:
    """Write a trained run as a folder that is complete by itself: weights, settings, provenance, model card."""
    from elasticast.inference.export import export as write

    write(run, out)


@app.command()
def collect(
    table: Annotated[Literal["metrics", "runs", "data", "norms"], typer.Argument(help="which table")],
    out: Out,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="metrics.csv or run.json of the runs, summary.csv of the datasets; norms: norm-*.json of the datasets "
            "and config.yaml of runs that give statistics of their own"
        ),
    ] = None,
) -> None:
    """Join what the runs wrote into one table of the suite."""
    from elasticast.reporting import collect as tables

    getattr(tables, table)(files or [], out)


app.add_typer(bench, name="bench")


@app.command()
def status(
    suite: Annotated[str | None, typer.Option(help="name of a file in config/suites; else that of config.yaml")] = None,
    ablation: Annotated[str | None, typer.Option(help="name of a file in config/ablations: its runs, instead")] = None,
    records: Annotated[Path, typer.Option(help="folder of the jobs' records")] = Path(".snakemake/submitit"),
) -> None:
    """Show where each run of a suite stands: state, last step, time to go, job and log."""
    from elasticast.config.load_suite import load_workflow_config
    from elasticast.config.reading import read_yaml
    from elasticast.jobs.status import suite_status, table

    settings = load_workflow_config(read_yaml(Path("config/config.yaml")))
    resolved = _resolved(suite or settings.suite, ablation)
    typer.echo(table(suite_status(resolved, Path(settings.results), records)))


def main() -> None:
    """Run the command; what a user can put right is said in one message, without a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every glyph of a figure's PDF
    try:
        app()
    except ElasticASTError as error:
        sys.exit(f"error: {error}")
    except OSError as error:  # a full disk, a folder that cannot be written to, a file that is not there
        reason = error.strerror or str(error)
        sys.exit(f"error: {error.filename}: {reason}" if error.filename else f"error: {reason}")
