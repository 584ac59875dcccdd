import errno
import math
import os
import struct

import h5py
import numpy as np
import pytest
import soundfile as sf

from elasticast.data.audio import UnusableAudioError, decode, open_recording
from elasticast.data.manifest import reason_kind
from elasticast.faults import PASSING
from tests.complaints import complains

RATE = 16000


def noise(seconds=0.5, rate=RATE, channels=1, seed=0):
    shape = (round(seconds * rate), channels) if channels > 1 else round(seconds * rate)
    return (np.random.default_rng(seed).standard_normal(shape) * 3000).astype(np.int16)


def reason(path, **options):
    with pytest.raises(UnusableAudioError) as caught:
        decode(path, **{"rate": RATE, **options})
    return str(caught.value)


def samples(path, **options):
    return decode(path, **{"rate": RATE, **options}).samples


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "clip.wav"
    sf.write(path, noise(), RATE)
    return path


# ---------------------------------------------------------------------------------------------
# Samples
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16000, 24000, 44100])
def test_16_bit_at_the_rate_asked_for_comes_back_bit_by_bit(tmp_path, rate):
    every = np.arange(-32768, 32768).astype(np.int16)
    for name in ("clip.wav", "clip.flac"):
        sf.write(tmp_path / name, every, rate, subtype="PCM_16")
        clip = decode(tmp_path / name, rate=rate)
        assert clip.samples.dtype == np.int16
        np.testing.assert_array_equal(clip.samples, every)
        assert (clip.rate, clip.sample_rate, clip.channels) == (rate, rate, 1)
        assert clip.seconds == 65536 / rate


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_16_bit_samples_are_the_same_as_integers_and_as_floats(tmp_path, channels):
    """16-bit samples are read without conversion, which is faster."""
    wave = noise(1.0, 44100, channels)
    sf.write(tmp_path / "integers.wav", wave, 44100)
    sf.write(tmp_path / "floats.wav", wave / 32768, 44100, subtype="FLOAT")
    for rate in (16000, 44100):
        found = [samples(tmp_path / f"{kind}.wav", rate=rate) for kind in ("integers", "floats")]
        np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("rate", [8000, 11127, 22050, 44100, 48000, 192_000])
@pytest.mark.parametrize("new", [16000, 24000])
def test_resampling_keeps_length_pitch_and_level(tmp_path, rate, new):
    """11,127 Hz has no small ratio to the others; its exact filter would take gigabytes."""
    time = np.arange(rate) / rate
    sf.write(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 1000 * time), rate)
    clip = decode(tmp_path / "tone.wav", rate=new)
    assert len(clip.samples) == pytest.approx(new, abs=2)
    assert (clip.rate, clip.sample_rate) == (new, rate)
    spectrum = np.abs(np.fft.rfft(clip.samples))
    assert spectrum.argmax() == 1000
    level = np.sqrt(np.mean(clip.samples[1000:-1000].astype(float) ** 2))
    assert level == pytest.approx(0.5 * 32768 / 2**0.5, rel=0.01)


def test_channels_are_averaged(tmp_path):
    for channels in (2, 6):
        several = noise(channels=channels)
        sf.write(tmp_path / "several.wav", several, RATE)
        clip = decode(tmp_path / "several.wav", rate=RATE)
        assert clip.channels == channels
        np.testing.assert_allclose(clip.samples, several.astype(float).mean(axis=1), atol=0.51)


def test_loud_float_samples_are_clipped_not_wrapped(wav):
    wave = np.linspace(-0.9, 0.9, 4000)
    wave[::400], wave[1::400] = 2.0, -2.0
    sf.write(wav, wave, RATE, subtype="FLOAT")
    found = samples(wav)
    assert set(found[::400].tolist()) == {32767}
    assert set(found[1::400].tolist()) == {-32768}


def test_floats_on_the_scale_of_integers_are_refused(wav):
    """Clipping these samples would give a square wave."""
    sf.write(wav, noise().astype(np.float32), RATE, subtype="FLOAT")
    assert reason_kind(reason(wav)) == "samples not scaled to [-1, 1]"


# ---------------------------------------------------------------------------------------------
# Formats
# ---------------------------------------------------------------------------------------------

