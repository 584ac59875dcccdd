"""What training minimises."""

import pytest
import torch

from elasticast.data.packing import pack
from elasticast.training.distributed import World
from elasticast.training.objective import Objective, compute_loss, distillation_loss
from tests.unit.models.test_models import random_clip

KINDS = ["bce", "ce"]


def logits_and_targets(kind, clips=5, classes=7):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(clips, classes, generator=generator)
    targets = torch.rand(clips, classes, generator=generator)
    return logits, targets if kind == "bce" else targets.softmax(1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_is_as_many_copies_of_a_clip(kind):
    logits, targets = logits_and_targets(kind)
    teacher, counts = logits.flip(0), torch.tensor([1, 3, 2, 1, 4])
    copies = [value.repeat_interleave(counts, 0) for value in (logits, targets, teacher)]
    sizes = counts.float()
    assert torch.allclose(compute_loss(logits, targets, kind, sizes), compute_loss(*copies[:2], kind))
    weighted = distillation_loss(logits, teacher, kind, 2.0, sizes)
    assert torch.allclose(weighted, distillation_loss(copies[0], copies[2], kind, 2.0))


@pytest.mark.parametrize("kind", KINDS)
def test_equal_weights_are_the_mean_over_clips(kind):
    logits, targets = logits_and_targets(kind)
    assert torch.allclose(
        compute_loss(logits, targets, kind, torch.full((5,), 3.0)), compute_loss(logits, targets, kind)
    )


def test_tokens_count_equally(tiny):
    batch = pack([random_clip(0, 32), random_clip(1, 160)])
    logits = torch.randn(2, len(batch.targets[0]), generator=torch.Generator().manual_seed(1))
    by_clip, by_token = (
        Objective(tiny(train={"loss_weights": weights}), World())(logits, batch, 1.0) for weights in ("clip", "token")
    )
    losses = [compute_loss(logits[i : i + 1], batch.targets[i : i + 1], "bce") for i in range(2)]
    assert torch.allclose(by_clip, (losses[0] + losses[1]) / 2)
    assert torch.allclose(by_token, (losses[0] + 5 * losses[1]) / 6)


@pytest.mark.parametrize("weights", ["clip", "token"])
def test_the_losses_of_ranks_add_up_to_that_of_the_batch(tiny, weights):
    clips = [random_clip(i, frames) for i, frames in enumerate((32, 160, 64))]
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    config, tokens = tiny(train={"loss_weights": weights}), sum(len(clip.patches) for clip in clips)

    class Both(World):
        def sum(self, *values):
            return [tokens]

    expected = Objective(config, World())(logits, pack(clips), 1.0)
    parts = [([0, 2], 2 / 3), ([1], 1 / 3)]
    found = [Objective(config, Both())(logits[own], pack([clips[i] for i in own]), share) for own, share in parts]
    assert torch.allclose(sum(found), expected)
    idle = Objective(config, Both())(logits[:1], pack(clips[:1]), 0.0)
    assert idle == 0


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_student_that_agrees_has_no_loss_and_no_gradient(kind, temperature):
    teacher = 5 * logits_and_targets(kind)[0]
    student = teacher.clone().requires_grad_()
    loss = distillation_loss(student, teacher, kind, temperature)
    loss.backward()
    assert abs(loss.item()) < 1e-6
    assert student.grad.abs().max() < 1e-7


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_divergence_is_that_of_its_definition(kind, temperature):
    student, _ = logits_and_targets(kind)
    teacher = student.flip(1)
    if kind == "bce":
        p, q = ((x / temperature).sigmoid() for x in (teacher, student))
        expected = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
    else:
        p, q = ((x / temperature).softmax(1) for x in (teacher, student))
        expected = (p * (p / q).log()).sum(1).mean()
    found = distillation_loss(student, teacher, kind, temperature)
    assert torch.allclose(found, temperature**2 * expected, rtol=1e-4)
    assert found > 0
