"""Live sources: samples of pipes and microphones, and how a source that is silent, stalled or broken ends."""

import io
import itertools
import os
import struct
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch

from elasticast.data.live import checked, microphone
from elasticast.data.pipes import FORMATS, read_pipe
from elasticast.errors import DataError, ElasticASTError
from tests.complaints import complains

RATE = 16000


@pytest.fixture
def pipe():
    """Opens a pipe into which a thread writes these bytes, and keeps it open if asked to."""
    opened = []

    def write(data, *, form=None, stays_open=False, channels=1, timeout=5.0):
        reading, writing = os.pipe()
        opened.extend([reading, writing] if stays_open else [reading])

        def fill():
            os.write(writing, data)
            if not stays_open:
                os.close(writing)

        threading.Thread(target=fill, daemon=True).start()
        return read_pipe(reading, form=form, sample_rate=RATE, channels=channels, timeout=timeout, name="the pipe")

    yield write
    for descriptor in opened:
        os.close(descriptor)


def wave(samples, channels=1):
    return np.random.default_rng(0).uniform(-0.5, 0.5, (samples, channels)).astype(np.float32)


def wav(samples, subtype="PCM_16", rate=RATE, form="WAV"):
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate, format=form, subtype=subtype)
    return buffer.getvalue()


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_wav_file_in_a_pipe_is_that_file(pipe, subtype, form, channels):
    data = wav(wave(3001, channels), subtype, 8000, form)
    audio = pipe(data)
    expected, _ = sf.read(io.BytesIO(data), dtype="float32", always_2d=True)
    assert (audio.sample_rate, audio.channels) == (8000, channels)
    assert np.allclose(np.concatenate(list(audio.blocks)), expected.mean(1), atol=1e-6)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_file_whose_length_its_writer_did_not_know(pipe, size):
    data = bytearray(wav(wave(1000)))
    place = data.index(b"data") + 4
    data[place : place + 4] = struct.pack("<I", size)
    assert sum(map(len, pipe(bytes(data)).blocks)) == 1000


@pytest.mark.parametrize("form", FORMATS)
def test_raw_samples(pipe, form):
    samples = wave(2000, 2)
    scaled = (samples * 32768).round() if form == "s16le" else samples
    audio = pipe(scaled.astype(FORMATS[form]).tobytes(), form=form, channels=2)
    assert np.allclose(np.concatenate(list(audio.blocks)), samples.mean(1), atol=1e-4)


def test_a_stalled_pipe_ends(pipe):
    audio = pipe(wave(100).astype("<f4").tobytes(), form="f32le", stays_open=True, timeout=0.05)
    assert len(next(audio.blocks)) == 100
    with complains(DataError, "the pipe", "0.05"):
        next(audio.blocks)
    with complains(DataError, "the pipe", "0.05"):  # before its header
        pipe(b"RI", stays_open=True, timeout=0.05)


@pytest.mark.parametrize("cut", [0, 3, 11, 20, 43])
def test_a_wav_file_that_ends_in_its_header(pipe, cut):
    with complains(DataError, "the pipe"):
        pipe(wav(wave(100))[:cut])


def test_samples_that_end_too_early(pipe):
    for data, form in [(wav(wave(100))[:-10], None), (b"\0" * 401, "s16le")]:
        audio = pipe(data, form=form)
        with complains(DataError, "the pipe", "truncated"):
            list(audio.blocks)


def test_a_damaged_header_skips_no_samples(pipe):
    data = wav(wave(100))
    for name in (b"fmt ", b"LIST"):
        with complains(DataError, "the pipe", 0x7F000000):
            pipe(data[:12] + name + struct.pack("<I", 0x7F000000) + bytes(1000))
    kept = pipe(data[:12] + b"LIST" + struct.pack("<I", 5) + bytes(6) + data[12:])
    assert sum(map(len, kept.blocks)) == 100


def test_a_second_file_in_a_pipe_is_not_left_out_silently(pipe):
    audio = pipe(2 * wav(wave(1000)))
    assert len(next(audio.blocks)) == 1000
    with complains(DataError, "the pipe", "data after the end"):
        next(audio.blocks)


@pytest.mark.parametrize("after", [b"", b"\0" * 100, b"LIST\4\0\0\0INFO", b"abc"])
def test_chunks_after_the_samples_in_a_pipe_are_no_samples(pipe, after):
    assert sum(map(len, pipe(wav(wave(1000)) + after).blocks)) == 1000


def test_a_pipe_that_stays_open_after_all_samples(pipe):
    assert sum(map(len, pipe(wav(wave(1000)), stays_open=True, timeout=0.05).blocks)) == 1000


def test_an_rf64_in_a_pipe_has_its_long_length(pipe):
    data = wav(wave(1000), form="RF64")
    assert sum(map(len, pipe(data + b"LIST\4\0\0\0INFO").blocks)) == 1000
    with complains(DataError, "the pipe", "truncated"):
        list(pipe(data[:-10]).blocks)


