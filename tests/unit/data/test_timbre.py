"""Mixstyle, frequency warp and filter augmentation."""

import math

import pytest
import torch

from elasticast.config import FilterAugment, FrontEnd, Train
from elasticast.data.dataset import ClipDataset
from elasticast.data.features import log_mel
from elasticast.data.sampler import ClipRequest
from elasticast.data.timbre import filter_augment, freq_warp, mixstyle, vary_timbre
from tests.unit.training.conftest import settings

KALDI, STFT = FrontEnd(), FrontEnd(kind="stft", n_fft=512)
ALL = {"mixstyle": {"share": 1.0}, "freq_warp": {"share": 1.0}, "filter_augment": {"share": 1.0}}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def spectrogram(frames=50, seed=0):
    """Log-mel `[128, T]` whose bins have different means and deviations."""
    drawn = generator(seed)
    bins = torch.rand(2, 128, 1, generator=drawn)
    return -10 + 5 * bins[0] + (0.5 + bins[1]) * torch.randn(128, frames, generator=drawn)


def gains(draws=200, front_end=KALDI, **options):
    """The gains of the mel bins `[draws, F]` in dB of amplitudes, for which all frames must agree."""
    shared, x, found = generator(), spectrogram(), []
    for _ in range(draws):
        added = filter_augment(x, FilterAugment(**options), front_end, shared) - x
        torch.testing.assert_close(added, added[:, :1].expand_as(added), atol=1e-5, rtol=0)
        found.append(added[:, 0] / math.log(10) * (10 if front_end.kind == "kaldi" else 20))
    return torch.stack(found)


# --- mixstyle ------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixstyle_mixes_mean_and_deviation_of_each_bin(share):
    x, other = spectrogram(50), spectrogram(70, seed=1)
    found = mixstyle(x, other, share)
    for statistic in (lambda y: y.mean(1), lambda y: y.std(1, correction=0)):
        expected = share * statistic(x) + (1 - share) * statistic(other)
        torch.testing.assert_close(statistic(found), expected, atol=1e-4, rtol=1e-4)
    correlation = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(x, found, strict=True)]
    torch.testing.assert_close(torch.stack(correlation), torch.ones(128), atol=1e-4, rtol=0)


@pytest.mark.parametrize("frames", [1, 50])
def test_mixstyle_of_constant_bins_is_finite(frames):
    constant = torch.full((128, frames), -15.9)
    torch.testing.assert_close(mixstyle(constant, spectrogram(), 1.0), constant, atol=1e-4, rtol=0)
    expected = spectrogram().mean(1, keepdim=True).expand_as(constant)
    torch.testing.assert_close(mixstyle(constant, spectrogram(), 0.0), expected, atol=1e-2, rtol=0)


def test_a_clip_keeps_the_larger_part_of_its_own_style():
    train, x, other = Train(steps=1, batch={"clips": 1}, mixstyle={"share": 1.0}), torch.zeros(8, 9), torch.ones(8, 9)
    shared = generator()
    taken = torch.stack([vary_timbre(x, train, KALDI, lambda: other, shared).mean() for _ in range(400)])
    assert 0 <= taken.min() < 0.01
    assert 0.45 < taken.max() <= 0.5
    assert (taken < 0.1).float().mean() > 0.5  # Beta(0.3, 0.3) is near 0 or 1


# --- frequency warp ------------------------------------------------------------------------


def test_a_frequency_warp_stretches_successive_bins():
    """In a spectrogram whose bins are numbered, each bin shows which one it comes from."""
    numbered, shared, kept, places = torch.arange(128.0)[:, None].expand(-1, 3), generator(), [], []
    for _ in range(500):
        found = freq_warp(numbered, 0.6, shared)
        assert torch.equal(found, found[:, :1].expand_as(found))
        first, last = found[0, 0].item(), found[-1, 0].item()
        assert first == pytest.approx(round(first), abs=1e-4)
        expected = torch.linspace(first, last, 128)
        torch.testing.assert_close(found[4:-4, 0], expected[4:-4], atol=0.5, rtol=0)
        kept.append(round(last) - round(first) + 1)
        places.append((round(first), round(last)))
    assert int(0.6 * 128) == min(kept) < max(kept) == 127
    assert min(first for first, _ in places) == 0
    assert max(last for _, last in places) == 127
    assert sum(kept) / len(kept) == pytest.approx(0.8 * 128, rel=0.02)


def test_a_frequency_warp_treats_frames_one_by_one():
    x = spectrogram(20)
    whole = freq_warp(x, 0.6, generator())
    alone = torch.cat([freq_warp(frame, 0.6, generator()) for frame in x.split(1, 1)], 1)
    torch.testing.assert_close(whole, alone)


# --- filter augmentation -------------------------------------------------------------------


