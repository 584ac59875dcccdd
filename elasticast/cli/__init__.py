"""The `elasticast` command: one subcommand per stage of the workflow, and some for direct use."""

import json
import logging
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from elasticast.cli.audit import audit
from elasticast.cli.bench import bench
from elasticast.cli.finished import archive, headline, publish, verify
from elasticast.cli.listen import listen
from elasticast.cli.options import (
    DATA,
    INSIDE,
    USE,
    ConfigFile,
    Data,
    ModelFile,
    ModelFiles,
    Out,
    Threads,
    TrustCode,
    Verbs,
)
from elasticast.cli.predict import predict
from elasticast.cli.sweep import sweep
from elasticast.cli.tune_events import tune_events
from elasticast.errors import ConfigError, Problem
from elasticast.faults import one_message

if TYPE_CHECKING:
    from elasticast.config import Suite

app = typer.Typer(cls=Verbs, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _print_version(asked: bool) -> None:
    if asked:
        from elasticast import __version__
        from elasticast.provenance import git_commit

        commit = git_commit()
        typer.echo(f"elasticast {__version__}{f', git {commit}' if commit else ''}")
        raise typer.Exit()


@app.callback()
def general(
    version: Annotated[
        bool, typer.Option("--version", help="print the version and end", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """ElasticAST: models for audio of any length and resolution, and the benchmark suite that trains them."""


# Imports are inside the subcommands: torch takes seconds to import, and most subcommands do not need it.


@app.command(rich_help_panel=INSIDE)
def configure(settings: Annotated[str, typer.Option(help="settings, as JSON")], out: Out) -> None:
    """Write settings that the workflow computed to a YAML file, with the name of its folder if that is one of a run."""
    from elasticast.checksums import FOLDER, folder_of

    folder = folder_of(out)
    _write_yaml(out, ({FOLDER: folder} if folder else {}) | _parse_json(settings, "--settings"))


def _parse_json(text: str, option: str) -> dict:
    """Parse a JSON object given as an option."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError([Problem(option, (), f"expected JSON: {error}", text)]) from None
    if not isinstance(value, dict):
        raise ConfigError([Problem(option, (), "expected keys and values", text)])
    return value


@app.command(rich_help_panel=INSIDE)
def resolve(
    suite: Annotated[str, typer.Option(help="name of a file in config/suites")],
    out: Out,
    ablation: Annotated[
        str | None, typer.Option(help="name of a file in config/ablations; write this ablation of the suite instead")
    ] = None,
) -> None:
    """Write all settings of a suite or of one of its ablations: defaults and experiments merged and checked."""
    _write_yaml(out, _resolved(suite, ablation).model_dump(mode="json"))


def _write_yaml(path: Path, value: dict) -> None:
    import yaml

    from elasticast.checksums import with_checksum
    from elasticast.files import write_text

    write_text(path, with_checksum(yaml.safe_dump(value, sort_keys=False)))


def _resolved(suite: str, ablation: str | None) -> "Suite":
    from elasticast.config.load_ablation import load_ablation
    from elasticast.config.load_suite import load_suite

    return load_ablation(ablation, suite) if ablation else load_suite(suite)


@app.command(rich_help_panel=DATA)
def prepare(
    dataset: Annotated[str, typer.Option(help="name of a file in config/datasets, or path of a dataset file")],
    root: Annotated[Path, typer.Option(help="folder with the downloaded datasets")],
    out: Out,
    workers: Annotated[int, typer.Option(min=1, help="number of decoding processes")] = 1,
    ids: Annotated[
        Path | None, typer.Option(help="file with the ids of the clips to use, one per line; default: all clips")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="K/N", help="decode only part K of N; default: the whole dataset")
    ] = None,
) -> None:
    """Download or generate the audio of a dataset, decode it, and write the manifest and the waveform store."""
    from elasticast.config.dataset import OwnRecordings
    from elasticast.config.names import no_such_file
    from elasticast.config.resolving import load_dataset
    from elasticast.data import prepare as job

    path, folder = Path(dataset), Path("config/datasets")
    if path.suffix not in (".yaml", ".yml"):
        if missing := no_such_file(folder, dataset):
            raise ConfigError([Problem("--dataset", (), missing, dataset)])
        path = folder / f"{dataset}.yaml"
    config = load_dataset(path)
    if ids is not None:
        config = config.model_copy(update={"ids": str(ids.absolute())})
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that temporary files are removed
    if shard is not None:
        job.prepare_shard(config, root, out, *_parse_shard(shard), workers=workers)
        return
    job.prepare(config, root, out, workers=workers)
    if isinstance(config, OwnRecordings):
        from elasticast.reporting.data_overview import write_overview

        typer.echo(write_overview(out))


def _parse_shard(text: str) -> tuple[int, int]:
    """Parse a shard such as ``2/8`` into its two numbers."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise typer.BadParameter(f"{text!r}: expected K/N with K from 1 to N, such as 2/8", param_hint="--shard")
    return int(match[1]), int(match[2])


@app.command("new-suite", rich_help_panel=DATA)
def new_suite(
    folder: Annotated[Path, typer.Argument(help="folder of recordings, with a table or one sub-folder per class")],
    name: Annotated[str | None, typer.Option(help="name of the suite; default: that of the folder")] = None,
    table: Annotated[str | None, typer.Option(help="table in the folder; default: the only one there")] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(help="column with labels; repeat for several tasks. Default: the column with a usual name"),
    ] = None,
    minutes: Annotated[float, typer.Option(min=0, help="time that all trainings may take on this machine")] = 30.0,
    all_test: Annotated[
        bool, typer.Option("--all-test", help="write only a dataset file: all clips are for testing trained models")
    ] = False,
) -> None:
    """Write a dataset file and a suite for a folder of recordings."""
    from elasticast.new_suite import new_suite as write
    from elasticast.reporting.data_overview import describe

    survey, paths = write(folder, name, table=table, labels=labels, minutes=minutes, all_test=all_test)
    typer.echo(describe(survey.clips, survey.classes))
    typer.echo("\n".join(f"written: {path}" for path in paths))
    prepare = f"elasticast prepare --dataset {paths[0].stem} --root data --out results/data/{paths[0].stem}"
    typer.echo(f"next:    {prepare if all_test else f'make run SUITE={paths[0].stem}'}")


@app.command(rich_help_panel=DATA)
def stats(
    front_end: Annotated[str, typer.Option(help="settings of the front end, as JSON")],
    data: Data,
    out: Out,
    clips: Annotated[
        int | None, typer.Option(min=1, help="number of training clips to use, evenly spaced; default: all clips")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="number of processes")] = 1,
    module: Annotated[
        str | None, typer.Option(help="module of the dataset, to compare with the statistics released for it")
    ] = None,
) -> None:
    """Compute normalisation statistics on the training split of a prepared dataset."""
    from elasticast.config import FrontEnd
    from elasticast.config.reading import validate
    from elasticast.data.stats import write_stats

    settings = validate(FrontEnd, _parse_json(front_end, "--front-end"), "--front-end")
    write_stats(data, settings, out, clips=clips, workers=workers, module=module)


@app.command(rich_help_panel=INSIDE)
def train(
    config: ConfigFile,
    data: Data,
    out: Out,
    norm: Annotated[Path | None, typer.Option(help="statistics file; not needed if the settings give `norm`")] = None,
    threads: Threads = 1,
    weights_root: Annotated[
        Path, typer.Option(help="folder that relative paths of weights and impulse responses refer to")
    ] = Path(),
    also: Annotated[
        str, typer.Option(help='settings that cannot change results, as JSON: \'{"train": {"workers": 4}}\'')
    ] = "{}",
    model_file: ModelFiles = None,
) -> None:
    """Train one run, or resume it from its checkpoint; start under torchrun to use several GPUs."""
    import torch

    from elasticast.config.load_suite import load_run_config
    from elasticast.training.distributed import join_processes
    from elasticast.training.inputs import read_inputs
    from elasticast.training.loop import Trainer

    torch.set_num_threads(threads)
    for file in model_file or ():
        _allow(file)
    with join_processes() as world:
        run = load_run_config(config, _parse_json(also, "--also"))
        Trainer(run, read_inputs(run, data, out, norm=norm, weights_root=weights_root), out, world).fit()


def _allow(model_file: Path | None) -> None:
    """Allow the file of a model to run."""
    if model_file is not None:
        from elasticast.config.model.own_code import allow

        allow(model_file)


@app.command(rich_help_panel=INSIDE)
def evaluate(
    model: Annotated[Path, typer.Option(help="folder of a trained run, or with --run a file of published weights")],
    config: ConfigFile,
    data: Data,
    out: Out,
    threads: Threads = 1,
    run: Annotated[
        Path | None, typer.Option(help="config.yaml of the run that the published weights belong to")
    ] = None,
    other_data: Annotated[
        bool, typer.Option("--other-data", help="allow data that the model was not trained on")
    ] = False,
    model_file: ModelFile = None,
    trust_code: TrustCode = False,
) -> None:
    """Evaluate a trained run on the sweeps in a settings file; write tidy metrics and the predictions per clip."""
    import torch

    from elasticast.evaluation.run import evaluate_run

    torch.set_num_threads(threads)
    _allow(model_file)
    evaluate_run(model, config, data, out, run, other_data=other_data, trust_code=trust_code)


@app.command(rich_help_panel=INSIDE)
def resample(
    predictions: Annotated[list[Path], typer.Argument(help="predictions.h5 of each seed of one experiment")],
    out: Out,
    draws: Annotated[int, typer.Option(min=1, help="number of resamples")] = 1000,
    threads: Threads = 1,
) -> None:
    """Resample the scores of an experiment over clips, for confidence intervals and paired comparisons."""
    import torch

    from elasticast.evaluation.intervals import resample as run

    torch.set_num_threads(threads)
    run(predictions, out, draws)


@app.command(rich_help_panel=INSIDE)
def intervals(
    resampled: Annotated[list[Path], typer.Argument(help="files that `elasticast resample` wrote, one per experiment")],
    out: Annotated[Path, typer.Option(help="table of the intervals to write")],
    pairs: Annotated[Path, typer.Option(help="table to write of the differences between two experiments")],
    reference: Annotated[
        list[str] | None,
        typer.Option(help="experiment to compare with all others, not models of different kinds; may be repeated"),
    ] = None,
) -> None:
    """Write confidence intervals over seeds and clips, and paired comparisons of models on the same clips."""
    from elasticast.evaluation.intervals import write_tables

    write_tables(resampled, out, pairs, reference or ())


app.command(rich_help_panel=USE)(predict)
app.command(rich_help_panel=USE)(listen)


@app.command(rich_help_panel=USE)
def export(
    run: Annotated[Path, typer.Argument(help="folder of a trained run")],
    out: Out,
    to: Annotated[
        Literal["elasticast", "huggingface", "torch-export", "onnx", "encoders"],
        typer.Option(help="format, see docs/export.md"),
    ] = "elasticast",
    trust_code: TrustCode = False,
) -> None:
    """Export a trained run to a self-contained folder: weights, settings, provenance and a model card."""
    from elasticast.inference.export import export as write

    write(run, out, to, trust_code=trust_code)


@app.command(rich_help_panel=USE)
def check_model(
    model: Annotated[
        str,
        typer.Argument(
            help="kind of model, FILE.py:CLASS, SUITE/EXPERIMENT, folder of a trained run, or other weights"
        ),
    ],
    settings: Annotated[str, typer.Option(help="settings of a kind or FILE.py:CLASS, as JSON")] = "{}",
    longest: Annotated[float, typer.Option(min=0, help="length of the longest clip to try (s)")] = 600.0,
    threads: Threads = 1,
    trust_code: TrustCode = False,
) -> None:
    """Check that a model keeps the contract of models; exit status 1 if it does not."""
    import torch

    from elasticast.benchmarks.check_model import check_model as run
    from elasticast.benchmarks.check_model import table
    from elasticast.benchmarks.check_subject import open_subject

    torch.set_num_threads(threads)
    subject = open_subject(model, _parse_json(settings, "--settings"), trust_code=trust_code)
    subject.longest = subject.time_patches(longest)
    results = run(subject)
    typer.echo(table(results))
    if any(result.outcome == "failed" for result in results):
        raise typer.Exit(1)


@app.command(rich_help_panel=INSIDE)
def collect(
    table: Annotated[
        Literal["metrics", "runs", "history", "data", "lengths", "norms"], typer.Argument(help="table to write")
    ],
    out: Out,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="metrics: metrics.csv of the runs; runs, history: run.json of the runs; data: summary.csv of the "
            "datasets; lengths: manifest.parquet of the datasets; norms: norm-*.json of the datasets, and config.yaml "
            "of the runs whose settings give `norm`"
        ),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="metrics: leave out runs whose evaluation is older than the run")
    ] = False,
) -> None:
    """Combine files of runs or datasets into one table of the suite."""
    from elasticast.reporting import collect as tables

    options = {"partial": partial} if table == "metrics" else {}
    getattr(tables, table)(files or [], out, **options)


