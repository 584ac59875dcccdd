"""Lengths in the headers of sound files: placeholders, cut files, and what may follow the samples."""

import struct

import numpy as np
import pytest
import soundfile as sf

from elasticast.data.manifest import reason_kind
from tests.unit.data.sounds import LENGTH, RATE, prepared, tone, written

JOINED = "several recordings in one file"
SIZES = [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x7FFFFF00, 0x80000000, 0x80000024, 0xFFFFFFDB, 0x7FFFFFFE]
LONG_SIZES = [0, -1, (1 << 63) - 1, 1 << 60]


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


def changed(content, place, layout, *values):
    size = struct.calcsize(layout)
    return content[:place] + struct.pack(layout, *values) + content[place + size :]


def same(found):
    assert not isinstance(found, str), found
    np.testing.assert_array_equal(found, tone())


# ---------------------------------------------------------------------------------------------
# Placeholders
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_streamed_wav_reaches_to_its_end(tmp_path, size, kind, subtype):
    content = written(kind, subtype)
    place = content.index(b"data") + 4
    streamed = changed(content, place, "<I", size)
    same(prepared(tmp_path / "clip", streamed))
    same(prepared(tmp_path / "clip", changed(streamed, 4, "<I", size)))


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "G721_32", "NMS_ADPCM_32"])
def test_a_streamed_wav_of_a_coder_is_the_same_as_a_whole_one(tmp_path, subtype):
    content = written("WAV", subtype)
    whole = prepared(tmp_path / "clip", content)
    for size in SIZES:
        found = prepared(tmp_path / "clip", changed(content, content.index(b"data") + 4, "<I", size))
        np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("size", [0, 1, 100, LENGTH, 0xFFFFFFFF, 0x7FFFFFFF, 2 * LENGTH + 1000])
def test_the_size_of_the_whole_file_does_not_matter(tmp_path, size):
    same(prepared(tmp_path / "clip", changed(written("WAV"), 4, "<I", size)))
    same(prepared(tmp_path / "clip", changed(written("AIFF"), 4, ">I", size)))


@pytest.mark.parametrize("more", [36, 44])
def test_a_writer_that_counted_its_own_header(tmp_path, more):
    same(prepared(tmp_path / "clip", changed(written("WAV"), 40, "<I", 2 * LENGTH + more)))


@pytest.mark.parametrize("size", LONG_SIZES)
@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
def test_a_streamed_rf64(tmp_path, size, magic):
    content = magic + written("RF64")[4:]
    same(prepared(tmp_path / "clip", content))
    same(prepared(tmp_path / "clip", changed(content, content.index(b"ds64") + 8, "<qqq", size, size, size)))


@pytest.mark.parametrize("size", LONG_SIZES)
def test_a_streamed_wave64(tmp_path, size):
    content = written("W64")
    same(prepared(tmp_path / "clip", changed(content, content.index(b"data") + 16, "<q", size)))


@pytest.mark.parametrize("size", [*SIZES, 0x7F000000, 0x7F000008])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_streamed_aiff(tmp_path, size, subtype):
    content = written("AIFF", subtype)
    sound, common = content.index(b"SSND") + 4, content.index(b"COMM") + 10
    streamed = changed(content, sound, ">I", size)
    for one in (streamed, changed(streamed, common, ">I", size), changed(streamed, common, ">I", 0)):
        same(prepared(tmp_path / "clip", one))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("endian", ["BIG", "LITTLE"])
def test_a_streamed_au(tmp_path, size, endian):
    content = written("AU", "PCM_16", endian=endian)
    same(prepared(tmp_path / "clip", changed(content, 8, ">I" if endian == "BIG" else "<I", size)))


@pytest.mark.parametrize("size", LONG_SIZES)
@pytest.mark.parametrize("subtype", ["PCM_16", "ALAC_16"])
def test_a_streamed_caf(tmp_path, size, subtype):
    content = written("CAF", subtype)
    if subtype == "PCM_16":
        same(prepared(tmp_path / "clip", changed(content, content.index(b"data") + 4, ">q", size)))
    else:  # the packet table follows the samples, so that their end is unknown
        found = prepared(tmp_path / "clip", changed(content, content.index(b"data") + 4, ">q", size))
        assert isinstance(found, str) or np.array_equal(found, tone())


