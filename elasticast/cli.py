"""The `elasticast` command: one verb a stage of the workflow."""

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from elasticast.errors import ElasticASTError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

ConfigFile = Annotated[Path, typer.Option("--config", help="settings file")]
Out = Annotated[Path, typer.Option(help="what to write, or the folder to write into")]
Data = Annotated[Path, typer.Option(help="folder of a prepared dataset")]
Threads = Annotated[int, typer.Option(help="CPU threads")]

# Imports stand inside the verbs: torch takes seconds to import and most verbs do without it.


@app.command()
def configure(settings: Annotated[str, typer.Option(help="JSON")], out: Out) -> None:
    """Write settings worked out by the workflow as a YAML file."""
    import yaml

    from elasticast.files import write_text

    write_text(out, yaml.safe_dump(json.loads(settings), sort_keys=False))


@app.command()
def resolve(suite: Annotated[str, typer.Option(help="name of a file in config/suites")], out: Out) -> None:
    """Write a suite as it is run: defaults and experiments merged and checked."""
    import yaml

    from elasticast.files import write_text
    from elasticast.suites import load_suite

    write_text(out, yaml.safe_dump(load_suite(suite).model_dump(mode="json"), sort_keys=False))


@app.command()
def prepare(
    config: ConfigFile,
    data_root: Annotated[Path, typer.Option(help="folder with downloaded datasets")],
    out: Out,
    workers: Annotated[int, typer.Option(help="processes that decode")] = 1,
) -> None:
    """Fetch or generate a dataset's audio, decode it, and write manifest and waveform store."""
    from elasticast.data.prepare import prepare as run
    from elasticast.suites import load_dataset

    run(load_dataset(config), data_root, out, workers=workers)


@app.command()
def stats(front_end: Annotated[str, typer.Option(help="front end, JSON")], data: Data, out: Out) -> None:
    """Compute the normalisation statistics of a prepared dataset's training split."""
    from elasticast.config import FrontEnd
    from elasticast.data.stats import write_stats
    from elasticast.validation import validate

    write_stats(data, validate(FrontEnd, json.loads(front_end), "--front-end"), out)


@app.command()
def train(
    config: ConfigFile,
    data: Data,
    norm: Annotated[Path, typer.Option(help="statistics file")],
    out: Out,
    threads: Threads = 1,
) -> None:
    """Train one run, going on from its checkpoint if there is one."""
    import torch

    from elasticast.data.dataset import Clips, read_norm
    from elasticast.data.manifest import read_data_hash
    from elasticast.suites import load_run_config
    from elasticast.training.loop import Trainer

    torch.set_num_threads(threads)
    run = load_run_config(config)
    clips = Clips(data, "train", run.task)
    Trainer(run, clips, read_norm(norm), out, read_data_hash(data)).fit()


@app.command()
def evaluate(
    model: Annotated[Path, typer.Option(help="folder of a trained run")],
    config: ConfigFile,
    data: Data,
    out: Out,
    threads: Threads = 1,
) -> None:
    """Evaluate a trained run over the sweeps of a settings file and write tidy metrics."""
    import torch

    from elasticast.evaluation.run import evaluate_run

    torch.set_num_threads(threads)
    evaluate_run(model, config, data, out)


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

    from elasticast.inference import load_pretrained
    from elasticast.predictions import tell

    if threads:
        torch.set_num_threads(threads)
    options = {"window": window, "overlap": overlap, "pooling": pooling, "timeline": timeline is not None}
    classifier = load_pretrained(model)
    found = classifier.predict(files, top_k=top_k, on_error="keep", **options)
    tell(found, "json" if as_json else "csv" if as_csv else "table")
    if timeline:
        from elasticast.reporting.timeline import write_timelines

        write_timelines(found, classifier.classes, timeline, top_k)
    if any(p.error for p in found):
        raise typer.Exit(1)


@app.command()
def export(run: Annotated[Path, typer.Argument(help="folder of a trained run")], out: Out) -> None:
    """Write a trained run as a folder that is complete by itself: weights, settings, provenance, model card."""
    from elasticast.export import export as write

    write(run, out)


@app.command()
def collect(
    table: Annotated[Literal["metrics", "runs", "data"], typer.Argument(help="which table")],
    files: Annotated[
        list[Path], typer.Argument(help="metrics.csv or run.json of the runs, summary.csv of the datasets")
    ],
    out: Out,
) -> None:
    """Join what the runs wrote into one table of the suite."""
    from elasticast.reporting import collect as tables

    {"metrics": tables.metrics, "runs": tables.runs, "data": tables.data}[table](files, out)


@app.command()
def status(
    suite: Annotated[str | None, typer.Option(help="name of a file in config/suites; else that of config.yaml")] = None,
    records: Annotated[Path, typer.Option(help="folder of the jobs' records")] = Path(".snakemake/submitit"),
) -> None:
    """Show where each run of a suite stands: state, last step, time to go, job and log."""
    from elasticast.status import suite_status, table
    from elasticast.suites import load_workflow_config
    from elasticast.validation import read_yaml

    settings = load_workflow_config(read_yaml(Path("config/config.yaml")))
    typer.echo(table(suite_status(suite or settings.suite, Path(settings.results), records)))


def main() -> None:
    """Run the command; what a user can put right is said in one message, without a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every glyph of a figure's PDF
    try:
        app()
    except ElasticASTError as error:
        sys.exit(f"error: {error}")
    except OSError as error:  # a full disk, a folder that cannot be written to, a file that is not there
        sys.exit(f"error: {error.filename or ''}: {error.strerror or error}")
