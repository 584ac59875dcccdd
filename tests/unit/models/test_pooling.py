"""How ElasticAST pools: each clip by its own tokens, whatever stands beside it in the batch."""

import pytest
import torch

from elasticast.data.packing import Lengths, pack
from elasticast.models import build_model
from elasticast.models.pooling import mean_pooling, prepend_tokens, split_prefix
from elasticast.models.pretrained import load_model, start_from
from elasticast.training.checkpoint import save_model
from tests.unit.models.test_models import FRAMES, TOLERANCE, model_of, random_clip

POOLINGS = ["attention", "mean", "cls"]


@pytest.mark.parametrize("lengths", [[3, 1, 5], [2, 2]])
def test_leading_tokens_are_put_in_and_taken_out(lengths):
    x, first = torch.randn(sum(lengths), 4), torch.randn(len(lengths), 2, 4)
    counts, lengths = lengths, Lengths.of(lengths)
    joined = prepend_tokens(first, x, lengths)
    rows = zip(first, x.split(counts), strict=True)
    assert torch.equal(joined, torch.cat([torch.cat(row) for row in rows]))
    again = split_prefix(joined, lengths, 2)
    assert torch.equal(again[0], first)
    assert torch.equal(again[1], x)


@pytest.mark.parametrize("lengths", [[3, 1, 5], [3, 3, 3]])
def test_a_mean_is_that_of_each_clip(lengths):
    x = torch.randn(9, 4)
    expected = [clip.mean(0) for clip in x.split(lengths)]
    torch.testing.assert_close(mean_pooling(x, Lengths.of(lengths)), torch.stack(expected))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("positions", ["table", "rotary"])
@torch.no_grad()
def test_the_head_sees_what_pooling_says(tiny, pooling, positions):
    model = model_of(tiny(model={"pooling": pooling, "positions": positions}))
    seen = {}
    model.trunk.register_forward_hook(lambda _, inputs, x: seen.update(into=inputs[0], out=x))
    clips = [random_clip(i, frames) for i, frames in enumerate(FRAMES)]
    logits, start = model(pack(clips)), 0
    for row, clip in zip(logits, clips, strict=True):
        tokens = len(clip.patches) + (pooling == "cls")
        part = seen["out"][start : start + tokens]
        if pooling == "cls":
            assert torch.equal(seen["into"][start], model.cls)
        pooled = part[0] if pooling == "cls" else part.mean(0)
        torch.testing.assert_close(row, model.head(model.head_norm(pooled)), **TOLERANCE)
        start += tokens
    assert start == len(seen["out"])


def test_a_model_has_only_the_weights_its_pooling_uses(tiny):
    names = {p: {n.split(".")[0] for n, _ in model_of(tiny(model={"pooling": p})).named_parameters()} for p in POOLINGS}
    assert names["attention"] == names["mean"] | {"pool"}
    assert names["cls"] == names["mean"] | {"cls"}


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_starts_from_every_other(tiny, norm, tmp_path, pooling):
    sources = {p: tiny(model={"pooling": p}) for p in POOLINGS}
    sources["ast"] = tiny(model={"kind": "ast", "prefix_tokens": 2})
    sources["ast without"] = tiny(model={"kind": "ast", "prefix_tokens": 0, "pooling": "mean"})
    target = tiny(model={"pooling": pooling})
    for name, source in sources.items():
        theirs, ours = model_of(source), model_of(target)
        save_model(tmp_path, theirs, source, norm, list("abcde"), "multi")
        notes = " ".join(start_from(str(tmp_path), ours, target, list("abcde"))["notes"])
        if pooling == "cls":
            assert ("CLS token freshly" in notes) == (name in ("attention", "mean", "ast without"))
            if name == "cls":
                assert torch.equal(ours.cls, theirs.cls)
            if name == "ast":
                assert torch.equal(ours.cls, theirs.prefix[0] + theirs.prefix_positions[0])
        else:
            assert ("CLS and distillation tokens left out" in notes) == (name in ("cls", "ast", "ast without"))
        if name == pooling:
            batch = pack([random_clip(0, 96)])
            assert torch.equal(load_model(tmp_path).model(batch), theirs(batch))


def test_the_query_starts_scaled_or_with_a_standard_deviation_of_1(tiny):
    queries = []
    for query_init in ("scaled", "normal"):
        torch.manual_seed(0)
        queries.append(build_model(tiny(model={"query_init": query_init}), 5).pool.query)
    torch.testing.assert_close(queries[0] * len(queries[0]) ** 0.5, queries[1])


@pytest.mark.parametrize("kind", ["elasticast", "ast"])
def test_the_head_starts_as_the_other_layers_or_as_pytorchs(tiny, kind):
    settings = {"kind": kind, "dim": 64, "heads": 2}
    view = {"frames": 64} if kind == "ast" else {}
    for head_init, largest in (("xavier", (6 / (64 + 500)) ** 0.5), ("torch", 1 / 64**0.5)):
        head = build_model(tiny(model={**settings, "head_init": head_init}, view=view), 500).head
        assert head.weight.detach().abs().max() == pytest.approx(largest, rel=0.01)
        assert bool(head.bias.any()) == (head_init == "torch")