@pytest.mark.parametrize("count", [0, -1, 0x7FFFFFFF])
def test_a_streamed_nist_sphere(tmp_path, count):
    content = written("NIST")
    line = f"sample_count -i {LENGTH}\n".encode()
    assert line in content
    head = content[:1024].replace(line, b"sample_count -i %d\n" % count)[:1024].ljust(1024, b"\0")
    same(prepared(tmp_path / "clip", head + content[1024:]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunk", [b"LIST", b"id3 ", b"bext"])
def test_chunks_after_streamed_samples_are_no_samples(tmp_path, size, chunk):
    streamed = changed(written("WAV"), 40, "<I", size)
    same(prepared(tmp_path / "clip", streamed + struct.pack("<4sI", chunk, 100) + bytes(100)))


def streamed(kind, subtype="PCM_16"):
    """A file whose header does not give its length."""
    content = written(kind, subtype)
    if kind == "NIST":
        return content.replace(f"sample_count -i {LENGTH}\n".encode(), b"sample_count -i 0\n".ljust(22, b"\n"))
    name, after, layout, size = {
        "WAV": (b"data", 4, "<I", 0xFFFFFFFF),
        "AIFF": (b"SSND", 4, ">I", 0xFFFFFFFF),
        "AU": (b".snd", 8, ">I", 0xFFFFFFFF),
        "CAF": (b"data", 4, ">q", -1),
        "W64": (b"data", 16, "<q", -1),
    }[kind]
    return changed(content, content.index(name) + after, layout, size)


def chunk(kind, name, body):
    """A chunk with its header and its byte of padding."""
    if kind == "W64":
        guid = written("W64")[44:56]
        return name + guid + struct.pack("<q", 24 + len(body)) + body + bytes(-len(body) % 8)
    if kind == "CAF":
        return name + struct.pack(">q", len(body)) + body
    return name + struct.pack("<I" if kind == "WAV" else ">I", len(body)) + body + bytes(len(body) % 2)


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "CAF", "W64"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_chunks_of_any_name_and_size_after_streamed_samples(tmp_path, kind, subtype):
    picture = chunk(kind, b"info" if kind == "CAF" else b"ID3 ", np.random.default_rng(0).bytes(200_000))
    for after in (chunk(kind, b"note", b"abc"), picture, picture + chunk(kind, b"bext", b"text" * 200)):
        same(prepared(tmp_path / "clip", streamed(kind, subtype) + after))


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "NIST"])
def test_tags_after_streamed_samples(tmp_path, kind):
    lyrics = b"LYRICSBEGININD0000211000020LYRICS200"
    for after in (TAG, ID3, APE_WITH_FOOTER, APE_WITH_FOOTER + TAG, ID3 + APE_WITH_FOOTER, lyrics + TAG):
        same(prepared(tmp_path / "clip", streamed(kind) + after))
    if kind in ("WAV", "AIFF"):  # a tag within a chunk
        same(prepared(tmp_path / "clip", streamed(kind) + chunk(kind, b"ID3 ", ID3)))


def test_a_chunk_is_no_tag(tmp_path):
    """`ID3 ` is the name of a chunk, and its length is not that of a tag."""
    same(prepared(tmp_path / "clip", written("AIFF") + chunk("AIFF", b"ID3 ", bytes(170_000))))


def test_no_samples_are_no_placeholder(tmp_path):
    content = written("WAV", wave=np.zeros(0, np.int16))
    assert prepared(tmp_path / "clip", content) == "empty"
    assert prepared(tmp_path / "clip", content + struct.pack("<4sI", b"LIST", 6) + b"abcdef") == "empty"


# ---------------------------------------------------------------------------------------------
# Cut files
# ---------------------------------------------------------------------------------------------

