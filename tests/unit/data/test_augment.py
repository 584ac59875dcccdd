"""SpecAugment and mixup."""

import pytest
import torch

from elasticast.config import SpecAugment
from elasticast.data.augment import mask_value, mixup, spec_augment
from elasticast.data.norm import Norm


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


def test_exclusive_widths_stay_below_the_largest():
    found = widths(64, draws=2000, freq_bins=4, time_frames=48, widths="exclusive")
    for axis, widest in ((0, 4), (1, 3)):
        counts = torch.bincount(torch.tensor([pair[axis] for pair in found]))
        assert len(counts) == widest
        assert counts.min() > 0.8 * counts.sum() / widest


def mean_bins(draws=4000, **settings):
    """Mean number of masked mel bins. Few of the masks overlap, because there are 4,000 bins."""
    shared, settings = generator(), SpecAugment(freq_bins=48, **settings)
    masked = [spec_augment(torch.ones(4000, 1), settings, 7.0, shared) == 7 for _ in range(draws)]
    return sum(int(mask.sum()) for mask in masked) / draws


def test_nested_widths_are_drawn_below_a_bound_that_is_drawn():
    # mean of (f - 1) / 2 over f in 1 ... 47, and nothing at f = 0
    first = sum((f - 1) / 2 for f in range(1, 48)) / 48
    assert mean_bins(widths="nested") == pytest.approx(first, rel=0.05)
    # the second mask is missing whenever the bound of the first is 0
    assert mean_bins(widths="nested", masks=2) == pytest.approx(first * (1 + 47 / 48), rel=0.05)


def test_a_bound_of_zero_ends_the_masks_of_its_kind():
    settings = SpecAugment(freq_bins=1, time_frames=200, widths="nested", masks=5)
    shared = generator()
    found = [spec_augment(torch.ones(64, 1024), settings, 7.0, shared) == 7 for _ in range(100)]
    assert not any(mask.all(1).any() for mask in found)
    assert sum(bool(mask.any()) for mask in found) > 90


def test_the_time_mask_can_follow_the_compression_instead_of_the_length():
    shared, settings = generator(), SpecAugment(time_frames=192, scale="compression", widths="exclusive")
    for frames, compression, widest in ((400, 1.0, 191), (1600, 1.0, 191), (512, 2.0, 95), (728, 1.4, 136)):
        masks = [spec_augment(torch.ones(1, frames), settings, 7.0, shared, compression) == 7 for _ in range(1500)]
        assert widest - 3 <= max(int(mask.sum()) for mask in masks) <= widest


def test_the_value_of_masks():
    norm, raw = Norm(-4.0, 3.0), torch.full((8, 64), -4.0)
    raw[:4] = -10.0
    for fill, before in (("mean", -4.0), ("raw_zero", 0.0), ("spectrogram_mean", -7.0)):
        settings = SpecAugment(freq_bins=8, fill=fill)
        spectrogram, shared = norm(raw), generator()
        found = [spec_augment(spectrogram, settings, mask_value(settings, norm), shared) for _ in range(20)]
        changed = next(masked for masked in found if (masked != spectrogram).any())
        values = changed[changed != spectrogram]
        torch.testing.assert_close(values, torch.full_like(values, norm(torch.tensor(before)).item()))


def test_the_mean_of_the_spectrogram_is_taken_before_each_mask():
    settings, shared = SpecAugment(freq_bins=40, time_frames=512, fill="spectrogram_mean"), generator()
    spectrogram = torch.linspace(-20, 3, 100)[:, None] + torch.linspace(0, 1, 64)
    for _ in range(20):
        masked = spec_augment(spectrogram, settings, None, shared)
        times = (masked != spectrogram).all(0)
        bands = (masked != spectrogram)[:, ~times].all(1)
        before = spectrogram.clone()
        before[bands] = spectrogram.mean()
        torch.testing.assert_close(masked[:, ~times], before[:, ~times])
        torch.testing.assert_close(masked[:, times], before.mean().expand(100, int(times.sum())))


@pytest.mark.parametrize(("a", "b"), [(1000, 300), (1000, 2500)])
def test_mixup_can_continue_the_second_with_zeros(a, b):
    first, second = torch.randn(a) + 0.3, torch.randn(b) - 0.5
    centred = second - second.mean()
    padded = torch.cat([centred, torch.zeros(a)])[:a]
    expected = 0.7 * (first - first.mean()) + 0.3 * padded
    torch.testing.assert_close(mixup(first, second, 0.7, "zeros"), expected - expected.mean(), atol=1e-6, rtol=0)
