"""Training in stages: what trains, the mean teacher, clips without labels, and pseudo-labels of an ensemble."""

import copy
import json

import numpy as np
import pytest
import torch

from elasticast.data.dataset import ClipDataset
from elasticast.data.events import Mixed
from elasticast.data.manifest import Known
from elasticast.data.norm import Norm
from elasticast.data.packing import pack
from elasticast.data.pseudo_labels import PseudoLabels, TimedLogits
from elasticast.data.sampler import ClipRequest
from elasticast.data.unlabelled import known_labels
from elasticast.errors import DataError
from elasticast.evaluation.sweep import sweep
from elasticast.models import build_model
from elasticast.models.adapters import follows_blocks
from elasticast.models.pretrained import load_model
from elasticast.training import ensemble
from elasticast.training.distributed import World
from elasticast.training.ensemble import KeptLogits, load_member, pseudo_labels
from elasticast.training.loop import EXIT_CHECKPOINTED
from elasticast.training.mean_teacher import MeanTeacher, scores_of
from elasticast.training.objective import Objective, Unsupervised, consistency_loss
from tests.complaints import complains
from tests.unit.training.conftest import BUSY, STAGES, UNLABELLED, settings
from tests.unit.training.ranks import stop_at

pytestmark = pytest.mark.usefixtures("cpu")


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def record(folder):
    return json.loads((folder / "run.json").read_text())


def changed(found, before):
    return {name for name, value in found.model.state_dict().items() if not torch.equal(value, before[name])}


def test_a_frozen_stage_changes_only_what_follows_the_blocks(staged, tmp_path):
    found = staged("run", STAGES, unlabelled=UNLABELLED)
    before = copy.deepcopy(found.model.state_dict())
    begin, at_boundary = found._begin, []

    def noted(*args):
        at_boundary.append(changed(found, before))
        begin(*args)

    found._begin = noted
    found.fit()
    heads = {name for name, _ in found.model.named_parameters() if follows_blocks(name, found.model)}
    assert at_boundary == [heads]
    assert {name.partition(".")[0] for name in heads} == {"head_norm", "head", "frame_head", "pool"}
    assert changed(found, before) == {name for name, _ in found.model.named_parameters()}
    stages = record(tmp_path / "run")["stages"]
    assert [(stage["frozen"], stage["steps"]) for stage in stages] == [(True, 3), (False, 3)]
    assert 0 < stages[0]["flops"] < stages[1]["flops"]
    assert record(tmp_path / "run")["training_flops"] > sum(stage["flops"] for stage in stages)


def test_a_run_goes_on_bit_for_bit_in_every_stage(staged, write, tmp_path):
    """Also at the boundary, where the next stage has not begun."""
    members = [write("member")]
    train = {**BUSY, "unlabelled": UNLABELLED, "ensemble": members, "mean_teacher": {"ema": 0.5, "keep": "teacher"}}
    stages = [{**STAGES[0], "pseudo_labels": 1.5}, {**STAGES[1], "interpolation": True}]
    staged("whole", stages, **train).fit()
    for step in (2, 3, 4):
        stopped = staged("parts", stages, **train)
        stop_at(stopped, step)
        with pytest.raises(SystemExit) as caught:
            stopped.fit()
        assert caught.value.code == EXIT_CHECKPOINTED
    staged("parts", stages, **train).fit()
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    found, expected = (record(tmp_path / name) for name in ("parts", "whole"))
    assert found["stages"] == expected["stages"]
    (member,) = found["ensemble"]
    assert (member["teacher"], member["sha256"]) == (members[0], load_model(members[0]).sha256)


def test_without_weights_of_other_losses_a_stage_is_the_plain_run(staged, tmp_path):
    staged("plain", unlabelled=UNLABELLED, **BUSY).fit()
    staged("zero", [{"share": 1.0}], unlabelled=UNLABELLED, **BUSY).fit()
    staged("some", [{"share": 1.0, "consistency": 2.0}], unlabelled=UNLABELLED, **BUSY).fit()
    assert weights(tmp_path / "zero") == weights(tmp_path / "plain") != weights(tmp_path / "some")
    assert record(tmp_path / "zero")["training_flops"] == record(tmp_path / "plain")["training_flops"]