# Formats whose header has no number of samples. Cut anywhere, they are shorter clips.
WITHOUT_LENGTH = {"PAF", "PVF", "IRCAM", "XI", "RAW", "SD2"}
KINDS = [
    (kind, subtype, channels)
    for kind in sf.available_formats()
    if kind not in WITHOUT_LENGTH
    for subtype in sf.available_subtypes(kind)
    for channels in (1, 2)
    if sf.check_format(kind, subtype)
    and not subtype.startswith("DWVW")
    and subtype not in ("MPEG_LAYER_I", "MPEG_LAYER_II")
]


@pytest.mark.parametrize(("kind", "subtype", "channels"), KINDS)
def test_a_cut_file_is_no_shorter_clip(tmp_path, kind, subtype, channels):
    try:
        content = written(kind, subtype, tone(channels=channels))
    except sf.LibsndfileError:
        pytest.skip(f"libsndfile writes no {kind} of {subtype} with {channels} channels")
    whole = prepared(tmp_path / "clip", content)
    assert not isinstance(whole, str), whole
    for kept in (0.02, 0.1, 0.5, 0.9, 0.99):
        found = prepared(tmp_path / "clip", content[: int(len(content) * kept)])
        assert reason_kind(found) == "truncated" or (kind == "HTK" and reason_kind(found) == "not audio")
    for missing in (1, 20):  # a byte of padding, or of a chunk that follows the samples, may be missing
        found = prepared(tmp_path / "clip", content[:-missing])
        if not isinstance(found, str) and subtype != "GSM610":  # libsndfile needs the byte of padding
            np.testing.assert_allclose(found.astype(int), whole, atol=20)


# ---------------------------------------------------------------------------------------------
# Before and after the samples
# ---------------------------------------------------------------------------------------------

ID3 = b"ID3\4\0\0\0\0\1\0" + bytes(128)
TAG = b"TAG" + bytes(125)
APE = b"APETAGEX" + struct.pack("<III", 2000, 40, 1) + bytes(12 + 40)
_FOOT = b"APETAGEX" + struct.pack("<IIII", 2000, 72, 1, 0x80000000) + bytes(8)
APE_WITH_FOOTER = _FOOT + bytes(40) + _FOOT


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "FLAC", "AU", "CAF", "W64"])
@pytest.mark.parametrize("before", [ID3, ID3 + ID3])
def test_tags_before_a_file(tmp_path, kind, before):
    same(prepared(tmp_path / "clip", before + written(kind)))


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "FLAC", "AU", "CAF", "W64", "NIST", "RF64"])
@pytest.mark.parametrize("after", [ID3, TAG, bytes(9000), b"\0\0" + TAG, b"junk" * 50, b"\x80junk"])
def test_tags_and_a_little_of_anything_after_a_file(tmp_path, kind, after):
    same(prepared(tmp_path / "clip", written(kind) + after))


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "CAF", "W64", "NIST", "RF64"])
def test_samples_after_the_end_are_not_left_out_silently(tmp_path, kind):
    """As after the crash of a recorder that updates its header from time to time."""
    content = written(kind)
    assert reason_kind(prepared(tmp_path / "clip", content + content[-20_000:])) == "data after the end of the samples"


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "VORBIS", "OPUS"])
def test_joined_files_are_refused(tmp_path, kind):
    options = {"kind": "OGG", "subtype": kind} if kind in ("VORBIS", "OPUS") else {"kind": kind}
    found = prepared(tmp_path / "clip", written(**options) + written(**options, wave=tone(1)))
    assert found == JOINED
    short = written(**options) + written(**options, wave=tone(1, length=2000))
    assert prepared(tmp_path / "clip", short) == JOINED


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "CAF", "W64", "NIST"])
def test_joined_streams_of_pipes_are_refused(tmp_path, kind):
    assert prepared(tmp_path / "clip", streamed(kind) * 2) == JOINED


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "CAF", "W64", "RF64"])
def test_a_transfer_in_text_mode_is_damage(tmp_path, kind):
    """A byte is added before each line feed: few enough to pass as something after the samples."""
    content = written(kind)
    assert 16 < content.count(b"\n") < 1000
    found = prepared(tmp_path / "clip", content.replace(b"\n", b"\r\n"))
    assert reason_kind(found) in ("damaged", "truncated")