def test_a_format_that_contradicts_itself(pipe):
    data = bytearray(wav(wave(100)))
    data[28:34] = struct.pack("<IH", 4 * RATE, 4)
    with complains(DataError, "the pipe", "damaged", "4 bytes"):
        pipe(bytes(data))


@pytest.mark.parametrize("data", [b"fLaC" + bytes(100), b"\0" * 100, wav(wave(99), "PCM_24"), wav(wave(99), "ULAW")])
def test_what_is_no_wav_file_of_a_known_format(pipe, data):
    with complains(DataError, "the pipe"):
        pipe(data)


def test_a_closed_descriptor():
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with complains(DataError, "the pipe"):
        read_pipe(reading, form=None, sample_rate=RATE, timeout=1, name="the pipe")


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf")])
def test_a_timeout_that_is_none(pipe, sounddevice, timeout):
    for source in (pipe, lambda _, timeout: microphone(RATE, timeout=timeout)):
        with complains(ElasticASTError, "timeout", timeout):
            source(b"", timeout=timeout)


def listened(blocks, silence=1.0):
    return torch.cat(list(checked(blocks, RATE, silence)))


def test_blocks_of_all_kinds_are_the_same_samples():
    samples = (wave(400)[:, 0] * 32768).round().astype(np.int16)
    floats = samples.astype(np.float32) / 32768
    expected = torch.from_numpy(floats)
    stereo = np.stack([floats, floats])
    for blocks in (
        [samples],
        [floats],
        [stereo],
        [expected],
        [torch.tensor(samples)],
        np.split(floats, 40),
        [floats[:0], floats],
    ):
        assert torch.equal(listened(blocks), expected)


@pytest.mark.parametrize("level", [0.0, 0.25])
def test_a_silent_stream_ends(level):
    quiet = np.full(1600, level, np.float32)
    with complains(DataError, "0.50"):
        listened([wave(1600)[:, 0]] + [quiet] * 20, silence=0.35)
    for number in (1, 3):  # silence that is shorter
        listened(([quiet] * number + [wave(1600)[:, 0]]) * 3, silence=0.35)


@pytest.mark.parametrize(
    ("block", "named"),
    [
        (np.array([0.1, np.nan], np.float32), ["non-finite"]),
        (np.array([300.0, -20.0], np.float32), ["300"]),
        (np.zeros(8, np.int32), ["int32"]),
        (np.zeros((2, 2, 2), np.float32), []),
        (np.zeros((320, 1), np.float32), ["(320, 1)", "transpose"]),  # as sounddevice gives them
        ([0.1, 0.2], ["list"]),
    ],
    ids=str,
)
def test_a_broken_block_ends_the_stream(block, named):
    with complains(DataError, "0.10", *named):
        listened([wave(1600)[:, 0], block])


def test_a_stream_that_predict_would_find_too_short():
    with complains(DataError, "0.02", "too short"):
        listened([wave(399)[:, 0]])
    listened([wave(400)[:, 0]])


def test_a_stream_beyond_full_scale_does_not_have_to_end():
    def endless():
        while True:
            yield 6 * wave(1600)[:, 0]

    with complains(DataError, "stream, after 10.", "not scaled"):
        listened(endless())


def test_no_samples_at_all():
    with pytest.raises(DataError, match=r"0\.00 s: empty"):
        listened([np.zeros(0, np.float32)])


class Recorder:
    """A microphone of the fake package, which gives some blocks and then no more."""

    blocks, overflows = 5, False

    def __init__(self, callback, blocksize, **settings):
        self.callback, self.size = callback, blocksize

    def __enter__(self):
        status = SimpleNamespace(input_overflow=self.overflows)
        for number in range(self.blocks):
            self.callback(np.full((self.size, 1), number / 100, np.float32), self.size, None, status)

    def __exit__(self, *_):
        pass


@pytest.fixture
def sounddevice(monkeypatch):
    fake = SimpleNamespace(InputStream=Recorder, PortAudioError=OSError, check_input_settings=lambda **settings: None)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


def test_a_microphone_that_is_pulled_out(sounddevice):
    audio = microphone(RATE, device="Mic", timeout=0.05)
    with complains(DataError, "Mic", "0.05"):
        list(audio.blocks)
    blocks = list(itertools.islice(microphone(RATE, timeout=5).blocks, 5))
    assert [block[0] for block in blocks] == pytest.approx([0, 0.01, 0.02, 0.03, 0.04])


@pytest.mark.parametrize("fault", [{"blocks": 1000}, {"overflows": True}], ids=str)
def test_a_microphone_that_is_read_too_slowly(sounddevice, monkeypatch, fault):
    for name, value in fault.items():
        monkeypatch.setattr(Recorder, name, value)
    with complains(DataError, "microphone", "lost"):
        list(microphone(RATE, timeout=5).blocks)


def test_no_microphone(sounddevice, monkeypatch):
    def refuse(**settings):
        raise ValueError("no such device")

    sounddevice.check_input_settings = refuse
    with complains(DataError, "Mic", RATE):
        microphone(RATE, device="Mic", timeout=1)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with complains(DataError, "elasticast[microphone]"):
        microphone(RATE, timeout=1)