def test_labels_that_are_not_used_change_nothing(staged, tiny, timed_clips, tmp_path):
    config = settings(tiny, unlabelled=UNLABELLED)
    used = known_labels(config, timed_clips.ids) == Known.ALL
    assert used.sum() == len(used) // 2
    other = copy.copy(timed_clips)
    of_label = np.repeat(used, np.diff(timed_clips.first_label))
    other.labels = np.where(of_label, timed_clips.labels, (timed_clips.labels + 1) % len(timed_clips.classes))
    other.events = timed_clips.events.select(used[timed_clips.events.clip])
    stages, train = [{"share": 1.0, "consistency": 2.0}], {"unlabelled": UNLABELLED, **BUSY}
    staged("run", stages, **train).fit()
    staged("other", stages, other, **train).fit()
    assert weights(tmp_path / "run") == weights(tmp_path / "other")


class Part(World):
    """One of several ranks: what all ranks have is known beforehand."""

    def __init__(self, total):
        super().__init__()
        object.__setattr__(self, "total", total)

    def sum(self, *values):
        return [self.total]


@pytest.fixture
def mixed(tiny, timed_clips, norm):
    """Settings, a model, and clips of which some have no labels."""
    config = settings(tiny, unlabelled=UNLABELLED)
    torch.manual_seed(0)
    model, dataset = build_model(config, len(timed_clips.classes)), ClipDataset(timed_clips, config, norm)
    clips = [dataset[ClipRequest(index)] for index in range(len(timed_clips))]
    assert [clip.known for clip in clips] == dataset.known.tolist()
    return config, model, clips


def test_clips_without_labels_add_no_supervised_loss(mixed):
    config, model, clips = mixed
    assert not any(clip.target.any() or clip.frame_target.any() for clip in clips if not clip.known)
    objective, all_of_them = Objective(config, World()), pack(clips)
    found = objective(model(all_of_them, frames=True), all_of_them, 1.0, Unsupervised(unlabelled=True))
    batch = pack([clip for clip in clips if clip.known])
    torch.testing.assert_close(found, objective(model(batch, frames=True), batch, 1.0))
    parts, total = (clips[:2], clips[2:7], clips[7:]), float(len(batch))
    losses = []
    for part in map(pack, parts):
        rank = Objective(config, Part(total))
        losses.append(rank(model(part, frames=True), part, len(part) / len(clips), Unsupervised(unlabelled=True)))
    torch.testing.assert_close(sum(losses), found)


def test_a_rank_without_labels_has_no_loss(mixed):
    config, model, clips = mixed
    batch = pack([clip for clip in clips if not clip.known])
    loss = Objective(config, Part(6.0))(model(batch, frames=True), batch, 0.5, Unsupervised(unlabelled=True))
    assert loss == 0
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_the_mean_teacher_is_the_average_of_the_formula(staged):
    found = staged("run", [{"share": 1.0, "consistency": 1.0}], mean_teacher={"ema": 0.7})
    update, students, teachers = found.mean_teacher.update, [], []

    def noted(student, step):
        update(student, step)
        students.append(student.head.weight.detach().clone())
        teachers.append(found.mean_teacher.model.head.weight.clone())

    found.mean_teacher.update = noted
    found.fit()
    assert len(students) == 6
    assert torch.equal(teachers[0], students[0])
    torch.testing.assert_close(teachers[2], torch.stack(students[:3]).mean(0))  # 2 / 3 is less than 0.7
    torch.testing.assert_close(teachers[3], 0.7 * teachers[2] + 0.3 * students[3])
    torch.testing.assert_close(teachers[5], 0.7 * teachers[4] + 0.3 * students[5])
    assert not any(parameter.requires_grad for parameter in found.mean_teacher.model.parameters())


def test_equal_weights_stay_equal_in_the_average(tiny, timed_clips):
    model = build_model(settings(tiny), len(timed_clips.classes))
    teacher = MeanTeacher(model, settings(tiny).train)
    for step in range(4):
        teacher.update(model, step)
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in teacher.model.state_dict().items())


@pytest.mark.parametrize("keep", ["student", "teacher"])
def test_either_of_them_is_saved(staged, tmp_path, keep):
    found = staged("run", [{"share": 1.0, "consistency": 1.0}], mean_teacher={"keep": keep})
    found.fit()
    expected = {"student": found.model, "teacher": found.mean_teacher.model}[keep].state_dict()
    saved = load_model(tmp_path / "run").model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in saved.items())


def test_the_mean_teacher_is_given_the_same_part_without_masks_and_with_all_tokens(tiny, timed_clips, norm):
    config, plain = settings(tiny, **BUSY), settings(tiny, mixup=BUSY["mixup"])
    noisy, clean = ClipDataset(timed_clips, config, norm, mean_teacher=True), ClipDataset(timed_clips, plain, norm)
    for index in range(len(timed_clips)):
        seen, expected = noisy[ClipRequest(index, 3)], clean[ClipRequest(index, 3)]
        assert torch.equal(seen.teacher.patches, expected.patches)
        assert len(seen.patches) < len(expected.patches)
        assert seen.teacher.time_patches == seen.time_patches == expected.time_patches