@pytest.mark.parametrize(
    ("other", "length"),  # a short OGG or MP3 is little enough to follow the samples
    [(other, length) for other in ("WAV", "AIFF", "AU") for length in (2000, 200_000)]
    + [("OGG", 200_000), ("MP3", 200_000)],
)
def test_another_recording_after_a_flac_is_refused(tmp_path, other, length):
    found = prepared(tmp_path / "clip", written("FLAC") + written(other, wave=tone(1, length)))
    assert reason_kind(found) in (JOINED, "data after the end of the samples")


def test_a_nist_sphere_with_two_sample_rates(tmp_path):
    content = written("NIST")
    head = content[:1024].replace(b"end_head\n", b"sample_rate -i 8000\nend_head\n")[:1024]
    assert prepared(tmp_path / "clip", head + content[1024:]) == "damaged (two descriptions of the samples)"


def test_other_fields_of_a_nist_sphere_may_come_twice(tmp_path):
    content = written("NIST")
    more = b"utterance_id -i 7\nutterance_id -i 8\nend_head\n"
    head = content[:1024].replace(b"end_head\n", more)[:1024]
    same(prepared(tmp_path / "clip", head + content[1024:]))


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
def test_aifc_of_8_bit_codings_may_give_no_bits(tmp_path, subtype):
    content = written("AIFF", subtype)
    place = content.index(b"COMM") + 14
    wrong = content[:place] + bytes(2) + content[place + 2 :]
    np.testing.assert_array_equal(prepared(tmp_path / "clip", wrong), prepared(tmp_path / "other", content))


def voc(*blocks):
    """A VOC file of blocks, each of a kind and its content."""
    body = b"".join(bytes([kind]) + len(text).to_bytes(3, "little") + text for kind, text in blocks)
    return b"Creative Voice File\x1a" + struct.pack("<HHH", 26, 0x10A, 0x1129) + body + b"\0"


def test_a_voc_that_is_more_than_its_samples(tmp_path):
    """ffmpeg would leave out silence and repetitions, and read all blocks at the rate of the first one."""
    one, other = (struct.pack("<IBBH4x", rate, 16, 1, 4) + tone().tobytes() for rate in (RATE, 8000))
    same(prepared(tmp_path / "clip", voc((9, one))))
    assert "silence" in prepared(tmp_path / "clip", voc((9, one), (3, b"\x40\x1f\xc0")))
    assert "silence" in prepared(tmp_path / "clip", voc((6, b"\1\0"), (9, one), (7, b"")))
    assert "changes" in prepared(tmp_path / "clip", voc((9, one), (9, other)))


def test_an_amiga_file_whose_samples_are_not_one_recording(tmp_path):
    content = written("SVX")
    octaves = changed(content, content.index(b"VHDR") + 8 + 14, "B", 2)
    assert reason_kind(prepared(tmp_path / "clip", octaves)) == JOINED
    place = content.index(b"BODY")
    stereo = content[:place] + chunk("AIFF", b"CHAN", struct.pack(">I", 6)) + content[place:]
    assert reason_kind(prepared(tmp_path / "clip", stereo)).startswith("stereo in an Amiga file")


@pytest.mark.parametrize("kind", ["PAF", "PVF", "IRCAM"])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_joined_files_without_a_length_are_refused(tmp_path, kind, endian):
    if (kind, endian) == ("PVF", "LITTLE"):
        pytest.skip("PVF is big-endian")
    content = written(kind, "PCM_16", endian=endian)
    same(prepared(tmp_path / "clip", content))
    assert prepared(tmp_path / "clip", content * 2) == JOINED
    header = content[: len(content) - 2 * LENGTH]
    assert prepared(tmp_path / "clip", header + content) == JOINED  # as libsndfile writes PVF to a pipe


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "CAF", "W64"])
def test_two_descriptions_of_the_samples_must_be_the_same(tmp_path, kind):
    content = written(kind)
    name, size, rate = {
        "WAV": (b"fmt ", 24, (12, "<I", 8000)),
        "AIFF": (b"COMM", 26, (16, ">H", 0x400B)),
        "CAF": (b"desc", 44, (12, ">d", 8000.0)),
        "W64": (b"fmt ", 40, (28, "<I", 8000)),
    }[kind]
    place = content.index(name)
    one = content[place : place + size]
    same(prepared(tmp_path / "clip", content[:place] + one + content[place:]))
    found = prepared(tmp_path / "clip", content[:place] + changed(one, *rate) + content[place:])
    assert found == "damaged (two descriptions of the samples)"


