"""A model as a function of tensors is the model."""

import pytest
import torch

from elasticast.data.packing import PackedClip, grid_positions, pack
from elasticast.models import build_model
from elasticast.models.graph import TensorModel, problems

POSITIONS = ("table", "interpolated", "fractional", "sinusoidal", "rotary")
ELASTIC = [({"positions": p, "pooling": q}, {}) for p in POSITIONS for q in ("attention", "mean", "cls")]
FIXED = [
    ({"kind": "ast", "prefix_tokens": n, "pooling": q}, {}) for n, q in ((2, "cls"), (1, "mean"), (0, "attention"))
]
CHUNKS = [({"positions": "rotary", "context": {"chunk": 2, "past": past}}, {}) for past in (0, 4, None)]
MASKED = [
    ({"kind": "ast", "time_offset": True}, {"fill": "mask"}),
    ({"positions": "fractional"}, {"frames": 64, "fill": "mask"}),
]


def packed(columns, grid):
    """Random clips of 8 rows and these numbers of time patches, on a grid of `grid` or as many."""
    clips = []
    for number, count in enumerate(columns):
        patches = torch.randn(8 * count, 256)
        clips.append(PackedClip(number, patches, *grid_positions(8, count), torch.empty(0), grid or count))
    return pack(clips)


PADDED = [({"padding": "longest"}, {})]


@pytest.mark.parametrize(
    ("model", "view"), [*ELASTIC, *FIXED, *MASKED, *CHUNKS, *PADDED, ({"attention_scale": "qk_norm"}, {})]
)
def test_logits_are_those_of_the_model(tiny, model, view):
    config = tiny(model=model, view=view)
    torch.manual_seed(0)
    net = build_model(config, 5).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    fixed = config.view.frames != "native"
    columns = [3, 1, 4] if view.get("fill") == "mask" else [4, 4] if fixed else [3, 1, 7, 16]
    batch = packed(columns, 4 if fixed else None)
    assert not problems(config)
    with torch.no_grad():
        expected = net(batch)
        found = TensorModel(net, config)(batch.patches, batch.freq, batch.time, torch.tensor(batch.seqlens))
    assert expected.std() > 1e-2
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_table_that_is_resized_to_each_clip_has_no_graph(tiny):
    (problem,) = problems(tiny(model={"positions": "grid"}))
    assert "model.positions = 'grid'" in problem


def test_a_recurrent_head_has_no_graph(tiny):
    (problem,) = problems(tiny(model={"frame_head": True, "crnn": {}}))
    assert "model.crnn" in problem


@pytest.mark.parametrize("model", [{}, {"pooling": "cls"}, {"kind": "ast", "prefix_tokens": 2}])
def test_logits_of_time_patches_are_those_of_the_model(tiny, model):
    config = tiny(model={"frame_head": True, **model})
    torch.manual_seed(0)
    net = build_model(config, 5).eval()
    batch = packed([4, 4] if "kind" in model else [3, 1, 7], None)
    with torch.no_grad():
        expected = net(batch, frames=True)
        clips, frames = TensorModel(net, config)(batch.patches, batch.freq, batch.time, torch.tensor(batch.seqlens))
    torch.testing.assert_close(clips, expected.clips, atol=1e-5, rtol=0)
    torch.testing.assert_close(frames[batch.freq == 0], expected.frames, atol=1e-5, rtol=0)
