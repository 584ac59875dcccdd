"""Interpolation consistency: mixtures are compared with the mixed scores of the mean teacher for their clips."""

import json

import pytest
import torch

from elasticast.data.augment import mixup
from elasticast.data.dataset import ClipDataset
from elasticast.data.packing import pack
from elasticast.data.sampler import ClipRequest
from elasticast.models import build_model
from elasticast.training.mean_teacher import MeanTeacher, scores_of
from tests.unit.training.conftest import UNLABELLED, settings

pytestmark = pytest.mark.usefixtures("cpu")


@pytest.fixture
def interpolated(tiny, timed_clips, norm):
    """Settings, and the clips that a stage with interpolation gets: some are mixed."""

    def build(**train):
        config = settings(tiny, **{"mixup": 0.5, **train})
        dataset = ClipDataset(timed_clips, config, norm, mean_teacher=True, interpolation=True)
        return config, [dataset[ClipRequest(index)] for index in range(len(timed_clips))]

    return build


@pytest.mark.parametrize("fill", ["repeat", "zeros"])
def test_the_mean_teacher_is_given_both_clips_of_a_mixture(tiny, timed_clips, norm, interpolated, fill):
    """Each as it sounds in the mixture, but alone; other clips as they are."""
    _, clips = interpolated(mixup_fill=fill)
    alone = ClipDataset(timed_clips, settings(tiny), norm)
    mixed = [clip for clip in clips if clip.teacher.partner is not None]
    assert 0 < len(mixed) < len(clips)
    for clip in clips:
        expected = alone[ClipRequest(clip.index)]
        assert torch.equal(clip.teacher.patches, expected.patches)
        assert torch.equal(clip.patches, expected.patches) == (clip.teacher.partner is None)
    for clip in mixed:
        partner, share = clip.teacher.partner, clip.teacher.share
        targets = timed_clips.target(clip.index), timed_clips.target(partner.index)
        torch.testing.assert_close(clip.target, share * targets[0] + (1 - share) * targets[1])
        assert partner.time_patches == clip.time_patches
        assert torch.equal(partner.time, clip.time)
        heard = mixup(timed_clips.waveform(clip.index), timed_clips.waveform(partner.index), 0.0, fill)
        view = alone.rule(heard.numel(), 0.0)
        encoded = alone.encoder.encode(alone.encoder.spectrogram(heard), view)
        torch.testing.assert_close(partner.patches, encoded.patches, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", ["bce", "ce"])
def test_scores_are_mixed_as_clips(interpolated, timed_clips, kind):
    """Those of a batch are those of its clips one by one."""
    config, clips = interpolated(loss=kind)
    torch.manual_seed(0)
    teacher = MeanTeacher(build_model(config, len(timed_clips.classes)), config.train)
    found, first = teacher(pack(clips)), 0
    for row, clip in enumerate(clips):
        heard = [clip.teacher] if clip.teacher.partner is None else [clip.teacher, clip.teacher.partner]
        scores = [scores_of(teacher.model(pack([one]), frames=True), kind) for one in heard]
        shares = [clip.teacher.share, 1 - clip.teacher.share][: len(heard)]
        clips_of = sum(share * score.clips for share, score in zip(shares, scores, strict=True))
        frames_of = sum(share * score.frames for share, score in zip(shares, scores, strict=True))
        torch.testing.assert_close(found.clips[row : row + 1], clips_of)
        torch.testing.assert_close(found.frames[first : first + clip.time_patches], frames_of)
        first += clip.time_patches
    assert first == len(found.frames)


def test_clips_of_tasks_without_events_are_mixed_too(interpolated, timed_clips):
    config, clips = interpolated()
    for clip in clips:
        clip.frame_target = None
    scores = MeanTeacher(build_model(config, len(timed_clips.classes)), config.train)(pack(clips))
    assert scores.frames is None
    assert scores.clips.shape == (len(clips), len(timed_clips.classes))


def test_it_changes_what_is_learned_and_what_it_costs(staged, tmp_path):
    train, costs = {"unlabelled": UNLABELLED, "mixup": 0.5}, []
    for interpolation in (False, True):
        folder = f"interpolation_{interpolation}"
        staged(folder, [{"share": 1.0, "consistency": 20.0, "interpolation": interpolation}], **train).fit()
        costs.append(json.loads((tmp_path / folder / "run.json").read_text())["training_flops"])
    one, two = (tmp_path / f"interpolation_{value}" / "model.safetensors" for value in (False, True))
    assert one.read_bytes() != two.read_bytes()
    assert costs[0] < costs[1]