def test_an_aiff_with_two_chunks_of_samples_is_refused(tmp_path):
    content = written("AIFF")
    assert prepared(tmp_path / "clip", content + content[content.index(b"SSND") :]) == JOINED


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
def test_an_aifc_whose_numbers_of_samples_differ_is_damaged(tmp_path, subtype):
    content = written("AIFF", subtype)
    wrong = changed(content, content.index(b"COMM") + 10, ">I", LENGTH // 2)
    assert reason_kind(prepared(tmp_path / "clip", wrong)) == "damaged"


def test_samples_of_no_bits(tmp_path):
    content = written("AIFF")
    wrong = changed(content, content.index(b"COMM") + 14, ">H", 0)
    assert prepared(tmp_path / "clip", wrong) == "damaged (0 bits per sample)"


def test_a_chunk_of_odd_length_without_padding(tmp_path):
    content = written("WAV")
    same(prepared(tmp_path / "clip", content[:36] + struct.pack("<4sI", b"note", 3) + b"abc" + content[36:]))


def with_format(content, form):
    """A WAV with another `fmt ` chunk."""
    body = content[8:12] + b"fmt " + struct.pack("<I", len(form)) + form + content[36:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "form",
    [
        struct.pack("<HHIIH", 1, 1, RATE, 2 * RATE, 2),  # without the number of bits
        struct.pack("<HHIIHH", 1, 1, RATE, 4 * RATE, 4, 16),  # 16 bits in 4 bytes
        struct.pack("<HHIIHH", 1, 2, RATE, 8 * RATE, 8, 16),
        struct.pack("<HHIIHH", 1, 2, RATE, 2 * RATE, 2, 16),  # one channel
        struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 24),
        struct.pack("<HHIIHH", 1, 1, RATE + 1, 2 * RATE, 2, 16),
    ],
)
def test_a_format_that_contradicts_itself(tmp_path, form):
    found = reason_kind(prepared(tmp_path / "clip.wav", with_format(written("WAV"), form)))
    assert found in ("damaged", "unlikely sample rate")


