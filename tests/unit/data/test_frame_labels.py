"""Labels of frames stay with the frames of the spectrogram."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from elasticast.config import SpecAugment
from elasticast.config.frames import frame_seconds
from elasticast.data.augment import spec_augment, warped_labels
from elasticast.data.dataset import ClipDataset
from elasticast.data.encoder import ClipEncoder
from elasticast.data.events import Events
from elasticast.data.norm import Norm
from elasticast.data.packing import patch_labels
from elasticast.data.sampler import ClipRequest
from elasticast.data.views import ClipView
from tests.unit.conftest import TIMED

LABELS = torch.rand(3, 100, generator=torch.Generator().manual_seed(0))
FILLS = ["zeros", "edge", "repeat", "mask"]


def marked(tiny, **settings):
    """An encoder, and a spectrogram whose bins are the labels: class c fills a third of the bins."""
    return ClipEncoder(tiny(model={"patch": 8, "max_frames": 256}, **settings), Norm(0.0, 0.5)), LABELS.repeat(8, 1)


def bins_of(clip):
    """Mean of the bins of each class over each time patch, `[time patches, 3]`."""
    grid = clip.patches.unflatten(0, (3, -1)).unflatten(2, (8, 8))  # frequency, time, bin, frame
    rows = torch.stack([grid[:, :, row] for row in range(8)])  # the rows of all patches: bins r, 8 + r, 16 + r
    means = torch.zeros(grid.shape[1], 3)
    for freq in range(3):
        for row in range(8):
            means[:, (8 * freq + row) % 3] += rows[row, freq].mean(-1) / 8
    return means


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("frames", [16, 56, 96, 104, 240])
@pytest.mark.parametrize("start", [0.0, 0.37, 1.0])
def test_labels_are_cropped_and_padded_as_the_spectrogram_is(tiny, fill, frames, start):
    encoder, spectrogram = marked(tiny)
    view = ClipView(frames, 1.0, fill, first=3)
    clip = encoder.encode(spectrogram, view, start=start, labels=LABELS)
    torch.testing.assert_close(clip.frame_target, bins_of(clip), atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(8))
def test_labels_are_warped_as_the_spectrogram_is(tiny, seed):
    encoder, spectrogram = marked(tiny)
    settings = SpecAugment(warp={"kind": "specaugment", "frames": 300})
    generator = torch.Generator().manual_seed(seed)
    options = {
        "warp": lambda labels: warped_labels(labels, settings, generator),
        "augment": lambda log_mel: spec_augment(log_mel, settings, 0.0, generator),
    }
    plain, warped = (encoder.encode(spectrogram, ClipView(96, 1.0), labels=LABELS, **o) for o in ({}, options))
    torch.testing.assert_close(warped.frame_target, bins_of(warped), atol=1e-5, rtol=0)
    assert (warped.frame_target - plain.frame_target).abs().max() > 0.05


def test_patches_after_the_clip_have_labels_of_0(tiny):
    encoder, spectrogram = marked(tiny)
    clip = encoder.encode(spectrogram, ClipView(40, 1.0, "mask", full=80), labels=LABELS)
    assert clip.frame_target.shape == (10, 3)
    assert not clip.frame_target[5:].any()


@pytest.mark.parametrize(("patch", "stride"), [(16, 16), (8, 8), (4, 4), (16, 10), (8, 4)])
def test_patches_have_the_labels_of_their_middle(tiny, patch, stride):
    model = tiny(model={"patch": patch, "stride": stride, "max_frames": 256}).model
    labels = torch.arange(100.0)[None]
    frames = patch + 4 * stride
    middles = patch_labels(labels[:, :frames], model)[:, 0] + 0.5  # frame t is in the middle of t and t + 1
    expected = [patch / 2 + i * stride for i in range(5)]
    np.testing.assert_allclose(middles, expected, atol=0.5 * ((patch - stride) % 2) + 1e-5)


@pytest.mark.parametrize("resolution", ["hop", "max_pool"])
@pytest.mark.parametrize("compression", [1.0, 2.0, 4.0])
def test_frames_are_where_their_sound_is(tiny, resolution, compression):
    """A noise in a silent clip is in the frames that its label has."""
    config = tiny(view={"resolution": resolution, "compression": [compression]})
    for seconds in np.linspace(0.2, 1.7, 7):
        wave = torch.zeros(32000)
        first = round(seconds * 16000)
        wave[first : first + 1280] = torch.randn(1280, generator=torch.Generator().manual_seed(0)) / 4
        log_mel = ClipEncoder(config, Norm(0.0, 1.0)).spectrogram(wave, compression)
        hop = frame_seconds(config.front_end, compression, resolution)
        labels = Events.of([(0, 0, seconds, seconds + 0.08)]).shares(1, log_mel.shape[1], hop)
        loud = (log_mel.mean(0) > log_mel.mean(0).min() + 1).nonzero().flatten()
        marked = labels[0].nonzero().flatten()
        # a frame hears a window of 25 ms
        assert abs(loud.float().mean() - marked.float().mean()) * hop <= hop / 2 + 0.0126


def dataset(tiny, clips, **settings):
    config = tiny(**TIMED | settings)
    return ClipDataset(clips, config, Norm(0.0, 4.0)), config


def test_training_clips_have_the_shares_that_events_cover(tiny, timed_clips):
    found, config = dataset(tiny, timed_clips, view={"crop": "start"})
    for index in range(len(timed_clips)):
        clip = found[ClipRequest(index, 0, 0)]
        events = timed_clips.events.of_clip(index)
        expected = events.shares(len(timed_clips.classes), clip.time_patches, config.model.patch * 0.01)
        hidden = clip.frame_target < 1e-6  # frames that padding adds after the end have no label
        torch.testing.assert_close(clip.frame_target[~hidden], expected.T[~hidden], atol=2e-2, rtol=0)
        assert (clip.target > 0).tolist() == [c in events.label for c in range(len(timed_clips.classes))]


def test_labels_change_no_draw_of_the_tokens(tiny, timed_clips):
    """Clips of a task with events have the tokens that they have in a task without."""
    augment = {"train": {"mixup": 0.5, "spec_augment": {"freq_bins": 30, "time_frames": 200}}}
    augment["train"]["spec_augment"]["warp"] = {"kind": "specaugment", "frames": 200}
    found, _ = dataset(tiny, timed_clips, **augment)
    plain = object.__new__(type(timed_clips))
    plain.__dict__ |= timed_clips.__dict__ | {"events": None}
    other, _ = dataset(tiny, plain, **augment)
    for index in range(len(timed_clips)):
        request = ClipRequest(index, 3, 0)
        assert torch.equal(found[request].patches, other[request].patches)
        assert other[request].frame_target is None


@pytest.mark.parametrize("fill", ["repeat", "zeros"])
def test_mixed_clips_have_mixed_labels(tiny, timed_clips, fill):
    found, _ = dataset(tiny, timed_clips, train={"mixup": 1.0, "mixup_fill": fill})
    for index in range(len(timed_clips)):
        clip = found[ClipRequest(index, 0, 0)]
        own = timed_clips.target(index).bool()
        share = clip.target[own].min()
        assert ((clip.frame_target > 0).any(0) <= (clip.target > 0)).all()
        assert clip.frame_target.max() <= 1
        assert clip.frame_target[:, own].max() >= min(0.2, float(share) / 2)
        assert replace(clip).frame_target is clip.frame_target