FORMATS = [
    *[("WAVEX", "PCM_16", 0), ("RF64", "PCM_16", 0), ("W64", "PCM_16", 0), ("AIFF", "PCM_16", 0), ("CAF", "PCM_16", 0)],
    *[("AU", "PCM_16", 0), ("NIST", "PCM_16", 0), ("FLAC", "PCM_16", 0), ("WAV", "PCM_24", 0), ("WAVEX", "PCM_24", 0)],
    *[("WAV", "PCM_32", 0), ("WAV", "FLOAT", 0), ("WAV", "DOUBLE", 0), ("FLAC", "PCM_24", 0), ("WAV", "PCM_U8", 256)],
    *[("WAV", "ULAW", 500), ("WAV", "ALAW", 500)],
]


@pytest.mark.parametrize(("kind", "subtype", "error"), FORMATS)
def test_formats(tmp_path, kind, subtype, error):
    """The content decides: all files have the extension .wav here."""
    wave = noise() / 32768 if subtype in ("FLOAT", "DOUBLE") else noise()
    sf.write(tmp_path / "clip.wav", wave, RATE, format=kind, subtype=subtype)
    np.testing.assert_allclose(samples(tmp_path / "clip.wav").astype(int), noise(), atol=error)


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")])
@pytest.mark.parametrize("name", ["clip.wav", "clip.raw", "clip", "-1:a%03d é.mp4"])
def test_compressed_formats_under_any_name(tmp_path, kind, subtype, name):
    time = np.arange(2 * RATE) / RATE
    sf.write(tmp_path / name, 0.5 * np.sin(2 * np.pi * 500 * time), RATE, format=kind, subtype=subtype)
    found = samples(tmp_path / name)
    assert len(found) == 2 * RATE
    assert np.abs(np.fft.rfft(found)).argmax() == 1000


def test_chunks_around_the_samples_are_no_damage(wav):
    """A chunk of odd length is padded to an even one; chunks may follow the samples."""
    content, extra = wav.read_bytes(), b"note" + struct.pack("<I", 3) + b"abc\0"
    body = content[12:36] + extra + content[36:] + extra
    wav.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)
    np.testing.assert_array_equal(samples(wav), noise())


def test_a_wav_written_to_a_pipe_is_no_damage(wav):
    """The sizes are unknown when the header is written."""
    content = wav.read_bytes()
    wav.write_bytes(content[:4] + b"\xff" * 4 + content[8:40] + b"\xff" * 4 + content[44:])
    np.testing.assert_array_equal(samples(wav), noise())


# ---------------------------------------------------------------------------------------------
# Spans
# ---------------------------------------------------------------------------------------------


def test_a_span_is_that_part_of_the_file(wav):
    np.testing.assert_array_equal(samples(wav, start=0.1, duration=0.2), noise()[1600:4800])
    np.testing.assert_array_equal(samples(wav, start=0.1), noise()[1600:])


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_a_span_of_a_compressed_file_is_that_part_of_it(tmp_path, kind):
    path = tmp_path / f"clip.{kind}"
    sf.write(path, noise(20.0), RATE)
    whole = samples(path)
    for start, stop in ((0, 400), (1, 16000), (12345, 23456), (300_000, 320_000)):
        found = samples(path, start=start / RATE, duration=(stop - start) / RATE)
        np.testing.assert_allclose(found.astype(int), whole[start:stop], atol=1)


@pytest.mark.parametrize(
    "span",
    [(0.4, 0.2), (0.6, math.nan), (-0.1, 0.2), (0.1, 0.0), (0.1, -0.05), (math.nan, 0.2), (0.1, math.inf)],
)
def test_a_span_outside_its_file_is_rejected(wav, span):
    assert reason(wav, start=span[0], duration=span[1]) == "span outside the file"


def test_a_span_of_no_sample_is_empty(wav):
    assert reason(wav, start=0.1, duration=1e-6) == "empty"


def test_a_span_may_be_rounded_to_milliseconds(wav):
    assert decode(wav, rate=RATE, start=0.4, duration=0.1009).seconds == pytest.approx(0.1)


def test_longer_than_its_segment(tmp_path):
    path = tmp_path / "clip.flac"
    sf.write(path, noise(12.3), RATE)
    assert reason(path, longest=11.0) == "longer than its segment (12.3 s of 11.0 s)"
    assert reason(path, longest=3.0, start=2.0, duration=4.0) == "longer than its segment (4.0 s of 3.0 s)"
    assert decode(path, rate=RATE, longest=12.3).seconds == 12.3
    assert decode(path, rate=RATE, longest=3.0, start=2.0, duration=3.0).seconds == 3.0


