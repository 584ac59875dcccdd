"""Events of live audio: those of the whole stream, however it is cut."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from elasticast.config.evaluation import Detection
from elasticast.data import pipes
from elasticast.data.live import LiveAudio
from elasticast.errors import DataError, ElasticASTError
from elasticast.evaluation.postprocessing import detections
from elasticast.evaluation.psds import StepScores
from elasticast.inference.classifier import load_pretrained
from elasticast.inference.stream_events import LiveEvents
from tests.complaints import assert_names, complains
from tests.unit.inference.test_events import run  # noqa: F401
from tests.unit.inference.test_inference import noise
from tests.unit.inference.test_stream import RATE, STREAMED, floats, in_blocks, listen

LABELS = ["bell", "chirp", "hum"]
HOP = 0.01
HEAD = {"frame_head": True}


def live(threshold=0.5):
    pieces = SimpleNamespace(seconds=lambda frames: frames * HOP)
    return LiveEvents(pieces, SimpleNamespace(model=None), LABELS, threshold)


def ended(events):
    return sorted((e.label, round(e.onset, 6), round(e.offset, 6), round(e.score, 9)) for e in events if e.offset)


@pytest.mark.parametrize("seed", range(6))
def test_events_are_those_of_the_whole_in_any_pieces(seed):
    generator = np.random.default_rng(seed)
    chance = generator.uniform(0, 1, (120, 3)).repeat(generator.integers(1, 4), 0)
    events, found = live(), []
    for part in np.split(chance, np.sort(generator.integers(0, len(chance), 9))):
        found += events._follow(part)
    found += events.end(len(chance) * HOP)
    edges = np.arange(len(chance) + 1)[None] * HOP
    whole = detections([StepScores(column[None], edges) for column in chance.T], 0.5)
    expected = []
    for label, onset, offset in zip(whole.label, whole.onset, whole.offset, strict=True):
        mean = chance[round(onset / HOP) : round(offset / HOP), label].mean()
        expected.append((LABELS[label], round(onset, 6), round(offset, 6), round(mean, 9)))
    assert ended(found) == sorted(expected)


@pytest.mark.parametrize("between", [0, 1, 5])
def test_frames_between_pieces_do_not_move_events(between):
    """The third piece has the only event; pieces of 8 frames begin every 8 + `between` frames."""
    step = 8 + between
    pieces = SimpleNamespace(hop=1, seconds=lambda frames: frames * HOP, times=lambda p: (None, (p.first + 8) * HOP))
    events, found = LiveEvents(pieces, SimpleNamespace(model=SimpleNamespace(patch=2, stride=2)), LABELS, 0.5), []
    for number in range(4):
        logits = torch.full((4, 3), -9.0)
        logits[1, 0] = 9.0 if number == 2 else -9.0
        found += events.add(SimpleNamespace(first=number * step), logits)
    begin = 2 * step + 2
    assert [event[:3] for event in found] == [(pytest.approx(begin * HOP), pytest.approx((begin + 2) * HOP), "bell")]


def test_an_event_is_reported_when_it_begins_and_when_it_ends():
    events, high, low = live(), np.full((2, 3), 0.9), np.full((2, 3), 0.1)
    high[:, 1:] = 0.0
    assert events._follow(low) == []
    (begun,) = events._follow(high)
    assert begun == (0.02, None, "bell", None)
    assert events._follow(high) == []
    (over,) = events._follow(low)
    assert over == (0.02, pytest.approx(0.06), "bell", pytest.approx(0.9))
    assert events._follow(np.concatenate([high, low]))[0].offset == pytest.approx(0.10)  # within one piece: once
    assert events.end(1.0) == []


def streamed(model, wave, size=1000, **options):
    stream = model.stream(in_blocks(wave, size), sample_rate=RATE, events=0.5, **options)
    return [event for score in stream for event in score.events] + stream.end_events()


@pytest.mark.parametrize("size", [700, 100_000])
def test_with_the_whole_past_events_are_those_of_the_clip(run, size):  # noqa: F811
    """The mask of the model is that of the stream."""
    model = load_pretrained(run(task="timed_events", model={**STREAMED, **HEAD}), device="cpu")
    wave = floats(2.2)
    (prediction,) = model.predict([wave], sample_rate=RATE, events=Detection())
    assert prediction.events
    found, expected = ended(streamed(model, wave, size)), ended(prediction.events)
    assert [event[:3] for event in found] == [event[:3] for event in expected]
    assert [event[3] for event in found] == pytest.approx([event[3] for event in expected], abs=1e-4)


@pytest.mark.parametrize("settings", [{"model": HEAD}, {"model": {"kind": "ast", **HEAD}}], ids=["elasticast", "ast"])
def test_a_stream_of_one_window_has_the_events_of_the_clip(run, settings):  # noqa: F811
    model = load_pretrained(run(task="timed_events", **settings), device="cpu")
    wave = floats(0.55)
    (prediction,) = model.predict([wave], sample_rate=RATE, events=Detection())
    found, expected = ended(streamed(model, wave)), ended(prediction.events)
    assert expected
    assert [event[:3] for event in found] == [event[:3] for event in expected]


@pytest.mark.parametrize("options", [{}, {"window": 1.28, "hop": 0.3}, {"chunk": 0.32}], ids=str)
def test_events_do_not_depend_on_the_blocks(run, options):  # noqa: F811
    model = load_pretrained(run(task="timed_events", model=HEAD), device="cpu")
    wave = floats(4.0)
    found = [streamed(model, wave, size, **options) for size in (333, 100_000)]
    assert ended(found[0]) == ended(found[1])
    times = [(event.onset, event.offset) for event in found[0] if event.offset is not None]
    assert times
    assert all(0 <= onset < offset <= 4.0 + 1e-9 for onset, offset in times)


def test_the_command_prints_events(run):  # noqa: F811
    folder = run(task="timed_events", model=HEAD)
    options = ["--format", "s16le", "--chunk", "0.32", "--events"]
    samples = noise(1.5).tobytes()
    done = listen(folder, *options, "--json", "--threshold", "0.4", data=samples)
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines
    assert {frozenset(line) for line in lines} <= {
        frozenset({"onset", "label"}),
        frozenset({"onset", "offset", "label", "score"}),
    }
    done = listen(folder, *options, data=samples)
    assert done.exit_code == 0, done.output
    done = listen(folder, "--threshold", "0.4", data=samples)
    assert done.exit_code == 2
    assert_names(done.output, "--events")


def interrupted():
    yield floats(1.5)
    raise KeyboardInterrupt


@pytest.mark.parametrize("ending", ["the end", "silence", "timeout", "Ctrl-C"])
def test_the_command_prints_the_end_of_events_however_the_stream_ends(run, monkeypatch, ending):  # noqa: F811
    """With a threshold of 0, all classes are active from the first time patch on."""
    folder, samples = run(task="timed_events", model=HEAD), noise(1.5)
    options = ["--format", "s16le", "--chunk", "0.32", "--events", "--threshold", "0", "--json"]
    blocks = {"silence": [floats(1.5), np.zeros(16000, np.float32)], "Ctrl-C": interrupted()}
    if ending in blocks:
        live = LiveAudio("standard input", RATE, 1, iter(blocks[ending]))
        monkeypatch.setattr(pipes, "read_pipe", lambda *_, **__: live)
    done = listen(
        folder, *options, "--timeout", "0.3", "--silence", "0.5", data=samples.tobytes(), closes=ending != "timeout"
    )
    assert (done.exit_code == 0) == (ending == "the end"), done.output
    if ending in ("silence", "timeout"):
        assert isinstance(done.exception, DataError)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    begun, over = ({line["label"] for line in lines if ("offset" in line) == ended} for ended in (False, True))
    assert begun == over == set(load_pretrained(folder).classes)
    assert all(line["offset"] > 1.2 for line in lines if "offset" in line)


def test_models_that_find_no_events_are_named_before_anything_is_read(run):  # noqa: F811
    done = listen(run(task="events"), "--format", "s16le", "--events")
    assert isinstance(done.exception, ElasticASTError)
    assert_names(str(done.exception), "model.frame_head")
    crnn = {"positions": "rotary", "crnn": {"channels": [2], "width": 3}, **HEAD}
    model = load_pretrained(run(task="timed_events", model=crnn), device="cpu")
    with complains(ElasticASTError, "model.crnn", "context"):
        model.stream([], sample_rate=RATE, chunk=0.32, context=0.64, events=0.5)
    model.stream([], sample_rate=RATE, chunk=0.32, context=0.0, events=0.5)
    with complains(ElasticASTError, "events", 1.5):
        model.stream([], sample_rate=RATE, chunk=0.32, events=1.5)


def test_scores_are_the_same_with_events(run):  # noqa: F811
    model = load_pretrained(run(task="timed_events", model={**STREAMED, **HEAD}), device="cpu")
    wave = floats(1.5)
    logits = [
        torch.stack([score.logits for score in model.stream([wave], sample_rate=RATE, events=events)])
        for events in (None, 0.5)
    ]
    torch.testing.assert_close(*logits)
