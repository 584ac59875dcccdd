"""Clips of an audit, and the changes it makes to them."""

import pytest
import torch

from elasticast.audit.clips import FEWEST, built_in, from_prepared
from elasticast.audit.signals import haystack, hide, telephone, to_length
from elasticast.data.bandwidth import band_limited, resample
from elasticast.errors import DataError
from tests.complaints import complains

RATE = 16000


def share_above(wave, hertz, rate=RATE):
    power = torch.fft.rfft(wave.double()).abs().square()
    return (power[torch.fft.rfftfreq(len(wave), 1 / rate) > hertz].sum() / power.sum()).item()


@pytest.fixture(scope="module")
def noise():
    return 0.1 * torch.randn(3 * RATE, generator=torch.Generator().manual_seed(0))


def test_built_in_clips_are_always_the_same_and_several_of_each_class():
    first, second = built_in(16), built_in(16)
    assert first.sha256() == second.sha256() != built_in(17).sha256()
    counts = first.targets.sum(0)
    assert counts[counts > 0].min() >= FEWEST
    assert {len(wave) for wave in first.waves} != {len(first.waves[0])}
    assert first.first(4).targets.sum(0).count_nonzero() == 1
    assert built_in(40).targets.sum(0).eq(4).all()


def test_clips_of_a_prepared_dataset(prepared):
    clips = from_prepared(prepared, "test", None, 6)
    assert len(clips) == 6
    assert clips.targets.shape == (6, len(clips.classes))
    order = clips.targets.argmax(1)
    assert order.equal(order.sort().values)
    with complains(DataError, "nothing"):
        from_prepared(prepared, "test", "nothing", 6)


def test_reduced_clips_have_nothing_above_half_the_rate(noise):
    for rate in (12000, 8000, 4000):
        reduced = band_limited(noise, RATE, rate)
        assert len(reduced) == len(noise)
        assert share_above(reduced, 1.05 * rate / 2) < 1e-4 < share_above(noise, 1.05 * rate / 2)
        inside = band_limited(resample(noise, RATE, rate // 2).repeat(2)[: len(noise)], RATE, RATE)
        assert len(inside)


def test_a_telephone_file_is_narrow_and_coarse(noise):
    call = telephone(noise, RATE)
    assert len(call) == len(noise)
    assert share_above(call, 4100) < 1e-4
    low = resample(call, RATE, 8000)
    assert low.abs().max() <= 1.05
    assert 0.5 < (call.std() / band_limited(noise, RATE, 6800).std()).item() < 1.5


def test_clips_are_cut_or_repeated(noise):
    assert torch.equal(to_length(noise, 100), noise[:100])
    twice = to_length(noise[:100], 250)
    assert torch.equal(twice[100:200], noise[:100])
    assert len(twice) == 250


@pytest.mark.parametrize("place", [0.0, 0.4, 1.0])
def test_a_needle_is_somewhere_in_its_haystack(noise, place):
    hay, needle = haystack(5 * RATE, 3), noise[:RATE]
    mixed = hide(needle, hay, place)
    start = round(place * 4 * RATE)
    torch.testing.assert_close((mixed - hay)[start : start + RATE], needle, atol=1e-6, rtol=0)
    assert torch.equal(mixed[:start], hay[:start])
    assert torch.equal(mixed[start + RATE :], hay[start + RATE :])
    assert 20 * hay.std().log10().item() == pytest.approx(-50, abs=0.5)
