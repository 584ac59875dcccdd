"""Settings of attention by chunks: combinations that are refused, by key and value."""

import pytest

from elasticast.config import Context, Evaluation
from elasticast.config.evaluation import sweep_problems
from elasticast.training.identity import may_compile
from tests.complaints import assert_names, complains

ROTARY = {"positions": "rotary"}


def test_the_past_is_a_number_of_chunks():
    assert Context(chunk=4).past_chunks is None
    assert [Context(chunk=4, past=past).past_chunks for past in (0, 4, 12)] == [0, 1, 3]
    with complains(ValueError, "past", 6, 4):
        Context(chunk=4, past=6)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ({"context": {"chunk": 0}}, ["chunk", 0]),
        ({"context": {"chunk": 2, "past": -2}}, ["past", -2]),
        ({"context": {"chunk": 17}}, ["model.context.chunk", 17, 16]),
        ({"context": {"chunk": 2}, "positions": "table"}, ["model.context", "model.positions", "table"]),
        ({"context": {"chunk": 2}, "positions": "sinusoidal"}, ["model.context", "model.positions", "sinusoidal"]),
        ({"context": {"chunk": 2}, "pooling": "cls"}, ["model.context", "model.pooling", "cls"]),
        ({"context": {"chunk": 2}, "merge": {"share": 0.5}}, ["model.context", "model.merge"]),
        ({"context": {"chunk": 2}, "patch_sizes": {"sizes": [8, 16]}}, ["model.patch_sizes", "model.context"]),
        ({"context": {"chunk": 2}, "init": "x", "adapt": {"kind": "prompts"}}, ["model.context", "prompts"]),
        ({"context": {"chunk": 2}, "init": "x", "adapt": {"kind": "conformer"}}, ["model.context", "conformer"]),
        ({"kind": "ast", "context": {"chunk": 2}}, ["context"]),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(tiny, model, named):
    with complains(ValueError, *named):
        tiny(model={**(ROTARY if "kind" not in model else {}), **model})


def test_a_model_with_a_context_is_not_compiled(tiny):
    chunked = {**ROTARY, "context": {"chunk": 2}}
    for key, value in {"compile": "on", "cuda_graphs": True}.items():
        with complains(ValueError, f"train.{key}", value, "model.context"):
            tiny(model=chunked, train={key: value})
    assert may_compile(tiny(model=ROTARY), "varlen")
    assert not may_compile(tiny(model=chunked), "varlen")


def test_sweeps_over_patches_and_merged_tokens_are_refused(tiny):
    config = tiny(model={**ROTARY, "context": {"chunk": 2}})
    for name, x in {"token_merge": [0.5], "patch_size": [8.0]}.items():
        problems = sweep_problems(config, Evaluation(x_name=name, x=x))
        assert problems
        assert_names(" ".join(map(str, problems)), name, "model.context")
