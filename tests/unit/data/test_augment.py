"""SpecAugment and mixup."""

import pytest
import torch

from elasticast.config import SpecAugment
from elasticast.data.augment import mixup, spec_augment


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def widths(frames, draws=300, **settings):
    """Widths of the frequency and time masks over many draws; masked values are 7."""
    found, shared = [], generator()
    for _ in range(draws):
        masked = spec_augment(torch.ones(128, frames), SpecAugment(**settings), 7.0, shared) == 7
        bins, time = masked.all(1), masked.all(0)
        assert torch.equal(masked, bins[:, None] | time[None])  # one frequency band and one time interval
        for mask in (bins, time):
            places = mask.nonzero().flatten().tolist()
            assert places == list(range(places[0], places[0] + len(places))) if places else True
        found.append((int(bins.sum()), int(time.sum())))
    return found


@pytest.mark.parametrize(("frames", "widest"), [(1024, 192), (512, 96), (128, 24), (16, 3)])
def test_the_time_mask_scales_with_the_clip(frames, widest):
    found = [time for _, time in widths(frames, time_frames=192)]
    assert max(found) <= widest
    assert max(found) >= 0.9 * widest
    assert min(found) <= 0.1 * widest
    assert sum(found) / len(found) == pytest.approx(widest / 2, rel=0.2)


@pytest.mark.parametrize("frames", [16, 1024])
def test_the_frequency_mask_does_not(frames):
    found = [bins for bins, _ in widths(frames, freq_bins=48)]
    assert 45 <= max(found) <= 48
    assert min(found) <= 3


def test_masks_beyond_the_spectrogram_cover_it_at_most():
    shared = generator()
    for _ in range(50):
        found = spec_augment(torch.ones(16, 16), SpecAugment(freq_bins=500, time_frames=5000), 0.0, shared)
        assert found.shape == (16, 16)


def test_it_is_its_generators_and_leaves_its_input_alone():
    spectrogram, settings = torch.randn(128, 100), SpecAugment(freq_bins=48, time_frames=192)
    before = spectrogram.clone()
    found = [spec_augment(spectrogram, settings, 0.0, generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(spectrogram, before)
    kept = found[0] != 0
    assert torch.equal(found[0][kept], spectrogram[kept])


def test_off_changes_nothing():
    spectrogram = torch.randn(128, 100)
    assert torch.equal(spec_augment(spectrogram, SpecAugment(), 0.0, generator()), spectrogram)


@pytest.mark.parametrize(("a", "b"), [(1000, 1000), (1000, 300), (1000, 2500), (1, 7)])
def test_mixup_mixes_by_share_and_keeps_the_length_of_the_first(a, b):
    first, second = torch.randn(a) + 0.3, torch.randn(b) - 0.5
    assert mixup(first, second, 0.7).shape == (a,)
    torch.testing.assert_close(mixup(first, second, 1.0), first - first.mean(), atol=1e-6, rtol=0)
    repeated = torch.cat([second] * (a // b + 1))[:a]
    torch.testing.assert_close(mixup(first, second, 0.0), repeated - repeated.mean(), atol=1e-6, rtol=0)
    expected = 0.7 * (first - first.mean()) + 0.3 * (repeated - repeated.mean())
    torch.testing.assert_close(mixup(first, second, 0.7), expected, atol=1e-6, rtol=0)
