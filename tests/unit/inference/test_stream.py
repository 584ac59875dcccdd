"""Streams: the scores of windows and chunks, whatever the blocks, with the delay that was stated."""

import json
import math
import os
import tracemalloc

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from elasticast.cli import app
from elasticast.data.features import log_mel
from elasticast.errors import DataError, ElasticASTError
from tests.complaints import assert_names, complains
from tests.unit.inference.test_inference import noise, trained

RATE = 16000
STREAMED = {"positions": "rotary", "context": {"chunk": 2}}
STFT = {"kind": "stft", "n_fft": 512}
TOLERANCE = {"atol": 1e-4, "rtol": 0}


@pytest.fixture(scope="module")
def windowed(tiny, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("windowed"), tiny())


@pytest.fixture(scope="module")
def chunked(tiny, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("chunked"), tiny(model=STREAMED))


def floats(seconds):
    return noise(seconds).astype(np.float32) / 32768


def in_blocks(wave, size):
    return (wave[first : first + size] for first in range(0, len(wave), size))


def listened(model, wave, size=1000, **options):
    return list(model.stream(in_blocks(wave, size), sample_rate=RATE, **options))


def logits(scores):
    return torch.stack([score.logits for score in scores])


@pytest.mark.parametrize(
    "difference",
    [
        {},
        {"front_end": STFT},
        {"view": {"compression": [2.0]}},
        {"view": {"compression": [2.0], "resolution": "max_pool"}},
        {"model": {"kind": "ast"}},
        {"model": {"kind": "ast", "stride": 10}},
        {"model": {"kind": "aum"}},
        {"model": STREAMED},
    ],
    ids=str,
)
@pytest.mark.parametrize("seconds", [0.3, 2.56, 4.11])
def test_windows_are_those_of_predict(tiny, tmp_path, difference, seconds):
    model, wave = trained(tmp_path, tiny(**difference)), floats(seconds)
    found = listened(model, wave, window=1.28)
    (expected,) = model.predict(wave, sample_rate=RATE, window=1.28, overlap=0.5, timeline=True)
    line = expected.timeline
    assert len(found) == len(line.start)
    assert [score.start for score in found] == pytest.approx(line.start.tolist())
    assert [score.end for score in found] == pytest.approx(line.end.tolist())
    for score, row in zip(found, line.scores, strict=True):
        assert [score.scores[name] for name in model.classes] == pytest.approx(row.tolist(), abs=1e-4)


