"""Log-mel of both front ends, patches and normalisation."""

import math

import numpy as np
import pytest
import torch
import torchaudio.compliance.kaldi as kaldi

from elasticast.config import FrontEnd
from elasticast.config.frames import frame_count, hop_samples, margins, window_samples
from elasticast.data import features as module
from elasticast.data.features import SILENCE, log_mel, patchify
from elasticast.data.norm import Norm
from elasticast.data.packing import grid_positions

FRONT_END = FrontEnd()
EPIC = FrontEnd(kind="stft", sample_rate=24000, n_fft=2048, window_ms=10, hop_ms=5)
ODD = FrontEnd(kind="stft", sample_rate=8000, n_fft=128, window_ms=4.125, hop_ms=3, mel_bins=16)  # 33 samples
RATE, WINDOW = 16000, 400
COMPRESSIONS = [round(1 + 0.1 * i, 1) for i in range(31)]
NOISY = [1 + 0.1 * i for i in range(31)]  # 1.2000000000000002 and the like


def noise(samples, seed=0):
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def ast_fbank(waveform, hop_ms, mel_bins=128):
    """As computed by AST's data loader (Gong et al. 2021)."""
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


def librosa_log_mel(waveform, front_end, hop):
    """As computed by EPIC-SOUNDS' data loader with librosa, frame by frame in float64 (Huh et al. 2023)."""
    points, window, rate = front_end.n_fft, window_samples(front_end), front_end.sample_rate
    shape = np.zeros(points)
    first = (points - window) // 2
    shape[first : first + window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)  # periodic
    padded = np.pad(waveform.double().numpy(), points // 2)
    starts = range(0, len(padded) - points + 1, hop)
    magnitude = np.stack([np.abs(np.fft.rfft(shape * padded[i : i + points])) for i in starts], 1)
    highest = 2595 * np.log10(1 + rate / 2 / 700)
    edges = [700 * (10 ** (m / 2595) - 1) for m in np.linspace(0, highest, front_end.mel_bins + 2)]
    hertz, bands = np.arange(points // 2 + 1) * rate / points, []
    for left, centre, right in zip(edges, edges[1:], edges[2:], strict=False):
        bands.append(np.interp(hertz, [left, centre, right], [0, 1, 0]))
    return torch.from_numpy(np.log(np.array(bands) @ magnitude + 1e-6))


@pytest.mark.parametrize("front_end", [EPIC, ODD], ids=["epic", "odd"])
@pytest.mark.parametrize("samples", [1, 119, 120, 239, 240, 5000, 24077])
@pytest.mark.parametrize("compression", [1, 2, 3])
def test_stft_is_that_of_epic_sounds(front_end, samples, compression):
    waveform = noise(samples) + 0.2  # this front end keeps the mean
    expected = librosa_log_mel(waveform, front_end, hop_samples(front_end, compression))
    found = log_mel(waveform, front_end, compression)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("level", [1.0, 1e-2])
def test_stft_of_speech_like_levels_in_16_bits(level):
    sound = level * noise(24000) * torch.linspace(-1, 1, 24000).abs()
    waveform = torch.nn.functional.avg_pool1d(sound[None], 9, 1, 4)[0].mul(32768).round() / 32768  # weak high bands
    expected = librosa_log_mel(waveform, EPIC, 120)
    torch.testing.assert_close(log_mel(waveform, EPIC).double(), expected, atol=1e-2, rtol=0)


def test_stft_hops_are_whole_ms():
    assert [hop_samples(EPIC, c) for c in (1.0, 1.2, 1.4, 2.0)] == [120, 144, 168, 240]
    assert EPIC.fractional_hops([1.0, 1.1, 1.2000000000000002, 1.3, 1.4]) == [1.1, 1.3]
    assert FRONT_END.fractional_hops(NOISY) == []


@pytest.mark.parametrize("samples", [WINDOW, 5000, 16000, 23456, 16000 * 7])
@pytest.mark.parametrize("compression", [1.0, 1.1, 1.2, 2.3, 4.0])
def test_log_mel_is_the_fbank_of_ast(samples, compression):
    waveform = noise(samples) + 0.2  # this front end removes the mean
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
        frames = 1 + (samples - WINDOW) // hop
        assert log_mel(noise(samples), FRONT_END, compression).shape == (128, frames)
        assert frame_count(samples, FRONT_END, compression) == frames


@pytest.mark.parametrize("front_end", [FRONT_END, EPIC, ODD], ids=["kaldi", "epic", "odd"])
@pytest.mark.parametrize("samples", [1, 16, 17, 119, 120, 121, 239, 240, 399, 400, 4799, 4800, 4801])
def test_frame_count_is_that_of_the_log_mel(front_end, samples):
    for compression in (1, 2, 4):
        frames = frame_count(samples, front_end, compression)
        assert log_mel(noise(samples), front_end, compression).shape == (front_end.mel_bins, frames)
        if front_end.kind == "stft":
            assert frames == 1 + samples // hop_samples(front_end, compression)


@pytest.mark.parametrize("front_end", [EPIC, ODD], ids=["epic", "odd"])
def test_a_part_with_its_margins_has_the_frames_of_the_whole(front_end):
    waveform, hop, window = noise(24000), hop_samples(front_end, 1.0), window_samples(front_end)
    whole = log_mel(waveform, front_end)
    padded = torch.nn.functional.pad(waveform, margins(front_end))
    for first, frames in ((0, 10), (7, 1), (whole.shape[1] - 20, 20)):
        part = padded[first * hop : (first + frames - 1) * hop + window]
        found = log_mel(part, front_end, whole=False)
        torch.testing.assert_close(found, whole[:, first : first + frames], atol=1e-5, rtol=0)


@pytest.mark.parametrize("front_end", [FRONT_END, EPIC], ids=["kaldi", "epic"])
@pytest.mark.parametrize("at_once", [1, 7, 100, 10_000])
def test_frames_transformed_at_once_change_nothing(front_end, at_once, monkeypatch):
    expected = log_mel(noise(70_000), front_end)
    monkeypatch.setattr(module, "FRAMES_AT_ONCE", at_once)
    assert torch.equal(log_mel(noise(70_000), front_end), expected)


def test_the_window_stays_when_the_hop_grows():
    waveform = noise(16000)
    fine = log_mel(waveform, FRONT_END, 1.0)
    for factor in (2, 3, 4):  # equals every second, third, fourth frame exactly
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
    torch.testing.assert_close(louder, torch.full_like(louder, math.log(100)), atol=1e-2, rtol=0)  # energies


def test_digital_silence_and_level_of_the_stft():
    assert log_mel(torch.zeros(1600), EPIC).unique().tolist() == pytest.approx([math.log(1e-6)])
    quiet, loud = log_mel(noise(24000), EPIC), log_mel(10 * noise(24000), EPIC)
    torch.testing.assert_close(loud - quiet, torch.full_like(loud, math.log(10)), atol=1e-3, rtol=0)  # magnitudes


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