@pytest.mark.parametrize("kind", ["bce", "ce"])
def test_a_student_that_is_its_teacher_is_consistent(mixed, kind):
    _, model, clips = mixed
    batch = pack(clips)
    own = model(batch, frames=True)
    assert consistency_loss(own, scores_of(own, kind), batch, kind) == 0
    further = own._replace(frames=own.frames + 1)
    assert consistency_loss(further, scores_of(own, kind), batch, kind) > 0


def test_consistency_counts_every_clip_the_same(mixed):
    _, model, clips = mixed
    batch = pack(clips)
    own = model(batch, frames=True)
    other = own._replace(frames=torch.randn_like(own.frames), clips=torch.randn_like(own.clips))
    frames = [
        (ours.sigmoid() - theirs.sigmoid()).square().mean()
        for ours, theirs in zip(*(x.frames.split(batch.clip_time_patches) for x in (own, other)), strict=True)
    ]
    expected = torch.stack(frames).mean() + (own.clips.sigmoid() - other.clips.sigmoid()).square().mean()
    torch.testing.assert_close(consistency_loss(own, scores_of(other, "bce"), batch, "bce"), expected)


def test_rates_of_a_stage(staged):
    found, rates = staged("run", STAGES, lr=1.0, schedule={"kind": "constant"}, layer_decay=0.5), []
    update = found._update

    def noted(*args):
        result = update(*args)
        rates.append(sorted({group["lr"] for group in found.optimizer.param_groups}))
        return result

    found._update = noted
    found.fit()
    assert rates[:3] == [[0.01]] * 3
    assert rates[3:] == [pytest.approx([0.25e-4, 0.5e-4, 1e-4, 1.0])] * 3


def test_the_ramp_of_the_mean_teacher(staged):
    first, second = staged("run", STAGES).phases
    found = [
        phase.unsupervised(step).consistency for phase, step in ((first, 0), (second, 3), (second, 4), (second, 5))
    ]
    assert found == pytest.approx([2.0, 20 * np.exp(-5), 20 * np.exp(-1.25), 20])


def test_batches_have_as_many_clips_without_labels_as_was_said(staged):
    found, counts = staged("run", [{"share": 0.5}, {"share": 0.5, "consistency": 1.0}], unlabelled=UNLABELLED), []
    update = found._update

    def noted(batch, *args):
        labelled = torch.ones(len(batch)) if batch.labelled is None else batch.labelled
        counts.append((int(labelled.sum()), len(batch)))
        return update(batch, *args)

    found._update = noted
    found.fit()
    assert counts == [(3, 3)] * 3 + [(3, 6)] * 3


@pytest.mark.parametrize(
    ("unlabelled", "named"), [({"share": 0.01, "clips": 1}, "share"), ({"share": 0.25, "clips": 5}, "clips")]
)
def test_parts_without_labels_that_do_not_fit_the_data_are_named(staged, unlabelled, named):
    with complains(DataError, f"train.unlabelled.{named}", unlabelled[named], 12 if named == "share" else 3):
        staged("run", [{"share": 1.0, "consistency": 1.0}], unlabelled=unlabelled)


def test_too_few_clips_with_labels_are_named(staged):
    with complains(DataError, "train.batch.clips", 3, 1):
        staged("run", unlabelled={"share": 0.9, "clips": 1})


def test_pseudo_labels_are_the_sigmoids_of_the_mean_logits(tiny, timed_clips, tmp_path, write):
    """At the same patches, they are those of the models. The last patch of a clip is partly padding, without events."""
    names = [write("one", 1), write("two", 2)]
    config = settings(tiny, [{"share": 1.0, "pseudo_labels": 1.0}], ensemble=names)
    members = [load_member(name, config, timed_clips.classes) for name in names]
    labels = pseudo_labels(members, timed_clips, config, torch.device("cpu"), KeptLogits(tmp_path / "kept", {}, True))
    dataset = ClipDataset(timed_clips, config, Norm(-4.0, 3.0), pseudo_labels=labels)
    batch = pack([dataset[ClipRequest(index)] for index in range(len(timed_clips))])
    with torch.no_grad():
        logits = torch.stack([member.model(batch, frames=True).frames for member in members])
    last = torch.tensor(batch.clip_time_patches).cumsum(0) - 1
    whole = [row for row in range(len(batch.pseudo_targets)) if row not in last]
    torch.testing.assert_close(batch.pseudo_targets[whole], logits.mean(0).sigmoid()[whole], atol=1e-5, rtol=1e-5)
    assert (batch.pseudo_targets[last] <= logits.mean(0).sigmoid()[last] + 1e-5).all()


