import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from elasticast.data import ffmpeg as module
from elasticast.data.audio import UnusableAudioError, decode
from elasticast.data.manifest import reason_kind
from elasticast.data.stream import file_source

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
RATE = 44100
SECONDS = 3
LENGTH = 16000 * SECONDS
PICTURE = ["-f", "lavfi", "-i", f"testsrc=size=32x32:rate=5:duration={SECONDS}"]


def reason(path, **options):
    with pytest.raises(UnusableAudioError) as caught:
        decode(path, rate=16000, **options)
    return str(caught.value)


def run(*arguments):
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)], check=True)


@pytest.fixture(scope="session")
def wav(tmp_path_factory):
    """A tone of 1 kHz in the left channel, silence in the right."""
    path = tmp_path_factory.mktemp("ffmpeg") / "tone.wav"
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(SECONDS * RATE) / RATE)
    sf.write(path, np.stack([tone, np.zeros_like(tone)], axis=1), RATE)
    return path


@pytest.fixture(scope="session")
def encoded(wav):
    """Return a function that encodes the tone in another format, with or without a picture. Files are cached."""

    def encode(name, *options):
        path = wav.with_name(name)
        if not path.exists():
            picture = PICTURE if path.suffix in (".mp4", ".mkv", ".webm", ".avi", ".flv", ".ts") else []
            run(*picture, "-i", wav, *options, path)
        return path

    return encode


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["mp4", "mkv", "webm", "m4a", "aac", "avi", "flv", "ts", "wma", "ac3"])
def test_the_audio_track_of_what_soundfile_does_not_read(encoded, kind):
    clip = decode(encoded(f"clip.{kind}"), rate=16000)
    assert clip.sample_rate == (48000 if kind == "webm" else RATE)  # Opus always uses 48 kHz
    assert clip.channels == 2
    assert len(clip.samples) == pytest.approx(LENGTH, abs=1600)  # coders work in frames
    window = clip.samples[8000 : 8000 + 16000]
    assert np.abs(np.fft.rfft(window)).argmax() == 1000
    assert np.sqrt(np.mean(window.astype(float) ** 2)) == pytest.approx(0.25 * 32768 / 2**0.5, rel=0.1)


@needs_ffmpeg
def test_the_filter_is_ours(encoded, wav):
    """For lossless formats, ffmpeg and soundfile give the same samples."""
    path = encoded("lossless.mkv", "-c:a", "flac")
    np.testing.assert_array_equal(decode(path, rate=16000).samples, decode(wav, rate=16000).samples)


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["mp4", "webm", "aac"])
def test_a_span_is_that_part_of_the_file(encoded, kind):
    path = encoded(f"clip.{kind}")
    rate = decode(path, rate=16000).sample_rate
    whole = decode(path, rate=rate).samples
    for start, stop in ((0, 5000), (1, 2000), (12345, 123_456)):
        found = decode(path, rate=rate, start=start / rate, duration=(stop - start) / rate).samples
        np.testing.assert_array_equal(found, whole[start:stop])
    np.testing.assert_array_equal(decode(path, rate=rate, start=2.0).samples, whole[2 * rate :])


@needs_ffmpeg
@pytest.mark.parametrize("span", [{"start": 1.0, "duration": 9.0}, {"start": 9.0}, {"start": 9.0, "duration": 1.0}])
def test_a_span_outside_its_file_is_rejected(encoded, span):
    assert reason(encoded("clip.mp4"), **span) == "span outside the file"


@needs_ffmpeg
def test_longer_than_its_segment(encoded):
    assert reason(encoded("clip.mp4"), longest=2.0).startswith("longer than its segment (3.0")
    assert reason(encoded("clip.mp4"), longest=2.0, duration=2.5) == "longer than its segment (2.5 s of 2.0 s)"


@needs_ffmpeg
def test_streamed_equals_prepared(encoded):
    path = encoded("clip.mp4")
    source = file_source(path)
    found = np.concatenate([block.numpy() for block in source.blocks(16000)])
    assert len(found) == source.samples(16000)
    np.testing.assert_array_equal(found * 32768, decode(path, rate=16000).samples)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["-clip.mp4", "a:b.mp4", "http:x.mp4", "%03d.mp4", "no ex'ten\"sion", "é\udc80.wav"])
def test_any_name(encoded, tmp_path, monkeypatch, name):
    expected = decode(encoded("clip.mp4"), rate=16000).samples
    shutil.copy(encoded("clip.mp4"), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / name, type(tmp_path)(name)):
        np.testing.assert_array_equal(decode(path, rate=16000).samples, expected)


