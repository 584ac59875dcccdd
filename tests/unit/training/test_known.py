"""Training on clips of which only the classes are known, or nothing."""

import copy

import numpy as np
import pytest
import torch

from elasticast.data.dataset import ClipDataset
from elasticast.data.manifest import Known
from elasticast.data.packing import pack
from elasticast.data.sampler import ClipRequest
from elasticast.data.unlabelled import known_labels
from elasticast.errors import DataError
from elasticast.models import build_model
from elasticast.training.distributed import World
from elasticast.training.objective import Objective, Unsupervised, compute_loss, frames_loss
from tests.complaints import complains
from tests.unit.training.conftest import BUSY, settings

pytestmark = pytest.mark.usefixtures("cpu")

STAGES = [{"share": 0.5}, {"share": 0.5, "consistency": 2.0}]
KNOWN = np.array([Known.ALL] * 5 + [Known.CLASSES] * 3 + [Known.NOTHING] * 4)


@pytest.fixture
def partly(timed_clips):
    """Clips of which some lack labels."""
    clips = copy.copy(timed_clips)
    clips.known = KNOWN
    clips.events = timed_clips.events.select(KNOWN[timed_clips.events.clip] == Known.ALL)
    return clips


def encoded(config, clips, norm):
    dataset = ClipDataset(clips, config, norm)
    return [dataset[ClipRequest(index)] for index in range(len(clips))]


class Ranks(World):
    """The only rank, or the first of two that have as much."""

    def __init__(self, ranks):
        super().__init__()
        object.__setattr__(self, "ranks", ranks)

    def sum(self, *values):
        return [value * self.ranks for value in values]


@pytest.mark.parametrize("by", ["clip", "token"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_times_count_where_they_are_known_and_classes_where_they_are(tiny, partly, norm, by, ranks):
    config = settings(tiny, loss_weights=by, event_loss={"clips": 0.3, "frames": 0.7})
    torch.manual_seed(0)
    model = build_model(config, len(partly.classes))
    clips = [clip for clip in encoded(config, partly, norm) if clip.known]
    batch, timed = pack(clips), pack([clip for clip in clips if clip.known == Known.ALL])
    found = Objective(config, Ranks(ranks))(model(batch, frames=True), batch, 1 / ranks, Unsupervised(weak=True))
    sizes = [part.bounds.diff().float() if by == "token" else None for part in (batch, timed)]
    of_clips = compute_loss(model(batch), batch.targets, "bce", sizes[0])
    of_frames = frames_loss(model(timed, frames=True), timed.frame_targets, timed, sizes[1])
    torch.testing.assert_close(found, (0.3 * of_clips + 0.7 * of_frames) / ranks)


def test_a_batch_without_times_has_the_loss_of_its_classes(tiny, partly, norm):
    config = settings(tiny)
    model = build_model(config, len(partly.classes))
    batch = pack([clip for clip in encoded(config, partly, norm) if clip.known == Known.CLASSES])
    found = Objective(config, World())(model(batch, frames=True), batch, 1.0, Unsupervised(weak=True))
    torch.testing.assert_close(found, 0.5 * compute_loss(model(batch), batch.targets, "bce"))


@pytest.mark.parametrize("stages", [None, STAGES])
def test_what_is_not_known_changes_nothing(staged, timed_clips, partly, tmp_path, stages):
    """Other labels in its place give the same weights; clips without labels count in stages only."""
    train = {**BUSY, "unlabelled": stages and {"share": 0.0, "clips": 2}}
    other = copy.copy(timed_clips)
    other.known = KNOWN
    nothing = np.repeat(KNOWN == Known.NOTHING, np.diff(timed_clips.first_label))
    other.labels = np.where(nothing, (timed_clips.labels + 1) % len(timed_clips.classes), timed_clips.labels)
    for name, clips in (("partly", partly), ("other", other)):
        staged(name, stages, clips, **train).fit()
    found, expected = (tmp_path / name / "model.safetensors" for name in ("partly", "other"))
    assert found.read_bytes() == expected.read_bytes()


def test_clips_are_mixed_with_those_of_which_as_much_is_known(tiny, partly, norm):
    dataset = ClipDataset(partly, settings(tiny, mixup=1.0), norm)
    draws = np.linspace(0, 1, 50, endpoint=False)
    for clip, known in enumerate(KNOWN):
        partners = {dataset._partner(clip, draw) for draw in draws}
        assert partners == set(np.flatnonzero(known <= KNOWN))


def test_further_labels_are_left_out(tiny, partly):
    """Clips without labels stay as they are, the others are chosen as without them."""
    config = settings(tiny, unlabelled={"share": 0.5, "clips": 2})
    found = known_labels(config, partly.ids, KNOWN)
    assert (found[KNOWN == Known.NOTHING] == Known.NOTHING).all()
    assert np.count_nonzero(found) == 4
    assert set(found[found > 0] - KNOWN[found > 0]) == {0}


def test_a_share_of_0_needs_clips_without_labels(tiny, partly):
    config = settings(tiny, unlabelled={"share": 0.0, "clips": 2})
    assert known_labels(config, partly.ids, KNOWN).tolist() == KNOWN.tolist()
    with complains(DataError, "train.unlabelled.share", 0, len(partly.ids)):
        known_labels(config, partly.ids)
