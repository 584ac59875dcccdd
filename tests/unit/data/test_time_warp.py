"""Time warps: that of SpecAugment, and the released one."""

import pytest
import torch

from elasticast.config import SpecAugment, TimeWarp
from elasticast.data.augment import spec_augment
from elasticast.data.time_warp import time_warp

KINDS = ["specaugment", "released"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def settings(kind, frames=5, scale="frames"):
    return TimeWarp(kind=kind, frames=frames, scale=scale)


def ramp(frames, bins=8, level=-8.8):
    """A spectrogram whose values are the frame numbers, so that a warp shows which frame is read."""
    spectrogram = torch.arange(float(frames)).expand(bins, frames).clone()
    spectrogram[bins // 2] = level + torch.randn(frames, generator=generator(1))
    return spectrogram


@pytest.mark.parametrize("kind", KINDS)
def test_a_warp_only_moves_values_of_the_clip_within_their_band(kind):
    spectrogram, shared = torch.randn(16, 200, generator=generator()) - 8, generator()
    for _ in range(50):
        found = time_warp(spectrogram, settings(kind), 5, shared)
        assert found.shape == spectrogram.shape
        assert (found.amax(1) <= spectrogram.amax(1) + 1e-5).all()
        assert (found.amin(1) >= spectrogram.amin(1) - 1e-5).all()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_moves_without_a_limit_or_in_a_short_clip(kind):
    assert torch.equal(time_warp(ramp(200), settings(kind), 0, generator()), ramp(200))
    assert torch.equal(time_warp(ramp(12), settings(kind), 5, generator()), ramp(12))


@pytest.mark.parametrize("kind", KINDS)
def test_a_warp_is_its_generators_and_leaves_its_input_alone(kind):
    spectrogram = ramp(300)
    found = [time_warp(spectrogram, settings(kind), 5, generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(spectrogram, ramp(300))


def test_specaugments_warp_keeps_the_ends_and_moves_by_the_limit_at_most():
    shared, largest = generator(), 0.0
    for _ in range(200):
        read = time_warp(ramp(300), settings("specaugment"), 5, shared)[0]
        assert (read[0], read[-1]) == (0, pytest.approx(299, abs=1e-3))
        assert (read.diff() > 0).all()
        moved = (read - torch.arange(300.0)).abs()
        assert moved.max() <= 5 + 1e-3
        largest = max(largest, moved.max().item())
    assert largest > 4


def test_the_released_warp_is_linear_in_frame_and_bin():
    shared, seen = generator(), 0
    for _ in range(200):
        read = time_warp(ramp(400, bins=32), settings("released"), 5, shared)
        rows = torch.tensor([row for row in range(32) if row != 16])
        inside = (read[rows] > 1) & (read[rows] < 398)
        if not inside.all(0)[50:350].all():
            continue
        seen += 1
        part = read[rows][:, 50:350].double()
        assert part.diff(dim=1).diff(dim=1).abs().max() < 1e-2  # in time
        assert part[:16].diff(dim=0).diff(dim=0).abs().max() < 1e-2  # from bin to bin
    assert seen > 100


def test_the_released_warp_has_the_size_and_the_tails_of_the_released_code():
    # medians of the displacement in the released code, 80 draws: 6 frames at 400, 56 at 1,024, 203 at 1,600
    for frames, expected in ((400, 6), (1024, 56), (1600, 203)):
        shared, medians = generator(), []
        for _ in range(150):
            read = time_warp(ramp(frames, bins=128), settings("released"), 5, shared)[0]
            medians.append((read - torch.arange(float(frames))).abs().median().item())
        ordered = sorted(medians)
        assert expected / 2 < ordered[75] < expected * 2
        assert ordered[-15] > 3 * ordered[75]


@pytest.mark.parametrize(
    ("scale", "frames", "moves"), [("frames", 204, False), ("frames", 420, True), ("compression", 100, True)]
)
def test_the_limit_scales_with_the_clip_or_with_the_compression(scale, frames, moves):
    options = SpecAugment(warp=settings("specaugment", scale=scale))
    found = [spec_augment(ramp(frames), options, 0.0, generator(seed)) for seed in range(20)]
    assert any(not torch.equal(warped, ramp(frames)) for warped in found) == moves
