"""The subcommand `elasticast listen`."""

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from elasticast.cli.options import TrustCode, only_with

if TYPE_CHECKING:
    from elasticast.data.live import LiveAudio

# Imports are inside the functions, as in `elasticast.cli`.


def listen(
    called: typer.Context,
    source: Annotated[
        Literal["-", "microphone"], typer.Argument(help="- for samples on standard input, or the microphone")
    ],
    model: Annotated[str, typer.Option(help="folder of a trained run, or other weights, see docs/inference.md")],
    window: Annotated[float | None, typer.Option(help="windows: length (s); default: the training length")] = None,
    hop: Annotated[float | None, typer.Option(help="windows: time between them (s); default: half a window")] = None,
    chunk: Annotated[float | None, typer.Option(help="chunks: length (s); default: that of model.context")] = None,
    context: Annotated[
        float | None,
        typer.Option(help="chunks: how far they attend into the past (s), or inf; default: that of model.context or 0"),
    ] = None,
    form: Annotated[
        Literal["wav", "s16le", "f32le"], typer.Option("--format", help="standard input: WAV, or raw samples")
    ] = "wav",
    rate: Annotated[
        int | None, typer.Option(min=1, help="sample rate of raw samples (Hz); default: that of the model")
    ] = None,
    channels: Annotated[int, typer.Option(min=1, max=256, help="number of channels of raw samples")] = 1,
    device: Annotated[
        str | None, typer.Option(help="microphone: name or number, see `python -m sounddevice`; default: the first")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0, help="stop if no samples come for this long (s)")] = 10.0,
    silence: Annotated[
        float, typer.Option(min=0, help="stop if all samples are equal for longer than this (s); inf: never")
    ] = 60.0,
    top_k: Annotated[int, typer.Option(min=1, help="number of labels per score")] = 3,
    events: Annotated[
        bool, typer.Option("--events", help="print events when they begin and end, not scores; needs a frame head")
    ] = False,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="with --events: score above which a class is active")
    ] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object per line")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="number of CPU threads; default: PyTorch's choice")] = None,
    trust_code: TrustCode = False,
) -> None:
    """Classify live audio from a pipe or the microphone; docs/streams.md has examples."""
    raw, microphone = form != "wav", source == "microphone"
    only_with(called, "the microphone", microphone, "device")
    only_with(called, "- for standard input", not microphone, "form", "channels")
    only_with(called, "--format of raw samples, or the microphone", raw or microphone, "rate")
    only_with(called, "--format of raw samples", raw, "channels")
    only_with(called, "--events", events, "threshold")
    only_with(called, "printed scores, which --events replaces", not events, "top_k")
    import torch

    from elasticast.inference.classifier import load_pretrained
    from elasticast.inference.prediction import print_any_character
    from elasticast.inference.stream import plan_stream, score_line, summary
    from elasticast.inference.stream_events import check_events, event_line

    if threads:
        torch.set_num_threads(threads)
    classifier = load_pretrained(model, trust_code=trust_code)
    trained_rate = classifier.config.front_end.sample_rate
    pieces = {"window": window, "hop": hop, "chunk": chunk, "context": context}
    plan = plan_stream(classifier.config, rate or trained_rate, **pieces)  # before anything is waited for
    if events:
        check_events(classifier.config, classifier.pretrained.description, threshold, plan.past)
    audio = _open(source, form, rate or trained_rate, channels, device, timeout)
    options = {"top_k": top_k, "longest_silence": silence, "events": threshold if events else None}
    stream = classifier.stream(audio.blocks, sample_rate=audio.sample_rate, **options, **pieces)
    print(f"{audio.name}: {audio.sample_rate} Hz, channels: {audio.channels}; {stream.plan}", file=sys.stderr)
    print_any_character()
    line = partial(event_line if events else score_line, as_json=as_json)
    try:
        try:
            for score in stream:
                for found in score.events if events else [score]:
                    print(line(found), flush=True)
        finally:  # also if Ctrl-C, silence or a timeout has ended the stream
            for found in stream.end_events():
                print(line(found), flush=True)
    except BrokenPipeError:  # what reads the scores has ended, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        print(summary(stream), file=sys.stderr)


def _open(source: str, form: str, rate: int, channels: int, device: str | None, timeout: float) -> "LiveAudio":
    from elasticast.data.live import microphone
    from elasticast.data.pipes import read_pipe

    if source == "microphone":
        named = int(device) if device and device.isdecimal() else device
        return microphone(rate, device=named, timeout=timeout)
    return read_pipe(
        0,
        form=None if form == "wav" else form,
        sample_rate=rate,
        channels=channels,
        timeout=timeout,
        name="standard input",
    )
