"""One check of the samples, the same in `prepare` and `predict`."""

import numpy as np
import pytest
import soundfile as sf
import torch

from elasticast.data.audio import decode
from elasticast.data.level import MAX_PEAK, OVERSHOOT
from elasticast.data.manifest import reason_kind
from elasticast.data.recordings import BLOCK, UnusableAudioError
from elasticast.data.stream import file_source, waveform_source
from tests.complaints import complains

RATE = 16000
TONE = 0.5 * np.sin(np.arange(20_000) * 0.1)
UNSCALED = "samples not scaled to [-1, 1]"


def outcome(call):
    try:
        return call()
    except UnusableAudioError as error:
        return str(error)


def everywhere(tmp_path, wave):
    """The outcomes of a file in `prepare` and `predict`, and of the same samples as an array and as a tensor."""
    wave = np.asarray(wave, np.float32)
    sf.write(tmp_path / "clip.wav", wave, RATE, subtype="FLOAT")
    sources = [lambda: file_source(tmp_path / "clip.wav")]
    sources += [lambda: waveform_source(wave, RATE), lambda: waveform_source(torch.from_numpy(wave), RATE)]
    streamed = [outcome(lambda s=source: torch.cat(list(s().blocks(RATE))).numpy() * 32768) for source in sources]
    return [outcome(lambda: decode(tmp_path / "clip.wav", rate=RATE).samples), *streamed]


def spiked(peak, share):
    wave = TONE.copy()
    wave[np.random.default_rng(0).choice(len(wave), round(share * len(wave)), replace=False)] = peak
    return wave


@pytest.mark.parametrize(
    "wave",
    [
        TONE * 32768,
        TONE * 50,
        TONE * 76,
        TONE * 4,
        spiked(25.0, 0.0001),
        spiked(-MAX_PEAK - 0.1, 0.0001),
        spiked(2, 0.02),
    ],
)
def test_samples_that_were_not_scaled_are_refused_everywhere(tmp_path, wave):
    reasons = everywhere(tmp_path, wave)
    assert len(set(reasons)) == 1
    assert reason_kind(reasons[0]) == UNSCALED


@pytest.mark.parametrize(
    "wave", [TONE, TONE * 2 * OVERSHOOT, np.sign(TONE) * 1.2, spiked(3.9, 0.005), spiked(-2, 0.009)]
)
def test_a_little_beyond_full_scale_is_clipped_everywhere(tmp_path, wave):
    for found in everywhere(tmp_path, wave):
        np.testing.assert_array_equal(found, np.clip(np.round(wave.astype(np.float32) * 32768), -32768, 32767))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused_everywhere(tmp_path, bad):
    wave = np.tile(TONE, 40)
    wave[2 * BLOCK + 5] = bad
    assert everywhere(tmp_path, wave) == ["non-finite samples"] * 4


def test_what_is_found_in_the_last_block_only(tmp_path):
    wave = np.tile(TONE, 40)
    wave[-1] = 1000
    assert {reason_kind(reason) for reason in everywhere(tmp_path, wave)} == {UNSCALED}


@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.uint32, np.uint64, bool, complex, object, "U3"])
def test_arrays_without_a_known_full_scale_are_refused(kind):
    wave = (TONE * 100).astype(np.int64).astype(kind)
    with complains(UnusableAudioError, wave.dtype):
        waveform_source(wave, RATE)


@pytest.mark.parametrize("full", [1 << 7, 1 << 15, 1 << 22])
def test_int32_that_was_never_scaled_to_32_bit_is_refused(full):
    wave = (TONE * full).astype(np.int32)
    for form in (wave, torch.from_numpy(wave), np.stack([wave, wave])):
        with complains(UnusableAudioError, "int32", np.abs(wave).max()):
            waveform_source(form, RATE)


@pytest.mark.parametrize(
    ("kind", "full", "zero"), [("int8", 127, 0), ("uint8", 127, 128), ("int16", 32767, 0), ("int32", 2**31 - 1, 0)]
)
def test_integers_are_scaled_by_their_type(kind, full, zero):
    wave = np.round(TONE * full + zero).astype(kind)
    found = torch.cat(list(waveform_source(wave, RATE).blocks(RATE))).numpy()
    np.testing.assert_allclose(found, TONE, atol=1 / min(full, 1 << 15))


@pytest.mark.parametrize("shape", [(), (0,), (0, 0), (2, 0), (1, 2, 9000), (9000, 2)])
def test_wrong_shapes_are_refused(shape):
    for form in (np.zeros(shape, np.float32), torch.zeros(shape)):
        with pytest.raises(UnusableAudioError):
            waveform_source(form, RATE)


@pytest.mark.parametrize(
    "form", [torch.zeros(9000).to_sparse(), torch.zeros(9000, device="meta"), torch.zeros(9000, dtype=torch.complex64)]
)
def test_tensors_that_are_no_samples_are_refused(form):
    with pytest.raises(UnusableAudioError):
        waveform_source(form, RATE)


@pytest.mark.parametrize("rate", [1, 0, 10**8])
def test_an_unlikely_rate_is_refused(rate):
    with complains(UnusableAudioError, rate):
        waveform_source(TONE, rate)
