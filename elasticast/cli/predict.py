"""The subcommand `elasticast predict`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from elasticast.cli.options import TrustCode, only_with

# Imports are inside the function, as in `elasticast.cli`.


def _no_audio(model: str) -> str:
    from elasticast.data.lookup import EXTENSIONS

    if Path(model).suffix.lower().removeprefix(".") in EXTENSIONS and not Path(model).is_dir():
        raise typer.BadParameter(f"{model} is an audio file; the first argument is the model, such as `demo`")
    return model


def predict(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="CKPT",
            callback=_no_audio,
            help="folder of a trained run, `demo` for the model of this package, or other weights: docs/inference.md",
        ),
    ],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="audio of any sample rate, number of channels and length; of a folder, all audio files are used",
        ),
    ],
    top_k: Annotated[int, typer.Option(min=1, help="number of labels per file")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="print CSV instead of a table")] = False,
    timeline: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="write scores over time to this folder: FILE.csv, FILE.png, FILE.pdf"),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="write each event to this CSV file: onset, offset, label, score; needs a frame head",
        ),
    ] = None,
    detection: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="with --events: file of the settings `detection` of an evaluation, such as one by "
            "`elasticast tune-events`",
        ),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(help="length of a window (s), longer audio is split into windows; default: the training length"),
    ] = None,
    overlap: Annotated[float, typer.Option(help="overlap of successive windows, as a fraction of a window")] = 0.5,
    pooling: Annotated[Literal["mean", "max"], typer.Option(help="how to pool the logits over windows")] = "mean",
    threads: Annotated[int | None, typer.Option(min=1, help="number of CPU threads; default: PyTorch's choice")] = None,
    trust_code: TrustCode = False,
) -> None:
    """Classify audio files with a trained model."""
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other: give only one of them")
    only_with(context, "--events", events is not None, "detection")
    import torch

    from elasticast.inference.classifier import load_pretrained
    from elasticast.inference.files import audio_files
    from elasticast.inference.prediction import print_predictions

    if threads:
        torch.set_num_threads(threads)
    options = {"window": window, "overlap": overlap, "pooling": pooling, "timeline": timeline is not None}
    files = audio_files(files)  # before the weights are read
    if events:
        from elasticast.inference.events import read_detection, write_events

        options["events"] = read_detection(detection)
    classifier = load_pretrained(model, trust_code=trust_code)
    if detection:
        from elasticast.evaluation.frames import check_classes

        check_classes(options["events"], classifier.classes, str(detection))
    predictions = classifier.predict(files, top_k=top_k, on_error="keep", **options)
    print_predictions(predictions, "json" if as_json else "csv" if as_csv else "table")
    if timeline:
        from elasticast.inference.timeline import write_timelines

        write_timelines(predictions, classifier.classes, timeline, top_k)
    if events:
        write_events([(p.path, p.events) for p in predictions if p.events is not None], events)
    if any(p.error for p in predictions):
        raise typer.Exit(1)
