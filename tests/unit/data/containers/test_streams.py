"""MP3, FLAC and Ogg, whose frames are counted."""

import io
import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile as sf

from elasticast.data.audio import decode
from elasticast.data.manifest import reason_kind
from tests.unit.data.containers.test_lengths import APE, APE_WITH_FOOTER, ID3, TAG, same
from tests.unit.data.sounds import LENGTH, prepared, tone, written

FRAME = 1152
FFMPEG = shutil.which("ffmpeg")  # to write files; the tests read without it


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture(scope="module")
def mp3():
    return written("MP3")


@pytest.fixture(params=[1, 2])
def channels(request):
    return request.param


def place_of_count(content):
    return max(content.find(b"Xing"), content.find(b"Info")) + 8


def with_count(content, count):
    place = place_of_count(content)
    return content[:place] + struct.pack(">I", count) + content[place + 4 :]


def frames_of(content):
    return struct.unpack_from(">I", content, place_of_count(content))[0]


def first_frame(content):
    """Length of the first frame, found as the distance of the first two headers."""
    return content.index(content[:2], 4)


def without_count(content):
    return content[first_frame(content) :]


def about(found, expected, files=1):
    assert not isinstance(found, str), found
    assert abs(len(found) - expected) <= 3 * FRAME * files
    middle = found[4000:12000].astype(float)
    assert np.std(middle) == pytest.approx(np.std(tone()[:8000].astype(float)), rel=0.2)


@pytest.mark.parametrize("count", [0, 1, 5, 40])
def test_an_mp3_with_too_small_a_count_is_read_whole(tmp_path, mp3, count):
    about(prepared(tmp_path / "clip", with_count(mp3, count)), LENGTH)


@pytest.mark.parametrize("more", [10, 1000, 1 << 31])
def test_an_mp3_with_too_large_a_count(tmp_path, mp3, more):
    """The number of bytes beside it is right. Without it, the file is cut."""
    about(prepared(tmp_path / "clip", with_count(mp3, frames_of(mp3) + more)), LENGTH)
    place = place_of_count(mp3)
    wrong = with_count(mp3, frames_of(mp3) + more)
    wrong = wrong[: place + 4] + struct.pack(">I", 2 * len(mp3)) + wrong[place + 8 :]
    assert prepared(tmp_path / "clip", wrong) == "truncated"


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_without_a_count(tmp_path, mode, channels):
    """The clip is quiet, then loud, so that a guess from the first bit rate is wrong."""
    wave = tone(channels=channels, length=160_000) * np.repeat([0.001, 1], 80_000).reshape(-1, *[1] * (channels - 1))
    content = written("MP3", wave=wave.astype(np.int16), bitrate_mode=mode, compression_level=0.1)
    found = prepared(tmp_path / "clip", without_count(content))
    assert not isinstance(found, str), found
    assert len(found) == pytest.approx(160_000, abs=3 * FRAME)
    assert np.std(found[100_000:150_000].astype(float)) == pytest.approx(np.std(tone().astype(float)), rel=0.2)


@pytest.mark.parametrize("place", [141, 142, 143])
@pytest.mark.parametrize("value", [0, 127, 255])
def test_a_tag_that_is_damaged_leaves_out_no_samples(tmp_path, mp3, place, value):
    """These bytes say how many samples to leave out at the start and at the end."""
    wrong = bytearray(mp3)
    wrong[mp3.index(b"Xing") + place] = value
    about(prepared(tmp_path / "clip", bytes(wrong)), LENGTH)


def test_a_wrong_size_in_the_tag_is_not_the_users_business(tmp_path, mp3, capfd):
    wrong, place = bytearray(mp3), mp3.index(b"Xing") + 12
    wrong[place : place + 4] = (2 * len(mp3)).to_bytes(4, "big")
    prepared(tmp_path / "clip", bytes(wrong))
    assert "Xing" not in capfd.readouterr().err