def test_pseudo_labels_are_mixed_as_clips():
    logits = torch.tensor([[0.0], [1.0], [2.0], [-1.0], [5.0]])
    one, two = TimedLogits(np.array([0, 3, 5]), 0.2, 0.0, logits), TimedLogits(np.array([0, 3, 5]), 0.2, 0.0, -logits)
    seconds, share = np.array([0.6, 0.4]), 0.25
    alone = PseudoLabels([one], seconds, "repeat")(0, None, 6, 0.1)
    assert torch.equal(alone, logits[[0, 0, 1, 1, 2, 2]].T.sigmoid())
    repeated, silent = (PseudoLabels([one], seconds, fill)(0, Mixed(1, share), 6, 0.1) for fill in ("repeat", "zeros"))
    other = logits[[3, 3, 4, 4, 3, 3]].T.sigmoid()
    torch.testing.assert_close(repeated, share * alone + (1 - share) * other)
    torch.testing.assert_close(silent[:, :4], repeated[:, :4])
    torch.testing.assert_close(silent[:, 4:], share * alone[:, 4:])
    assert torch.equal(PseudoLabels([one, two], seconds, "zeros")(0, None, 6, 0.1), torch.full((1, 6), 0.5))


def test_members_that_make_no_pseudo_labels_are_refused(tiny, timed_clips, write):
    config = settings(tiny)
    with complains(DataError, "train.ensemble", "model.frame_head", write("clips", frame_head=False)):
        load_member(write("clips", frame_head=False), config, timed_clips.classes)
    names = [f"{name}_2" for name in timed_clips.classes]
    with complains(DataError, "train.ensemble", names[0]):
        load_member(write("other", classes=names), config, timed_clips.classes)
    with complains(DataError, "train.ensemble", "absent"):
        load_member("absent", config, timed_clips.classes)


def test_members_for_shorter_clips_are_refused(tiny, timed_clips, tmp_path, write):
    config = settings(tiny, [{"share": 1.0, "pseudo_labels": 1.0}], ensemble=["short"])
    member = load_member(write("short"), config, timed_clips.classes)
    short = member.config.view.model_copy(update={"max_frames": 64})
    member.config = member.config.model_copy(update={"view": short})
    with complains(DataError, "train.ensemble", "short", "view.max_frames"):
        pseudo_labels([member], timed_clips, config, torch.device("cpu"), KeptLogits(tmp_path / "kept", {}, True))


def test_pseudo_labels_are_not_computed_again(staged, write, tmp_path, monkeypatch):
    """Each model computes its logits once, unless they are damaged or no stage to come needs them."""
    train = {"ensemble": [write("one", 1), write("two", 2)]}
    stages = [{"share": 0.5, "pseudo_labels": 1.5}, {"share": 0.5}]
    computed = []
    monkeypatch.setattr(ensemble, "sweep", lambda *args, **options: computed.append(sweep(*args, **options)))
    staged("whole", stages, **train).fit()
    for step, expected, damaged in ((1, 4, True), (2, 5, False), (4, 5, True)):
        stopped = staged("parts", stages, **train)
        stop_at(stopped, step)
        with pytest.raises(SystemExit):
            stopped.fit()
        assert len(computed) == expected
        if damaged:
            (tmp_path / "parts/checkpoint/ensemble/1.safetensors").write_bytes(b"damaged")
    staged("parts", stages, **train).fit()
    assert len(computed) == 5
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")


def test_logits_of_another_run_are_not_used(tmp_path):
    logits = torch.randn(5, 3)
    KeptLogits(tmp_path, {"seed": 0}, writes=False).write(0, logits)
    assert KeptLogits(tmp_path, {"seed": 0}, writes=True).read(0) is None
    KeptLogits(tmp_path, {"seed": 0}, writes=True).write(0, logits)
    assert torch.equal(KeptLogits(tmp_path, {"seed": 0}, writes=False).read(0), logits)
    assert KeptLogits(tmp_path, {"seed": 1}, writes=True).read(0) is None


def test_another_ensemble_is_another_run(staged, write):
    stages = [{"share": 1.0, "pseudo_labels": 1.0}]
    one, two = (staged("run", stages, ensemble=[write("member", seed)]) for seed in (1, 2))
    assert one.checkpoints.identity != two.checkpoints.identity
