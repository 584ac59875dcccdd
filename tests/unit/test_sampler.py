"""Which clips make a batch."""

import pytest
import torch

from elasticast.config import Batch
from elasticast.data.sampler import BatchSampler, token_batches
from elasticast.errors import DataError

TOKENS = torch.randint(8, 400, (200,), generator=torch.Generator().manual_seed(0)).tolist()


def sampler(seed=0, **batch):
    return BatchSampler(TOKENS, Batch(**batch), seed)


@pytest.mark.parametrize("budget", [400, 512, 2048, 100_000])
def test_no_batch_exceeds_the_budget_and_every_clip_comes_once(budget):
    for epoch in range(3):
        batches = sampler(tokens=budget).epoch(epoch)
        assert sorted(i for batch in batches for i in batch) == list(range(len(TOKENS)))
        assert all(batches)
        sizes = [sum(TOKENS[i] for i in batch) for batch in batches]
        assert max(sizes) <= budget
        # no batch closes while the next clip would still fit
        assert all(size + TOKENS[after[0]] > budget for size, after in zip(sizes, batches[1:], strict=False))


@pytest.mark.parametrize("size", [1, 16, 64, 200])
def test_batches_of_clips(size):
    batches = sampler(clips=size).epoch(0)
    assert {len(batch) for batch in batches} == {size}
    assert len(batches) == len(TOKENS) // size
    seen = [i for batch in batches for i in batch]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("batch", [{"clips": 16}, {"tokens": 2048}])
def test_order_is_that_of_seed_and_epoch(batch):
    epochs = [sampler(**batch).epoch(e) for e in range(3)]
    assert [sampler(**batch).epoch(e) for e in range(3)] == epochs
    assert sampler(**batch).epoch(2) == epochs[2]  # without the ones before
    assert epochs[0] != epochs[1] != epochs[2]
    assert sampler(seed=1, **batch).epoch(0) not in epochs


def test_a_split_smaller_than_a_batch():
    with pytest.raises(DataError, match=r"train\.batch\.clips = 201 is more than the 200 clips"):
        sampler(clips=201)


def test_a_clip_larger_than_the_budget():
    with pytest.raises(DataError, match=rf"tokens = {max(TOKENS) - 1} is less than the longest clip's {max(TOKENS)}"):
        sampler(tokens=max(TOKENS) - 1)


def test_cutting_keeps_the_order_and_lets_a_large_clip_stand_alone():
    assert list(token_batches([3, 0, 2, 1], [2, 9, 2, 3], 5)) == [[3, 0], [2], [1]]
    assert list(token_batches([], [], 5)) == []