def test_joined_mp3s_are_read_whole(tmp_path, mp3):
    about(prepared(tmp_path / "clip", mp3 + mp3), 2 * LENGTH)
    about(prepared(tmp_path / "clip", mp3 + TAG + ID3 + mp3 + TAG + mp3), 3 * LENGTH, files=3)
    about(prepared(tmp_path / "clip", without_count(mp3) * 2), 2 * LENGTH)


@pytest.mark.parametrize("extra", [ID3, TAG, APE, bytes(3000), b"\1junk" * 20])
def test_tags_and_junk_around_an_mp3(tmp_path, mp3, extra):
    expected = prepared(tmp_path / "clip", mp3)
    np.testing.assert_array_equal(prepared(tmp_path / "clip", mp3 + extra), expected)
    about(prepared(tmp_path / "clip", ID3 + extra + mp3), LENGTH)
    middle = first_frame(mp3)
    about(prepared(tmp_path / "clip", mp3[:middle] + extra + mp3[middle:]), LENGTH)


@pytest.mark.parametrize("more", [50, 300, 2000, 5000])
def test_an_id3_tag_that_gives_too_large_a_size_hides_no_frames(tmp_path, mp3, more):
    """The size is right within 128 bytes, and the tag then ends within a frame."""
    size = 128 + more
    tag = b"ID3\4\0\0" + bytes([0, 0, size >> 7, size & 127]) + np.random.default_rng(0).bytes(128)
    about(prepared(tmp_path / "clip", tag + mp3), LENGTH)
    about(prepared(tmp_path / "clip", tag + without_count(mp3)), LENGTH)


def free_format(number, length=300):
    """Frames of layer III, MPEG 2, that do not give their bit rate. Their content does not matter here."""
    return (b"\xff\xf3\x08\xc4" + bytes(length - 4)) * number


def test_an_mp3_of_a_free_format_is_refused(tmp_path):
    """libsndfile reads one such file of several that were joined."""
    for content in (free_format(50), ID3 + free_format(50), free_format(50) + free_format(50, 400)):
        assert reason_kind(prepared(tmp_path / "clip", content)).startswith("MP3 of a free format")


def test_a_tag_of_another_encoder_that_is_damaged_leaves_out_no_samples(tmp_path, mp3):
    wrong, place = bytearray(mp3), mp3.index(b"Xing")
    wrong[place + 120 : place + 124], wrong[place + 141 : place + 144] = b"Lavf", b"\xff\xff\xff"
    about(prepared(tmp_path / "clip", bytes(wrong)), LENGTH)


def crc16(text):
    """With the polynomial 0x8005, bit by bit from the lowest."""
    crc = 0
    for byte in text:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


@pytest.mark.parametrize("name", [b"Lavf", b"Lavc", b"LAME"])
def test_the_tag_of_ffmpeg_says_which_samples_to_leave_out(tmp_path, mp3, name):
    """Its checksum is that of 190 bytes; LAME's, which ffmpeg can leave in a copy, of those before it."""
    place, first = mp3.index(b"Xing"), mp3.index(b"\xff")
    tagged = bytearray(mp3)
    tagged[place + 120 : place + 124], tagged[place + 154 : place + 156] = name, bytes(2)
    length = mp3.index(tagged[first : first + 2], first + 4) - first
    summed = bytes(tagged[first : first + min(length, 190)]).ljust(190, b"\0")
    tagged[place + 154 : place + 156] = crc16(summed).to_bytes(2, "big")
    whole = prepared(tmp_path / "clip", mp3)
    np.testing.assert_array_equal(prepared(tmp_path / "clip", bytes(tagged)), whole)
    tagged[place + 141] ^= 1
    assert len(prepared(tmp_path / "clip", bytes(tagged))) != len(whole)


@pytest.mark.skipif(not FFMPEG, reason="needs ffmpeg")
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
def test_an_mp3_of_ffmpeg_has_the_length_of_what_it_encoded(tmp_path, rate, channels):
    sf.write(tmp_path / "clip.wav", np.tile(tone(length=2 * rate)[:, None], channels), rate)
    command = [FFMPEG, "-v", "error", "-i", tmp_path / "clip.wav", "-c:a", "libmp3lame", tmp_path / "clip.mp3"]
    subprocess.run(command, check=True)
    assert len(decode(tmp_path / "clip.mp3", rate=rate).samples) == 2 * rate


