"""The cost of a forward pass, against torch's own count of what really runs."""

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from elasticast.data.packing import pack
from elasticast.evaluation.flops import forward_flops
from elasticast.training.cost import ForwardCost
from tests.unit.models.test_models import AST_KINDS, model_of, random_clip

MODELS = [{"pooling": pooling} for pooling in ("attention", "mean", "cls")]
MODELS += [
    {"positions": "rotary"},
    {"attention_scale": "qk_norm"},
    {"dim": 48, "heads": 3, "depth": 3, "mlp_ratio": 2.5},
]
MODELS += [{"kind": "ast", "pooling": pooling, "prefix_tokens": prefix} for pooling, prefix in AST_KINDS]


@pytest.mark.parametrize("settings", MODELS, ids=str)
@pytest.mark.parametrize("frames", [16, 64, 128])
def test_the_formula_is_what_runs(tiny, settings, frames):
    config = tiny(model=settings)
    model = model_of(config)
    batch = pack([random_clip(0, frames)])
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # the CPU's own kernel is not counted
        model(batch)
    assert forward_flops(model, config, frames // 2, 5) == counter.get_total_flops()


HEADS = [{"kind": "ast"}, {"kind": "elasticast"}, {"positions": "rotary", "context": {"chunk": 2}}]
"""With a frame head; the last one has no formula."""


@pytest.mark.parametrize("settings", HEADS, ids=str)
def test_the_frame_head_is_counted_where_it_runs(tiny, settings):
    config = tiny(model={"frame_head": True, **settings})
    model = model_of(config)
    batch = pack([random_clip(0, 64)])
    counts = []
    for frames in (False, True):
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(batch, frames=frames)
        counts.append(counter.get_total_flops())
    assert forward_flops(model, config, 32, 5) == counts[0]
    assert forward_flops(model, config, 32, 5, 4) == counts[1] == counts[0] + 2 * 4 * config.model.dim * 5
    for frames, count in zip((False, True), counts, strict=True):
        cost = ForwardCost(model.settings, config, 5, frames=frames)
        assert cost.clip(32) == cost.clip(32, 4) == cost.batch(batch) == count