@needs_ffmpeg
def test_a_video_without_sound(wav):
    path = wav.with_name("mute.mp4")
    run(*PICTURE, path)
    assert reason(path) == "no audio track"


@needs_ffmpeg
@pytest.mark.parametrize("content", [b"<html>404 Not Found</html>" * 50, bytes(3000), b"RI"])
@pytest.mark.parametrize("kind", ["mp4", "mkv", "aac"])
def test_not_audio(tmp_path, content, kind):
    """The extension does not matter."""
    (tmp_path / f"clip.{kind}").write_bytes(content)
    assert reason_kind(reason(tmp_path / f"clip.{kind}")) == "not audio"


@needs_ffmpeg
def test_a_playlist_leads_to_no_network(tmp_path):
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/clip.aac\n#EXT-X-ENDLIST\n")
    assert reason_kind(reason(tmp_path / "list.mp4")) == "not audio"


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("clip.mp4", [], "truncated"),  # the index at the end is missing
        ("first.mp4", ["-movflags", "faststart"], "truncated"),
        ("clip.m4a", [], "truncated"),
        ("clip.mkv", [], "truncated"),
        ("clip.webm", [], "truncated"),
        ("clip.aac", [], "damaged"),
    ],
)
def test_a_file_cut_short(encoded, tmp_path, name, options, expected):
    content = encoded(name, *options).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
    assert reason(tmp_path / name) == expected


@needs_ffmpeg
def test_damage_within(encoded, tmp_path):
    content = bytearray(encoded("clip.m4a").read_bytes())
    content[20000:20100] = np.random.default_rng(0).bytes(100)
    (tmp_path / "clip.m4a").write_bytes(content)
    assert reason(tmp_path / "clip.m4a") == "damaged"


@needs_ffmpeg
def test_an_mp3_of_unknown_length_is_read_to_its_end(encoded, wav, tmp_path):
    """The clip is quiet, then loud. From the bit rate at its start, libsndfile expects less than half of its length."""
    rng = np.random.default_rng(0)
    sf.write(tmp_path / "long.wav", np.concatenate([rng.standard_normal(RATE * 20) * a for a in (1e-4, 0.3)]), RATE)
    run("-i", tmp_path / "long.wav", "-c:a", "libmp3lame", "-q:a", "2", "-write_xing", "0", tmp_path / "long.mp3")
    assert decode(tmp_path / "long.mp3", rate=16000).seconds == pytest.approx(40, abs=0.1)


@needs_ffmpeg
def test_a_flac_written_to_a_pipe_is_read_to_its_end(wav, tmp_path):
    with open(tmp_path / "piped.flac", "wb") as file:
        command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(wav), "-f", "flac", "pipe:1"]
        file.write(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    np.testing.assert_array_equal(decode(tmp_path / "piped.flac", rate=RATE).samples, decode(wav, rate=RATE).samples)


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["mp4", "m4a", "aac", "webm", "wma", "ac3", "avi", "flv", "ts"])
def test_without_ffmpeg(encoded, tmp_path, monkeypatch, kind):
    """The content decides, not the extension."""
    path = tmp_path / "clip.wav"
    shutil.copy(encoded(f"clip.{kind}"), path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert reason_kind(reason(path)) == "needs ffmpeg"


HEADER = r".snd\0\0\0\030\377\377\377\377\0\0\0\06\0\0\076\200\0\0\0\01"  # 16 kHz, one channel


@pytest.mark.parametrize("begin", ["", f"printf '{HEADER}'", f"printf '{HEADER}samples'", "exec >&-"])
def test_a_hanging_ffmpeg_is_given_up(tmp_path, monkeypatch, begin):
    (tmp_path / "ffmpeg").write_text(f"#!/bin/sh\n{begin}\nexec sleep 100\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.2)
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x0cftypisom")
    assert reason(tmp_path / "clip.mp4") == "ffmpeg hangs"


@needs_ffmpeg
def test_nothing_stays_open(encoded, tmp_path):
    (tmp_path / "text.mp4").write_bytes(b"no sound" * 100)
    before = len(os.listdir("/proc/self/fd"))
    decode(encoded("clip.mp4"), rate=16000)
    decode(encoded("clip.mp4"), rate=16000, start=0.1, duration=0.1)  # ffmpeg is stopped before the end of the file
    reason(tmp_path / "text.mp4")
    assert len(os.listdir("/proc/self/fd")) == before
    children = list(Path("/proc/self/task").glob("*/children"))
    assert children  # may include processes of other tests
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for file in children for pid in file.read_text().split()}
    assert not {name for name in names if name.startswith("ffmpeg")}