def test_an_mp3_of_another_sample_rate_after_the_first_is_not_left_out(tmp_path, mp3):
    other = io.BytesIO()
    sf.write(other, tone(length=90_000), 44100, format="MP3")
    assert isinstance(prepared(tmp_path / "clip", mp3 + other.getvalue()), str)


def test_a_span_of_an_mp3_without_a_count(tmp_path, mp3):
    (tmp_path / "clip").write_bytes(with_count(mp3, 0))
    whole = decode(tmp_path / "clip", rate=16000).samples
    part = decode(tmp_path / "clip", rate=16000, start=0.5, duration=0.5).samples
    np.testing.assert_allclose(part.astype(int), whole[8000:16000], atol=1)


# ---------------------------------------------------------------------------------------------
# FLAC
# ---------------------------------------------------------------------------------------------


def with_total(content, total):
    number = int.from_bytes(content[21:26], "big") >> 36 << 36 | total
    return content[:21] + number.to_bytes(5, "big") + content[26:]


@pytest.mark.parametrize("total", [0, 1, 4096, 20_000])
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_a_flac_with_no_or_too_small_a_number_is_read_whole(tmp_path, total, subtype, channels):
    content = written("FLAC", subtype, tone(channels=channels))
    expected = prepared(tmp_path / "clip", content)
    for one in (content, content + TAG, ID3 + content):
        base = len(ID3) if one.startswith(b"ID3") else 0
        changed = one[:base] + with_total(one[base:], total)
        np.testing.assert_array_equal(prepared(tmp_path / "clip", changed), expected)


@pytest.mark.parametrize("total", [0, LENGTH, LENGTH + 1, 1 << 35])
@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
def test_a_cut_flac(tmp_path, total, kept):
    content = with_total(written("FLAC"), total)
    assert prepared(tmp_path / "clip", content[: int(len(content) * kept)]) in ("truncated", "damaged")


@pytest.mark.parametrize("total", [0, 20_000])
def test_tags_after_a_flac_with_a_wrong_number(tmp_path, total):
    content = with_total(written("FLAC"), total)
    for after in (APE_WITH_FOOTER, ID3, APE_WITH_FOOTER + TAG, bytes(3000)):
        same(prepared(tmp_path / "clip", content + after))


def test_frames_that_the_number_of_samples_leaves_out_are_noticed(tmp_path):
    """Although something else follows the last one."""
    content = with_total(written("FLAC"), 2 * 4096) + b"junk" * 50
    assert reason_kind(prepared(tmp_path / "clip", content)) == "data after the end of the samples"


@pytest.mark.parametrize("field", ["rate", "channels", "bits"])
def test_a_flac_whose_frames_have_another_description_is_damaged(tmp_path, field):
    content = bytearray(written("FLAC"))
    shift, value = {"rate": (44, 8000), "channels": (41, 1), "bits": (36, 23)}[field]
    width = {"rate": 20, "channels": 3, "bits": 5}[field]
    number = int.from_bytes(content[18:26], "big") & ~((1 << width) - 1 << shift) | value << shift
    content[18:26] = number.to_bytes(8, "big")
    assert prepared(tmp_path / "clip", bytes(content)) == "damaged (two descriptions of the samples)"


@pytest.mark.parametrize("rate", [7999, 11025, 44100, 192_000, 384_000])
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_a_flac_of_any_rate_agrees_with_its_frames(tmp_path, rate, subtype):
    sf.write(tmp_path / "clip.flac", tone(), rate, subtype=subtype)
    clip = decode(tmp_path / "clip.flac", rate=rate)
    assert (len(clip.samples), clip.sample_rate) == (LENGTH, rate)


