"""How many tokens merging leaves, and settings that are refused."""

import itertools

import pytest

from elasticast.config import Evaluation, TokenMerging
from elasticast.config.evaluation import sweep_problems
from tests.complaints import assert_names, complains

AMOUNTS = [{"share": 0.0}, {"share": 0.35}, {"share": 0.99}, {"tokens": 0}, {"tokens": 3}, {"tokens": 500}]


@pytest.mark.parametrize("schedule", ["constant", "falling"])
@pytest.mark.parametrize("amount", AMOUNTS, ids=str)
@pytest.mark.parametrize("depth", [1, 2, 12])
def test_no_block_merges_more_than_half_of_the_tokens(amount, schedule, depth):
    merging = TokenMerging(**amount, schedule=schedule)
    for tokens in (*range(1, 12), 64, 513):
        counts = [tokens, *merging.counts(tokens, depth)]
        assert len(counts) == depth + 1
        assert all(-(-before // 2) <= after <= before for before, after in itertools.pairwise(counts))


def test_the_share_is_what_all_blocks_merge_together():
    for schedule in ("constant", "falling"):
        assert TokenMerging(share=0.3, schedule=schedule).counts(1000, 12)[-1] == 700
        assert TokenMerging(share=0.3, schedule=schedule).counts(10, 12)[-1] == 7
    assert TokenMerging(share=0.0).counts(100, 3) == [100] * 3
    assert TokenMerging(share=0.5).counts(7, 1) == [4]


def test_a_number_of_tokens_is_that_of_each_block():
    assert TokenMerging(tokens=8).counts(100, 4) == [92, 84, 76, 68]
    assert TokenMerging(tokens=80).counts(100, 3) == [50, 25, 13]


def test_a_falling_schedule_merges_twice_the_mean_first_and_nothing_last():
    counts = [1000, *TokenMerging(tokens=10, schedule="falling").counts(1000, 11)]
    assert [a - b for a, b in itertools.pairwise(counts)] == list(range(20, -1, -2))


def test_a_model_that_merges_is_not_compiled(tiny):
    with complains(ValueError, "train.compile", "on", "model.merge"):
        tiny(model={"merge": {"share": 0.5}}, train={"compile": "on"})


def test_a_sweep_needs_a_model_that_merges(tiny, monkeypatch):
    config, merged = tiny(), Evaluation(x_name="token_merge", x=[0.0, 0.5])
    assert not sweep_problems(config, merged)
    pruned = Evaluation(x_name="token_prune", x=[0.0, 0.5])
    assert not sweep_problems(config, pruned, "multi")
    assert_names(str(*sweep_problems(config, pruned, "frames")), "x_name", "token_prune", "frames")
    with complains(ValueError, "model.frame_head", "model.merge.method"):
        tiny(model={"frame_head": True, "merge": {"share": 0.5, "method": "prune"}})
    kind, traits = type(config.model), config.model.traits
    monkeypatch.setattr(kind, "traits", property(lambda self: type(traits)(merges=False)))
    (problem,) = sweep_problems(config, merged)
    assert_names(str(problem), "x_name", "token_merge", config.model.kind)
    assert_names(str(*sweep_problems(config, pruned)), "x_name", "token_prune", config.model.kind)
    with complains(ValueError, "model.merge"):
        tiny(model={"merge": {"share": 0.5}})