app.command(rich_help_panel=INSIDE)(headline)
app.command(rich_help_panel=INSIDE)(archive)


@app.command(rich_help_panel=INSIDE)
def pictures(
    inputs: Annotated[str, typer.Option(help="files that each picture was drawn from, by its file, as JSON")], out: Out
) -> None:
    """Record of which data published pictures were drawn."""
    from elasticast.published.pictures import record_pictures

    record_pictures(out, _parse_json(inputs, "--inputs"))


@app.command(rich_help_panel=INSIDE)
def redraw_ablation(
    folder: Annotated[Path, typer.Argument(help="such as docs/results/mini/ablations/pooling")],
) -> None:
    """Draw the figure of a published ablation again, from its published files."""
    from elasticast.published.ablation_figure import redraw_ablation

    redraw_ablation(folder)


@app.command(rich_help_panel=INSIDE)
def adopt(
    files: Annotated[list[Path], typer.Argument(metavar="TABLE", help="CSV files such as metrics.csv")],
) -> None:
    """Accept tables of your own in place of those of a suite, or tables that you have edited."""
    from elasticast.reporting.collect import adopt as write

    write(files)


app.command(rich_help_panel=DATA)(publish)
app.command(rich_help_panel=DATA)(verify)
app.command(rich_help_panel=USE)(sweep)
app.command(rich_help_panel=USE)(tune_events)
app.command(rich_help_panel=USE)(audit)
app.add_typer(bench, name="bench", rich_help_panel=USE)


@app.command(rich_help_panel=DATA)
def status(
    suite: Annotated[
        str | None, typer.Option(help="name of a file in config/suites; default: the suite in config/config.yaml")
    ] = None,
    ablation: Annotated[
        str | None, typer.Option(help="name of a file in config/ablations; show the runs of this ablation instead")
    ] = None,
    records: Annotated[Path, typer.Option(help="folder of the job records")] = Path(".snakemake/submitit"),
) -> None:
    """Show the status of each run of a suite: state, last step, remaining time, job and log."""
    from elasticast.config.load_suite import load_workflow_config
    from elasticast.config.reading import read_yaml
    from elasticast.jobs.status import suite_status, table

    settings = load_workflow_config(read_yaml(Path("config/config.yaml")))
    resolved = _resolved(suite or settings.suite, ablation)
    typer.echo(table(suite_status(resolved, Path(settings.results), records)))


def main() -> None:
    """Run the command; report errors that the user can fix in one message, without a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs every glyph of a PDF figure
    command = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
    with one_message(f"elasticast {command}".strip()):
        app()