@pytest.mark.parametrize(
    "difference",
    [
        {},
        {"front_end": STFT},
        {"model": {"stride": 10}},
        {"view": {"compression": [2.0]}},
        {"view": {"compression": [2.0], "resolution": "max_pool"}},
        {"view": {"tail": "drop"}},
        {"view": {"tail": "extend"}},
        {"model": {"pooling": "mean"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("seconds", [0.2, 0.8, 0.67, 2.1])
def test_with_the_whole_past_the_last_score_is_that_of_the_clip(tiny, tmp_path, difference, seconds):
    model, wave = (
        trained(tmp_path, tiny(**{**difference, "model": {**STREAMED, **difference.get("model", {})}})),
        floats(seconds),
    )
    (expected,) = model.predict(wave, sample_rate=RATE)
    assert expected.windows == 1
    for size in (37, 999, len(wave)):
        last = listened(model, wave, size)[-1]
        torch.testing.assert_close(last.logits, expected.logits, **TOLERANCE)
        assert last.start == 0
        assert last.end == pytest.approx(seconds, abs=0.4)


@pytest.mark.parametrize(
    "options", [{}, {"chunk": 0.48, "context": 0.96}, {"chunk": 0.32, "context": 0}, {"window": 0.8, "hop": 0.35}]
)
def test_the_blocks_do_not_matter(chunked, options):
    wave = floats(1.0)
    expected = logits(listened(chunked, wave, len(wave), **options))
    for size in (1, 160, 4097):
        assert torch.equal(logits(listened(chunked, wave, size, **options)), expected)


def test_chunks_alone_are_clips(tiny, tmp_path, windowed):
    wave = floats(1.92)
    for model in (windowed, trained(tmp_path, tiny(model={"positions": "rotary"}))):
        found = listened(model, wave, chunk=0.64, context=0.0)
        spans = [(0, 10480), (10240, 20720), (20480, len(wave))]
        alone = model.predict([wave[a:b] for a, b in spans], sample_rate=RATE)
        torch.testing.assert_close(logits(found), torch.stack([p.logits for p in alone]), **TOLERANCE)
        assert [(round(s.start * RATE), round(s.end * RATE)) for s in found] == spans


def test_a_score_pools_over_its_context(chunked):
    found = listened(chunked, floats(3.2), chunk=0.32, context=0.64)
    assert [round(score.start, 2) for score in found] == [0, 0, 0, 0.32, 0.64, 0.96, 1.28, 1.6, 1.92, 2.24][
        : len(found)
    ]
    assert found[3].end == pytest.approx(1.295)


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_a_log_mel_in_pieces_is_that_of_the_whole(chunked, windowed, offset):
    wave = torch.from_numpy(floats(3.0)) * 0.2 + offset  # an offset that the mean of the whole removes
    for model in (chunked, windowed):
        front_end, pieces = model.config.front_end, model.stream([], sample_rate=RATE, chunk=0.32).plan.pieces
        whole = log_mel(wave, front_end)
        parts = [log_mel(piece.wave, front_end, whole=False) for piece in pieces.cut(wave.split(777))]
        error = (torch.cat(parts, 1)[:, : whole.shape[1]] - whole).abs()
        assert error.mean() < 1e-5
        assert error.max() < 5e-3  # of energies near the floor, of which rounding is a larger share


@pytest.mark.parametrize(
    "options", [{"window": 0.64, "hop": 0.32}, {"window": 0.64, "hop": 0.01}, {"chunk": 0.32, "context": 0.64}]
)
@pytest.mark.parametrize("kind", ["kaldi", "stft"])
def test_the_delay_is_what_was_stated(tiny, tmp_path, options, kind):
    front_end = STFT if kind == "stft" else {}
    model = trained(tmp_path, tiny(front_end=front_end, model={"positions": "rotary"}))
    wave, given, size = floats(2.0), 0, 16

    def blocks():
        nonlocal given
        for block in in_blocks(wave, size):
            given += len(block)
            yield block

    stream, times = model.stream(blocks(), sample_rate=RATE, **options), []
    for score in stream:
        times.append((score.start, given / RATE))
    hop, length = stream.plan.hop, stream.plan.length
    # the sounds that are new in a score are those after the frames of the one before
    waited = [at - ((number - 1) * hop + length) for number, (_, at) in enumerate(times[1:], start=1)][:-2]
    assert waited
    assert max(waited) <= stream.plan.delay + size / RATE
    assert max(waited) >= stream.plan.delay - model.config.front_end.hop_ms / 1000


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"sample_rate": 8000}, ["sample_rate", 8000, 16000]),
        ({"sample_rate": 0}, ["sample_rate", 0]),
        ({"window": 0.0}, ["window", "0.0"]),
        ({"window": math.nan}, ["window", "nan"]),
        ({"hop": -1}, ["hop", "-1"]),
        ({"window": 0.64, "hop": 0.7}, ["hop", "0.7", "0.64"]),
        ({"window": 100.0}, ["window", "100.0"]),
        ({"chunk": 100.0}, ["chunk", "100.0", "2.56"]),
        ({"chunk": math.inf}, ["chunk", "inf"]),
        ({"chunk": 0.32, "context": -1.0}, ["context", "-1.0"]),
        ({"chunk": 0.32, "hop": 0.1}, ["chunk", "0.32", "hop"]),
        ({"context": 1.0}, ["context", "1.0"]),
        ({"top_k": 0}, ["top_k", 0]),
        ({"longest_silence": -1.0}, ["longest_silence", "-1.0"]),
        ({"longest_silence": math.nan}, ["longest_silence", "nan"]),
    ],
    ids=str,
)
def test_bad_input_is_named_before_the_first_block(windowed, options, named):
    def blocks():
        raise AssertionError("a block was read")
        yield

    with complains(ElasticASTError, *named):
        windowed.stream(blocks(), **{"sample_rate": RATE, **options})