# ---------------------------------------------------------------------------------------------
# Silence
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_trimmed_is_what_was_there_before_the_silence_was_added(tmp_path, rate, channels):
    wave = noise(0.5, rate, channels) + 1  # rarely zero at an end
    wave[100:200] = 0  # silence within stays
    silence = np.zeros((rate, channels) if channels > 1 else rate, np.int16)
    sf.write(tmp_path / "native.wav", wave, rate)
    expected = samples(tmp_path / "native.wav")
    for before, after in ((silence, silence[:7]), (silence[:0], silence), (silence[:1], silence[:0])):
        sf.write(tmp_path / "padded.wav", np.concatenate([before, wave, after]), rate)
        np.testing.assert_array_equal(samples(tmp_path / "padded.wav", trim=True), expected)
        assert len(samples(tmp_path / "padded.wav")) > len(expected)


def test_trimmed_to_nothing_or_too_little(wav):
    sf.write(wav, np.zeros(8000, np.int16), RATE)
    assert reason(wav, trim=True) == "silent"
    sf.write(wav, np.pad(noise()[:399], 1000), RATE)
    assert reason(wav, trim=True) == "too short (< 25 ms)"
    assert len(samples(wav)) == 2399


def test_silent(wav):
    for value in (0, 5):  # a constant offset is silence, too
        sf.write(wav, np.full(8000, value, np.int16), RATE)
        assert reason(wav) == "silent"


def test_channels_that_cancel_are_silent(wav):
    sf.write(wav, np.stack([noise(), -noise()], axis=1), RATE)
    assert reason(wav) == "silent (the channels cancel each other)"


# ---------------------------------------------------------------------------------------------
# What cannot be used
# ---------------------------------------------------------------------------------------------


def test_missing_and_empty(tmp_path, wav):
    assert reason(tmp_path / "none.wav") == "missing"
    assert reason(wav / "clip.wav") == "missing"
    (tmp_path / "link.wav").symlink_to(tmp_path / "none.wav")
    assert reason(tmp_path / "link.wav") == "missing"
    wav.write_bytes(b"")
    assert reason(wav) == "empty"
    sf.write(wav, np.zeros(0, np.int16), RATE)
    assert reason(wav) == "empty"


@pytest.mark.parametrize("key", ["", "P01_01"])
def test_what_is_no_file_is_not_waited_for(tmp_path, key):
    os.mkfifo(tmp_path / "pipe.wav")
    assert reason(tmp_path / "pipe.wav", key=key) == "not a file"
    assert reason(tmp_path, key=key) == "not a file"
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    assert reason(tmp_path / "loop.wav", key=key) == "unreadable"
    assert reason(tmp_path / ("long" * 100), key=key) == "unreadable"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("key", ["", "P01_01"])
def test_unreadable(tmp_path, wav, key):
    wav.chmod(0)
    assert reason(wav, key=key) == "unreadable"
    (tmp_path / "closed").mkdir(mode=0)
    assert reason(tmp_path / "closed/clip.wav", key=key) == "unreadable"


@pytest.mark.parametrize("number", PASSING)
@pytest.mark.parametrize("place", ["os.stat", "os.open", "h5py.File"])
def test_a_fault_of_the_machine_is_no_fault_of_the_file(wav, hdf5, monkeypatch, place, number):
    """It would leave the clip out, and the scores would be those of fewer clips."""
    path, key = (hdf5, "int16") if place == "h5py.File" else (wav, "")

    def fail(*_, **__):
        raise OSError(number, "")

    monkeypatch.setattr(place, fail)
    with pytest.raises(OSError, match=path.name) as caught:
        open_recording(path, key)
    monkeypatch.undo()
    assert (caught.value.errno, caught.value.filename) == (number, str(path))


def test_a_file_that_can_no_longer_be_read_is_not_damaged(tmp_path, monkeypatch):
    path = tmp_path / "clip.flac"
    sf.write(path, noise(5.0), RATE)
    content = bytearray(path.read_bytes())
    content[9000] ^= 0x55
    path.write_bytes(content)
    assert reason(path) == "damaged"

    def fail(*_):
        raise OSError(errno.EIO, "")

    with open_recording(path) as recording:
        monkeypatch.setattr(os, "pread", fail)
        with pytest.raises(OSError, match="clip") as caught:
            list(recording.blocks(0, recording.frames))
    assert caught.value.errno == errno.EIO


