"""Distillation: what the teacher sees, what it changes, and which teachers are refused."""

import json
from dataclasses import replace

import pytest
import torch
import yaml

from elasticast.cli import train as train_command
from elasticast.data.dataset import ClipDataset
from elasticast.data.norm import Norm
from elasticast.data.packing import pack
from elasticast.data.sampler import ClipRequest
from elasticast.data.teacher import TeacherView
from elasticast.errors import DataError
from elasticast.models import build_model
from elasticast.models.pretrained import load_model
from elasticast.training.checkpoint import save_model
from elasticast.training.inputs import RunInputs, read_inputs
from elasticast.training.loop import Trainer
from elasticast.training.objective import distillation_loss
from elasticast.training.teacher import Teacher, load_teacher
from tests.complaints import complains
from tests.unit.training.ranks import stop_at

pytestmark = pytest.mark.usefixtures("cpu")

TEACHERS = {
    "elasticast": {},
    "ast": {"model": {"kind": "ast"}},
    "buckets": {
        "model": {"kind": "ast"},
        "view": {"frames": "native", "max_frames": 192},
        "train": {"batch": {"clips": 4, "buckets": True}},
    },
    "cnn": {"model": {"kind": "cnn"}},
    "coarse": {"view": {"compression": [2.0]}, "front_end": {"mel_bins": 64, "hop_ms": 5}},
}
BUSY = {"token_dropout": 0.2, "mixup": 0.5, "spec_augment": {"freq_bins": 24, "time_frames": 96}, "steps": 6}


@pytest.fixture
def write_teacher(tiny, train_clips, tmp_path):
    """Writes a model that was not trained, and returns its folder."""

    def write(name="teacher", classes=None, **settings):
        config = tiny(experiment=name.replace("-", "_"), **settings)
        torch.manual_seed(7)
        model = build_model(config, len(train_clips.classes))
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        save_model(tmp_path / name, model, config, Norm(-4.0, 3.0), classes or train_clips.classes, train_clips.kind)
        return tmp_path / name

    return write


@pytest.fixture
def trainer(tiny, train_clips, norm, tmp_path):
    """A trainer into a folder of `tmp_path`, with a teacher."""

    def build(folder, teacher=None, weight=0.5, train=None, **difference):
        distill = teacher and {"teacher": str(teacher), "weight": weight, "temperature": 2.0}
        config = tiny(**difference, train={**BUSY, "distill": distill, **(train or {})})
        loaded = teacher and load_teacher(str(teacher), config, train_clips.classes)
        return Trainer(config, RunInputs(train_clips, norm, "data", teacher=loaded), tmp_path / folder)

    return build


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def record(folder):
    return json.loads((folder / "run.json").read_text())


@pytest.mark.parametrize("name", TEACHERS)
def test_weight_0_is_the_plain_run_bit_for_bit(trainer, write_teacher, tmp_path, name):
    trainer("plain").fit()
    trainer("zero", write_teacher(**TEACHERS[name]), weight=0.0).fit()
    trainer("half", write_teacher(**TEACHERS[name]), weight=0.5).fit()
    assert weights(tmp_path / "zero") == weights(tmp_path / "plain") != weights(tmp_path / "half")


@pytest.mark.parametrize("name", ["cnn", "buckets"])
def test_a_distilled_run_goes_on_bit_for_bit(trainer, write_teacher, tmp_path, name):
    teacher = write_teacher(**TEACHERS[name])
    trainer("whole", teacher).fit()
    stopped = trainer("parts", teacher)
    stop_at(stopped, 3)
    with pytest.raises(SystemExit):
        stopped.fit()
    trainer("parts", teacher).fit()
    trainer("processes", teacher, train={"workers": 2}).fit()
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole") == weights(tmp_path / "processes")
    assert record(tmp_path / "parts")["distill"] == record(tmp_path / "whole")["distill"]


def test_the_budget_of_a_training_includes_its_teacher(trainer, write_teacher, tmp_path):
    budget = 2e9
    trainer("run", write_teacher(**TEACHERS["cnn"]), train={"steps": None, "flops": budget}).fit()
    found = record(tmp_path / "run")
    assert found["training_flops"] == pytest.approx(budget, rel=0.1)
    assert found["distill"]["flops"] > 0.1 * budget


def test_a_student_that_is_its_teacher_has_no_gradient(tiny, train_clips, norm, trainer, tmp_path):
    trainer("teacher").fit()
    loaded = load_teacher(str(tmp_path / "teacher"), tiny(), train_clips.classes)
    view = TeacherView(train_clips, loaded.config, loaded.norm, keep=True)
    dataset, student = ClipDataset(train_clips, tiny(), norm, view), load_model(tmp_path / "teacher").model.train()
    batch = pack([dataset[ClipRequest(i)] for i in range(6)])
    logits = student(batch)
    distillation_loss(logits, Teacher(loaded, torch.device("cpu"))(batch.teacher), "bce").backward()
    assert max(p.grad.abs().max() for p in student.parameters()) < 1e-7


def test_the_teacher_does_not_learn(trainer, write_teacher):
    found = trainer("run", write_teacher(**TEACHERS["cnn"]))
    before = {name: value.clone() for name, value in found.teacher.model.state_dict().items()}
    found.fit()
    assert not found.teacher.model.training
    assert all(torch.equal(value, before[name]) for name, value in found.teacher.model.state_dict().items())
    assert not any(p.requires_grad for p in found.teacher.model.parameters())