@pytest.mark.parametrize(
    ("difference", "named"),
    [
        ({}, ["model.positions", "table"]),
        ({"model": {"positions": "rotary", "pooling": "cls"}}, ["model.pooling", "cls"]),
        ({"model": {"kind": "ast"}}, ["ast", "chunks"]),
        ({"model": {"kind": "aum"}}, ["aum", "chunks"]),
        ({"model": {"kind": "cnn"}}, ["cnn", "chunks"]),
    ],
    ids=str,
)
def test_a_model_that_keeps_no_chunks_is_refused(tiny, tmp_path, difference, named):
    model = trained(tmp_path, tiny(**difference))
    with complains(ElasticASTError, "context", "0.64", *named):
        model.stream([], sample_rate=RATE, chunk=0.32, context=0.64)
    assert listened(model, floats(0.7), chunk=0.32, context=0)


def test_the_context_of_the_training_is_the_default(tiny, tmp_path):
    model = trained(tmp_path, tiny(model={"positions": "rotary", "context": {"chunk": 3, "past": 6}}))
    plan = model.stream([], sample_rate=RATE).plan
    assert (plan.length, plan.hop, plan.past, plan.context) == pytest.approx((0.48, 0.48, 2, 0.96))
    plan = model.stream([], sample_rate=RATE, chunk=0.32, context=math.inf).plan
    assert plan.context >= 2.56 - 0.32  # with the chunk, the longest clip of the training


def test_broken_blocks_end_a_stream_after_its_scores(chunked):
    stream = chunked.stream([floats(1.0), np.full(10, np.nan, np.float32)], sample_rate=RATE)
    assert next(stream).end == pytest.approx(0.335)
    with complains(DataError, "1.00"):
        list(stream)


def test_memory_is_flat(tiny, tmp_path):
    """Four minutes, of which the last two need no more memory than the first two."""
    model = trained(
        tmp_path, tiny(model={"positions": "rotary", "depth": 1, "dim": 16, "heads": 1}, front_end={"mel_bins": 16})
    )
    wave = floats(1.0)
    stream = model.stream((wave for _ in range(240)), sample_rate=RATE, chunk=0.96, context=1.92)
    tracemalloc.start()
    try:
        peaks = []
        for number, _ in enumerate(stream):
            if number in (125, 249):
                peaks.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert len(stream._memory._states) == 3
    assert peaks[1] <= peaks[0] + 50_000


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    trained(folder, tiny(model=STREAMED))
    return folder


def listen(run, *arguments, data=b"", closes=True):
    """Run the command with these bytes on standard input, which then ends or gives nothing more."""
    reading, writing = os.pipe()
    os.write(writing, data)  # fits in the buffer of the pipe
    if closes:
        os.close(writing)
    before = os.dup(0)
    os.dup2(reading, 0)
    try:
        return CliRunner().invoke(app, ["listen", "-", "--model", str(run), *arguments])
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(reading)
        if not closes:
            os.close(writing)


def test_the_command_prints_the_scores_of_a_pipe(run, chunked):
    samples = noise(1.5)
    done = listen(run, "--format", "s16le", "--json", "--top-k", "2", data=samples.tobytes())
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["end"] for line in lines] == pytest.approx([0.335, 0.655, 0.975, 1.295, 1.5])
    assert all(len(line["scores"]) == 2 for line in lines)
    assert "delay 0.335 s" in done.stderr


def test_the_command_names_what_is_wrong(run):
    done = listen(run, "--format", "s16le", "--rate", "8000", data=noise(1.0).tobytes())
    assert isinstance(done.exception, ElasticASTError)
    assert_names(str(done.exception), "sample_rate", 8000, 16000)
    assert isinstance(listen(run).exception, DataError)  # an empty pipe
