"""Log-mel, patches, normalisation and its statistics."""

import math

import pytest
import torch
import torchaudio.compliance.kaldi as kaldi

from elasticast.config import FrontEnd
from elasticast.data import stats
from elasticast.data.features import SILENCE, Norm, hop_samples, log_mel, patchify
from elasticast.data.packing import grid_positions

FRONT_END = FrontEnd()
RATE, WINDOW = 16000, 400
COMPRESSIONS = [round(1 + 0.1 * i, 1) for i in range(31)]
NOISY = [1 + 0.1 * i for i in range(31)]  # 1.2000000000000002 and the like


def noise(samples, seed=0):
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def ast_fbank(waveform, hop_ms, mel_bins=128):
    """The call in AST's data loader (Gong et al. 2021)."""
    return kaldi.fbank(
        (waveform - waveform.mean())[None],
        htk_compat=True,
        sample_frequency=RATE,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=mel_bins,
        dither=0.0,
        frame_shift=hop_ms,
    ).T


@pytest.mark.parametrize("samples", [WINDOW, 5000, 16000, 23456])
@pytest.mark.parametrize("compression", [1.0, 1.1, 1.2, 2.3, 4.0])
def test_log_mel_is_the_fbank_of_ast(samples, compression):
    waveform = noise(samples) + 0.2  # the mean goes
    expected = ast_fbank(waveform, round(10 * compression))
    torch.testing.assert_close(log_mel(waveform, FRONT_END, compression), expected, atol=0, rtol=0)


@pytest.mark.parametrize(("compression", "noisy"), list(zip(COMPRESSIONS, NOISY, strict=True)))
def test_hop_is_a_whole_number_of_ms_whatever_the_float_noise(compression, noisy):
    tenths = round(10 * compression)
    for value in (compression, noisy, math.nextafter(compression, 0), math.nextafter(compression, 9)):
        assert hop_samples(FRONT_END, value) == 16 * tenths


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_frame_count(compression):
    hop = hop_samples(FRONT_END, compression)
    for samples in (WINDOW, WINDOW + hop - 1, WINDOW + hop, WINDOW + 7 * hop - 1, WINDOW + 7 * hop):
        assert log_mel(noise(samples), FRONT_END, compression).shape == (128, 1 + (samples - WINDOW) // hop)


def test_the_window_stays_when_the_hop_grows():
    waveform = noise(16000)
    fine = log_mel(waveform, FRONT_END, 1.0)
    for factor in (2, 3, 4):  # every second, third, fourth frame is the very same
        coarse = log_mel(waveform, FRONT_END, float(factor))
        torch.testing.assert_close(coarse, fine[:, ::factor][:, : coarse.shape[1]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("samples", [1, 10, WINDOW - 1])
def test_shorter_than_a_window_is_one_frame(samples):
    found = log_mel(noise(samples), FRONT_END, 2.0)
    assert found.shape == (128, 1)
    assert found.isfinite().all()


def test_digital_silence_and_level():
    assert log_mel(torch.zeros(1600), FRONT_END).unique().tolist() == pytest.approx([SILENCE])
    waveform = noise(1600)
    quiet, loud = log_mel(waveform, FRONT_END), log_mel(10 * waveform, FRONT_END)
    heard = (quiet > SILENCE + 1).all(1)  # the lowest bands are so narrow that one holds no bin of the spectrum
    assert heard.sum() >= 126
    louder = (loud - quiet)[heard]
    torch.testing.assert_close(louder, torch.full_like(louder, math.log(100)), atol=1e-2, rtol=0)  # a power


def test_other_front_ends():
    front_end = FrontEnd(sample_rate=8000, mel_bins=64, window_ms=32.0, hop_ms=8)
    assert log_mel(noise(8000), front_end).shape == (64, 1 + (8000 - 256) // 64)


@pytest.mark.parametrize("patch", [1, 2, 16])
def test_patchify_is_frequency_major_and_can_be_undone(patch):
    bins, frames = 3 * patch, 5 * patch
    spectrogram = torch.arange(bins * frames, dtype=torch.float32).reshape(bins, frames)
    patches = patchify(spectrogram, patch)
    freq, time = grid_positions(3, 5)
    assert patches.shape == (15, patch * patch)
    for row, f, t in zip(patches, freq.tolist(), time.tolist(), strict=True):
        cut = spectrogram[f * patch : (f + 1) * patch, t * patch : (t + 1) * patch]
        assert row.tolist() == cut.flatten().tolist()  # inside: frequency, then time
    assert (freq.tolist(), time.tolist()) == ([0] * 5 + [1] * 5 + [2] * 5, [0, 1, 2, 3, 4] * 3)
    back = patches.reshape(3, 5, patch, patch).permute(0, 2, 1, 3).reshape(bins, frames)
    assert torch.equal(back, spectrogram)


def test_norm_gives_mean_zero_and_deviation_one_half():
    values = 3 * torch.randn(128, 1000) - 5
    normalised = Norm(values.mean().item(), values.std().item())(values)
    assert normalised.mean().item() == pytest.approx(0, abs=1e-5)
    assert normalised.std().item() == pytest.approx(0.5, abs=1e-5)


@pytest.fixture
def store(tmp_path, write_store):
    lengths = enumerate((300, 4000, 9000, 2000))
    clips = {str(i): (noise(n, seed=i) * 10000 * (i + 1)).to(torch.int16).numpy() for i, n in lengths}
    return write_store(tmp_path / "train.h5", [clips])


def test_stats_are_those_of_all_values_together(store):
    waveforms = [torch.from_numpy(store[i] / 32768.0).float() for i in range(len(store))]
    values = torch.cat([log_mel(waveform, FRONT_END).flatten() for waveform in waveforms]).double()
    found = stats.log_mel_stats(store, FRONT_END)
    assert found["mean"] == pytest.approx(values.mean().item(), rel=1e-12)
    assert found["std"] == pytest.approx(values.std(correction=0).item(), rel=1e-12)
    assert (found["values"], found["clips"]) == (len(values), 4)


def test_stats_bear_a_large_offset(store, monkeypatch):
    monkeypatch.setattr(stats, "log_mel", lambda waveform, _: log_mel(waveform, FRONT_END).double())
    plain = stats.log_mel_stats(store, FRONT_END)
    monkeypatch.setattr(stats, "log_mel", lambda waveform, _: log_mel(waveform, FRONT_END).double() + 1e8)
    offset = stats.log_mel_stats(store, FRONT_END)
    assert offset["std"] == pytest.approx(plain["std"], rel=1e-6)  # a running sum of squares loses all digits here
    assert offset["mean"] - 1e8 == pytest.approx(plain["mean"], rel=1e-6)