def test_a_flac_with_too_large_a_number_is_cut(tmp_path):
    assert prepared(tmp_path / "clip", with_total(written("FLAC"), LENGTH + 1)) == "truncated"


# ---------------------------------------------------------------------------------------------
# Ogg
# ---------------------------------------------------------------------------------------------


def pages(content):
    places = [i for i in range(len(content)) if content.startswith(b"OggS", i)]
    return [content[a:b] for a, b in zip(places, [*places[1:], None], strict=True)]


@pytest.fixture(scope="module", params=["VORBIS", "OPUS"])
def ogg(request):
    return written("OGG", request.param, tone(length=200_000))


def test_an_ogg_cut_between_pages_is_truncated(tmp_path, ogg):
    parts = pages(ogg)
    for kept in range(1, len(parts)):
        assert prepared(tmp_path / "clip", b"".join(parts[:kept])) == "truncated"


def test_an_ogg_with_a_missing_or_damaged_page_is_damaged(tmp_path, ogg):
    parts = pages(ogg)
    for gone in range(2, len(parts) - 1):
        assert prepared(tmp_path / "clip", b"".join(parts[:gone] + parts[gone + 1 :])) == "damaged"
    for place in np.random.default_rng(0).integers(200, len(ogg), 20):
        wrong = bytearray(ogg)
        wrong[place] ^= 16
        assert reason_kind(prepared(tmp_path / "clip", bytes(wrong))) in ("damaged", "truncated")


def sealed(page):
    """A page with the right checksum."""
    crc = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if crc & 1 << 31 else crc << 1
    return page[:22] + struct.pack("<I", crc) + page[26:]


def test_an_ogg_may_end_with_an_empty_page(tmp_path):
    vorbis = written("OGG", "VORBIS", tone(length=200_000))
    *parts, last = pages(vorbis)
    flags, _, serial, number = struct.unpack_from("<BqII", last, 5)
    last = sealed(last[:5] + bytes([flags & ~4]) + last[6:])
    end = sealed(b"OggS\0" + struct.pack("<BqII", 4, -1, serial, number + 1) + bytes(5))
    found = prepared(tmp_path / "clip", b"".join([*parts, last, end]))
    np.testing.assert_array_equal(found, prepared(tmp_path / "other", vorbis))


@pytest.mark.parametrize("last", [0.5, 0, -1])
def test_an_ogg_that_ends_before_it_ends_is_damaged(tmp_path, ogg, last):
    """libsndfile would leave out the pages after the time that the last one gives."""
    parts = pages(ogg)
    time = int(struct.unpack_from("<q", parts[-1], 6)[0] * last) if last >= 0 else -1
    wrong = [*parts[:-1], sealed(parts[-1][:6] + struct.pack("<q", time) + parts[-1][14:])]
    assert prepared(tmp_path / "clip", b"".join(wrong)) == "damaged"


def renamed(content, serial):
    """An Ogg stream of another number."""
    return [sealed(page[:14] + struct.pack("<I", serial) + page[18:]) for page in pages(content)]


def test_each_of_several_streams_in_an_ogg_has_to_end(tmp_path, ogg):
    first, second = pages(ogg), renamed(ogg, 77)
    mixed = [page for pair in zip(first, second, strict=True) for page in pair]
    assert reason_kind(prepared(tmp_path / "clip", b"".join(mixed))) == "needs ffmpeg"
    assert prepared(tmp_path / "clip", b"".join(mixed[:-1])) == "truncated"
    assert prepared(tmp_path / "clip", b"".join(mixed[:-4])) == "truncated"
    assert prepared(tmp_path / "clip", b"".join(mixed[:8] + mixed[10:])) == "damaged"


def test_tags_after_an_ogg(tmp_path, ogg):
    expected = prepared(tmp_path / "clip", ogg)
    for extra in (TAG, ID3, bytes(5000)):
        np.testing.assert_array_equal(prepared(tmp_path / "clip", ogg + extra), expected)


def test_a_flac_is_exact(tmp_path):
    same(prepared(tmp_path / "clip", written("FLAC")))
