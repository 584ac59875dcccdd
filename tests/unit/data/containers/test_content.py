"""What a file is that libsndfile does not read: by its content, whatever its name."""

import gzip
import io
import json
import struct
import zipfile

import h5py
import numpy as np
import pytest

from elasticast.data.audio import decode
from elasticast.data.recordings import UnusableAudioError
from tests.complaints import complains
from tests.unit.data.sounds import written


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("clip.wav", written("WAV"))
    return file.getvalue()


def hdf5():
    file = io.BytesIO()
    with h5py.File(file, "w") as target:
        target["clip"] = np.zeros(9000, np.int16)
    return file.getvalue()


def array():
    file = io.BytesIO()
    np.save(file, np.zeros(9000))
    return file.getvalue()


def adts(length=200):
    """Frames of AAC with ADTS headers."""
    head = bytes([0xFF, 0xF1, 0x60, 0x40 | length >> 11, length >> 3 & 255, (length & 7) << 5 | 0x1F, 0xFC])
    return (head + bytes(length - 7)) * 5


NO_AUDIO = {
    "HTML": b"<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>",
    "JSON": json.dumps({"error": "quota exceeded"}).encode(),
    "XML": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "text": b"hello, this is no sound at all" * 50,
    "zero bytes": bytes(3000),
    "2 bytes": b"\x80R",
    "ZIP": zipped(),
    "gzip": gzip.compress(written("WAV")),
    "PDF": b"%PDF-1.4\n",
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "JPEG": b"\xff\xd8\xff\xe0" + bytes(100),
    "HDF5": hdf5(),
    "NumPy": array(),
    "WAV": bytes(range(128, 192)) + written("WAV"),
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
}
NEEDS_FFMPEG = {
    "AAC": adts(),
    "MP4": struct.pack(">I4s4s", 24, b"ftyp", b"M4A ") + bytes(500),
    "WebM": b"\x1a\x45\xdf\xa3" + bytes(500),
    "AMR": b"#!AMR\n" + b"\x3c" * 500,
    "WMA": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(500),
    "AC-3": b"\x0b\x77" + b"\x81" * 500,
    "DTS": b"\x7f\xfe\x80\x01" + b"\x81" * 500,
    "WavPack": struct.pack("<4sIIIII8x", b"wvpk", 524, 0x410, 0xFFFFFFFF, 0, 9000) + b"\x81" * 500,
    "Monkey's Audio": b"MAC \x96\x0f" + b"\x81" * 500,
    "TTA": struct.pack("<4sHHHIIIII", b"TTA1", 1, 1, 16, 16000, 9000, 0, 500, 0) + b"\x81" * 500,
    "AVI": b"RIFF\0\1\0\0AVI LIST" + bytes(500),
    "MPEG transport stream": (b"\x47\x40\0\x10" + b"\x81" * 184) * 4,
}


@pytest.mark.parametrize("what", list(NEEDS_FFMPEG))
def test_what_ffmpeg_would_read_is_named_after_tags(tmp_path, no_ffmpeg, what):
    tag = b"ID3\4\0\0\0\0\1\0" + bytes(128)
    (tmp_path / "clip").write_bytes(2 * tag + NEEDS_FFMPEG[what])
    with complains(UnusableAudioError, "needs ffmpeg", what):
        decode(tmp_path / "clip", rate=16000)


def test_zeros_may_follow_a_tag(tmp_path, no_ffmpeg):
    (tmp_path / "clip").write_bytes(b"ID3\4\0\0\0\0\1\0" + bytes(128) + bytes(7) + NEEDS_FFMPEG["AAC"])
    with complains(UnusableAudioError, "needs ffmpeg", "AAC"):
        decode(tmp_path / "clip", rate=16000)


@pytest.mark.parametrize("what", ["AAC", "AC-3"])
def test_an_id3_tag_of_a_wrong_size_hides_no_frames(tmp_path, what):
    """ffmpeg would begin at the first frame after it."""
    tag = b"ID3\4\0\0\0\0\3\x10" + bytes(128)
    (tmp_path / "clip").write_bytes(tag + NEEDS_FFMPEG[what].replace(bytes(100), bytes(range(100, 200))))
    with complains(UnusableAudioError, "damaged", "ID3"):
        decode(tmp_path / "clip", rate=16000)


@pytest.fixture
def no_ffmpeg(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize("name", ["clip.wav", "clip.mp4", "clip"])
@pytest.mark.parametrize("what", list(NO_AUDIO))
def test_what_is_no_audio_is_named(tmp_path, what, name):
    """The same whether ffmpeg is installed or not."""
    (tmp_path / name).write_bytes(NO_AUDIO[what])
    with complains(UnusableAudioError, "not audio", what):
        decode(tmp_path / name, rate=16000)


@pytest.mark.parametrize("name", ["clip.wav", "clip.mp4", "clip"])
@pytest.mark.parametrize("what", list(NEEDS_FFMPEG))
def test_what_ffmpeg_would_read_is_named(tmp_path, no_ffmpeg, what, name):
    (tmp_path / name).write_bytes(NEEDS_FFMPEG[what])
    with complains(UnusableAudioError, "needs ffmpeg", what):
        decode(tmp_path / name, rate=16000)
