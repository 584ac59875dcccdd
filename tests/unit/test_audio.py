import struct

import numpy as np
import pytest
import soundfile as sf

from elasticast.data.audio import STORE_RATE, UnusableAudioError, decode


def noise(seconds=0.5, rate=16000, channels=1, seed=0):
    shape = (round(seconds * rate), channels) if channels > 1 else round(seconds * rate)
    return (np.random.default_rng(seed).standard_normal(shape) * 3000).astype(np.int16)


def reason(path, *span):
    with pytest.raises(UnusableAudioError) as caught:
        decode(path, *span)
    return str(caught.value)


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "clip.wav"
    sf.write(path, noise(), 16000)
    return path


def test_16_bit_at_16_khz_comes_back_bit_by_bit(wav):
    clip = decode(wav)
    assert clip.samples.dtype == np.int16
    np.testing.assert_array_equal(clip.samples, noise())
    assert (clip.sample_rate, clip.channels, clip.seconds) == (16000, 1, 0.5)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampling_keeps_length_pitch_and_level(tmp_path, rate):
    time = np.arange(rate) / rate
    sf.write(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 1000 * time), rate)
    clip = decode(tmp_path / "tone.wav")
    assert (len(clip.samples), clip.sample_rate) == (STORE_RATE, rate)
    spectrum = np.abs(np.fft.rfft(clip.samples))
    assert spectrum.argmax() == 1000
    assert np.sqrt(np.mean(clip.samples[1000:-1000].astype(float) ** 2)) == pytest.approx(
        0.5 * 32768 / 2**0.5, rel=0.01
    )


def test_channels_are_averaged(tmp_path):
    stereo = noise(channels=2)
    sf.write(tmp_path / "stereo.wav", stereo, 16000)
    clip = decode(tmp_path / "stereo.wav")
    assert clip.channels == 2
    np.testing.assert_allclose(clip.samples, stereo.astype(float).mean(axis=1), atol=0.51)


def test_flac_and_ogg_decode(tmp_path):
    for kind in ("flac", "ogg"):
        sf.write(tmp_path / f"clip.{kind}", noise(), 16000)
        assert decode(tmp_path / f"clip.{kind}").seconds == 0.5


def test_a_span_is_that_part_of_the_file(wav):
    np.testing.assert_array_equal(decode(wav, 0.1, 0.2).samples, noise()[1600:4800])
    np.testing.assert_array_equal(decode(wav, 0.1).samples, noise()[1600:])


@pytest.mark.parametrize("span", [(0.4, 0.2), (0.6,), (-0.1, 0.2), (0.1, 0.0), (0.1, -0.05)])
def test_a_span_outside_its_file_is_rejected(wav, span):
    assert reason(wav, *span) == "span outside the file"


def test_a_span_may_be_rounded_to_milliseconds(wav):
    assert decode(wav, 0.4, 0.1009).seconds == pytest.approx(0.1)


def test_missing_and_empty(tmp_path, wav):
    assert reason(tmp_path / "none.wav") == "missing"
    assert reason(tmp_path) == "missing"
    wav.write_bytes(b"")
    assert reason(wav) == "empty"
    sf.write(wav, np.zeros(0, np.int16), 16000)
    assert reason(wav) == "empty"


@pytest.mark.parametrize("content", [b"hello, this is no sound at all" * 50, bytes(3000), b"RI"])
def test_not_audio(wav, content):
    wav.write_bytes(content)
    assert reason(wav) == "not audio"


@pytest.mark.parametrize("kept", [8, 12, 30, 44, 45, 1000, 16043])
def test_a_wav_cut_short_anywhere_is_truncated(wav, kept):
    content = wav.read_bytes()
    assert len(content) == 16044
    wav.write_bytes(content[:kept])
    assert reason(wav) == "truncated"


def test_a_flac_cut_short_is_truncated(tmp_path):
    path = tmp_path / "clip.flac"
    sf.write(path, noise(3.0), 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert reason(path) == "truncated"


def test_chunks_around_the_samples_are_no_damage(wav):
    """A chunk of odd length is padded to an even one; chunks may follow the samples."""
    content, extra = wav.read_bytes(), b"note" + struct.pack("<I", 3) + b"abc\0"
    body = content[12:36] + extra + content[36:] + extra
    wav.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)
    np.testing.assert_array_equal(decode(wav).samples, noise())


def test_a_wav_written_to_a_pipe_is_no_damage(wav):
    """Its sizes are not known when its header is written."""
    content = wav.read_bytes()
    wav.write_bytes(content[:4] + b"\xff" * 4 + content[8:40] + b"\xff" * 4 + content[44:])
    np.testing.assert_array_equal(decode(wav).samples, noise())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_samples(tmp_path, bad):
    wave = noise().astype(np.float32) / 32768
    wave[77] = bad
    sf.write(tmp_path / "float.wav", wave, 16000, subtype="FLOAT")
    assert reason(tmp_path / "float.wav") == "non-finite samples"


def test_silent(wav):
    for value in (0, 5):  # a constant offset is silence, too
        sf.write(wav, np.full(8000, value, np.int16), 16000)
        assert reason(wav) == "silent"


def test_channels_that_cancel_are_silent(wav):
    sf.write(wav, np.stack([noise(), -noise()], axis=1), 16000)
    assert reason(wav) == "silent"


def test_too_short(wav):
    for rate in (8000, 16000, 44100):
        sf.write(wav, noise(0.024, rate), rate)
        assert reason(wav) == "too short (< 25 ms)"
        sf.write(wav, noise(0.026, rate), rate)
        assert decode(wav).seconds >= 0.025


def test_loud_float_samples_are_clipped_not_wrapped(wav):
    sf.write(wav, np.array([2.0, -2.0] * 1000), 16000, subtype="FLOAT")
    assert set(decode(wav).samples.tolist()) == {32767, -32768}