@pytest.mark.parametrize("front_end", [KALDI, STFT], ids=lambda front_end: front_end.kind)
def test_a_gain_is_that_of_the_amplitude(front_end):
    """With one band, the log-mel is that of the waveform times the gain; mel bands without a frequency are silent."""
    wave = 0.1 * torch.randn(16000, generator=generator())
    x, one = log_mel(wave, front_end), FilterAugment(bands=[1, 1], kind="step")
    found = filter_augment(x, one, front_end, generator(1))
    decibels = (found - x)[64, 0].item() / math.log(10) * (10 if front_end.kind == "kaldi" else 20)
    assert 0.5 < abs(decibels) < 6
    expected = log_mel(wave * 10 ** (decibels / 20), front_end)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_steps_are_bands_of_constant_gain():
    found = gains(kind="step", bands=[3, 5], min_bins=6)
    numbers = set()
    for row in found:
        edges = ((row[1:] - row[:-1]).abs() > 1e-4).nonzero().flatten().tolist()
        widths = torch.tensor([-1, *edges, 127]).diff()
        numbers.add(len(widths))
        assert widths.min() >= 6
    assert numbers == {3, 4, 5}
    assert 5.9 < found.abs().max() <= 6
    assert abs(found.mean()) < 0.3


def test_lines_join_the_gains_of_the_edges():
    found = gains(kind="linear", bands=[4, 4], min_bins=20)
    assert 5.8 < found.abs().max() <= 6 + 1e-4
    for row in found:
        bends = ((row[2:] - 2 * row[1:-1] + row[:-2]).abs() > 1e-3).sum()
        assert bends <= 2 * 3  # two neighbouring bins have the gain of the edge between them
        assert (row[1:] - row[:-1]).abs().max() <= 12 / 19 + 1e-3


def test_bands_as_wide_as_possible_fit():
    found = gains(20, kind="step", bands=[8, 8], min_bins=16)
    assert torch.allclose(found.view(20, 8, 16), found.view(20, 8, 16)[..., :1].expand(-1, -1, 16), atol=1e-4)


# --- all of them, in training ---------------------------------------------------------------


def test_off_draws_nothing():
    x, shared = spectrogram(), generator()
    before = shared.get_state()
    assert vary_timbre(x, Train(steps=1, batch={"clips": 1}), KALDI, lambda: pytest.fail("was drawn"), shared) is x
    assert torch.equal(shared.get_state(), before)


@pytest.mark.parametrize("name", ALL)
def test_it_is_applied_to_its_share_of_the_clips(name):
    options = {name: {"share": 0.25}}
    train, x, shared = Train(steps=1, batch={"clips": 1}, **options), spectrogram(8), generator()
    before, other = x.clone(), spectrogram(9, seed=1)
    same = [vary_timbre(x, train, KALDI, lambda: other, shared) is x for _ in range(600)]
    assert sum(same) / len(same) == pytest.approx(0.75, abs=0.05)
    assert torch.equal(x, before)


def test_labels_padding_and_the_mean_teacher_are_as_without(tiny, timed_clips, norm):
    """Packed and padded clips have the labels that they have without; what is padded has the value of padding."""
    for view in ({}, {"frames": 320}):
        model = {"kind": "ast"} if view else {}
        clips, padded = {}, 0
        for name, train in {"varied": ALL, "plain": {}}.items():
            config = settings(tiny, model=model, **train)
            config = config.model_copy(update={"view": config.view.model_copy(update={**view, "crop": "start"})})
            dataset = ClipDataset(timed_clips, config, norm, mean_teacher=True)
            clips[name] = [dataset[ClipRequest(index)] for index in range(len(timed_clips))]
        for varied, plain in zip(*clips.values(), strict=True):
            assert torch.equal(varied.frame_target, plain.frame_target)
            assert torch.equal(varied.target, plain.target)
            assert torch.equal(varied.teacher.patches, plain.teacher.patches)
            assert not torch.equal(varied.patches, plain.patches)
            padding = plain.patches == norm(torch.zeros(())).item()
            padded += padding.any()
            assert torch.equal(varied.patches == norm(torch.zeros(())).item(), padding)
        assert padded > 5


def test_the_other_clip_is_one_that_mixup_may_choose(tiny, timed_clips, norm, monkeypatch):
    config, asked = settings(tiny, mixstyle={"share": 1.0}), []
    dataset = ClipDataset(timed_clips, config, norm)
    partner = dataset._partner
    monkeypatch.setattr(dataset, "_partner", lambda index, draw: asked.append(partner(index, draw)) or asked[-1])
    for epoch in range(20):
        dataset[ClipRequest(0, epoch)]
    assert len(asked) == 20
    assert len(set(asked)) > 5