@pytest.mark.parametrize("block", [0, 1])
def test_a_size_of_blocks_that_cannot_be(tmp_path, block):
    form = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, block, 16)
    same(prepared(tmp_path / "clip.wav", with_format(written("WAV"), form)))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_flipped_bit_of_the_format_is_never_another_clip(tmp_path, subtype, channels):
    content = written("WAV", subtype, tone(channels=channels))
    expected, number = prepared(tmp_path / "clip.wav", content), 0
    for place in range(160, 288):
        changed_bit = bytearray(content)
        changed_bit[place // 8] ^= 1 << place % 8
        found = prepared(tmp_path / "clip.wav", bytes(changed_bit))
        number += isinstance(found, str)
        assert isinstance(found, str) or np.array_equal(found, expected), place
    assert number > 30


def test_floats_that_are_called_integers(tmp_path):
    samples = (tone() / 32768).astype("<f4")
    samples[:100] = 0
    form = struct.pack("<HHIIHH", 1, 1, RATE, 4 * RATE, 4, 32)
    content = with_format(written("WAV"), form)
    place = content.index(b"data") + 4
    content = content[:place] + struct.pack("<I", samples.nbytes) + samples.tobytes()
    assert reason_kind(prepared(tmp_path / "clip.wav", content)) == "damaged"
    same(prepared(tmp_path / "clip.wav", written("WAV", "PCM_32")))


@pytest.mark.parametrize("size", [1, 4])
def test_a_caf_with_other_bytes_than_bits(tmp_path, size):
    content = written("CAF", "PCM_16")
    wrong = changed(content, content.index(b"desc") + 12 + 16, ">I", size)
    assert reason_kind(prepared(tmp_path / "clip.caf", wrong)) == "damaged"


def with_samples(samples, form, kind="WAV"):
    """A file of these samples under a `fmt ` chunk."""
    if kind == "WAV":
        content = with_format(written("WAV"), form)
        place = content.index(b"data") + 4
        return content[:place] + struct.pack("<I", samples.nbytes) + samples.tobytes()
    content = written("W64")
    place = content.index(b"fmt ")
    body = b"data" + content[place + 4 : place + 16] + struct.pack("<q", 24 + samples.nbytes) + samples.tobytes()
    return content[:place] + chunk("W64", b"fmt ", form) + body


EXTENSION = struct.pack("<HHIH", 22, 24, 4, 1) + bytes.fromhex("000000001000800000aa00389b71")


@pytest.mark.parametrize("kind", ["WAV", "W64"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("tag", [1, 0xFFFE])
def test_24_bits_in_32(tmp_path, kind, channels, tag):
    """The upper 24 bits hold the sample. Samples in the lower ones are not scaled."""
    form = struct.pack("<HHIIHH", tag, channels, RATE, 4 * channels * RATE, 4 * channels, 24)
    form += EXTENSION if tag == 0xFFFE else b""
    right = np.repeat(tone().astype("<i4"), channels)
    same(prepared(tmp_path / "clip", with_samples(right << 16, form, kind)))
    wrong = prepared(tmp_path / "clip", with_samples((right << 8) + 1, form, kind))
    assert reason_kind(wrong) == "samples not scaled to [-1, 1]"


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "CAF", "W64"])
@pytest.mark.parametrize("bits", [16, 24])
def test_32_bit_integers_that_were_never_scaled(tmp_path, kind, bits):
    wave = (tone().astype(np.int32) << bits - 16) + 1
    found = prepared(tmp_path / "clip", written(kind, "PCM_32", wave))
    assert reason_kind(found) == "samples not scaled to [-1, 1]"
    wave[-1] = 1 << 23  # needs more bits
    assert "not scaled" not in str(prepared(tmp_path / "clip", written(kind, "PCM_32", wave)))


def test_quiet_samples_of_fewer_bits_in_32(tmp_path):
    """The lowest 8 bits are zero, so the samples were scaled."""
    quiet = np.round(tone() / 256).astype(np.int32)
    found = prepared(tmp_path / "clip", written("WAV", "PCM_32", quiet << 16))
    np.testing.assert_array_equal(found, quiet)


def test_64_bit_integers(tmp_path):
    form = struct.pack("<HHIIHH", 1, 1, RATE, 8 * RATE, 8, 64)
    found = prepared(tmp_path / "clip", with_samples(tone() / 32768, form))
    assert found == "damaged (64 bits per sample, at most 32 expected)"


@pytest.mark.parametrize("sync", ["72f81f4e", "fe7f0180", "ff1f00e8", "7ffe8001"])
def test_coded_audio_that_is_called_pcm(tmp_path, sync):
    """As copies of discs hold it: a frame of AC-3 or DTS again and again. It would be noise."""
    frames = np.frombuffer((bytes.fromhex(sync) + np.random.default_rng(0).bytes(6140)) * 20, "<i2")
    content = written("WAV", wave=np.concatenate([np.zeros(8, np.int16), frames]))
    assert reason_kind(prepared(tmp_path / "clip", content)) == "not audio samples"


def test_a_format_without_a_sample_rate(tmp_path):
    content = written("XI", "DPCM_16")
    assert reason_kind(prepared(tmp_path / "clip", content)) == "no sample rate in the file"


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_channels_that_cancel(tmp_path, kind):
    wave = np.stack([tone(), -tone()], axis=1)
    assert prepared(tmp_path / "clip", written(kind, wave=wave)) == "silent (the channels cancel each other)"
    assert prepared(tmp_path / "clip", written(kind, wave=0 * wave)) == "silent"


def test_one_sample_is_too_short(tmp_path):
    assert reason_kind(prepared(tmp_path / "clip", written("WAV", wave=tone(length=1)))) == "too short"
