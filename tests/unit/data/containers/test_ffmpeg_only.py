"""Files that only ffmpeg decodes: cut or joined ones are refused, whatever ffmpeg makes of them."""

import shutil
import struct
import subprocess

import pytest

from elasticast.data.manifest import reason_kind
from tests.unit.data.sounds import LENGTH, RATE, prepared, written

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
FAST = ["-movflags", "faststart"]
KINDS = {
    "m4a": ["-c:a", "aac"],
    "fragmented mp4": ["-c:a", "aac", "-movflags", "dash+frag_keyframe", "-frag_duration", "200000", "-f", "mp4"],
    "mka": ["-c:a", "pcm_s16le"],
    "webm": ["-c:a", "libopus", "-ar", "48000"],
    "live webm": ["-c:a", "libopus", "-ar", "48000", "-live", "1", "-f", "webm"],
    "m4a with its table first": ["-c:a", "aac", *FAST, "-f", "mp4"],
    "mov": ["-c:a", "pcm_s16le", *FAST],
    "wma": ["-c:a", "wmav2"],
    "flv": ["-c:a", "aac"],
    "flv with mp3": ["-c:a", "libmp3lame", "-ar", "44100", "-f", "flv"],
    "avi": ["-c:a", "libmp3lame"],
    "wv": ["-c:a", "wavpack"],
    "tta": ["-c:a", "tta"],
    "sox": [],
    "ts": ["-c:a", "aac", "-f", "mpegts"],
    "wav with mp3": ["-c:a", "libmp3lame", "-f", "wav"],
}
READ_WHOLE_IF_JOINED = ("avi", "ts", "mka", "webm", "live webm")
WITH_PARTS = ("mka", "webm", "live webm", "flv", "fragmented mp4")  # parts of the samples in containers of their own


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """Return a function that gives the bytes of a file of a kind."""
    folder, known = tmp_path_factory.mktemp("encoded"), {}
    (folder / "tone.wav").write_bytes(written("WAV"))

    def encode(kind):
        if kind not in known:
            target = folder / f"clip.{kind.split()[0]}"
            command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", folder / "tone.wav", *KINDS[kind], target]
            subprocess.run(command, check=True)
            known[kind] = target.read_bytes()
        return known[kind]

    return encode


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_is_read_whole(tmp_path, encoded, kind):
    found = prepared(tmp_path / "clip", encoded(kind))
    assert not isinstance(found, str), found
    assert abs(len(found) - LENGTH) < 0.15 * RATE  # coders work in frames


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.2, 0.51, 0.8, 0.97])
def test_a_cut_file_is_truncated(tmp_path, encoded, kind, share):
    content = encoded(kind)
    assert prepared(tmp_path / "clip", content[: int(share * len(content)) | 1]) == "truncated"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_out_of_joined_files(tmp_path, encoded, kind):
    found = prepared(tmp_path / "clip", 2 * encoded(kind))
    if kind in READ_WHOLE_IF_JOINED:
        assert len(found) > 1.9 * LENGTH
    else:
        reasons = (
            "several recordings in one file",
            "data after the end of the samples",
            "damaged, or of an unknown coding",
        )
        assert reason_kind(found) in reasons


@pytest.mark.parametrize("kind", WITH_PARTS)
def test_damage_between_the_parts_hides_none_of_them(tmp_path, encoded, kind):
    """ffmpeg goes on at the next part that it recognises, or ends, and says nothing."""
    content = encoded(kind)
    middle = len(content) // 3
    damaged = content[:middle] + bytes(3000) + content[middle + 3000 :]
    assert reason_kind(prepared(tmp_path / "clip", damaged)) in ("data after the end of the samples", "damaged")


def test_mp2_with_something_between_its_frames_is_damaged(tmp_path):
    """ffmpeg would leave out a part of the frames before and after it."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", "pipe:0", "-c:a", "mp2", "-f", "mp2", "pipe:1"]
    content = subprocess.run(command, check=True, input=written("WAV"), stdout=subprocess.PIPE).stdout
    assert abs(len(prepared(tmp_path / "clip", content)) - LENGTH) < 0.15 * RATE
    tag = b"ID3\4\0\0\0\0\x10\x21" + bytes(128)
    for wrong in (content[:5000] + bytes(3000) + content[8000:], tag + content):
        assert reason_kind(prepared(tmp_path / "clip", wrong)) == "damaged"


def aac(*options):
    """A track of AAC without a container."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", "pipe:0", *options, "-c:a", "aac", "-f", "adts", "pipe:1"]
    return subprocess.run(command, check=True, input=written("WAV"), stdout=subprocess.PIPE).stdout


def test_a_track_that_changes_its_rate_or_channels_is_refused(tmp_path):
    """ffmpeg would convert the second part to the channels and the rate of the first one, at another level."""
    assert len(prepared(tmp_path / "clip", aac() + aac())) > 1.9 * LENGTH
    for other in (aac("-ac", "2"), aac("-ar", "22050")):
        changes = "the sample rate or the number of channels changes within the file"
        assert prepared(tmp_path / "clip", aac() + other) == changes


def test_wavpack_cut_between_two_blocks(tmp_path, encoded):
    content = bytearray(encoded("wv"))
    content[12:16] = struct.pack("<I", 2 * LENGTH)  # samples of all blocks
    assert prepared(tmp_path / "clip", bytes(content)) == "truncated"


def test_flash_video_cut_between_two_tags(tmp_path, encoded):
    content, offset = encoded("flv"), 13
    while offset < 0.6 * len(content):
        offset += 15 + int.from_bytes(content[offset + 1 : offset + 4], "big")
    assert prepared(tmp_path / "clip", content[:offset]) == "truncated"


@pytest.mark.parametrize(("place", "text"), [(20, b"\x99\x99"), (22, b"\0\0"), (34, b"\0\0")])
def test_a_damaged_header_of_a_known_format_is_not_called_something_else(tmp_path, place, text):
    """The coding, number of channels and bits per sample of a WAV file."""
    content = written("WAV")
    damaged = content[:place] + text + content[place + 2 :]
    assert reason_kind(prepared(tmp_path / "clip.wav", damaged)) == "damaged, or of an unknown coding"
