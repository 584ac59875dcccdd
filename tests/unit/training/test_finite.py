"""A loss, gradient or weight that is not finite stops a run at its step and is never saved."""

import json
import math

import pytest
import torch

from elasticast.data.sampler import ClipRequest
from elasticast.errors import ElasticASTError
from elasticast.training.checkpoint import saved_checkpoints
from elasticast.training.finite import MOST_SKIPPED, NAMED_CLIPS, FiniteSteps
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import Trainer
from tests.complaints import complains, names
from tests.unit.training.ranks import stop_at

pytestmark = pytest.mark.usefixtures("cpu")
STEPS = 6


@pytest.fixture
def trainer(tiny, train_clips, norm, tmp_path):
    def build(**train):
        config = tiny(train={"steps": STEPS, "log_every": 100, "checkpoint_every": 2, "grad_clip": None, **train})
        return Trainer(config, RunInputs(train_clips, norm, "data"), tmp_path / "run")

    return build


def poison(found: Trainer, step: int, value: float) -> None:
    """Make the gradient of one step infinite or NaN."""
    weight = next(found.model.parameters())
    weight.register_hook(lambda gradient: gradient * value if found.step == step - 1 else gradient)


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("step", [1, 3, 4, STEPS])
def test_a_gradient_that_is_not_finite_stops_its_step_and_names_the_clips(trainer, tmp_path, step, value):
    found = trainer()
    poison(found, step, value)
    batches = [batch for epoch in range(3) for batch in found.phases[0].sampler.epoch(epoch)]
    clips = [found.inputs.clips.ids[clip.index] for clip in batches[step - 1]]
    with complains(ElasticASTError, "tiny", f"step {step}", "train.lr", "train.grad_clip", *clips):
        found.fit()
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert not (tmp_path / "run" / "run.json").exists()
    expected = [f"step-{saved}" for saved in (4, 2) if saved < step]
    assert [path.name for path in saved_checkpoints(tmp_path / "run" / "checkpoint")] == expected


@pytest.mark.parametrize("clip", [1.0, None])
def test_so_does_a_loss(trainer, monkeypatch, clip):
    found = trainer(grad_clip=clip)
    loss = "elasticast.training.objective.compute_loss"
    monkeypatch.setattr(loss, lambda logits, *_: logits.sum() * (math.nan if found.step == 2 else 1))
    with complains(ElasticASTError, "step 3", math.nan):
        found.fit()


def test_a_run_told_to_stop_at_that_step_saves_nothing(trainer, tmp_path):
    found = trainer()
    poison(found, 3, math.inf)
    stop_at(found, 3)
    with complains(ElasticASTError, "step 3"):
        found.fit()
    assert [path.name for path in saved_checkpoints(tmp_path / "run" / "checkpoint")] == ["step-2"]


@pytest.mark.parametrize(("step", "saved"), [(2, []), (STEPS, ["step-4", "step-2"])])
def test_weights_that_overflow_are_not_saved(trainer, tmp_path, step, saved):
    """An update can overflow although the loss and the gradient of its step are finite."""
    found = trainer()

    def overflow(*_):
        if found.step == step - 1:
            torch.nn.init.constant_(found.model.head.bias, math.inf)

    found.optimizer.register_step_post_hook(overflow)
    with complains(ElasticASTError, "head.bias", "train.lr"):
        found.fit()
    assert not list((tmp_path / "run").rglob("*.safetensors"))
    assert [path.name for path in saved_checkpoints(tmp_path / "run" / "checkpoint")] == saved


def steps_on(device, tiny, **train) -> FiniteSteps:
    return FiniteSteps(tiny(train=train), [f"clip{index}" for index in range(100)], torch.device(device))


def add(found: FiniteSteps, step: int, loss: float = 1.0, grad_norm: float = 1.0, clips: int = 2) -> None:
    found.add(step, 0, [ClipRequest(step + k) for k in range(clips)], torch.tensor(loss), torch.tensor(grad_norm))


def test_on_a_gpu_a_step_is_read_during_the_next_or_before_anything_is_saved(tiny):
    found = steps_on("cuda", tiny)
    add(found, 1)
    add(found, 2, grad_norm=math.inf)
    with complains(ElasticASTError, "step 2", "clip2", "clip3"):
        add(found, 3)
    found = steps_on("cuda", tiny)
    add(found, 1, loss=math.nan)
    with complains(ElasticASTError, "step 1"):
        found.check()


def test_half_precision_may_skip_steps_but_not_for_ever(tiny):
    found = steps_on("cpu", tiny, precision="fp16")
    for step in range(MOST_SKIPPED):
        add(found, step, grad_norm=math.inf)
    add(found, MOST_SKIPPED)
    for step in range(MOST_SKIPPED):
        add(found, step, grad_norm=math.nan)
    with complains(ElasticASTError, "train.precision"):
        add(found, 41, grad_norm=math.inf)
    with complains(ElasticASTError, "step 1"):
        add(steps_on("cpu", tiny, precision="fp16"), 1, loss=math.inf)


def test_a_large_batch_is_named_in_part(tiny):
    with complains(ElasticASTError, "clip1", f"clip{NAMED_CLIPS}", 90) as caught:
        add(steps_on("cpu", tiny), 1, loss=math.nan, clips=90)
    assert not names(str(caught.value), f"clip{NAMED_CLIPS + 1}")


def test_every_file_of_a_run_is_valid_json(trainer, tmp_path):
    trainer().fit()
    files = list((tmp_path / "run").rglob("*.json"))
    assert len(files) == 2
    for file in files:
        json.loads(file.read_text(), parse_constant=pytest.fail)