@pytest.mark.parametrize("kept", [8, 12, 30, 44, 45, 1000, 16043])
def test_a_wav_cut_short_anywhere_is_truncated(wav, kept):
    content = wav.read_bytes()
    assert len(content) == 16044
    wav.write_bytes(content[:kept])
    assert reason(wav) == "truncated"


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "FLAC", "MP3", "VORBIS", "OPUS"])
def test_a_file_cut_short_is_truncated(tmp_path, kind):
    """Among these formats, libsndfile detects only damaged FLAC and MP3 files."""
    path, options = tmp_path / "clip", {"format": "OGG", "subtype": kind} if kind in ("VORBIS", "OPUS") else {}
    sf.write(path, noise(5.0), RATE, **({"format": kind} | options))
    content = path.read_bytes()
    assert decode(path, rate=RATE).seconds == pytest.approx(5.0)
    for kept in (len(content) - 20, len(content) // 2):
        path.write_bytes(content[:kept])
        assert reason(path) == "truncated"


@pytest.mark.parametrize("place", [5000, 50_000])
def test_a_flac_with_a_wrong_byte_is_damaged(tmp_path, place):
    path = tmp_path / "clip.flac"
    sf.write(path, noise(5.0), RATE)
    content = bytearray(path.read_bytes())
    content[place] ^= 0x55
    path.write_bytes(content)
    assert reason(path) == "damaged"


def test_an_mp3_that_does_not_tell_its_length_is_not_cut_to_a_guess(tmp_path):
    path = tmp_path / "clip.mp3"
    sf.write(path, noise(5.0), RATE)
    content = path.read_bytes()
    assert content.count(b"Xing") + content.count(b"Info") == 1
    path.write_bytes(content.replace(b"Xing", bytes(4)).replace(b"Info", bytes(4)))
    assert decode(path, rate=RATE).seconds == pytest.approx(5.0, abs=0.2)
    tag = b"ID3\4\0\0" + bytes([0, 0, 40, 3])  # 40 * 128 + 3 bytes follow
    path.write_bytes(tag + bytes(40 * 128 + 3) + content)
    assert decode(path, rate=RATE).seconds == 5.0


@pytest.mark.parametrize("rate", [1, 99, 20_000_000])
def test_a_damaged_sample_rate_is_refused(wav, rate):
    content = wav.read_bytes()
    wav.write_bytes(content[:24] + struct.pack("<I", rate) + content[28:])
    assert reason(wav) == f"unlikely sample rate ({rate} Hz)"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_non_finite_samples(tmp_path, bad, channels):
    wave = noise(channels=channels).astype(np.float32) / 32768
    wave[77] = bad
    sf.write(tmp_path / "float.wav", wave, RATE, subtype="FLOAT")
    assert reason(tmp_path / "float.wav") == "non-finite samples"


def test_too_short(wav):
    for rate in (8000, 16000, 44100):
        sf.write(wav, noise(0.024, rate), rate)
        assert reason(wav) == "too short (< 25 ms)"
        sf.write(wav, noise(0.026, rate), rate)
        assert decode(wav, rate=RATE).seconds >= 0.025


def test_nothing_stays_open(tmp_path, wav):
    (tmp_path / "cut.wav").write_bytes(wav.read_bytes()[:1000])
    (tmp_path / "text.wav").write_bytes(b"no sound" * 100)
    (tmp_path / "rate.wav").write_bytes(wav.read_bytes()[:24] + bytes(4) + wav.read_bytes()[28:])
    before = len(os.listdir("/proc/self/fd"))
    for name in ("cut", "text", "rate"):
        reason(tmp_path / f"{name}.wav")
    samples(wav)
    reason(wav, start=3.0)
    assert len(os.listdir("/proc/self/fd")) == before


# ---------------------------------------------------------------------------------------------
# HDF5
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def hdf5(tmp_path):
    with h5py.File(tmp_path / "audio.hdf5", "w") as file:
        file["int16"] = noise()
        file["column"] = noise()[:, None]
        file["float32"] = (noise() / 32768).astype(np.float32)
        file["float64"] = noise() / 32768
        file["big_endian"] = noise().astype(">i2")
        file["fast"] = noise()
        file["fast"].attrs["sample_rate"] = 2 * RATE
        file["folder/packed"] = noise()
        file["empty"] = np.zeros(0, np.float32)
        file["wrong/int64"] = noise().astype(np.int64)
        file["wrong/stereo"] = noise(channels=2)
        file["wrong/text"] = "hello"
        file["wrong/unscaled"] = noise().astype(np.float32)
    return tmp_path / "audio.hdf5"


@pytest.mark.parametrize("key", ["int16", "column", "float32", "float64", "big_endian", "folder/packed"])
def test_hdf5(hdf5, key):
    clip = decode(hdf5, rate=RATE, key=key)
    np.testing.assert_array_equal(clip.samples, noise())
    assert (clip.sample_rate, clip.channels) == (RATE, 1)
    for start, stop in ((0, 4000), (1234, 5678), (4000, 8000)):
        found = samples(hdf5, key=key, start=start / RATE, duration=(stop - start) / RATE)
        np.testing.assert_array_equal(found, noise()[start:stop])


def test_hdf5_rate_defaults_to_the_requested_rate(hdf5, wav):
    assert decode(hdf5, rate=24000, key="int16").sample_rate == 24000
    sf.write(wav, noise(), 2 * RATE)
    np.testing.assert_array_equal(samples(hdf5, key="fast"), samples(wav))
    with h5py.File(hdf5.with_name("other.hdf5"), "w") as file:
        file.attrs["sample_rate"] = [48000.0]  # of the whole file
        file["key"] = noise()
        file["fast"] = h5py.ExternalLink(hdf5, "fast")
    assert decode(hdf5.with_name("other.hdf5"), rate=RATE, key="key").sample_rate == 48000
    assert decode(hdf5.with_name("other.hdf5"), rate=RATE, key="fast").sample_rate == 2 * RATE


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("none", "no such key"),
        ("wrong/none", "no such key"),
        ("int16/none", "no such key"),
        ("wrong", "not audio (a group)"),
        ("wrong/int64", "not audio (int64)"),
        ("wrong/stereo", "not audio (shape (8000, 2))"),
        ("wrong/text", "not audio (shape ())"),
        ("wrong/unscaled", "samples not scaled to [-1, 1]"),
        ("empty", "empty"),
    ],
)
def test_hdf5_without_audio_under_its_key(hdf5, key, expected):
    assert expected in (reason(hdf5, key=key), reason_kind(reason(hdf5, key=key)))


