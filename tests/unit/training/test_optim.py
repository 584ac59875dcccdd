"""Learning rates that fall from layer to layer (`train.layer_decay`)."""

import pytest
import torch

from elasticast.config import Train
from elasticast.models import build_model
from elasticast.training.optim import build_optimizer

MODELS = {
    "elasticast": {"frame_head": True, "crnn": {"channels": [2], "width": 3}},
    "ast": {"kind": "ast", "prefix_tokens": 2, "frame_head": True},
    "lora": {"init": "weights", "adapt": {"kind": "lora", "rank": 2}},
    "prompts": {"init": "weights", "adapt": {"kind": "prompts", "tokens": 2, "deep": True}},
    "aum": {"kind": "aum"},
}
DEPTH, DECAY = 3, 0.5
every_model = pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
FULL = ("head", "head_norm", "frame_head", "pool", "norm", "trunk.norm")


def model_of(tiny, settings):
    torch.manual_seed(0)
    return build_model(tiny(model={"dim": 16, "depth": DEPTH, **settings}), 5)


def train(**settings):
    return Train(steps=1, batch={"clips": 1}, lr=0.1, **settings)


def expected(name, highest=1.0):
    """Share of the learning rate of a parameter."""
    if name.startswith(tuple(f"{part}." for part in FULL)):
        return highest if name.startswith(("norm.", "trunk.norm.")) else 1.0
    parts = name.split(".")
    layer = int(parts[parts.index("blocks") + 1]) if "blocks" in parts else -1
    return highest * DECAY ** (DEPTH - layer)


@every_model
@pytest.mark.parametrize("decay", ["all", "matrices"])
@pytest.mark.parametrize("transformer_lr", [None, 0.02])
def test_each_parameter_is_in_one_group_with_the_rate_of_its_layer(tiny, settings, decay, transformer_lr):
    model = model_of(tiny, settings)
    groups = build_optimizer(model, train(layer_decay=DECAY, decay=decay), transformer_lr).param_groups
    factors = [(id(parameter), group["factor"]) for group in groups for parameter in group["params"]]
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert sorted(key for key, _ in factors) == sorted(map(id, trained.values()))
    highest = 1.0 if transformer_lr is None else transformer_lr / 0.1
    assert dict(factors) == {id(p): pytest.approx(expected(name, highest)) for name, p in trained.items()}
    assert all(group["params"] for group in groups)


@every_model
def test_it_divides_what_decays_as_without(tiny, settings):
    model = model_of(tiny, settings)
    plain, falling = (build_optimizer(model, train(weight_decay=0.3, layer_decay=decay)) for decay in (1.0, DECAY))
    assert not any("factor" in group for group in plain.param_groups)
    decays = [
        {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        for optimizer in (plain, falling)
    ]
    assert decays[0] == decays[1]


@pytest.mark.parametrize("decay", ["all", "matrices"])
def test_groups_alone_change_nothing(tiny, decay):
    """Weights are equal, bit for bit, if all rates are equal."""
    steps = []
    for transformer_lr in (None, 0.1):
        model = model_of(tiny, MODELS["ast"])
        optimizer = build_optimizer(model, train(weight_decay=0.3, decay=decay), transformer_lr)
        for _ in range(3):
            for number, parameter in enumerate(model.parameters(), start=1):
                parameter.grad = torch.sin(number + torch.arange(parameter.numel()).float()).view_as(parameter)
            optimizer.step()
        steps.append(model.state_dict())
    assert all(torch.equal(value, steps[1][name]) for name, value in steps[0].items())