@pytest.mark.parametrize("name", TEACHERS)
def test_the_teacher_sees_clips_as_in_its_own_evaluation(tiny, train_clips, norm, write_teacher, name):
    """With its own length, resolution and normalisation, whatever the student augments."""
    config = tiny(view={"max_frames": 64, "cut_from": 32, "crop": "start"}, train={**BUSY, "mixup": 0.0})
    loaded = load_teacher(str(write_teacher(**TEACHERS[name])), config, train_clips.classes)
    view = TeacherView(train_clips, loaded.config, loaded.norm, keep=True)
    dataset = ClipDataset(train_clips, config, norm, view)
    seen = [dataset[ClipRequest(i, epoch)] for epoch in (0, 1) for i in range(6)]
    batch = pack(seen).teacher
    assert batch.index == [0, 1, 2, 3, 4, 5] * 2
    teacher = Teacher(loaded, torch.device("cpu"))
    expected = []
    for i in range(6):
        clip_view = view.rule(int(train_clips.samples[i]))
        spectrogram = view.encoder.spectrogram(train_clips.waveform(i), clip_view.compression)
        clip = view.encoder.encode(spectrogram, clip_view)
        expected.append(loaded.model(pack([clip])))
    assert torch.allclose(teacher(batch), torch.cat(expected * 2), atol=1e-5)


def test_the_teacher_hears_the_mixture(tiny, train_clips, norm, write_teacher):
    loaded = load_teacher(str(write_teacher()), tiny(), train_clips.classes)
    view = TeacherView(train_clips, loaded.config, loaded.norm, keep=True)
    mixed, plain = (ClipDataset(train_clips, tiny(train={"mixup": p}), norm, view) for p in (1.0, 0.0))
    for index in range(4):
        clip, alone = mixed[ClipRequest(index)], plain[ClipRequest(index)]
        assert not torch.equal(clip.teacher.patches, alone.teacher.patches)
        # the same mixture, at the same place, with the normalisation of the teacher
        waves = [norm.std * 2 * clip.patches + norm.mean, loaded.norm.std * 2 * clip.teacher.patches + loaded.norm.mean]
        assert torch.allclose(*waves, atol=1e-3)


def test_logits_are_matched_by_name(train_clips, tiny, write_teacher):
    names = train_clips.classes
    turned = load_teacher(str(write_teacher("turned", names[::-1])), tiny(), names)
    plain = load_teacher(str(write_teacher("plain", names)), tiny(), names)
    for one, other in zip(turned.model.head.parameters(), plain.model.head.parameters(), strict=True):
        assert torch.equal(one, other.flip(0))


def test_other_classes_and_rates_are_refused(train_clips, tiny, write_teacher):
    names = [f"{name}_2" for name in train_clips.classes]
    folder = write_teacher("other", names)
    with complains(DataError, "train.distill.teacher", folder, train_clips.classes[0], names[0]):
        load_teacher(str(folder), tiny(), train_clips.classes)
    folder = write_teacher("slow", front_end={"sample_rate": 8000})
    with complains(DataError, "train.distill.teacher", folder, "front_end.sample_rate", 8000, 16000):
        load_teacher(str(folder), tiny(), train_clips.classes)
    folder = write_teacher("softmax", train={"loss": "ce"})
    with complains(DataError, "train.distill.teacher", folder, "train.loss", "ce", "bce"):
        load_teacher(str(folder), tiny(), train_clips.classes)
    load_teacher(str(folder), tiny(train={"loss": "ce"}), train_clips.classes)
    load_teacher(str(write_teacher("sigmoid")), tiny(train={"loss": "ce"}), train_clips.classes)
    with complains(DataError, "train.distill.teacher", "absent"):
        load_teacher("absent", tiny(), train_clips.classes)


@pytest.mark.parametrize(("name", "kind"), [("elasticast", "self-distillation"), ("cnn", "cross-model")])
def test_the_record_names_the_teacher(trainer, write_teacher, tmp_path, name, kind):
    folder = write_teacher(**TEACHERS[name])
    trainer("plain").fit()
    trainer("run", folder).fit()
    plain, found = (record(tmp_path / run) for run in ("plain", "run"))
    assert plain["distill"] is None
    assert (found["distill"]["teacher"], found["distill"]["kind"]) == (str(folder), kind)
    assert found["distill"]["sha256"] == load_model(folder).sha256
    assert found["distill"]["flops"] > 0
    assert found["training_flops"] == plain["training_flops"] + found["distill"]["flops"]


def test_another_teacher_is_another_run(trainer, write_teacher):
    ours, theirs = (trainer(name, write_teacher()) for name in ("a", "b"))
    assert ours.checkpoints.identity == theirs.checkpoints.identity
    other = replace(ours.inputs, teacher=replace(ours.inputs.teacher, sha256="other"))
    changed = Trainer(ours.config, other, ours.out)
    assert changed.checkpoints.identity != ours.checkpoints.identity


def test_a_teacher_is_another_run_of_the_suite(tiny, prepared, write_teacher, tmp_path):
    """`run:NAME` is the run of this experiment with the same seed."""
    (tmp_path / "runs" / "cnn").mkdir(parents=True)
    write_teacher(**TEACHERS["cnn"]).rename(tmp_path / "runs" / "cnn" / "seed0")
    config, out = (
        tiny(train={"distill": {"teacher": "run:cnn", "weight": 0.5}}),
        tmp_path / "runs" / "student" / "seed0",
    )
    found = read_inputs(config, prepared, out, norm=prepared / "norm.json")
    assert found.teacher.config.model.kind == "cnn"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    train_command(tmp_path / "config.yaml", prepared, out, norm=prepared / "norm.json")
    assert record(out)["distill"]["teacher"] == "run:cnn"


@pytest.mark.parametrize("backend", ["varlen", "xformers"])
def test_a_teacher_of_another_machine_computes_as_this_one_can(trainer, write_teacher, backend):
    model = {"kind": "ast", "backend": backend}
    trainer("run", write_teacher(model=model), train={"steps": 1}).fit()
