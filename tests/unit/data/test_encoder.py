"""Encoding a waveform as tokens: log-mel, cropping and padding."""

import math
from dataclasses import replace

import pytest
import torch

from elasticast.config import FrontEnd
from elasticast.data.encoder import ClipEncoder, crop_or_pad
from elasticast.data.features import log_mel
from elasticast.data.norm import Norm
from elasticast.data.packing import pack_clip
from elasticast.data.views import ViewRule

FRONT_END = FrontEnd()
NORM = Norm(0.0, 0.5)  # changes nothing


def shown(clip):
    """Reassemble the spectrogram `[P, T]` from the tokens of one row of patches."""
    return torch.cat(list(clip.patches.view(-1, 8, 8)), 1)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("samples", [100, 400, 4240, 32000])
def test_a_pooled_spectrogram_is_the_maximum_of_its_frames(tiny, samples, factor):
    waveform = torch.randn(samples)
    pool, hop = (
        ClipEncoder(tiny(view={"resolution": how, "compression": [float(factor)]}), NORM) for how in ("max_pool", "hop")
    )
    plain = log_mel(waveform, FRONT_END)
    found = pool.spectrogram(waveform, float(factor))
    whole = plain.shape[1] // factor
    assert found.shape[1] == math.ceil(plain.shape[1] / factor)
    if whole:
        assert torch.equal(found[:, :whole], torch.nn.functional.max_pool1d(plain, factor))
    assert torch.equal(found, torch.stack([part.amax(1) for part in plain.split(factor, 1)], 1))
    assert torch.equal(hop.spectrogram(waveform, factor), log_mel(waveform, FRONT_END, factor))


@pytest.mark.parametrize("fill", ["zeros", "edge", "repeat"])
def test_a_view_fills_short_clips_its_way(tiny, fill):
    config = tiny(view={"min_frames": 64, "fill": fill}, model={"patch": 8}, front_end={"mel_bins": 8})
    view, encoder = ViewRule(config)(100), ClipEncoder(config, NORM)
    spectrogram = torch.randn(8, 40)
    found = shown(encoder.encode(spectrogram, view))
    assert torch.equal(found[:, :40], spectrogram)
    last = {"zeros": torch.zeros(8, 24), "edge": spectrogram[:, -1:].expand(8, 24), "repeat": spectrogram[:, :24]}
    assert torch.equal(found[:, 40:], last[fill])
    longer = torch.randn(8, 100)
    assert torch.equal(shown(encoder.encode(longer, view, start=1.0)), longer[:, 36:])
    window = replace(view, first=20)
    assert torch.equal(shown(encoder.encode(longer, window)), longer[:, 20:84])


@pytest.mark.parametrize("frames", [1, 39, 40, 41, 80, 200])
def test_a_repeated_clip_goes_round(frames):
    found = crop_or_pad(torch.arange(40.0)[None], frames, fill="repeat")
    assert torch.equal(found[0], torch.arange(frames) % 40.0)


@pytest.mark.parametrize("start", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("frames", [1, 16, 39, 40, 41, 64])
def test_crop_or_pad(frames, start):
    spectrogram = torch.randn(8, 40)
    found = crop_or_pad(spectrogram, frames, start)
    assert found.shape == (8, frames)
    if frames >= 40:
        assert torch.equal(found[:, :40], spectrogram)
        assert not found[:, 40:].any()
    else:
        first = round(start * (40 - frames))
        assert torch.equal(found, spectrogram[:, first : first + frames])


def test_a_random_crop_stays_inside_and_reaches_both_ends():
    spectrogram = torch.arange(1.0, 41.0)[None]  # nonzero, to tell it from padding
    starts = {int(crop_or_pad(spectrogram, 30, i / 1000)[0, 0]) for i in range(1001)}
    assert starts == set(range(1, 12))
    assert all(crop_or_pad(spectrogram, 30, i / 1000).all() for i in range(1001))


@pytest.mark.parametrize(("frames", "last"), [(100, 60), (45, 5), (40, 0), (35, 0)])
def test_a_crop_is_the_beginning_of_a_segment(frames, last):
    spectrogram = torch.arange(1.0, frames + 1)[None]
    found = [crop_or_pad(spectrogram, 20, i / 1000, "edge", 40) for i in range(1001)]
    assert {int(part[0, 0]) - 1 for part in found} == set(range(last + 1))
    assert all(torch.equal(part[0].diff(), torch.ones(19)) for part in found)
    assert torch.equal(crop_or_pad(spectrogram[:, :15], 20, 1.0, "edge", 40)[0, 14:], torch.full((6,), 15.0))


def test_a_segment_is_used_in_training_only(tiny):
    config = tiny(model={"kind": "ast"}, view={"frames": 64, "segment": 80})
    encoder, view, spectrogram = ClipEncoder(config, NORM), ViewRule(config)(32000), torch.randn(128, 100)
    first, last = (encoder.encode(spectrogram, view, start=start) for start in (0.0, 1.0))
    assert torch.equal(first.patches, pack_clip(0, spectrogram[:, :64], first.target, config.model).patches)
    assert torch.equal(last.patches, pack_clip(0, spectrogram[:, 20:84], first.target, config.model).patches)


def test_a_clip_is_normalised_before_it_is_augmented_and_packed(tiny):
    config = tiny()
    view, target = ViewRule(config)(16000), torch.tensor([0.0, 1.0])
    spectrogram = torch.randn(128, 98)
    plain = ClipEncoder(config, NORM).encode(spectrogram, view)
    found = ClipEncoder(config, Norm(2.0, 1.5)).encode(spectrogram, view, index=3, target=target, augment=torch.neg)
    torch.testing.assert_close(found.patches, -(plain.patches - 2) / 3)
    assert (found.index, found.time_patches, len(found.patches)) == (3, 7, 56)
    assert torch.equal(found.target, target)
    assert plain.target.numel() == 0