def test_hdf5_span_outside(hdf5):
    assert reason(hdf5, key="int16", start=0.4, duration=0.2) == "span outside the file"
    assert reason(hdf5, key="int16", longest=0.3) == "longer than its segment (0.5 s of 0.3 s)"


def test_damaged_hdf5(hdf5, wav):
    assert reason(wav, key="int16") == "not HDF5"
    assert reason(hdf5.with_name("none.hdf5"), key="int16") == "missing"
    with complains(UnusableAudioError, "not audio", "HDF5"):  # without a key
        decode(hdf5, rate=RATE)
    content = hdf5.read_bytes()
    hdf5.write_bytes(content[: len(content) // 2])
    assert reason(hdf5, key="int16") == "truncated"
    hdf5.write_bytes(b"")
    assert reason(hdf5, key="int16") == "empty"


def test_only_the_span_is_read(tmp_path):
    """Damage in other parts of the dataset does not matter."""
    path, wave = tmp_path / "audio.hdf5", noise(4.0)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("key", data=wave, chunks=(RATE,), fletcher32=True)
        damaged = data.id.get_chunk_info(3).byte_offset
    with open(path, "r+b") as file:
        file.seek(damaged)
        file.write(bytes(100))
    np.testing.assert_array_equal(samples(path, key="key", duration=3.0), wave[: 3 * RATE])
    assert reason(path, key="key", duration=3.1) == "damaged"


def test_a_changed_hdf5_file_is_read_anew(hdf5):
    np.testing.assert_array_equal(samples(hdf5, key="int16"), noise())
    with h5py.File(hdf5.with_name("new"), "w") as file:
        file["int16"] = noise(seed=1)
    os.replace(hdf5.with_name("new"), hdf5)
    np.testing.assert_array_equal(samples(hdf5, key="int16"), noise(seed=1))


def test_few_hdf5_files_stay_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for number in range(30):
        with h5py.File(tmp_path / f"{number}.hdf5", "w") as file:
            file["key"] = noise()
        samples(tmp_path / f"{number}.hdf5", key="key")
    assert len(os.listdir("/proc/self/fd")) <= before + 8
