"""Forming batches."""

import copy
import itertools

import numpy as np
import pytest
import torch

from elasticast.config import Batch
from elasticast.data import sampler as module
from elasticast.data.sampler import BatchSampler, balanced_weights, deal, token_batches
from elasticast.errors import DataError
from tests.complaints import complains

TOKENS = torch.randint(8, 400, (200,), generator=torch.Generator().manual_seed(0)).tolist()


RARE = np.arange(len(TOKENS)) < 10
WEIGHTS = np.where(RARE, 1000 / 10.01, 1000 / (len(TOKENS) - 10 + 0.01))
"""Weights of 10 clips of one class and 190 of another."""


def sampler(seed=0, weights=None, tokens_of=TOKENS, **batch):
    return BatchSampler(tokens_of, Batch(**batch), seed, weights)


def indices(batches):
    return [[request.index for request in batch] for batch in batches]


@pytest.mark.parametrize("budget", [400, 512, 2048, 100_000])
def test_no_batch_exceeds_the_budget_and_every_clip_comes_once(budget):
    for epoch in range(3):
        batches = indices(sampler(tokens=budget).epoch(epoch))
        assert sorted(i for batch in batches for i in batch) == list(range(len(TOKENS)))
        assert all(batches)
        sizes = [sum(TOKENS[i] for i in batch) for batch in batches]
        assert max(sizes) <= budget
        # the next clip would not have fitted in the batch
        assert all(size + TOKENS[after[0]] > budget for size, after in zip(sizes, batches[1:], strict=False))


@pytest.mark.parametrize("size", [1, 16, 64, 200])
def test_batches_of_clips(size):
    batches = indices(sampler(clips=size).epoch(0))
    assert {len(batch) for batch in batches} == {size}
    assert len(batches) == len(TOKENS) // size
    seen = [i for batch in batches for i in batch]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("buckets", [False, True])
@pytest.mark.parametrize("size", [1, 16, 64, 200])
def test_the_incomplete_last_batch_can_be_kept(size, buckets, weights):
    found = sampler(clips=size, buckets=buckets, last="keep", weights=weights)
    batches = indices(found.epoch(0))
    assert len(batches) == found.count(0) == -(-len(TOKENS) // size)
    assert sorted(map(len, batches))[1:] == [size] * (len(batches) - 1)
    seen = sorted(i for batch in batches for i in batch)
    assert len(seen) == len(TOKENS)
    assert weights is not None or seen == list(range(len(TOKENS)))


@pytest.mark.parametrize("batch", [{"clips": 16}, {"tokens": 2048}])
def test_order_is_that_of_seed_and_epoch(batch):
    for weights in (None, WEIGHTS):
        epochs = [list(sampler(weights=weights, **batch).epoch(e)) for e in range(3)]
        assert [list(sampler(weights=weights, **batch).epoch(e)) for e in range(3)] == epochs
        assert list(sampler(weights=weights, **batch).epoch(2)) == epochs[2]  # without drawing the earlier epochs
        assert epochs[0] != epochs[1] != epochs[2]
        assert list(sampler(seed=1, weights=weights, **batch).epoch(0)) not in epochs


@pytest.mark.parametrize("batch", [{"clips": 16}, {"tokens": 2048}])
def test_a_shuffled_epoch_is_that_of_torchs_permutation(batch):
    order = torch.randperm(len(TOKENS), generator=torch.Generator().manual_seed(7 * 1_000_003 + 5)).tolist()
    found = sampler(seed=7, **batch).epoch(5)
    if "tokens" in batch:
        assert indices(found) == list(token_batches(order, TOKENS, 2048))
    else:
        assert indices(found) == [order[i : i + 16] for i in range(0, 192, 16)]
    assert {request[1:] for some in found for request in some} == {(5, 0, 0, None)}


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("batch", [{"clips": 16}, {"tokens": 2048}])
def test_what_is_left_of_an_epoch_is_its_end(batch, weights):
    epoch = sampler(weights=weights, **batch).epoch(0)
    batches = [draws(some) for some in epoch]
    assert len(epoch) == len(batches)
    for skip in (0, 1, len(batches) // 2, len(batches), len(batches) + 3):
        rest = copy.copy(epoch)[skip:]
        assert len(rest) == len(batches[skip:])
        assert [draws(some) for some in rest] == batches[skip:]
    assert draws(epoch[-1]) == batches[-1]
    assert [draws(some) for some in epoch[2:5][1:]] == batches[3:5]
    with pytest.raises(IndexError):
        epoch[len(batches)]


def draws(batch):
    """Clips with the number of earlier draws."""
    return [(request.index, request.draw) for request in batch]


@pytest.mark.parametrize("batch", [{"clips": 10}, {"tokens": 2048}])
def test_a_balanced_epoch_is_as_many_draws_of_the_classes_alike(batch):
    epochs = [sampler(weights=WEIGHTS, **batch).epoch(e) for e in range(20)]
    drawn = np.concatenate([clips for epoch in epochs for clips in indices(epoch)])
    assert len(drawn) == 20 * len(TOKENS)
    assert 0.46 < RARE[drawn].mean() < 0.54  # of 4,000 draws: 5 standard errors
    counts = np.bincount(drawn, minlength=len(TOKENS))
    assert counts[:10].min() > 150  # each about 200 times
    assert counts[:10].max() < 250
    assert (counts[10:] > 0).mean() > 0.99  # each about 10 times


@pytest.mark.parametrize("batch", [{"clips": 10}, {"clips": 64}, {"tokens": 2048}])
def test_repetitions_are_counted_over_the_epoch_whatever_the_batches(batch):
    seen = {}
    for index, before in (d for some in sampler(weights=WEIGHTS, **batch).epoch(3) for d in draws(some)):
        assert before == seen.get(index, 0)
        seen[index] = before + 1
    assert max(seen.values()) > 5


@pytest.fixture
def many(monkeypatch):
    """Sample as for more clips than `torch.multinomial` takes."""
    monkeypatch.setattr(module, "MULTINOMIAL_CLIPS", 0)


def test_many_clips_are_drawn_in_proportion_to_their_weights(many):
    weights = np.array([0, 1, 0, 2, 3, 0] * 2000, dtype=float)
    order = sampler(tokens_of=[1] * len(weights), weights=weights, clips=1).epoch(0).order
    counts = np.bincount(order % 6, minlength=6)
    assert len(order) == len(weights)
    assert counts[[0, 2, 5]].tolist() == [0, 0, 0]
    assert counts[[1, 3, 4]] / len(order) == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=0.02)  # 4 standard errors
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.04  # in no order


def test_many_clips_are_drawn_alike_each_time(many):
    order = sampler(weights=WEIGHTS, clips=4).epoch(3).order.tolist()
    assert sampler(weights=WEIGHTS, clips=4).epoch(3).order.tolist() == order
    assert sampler(weights=WEIGHTS, clips=4).epoch(4).order.tolist() != order
    assert sampler(weights=WEIGHTS, clips=4, seed=1).epoch(3).order.tolist() != order


def test_weights_are_those_of_ast():
    # clips with labels {0}, {0, 1}, {0, 2}, none; counts 3, 1, 1
    weights = balanced_weights(np.array([0, 1, 1, 2, 2]), np.array([0, 0, 1, 0, 2]), 4, 5)
    often, once = 1000 / 3.01, 1000 / 1.01
    assert weights.tolist() == pytest.approx([often, often + once, often + once, 0])


def test_a_split_smaller_than_a_batch():
    with complains(DataError, "train.batch.clips", 201, 200):
        sampler(clips=201)


def test_a_clip_larger_than_the_budget():
    with complains(DataError, "tokens", max(TOKENS) - 1, max(TOKENS)):
        sampler(tokens=max(TOKENS) - 1)


def test_token_batches_keep_the_order_and_separate_large_clips():
    assert list(token_batches([3, 0, 2, 1], [2, 9, 2, 3], 5)) == [[3, 0], [2], [1]]
    assert list(token_batches([], [], 5)) == []


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("batch", [{"clips": 4}, {"tokens": 1600}])
def test_clips_of_a_bucket_are_of_similar_length(monkeypatch, batch, weights):
    monkeypatch.setattr(module, "BUCKET_BATCHES", 10)
    plain, found = sampler(weights=weights, **batch), sampler(weights=weights, buckets=True, **batch)
    for epoch in range(3):
        batches = list(found.epoch(epoch))
        assert list(found.epoch(epoch)) == batches
        assert list(found.epoch(epoch)[2:5]) == batches[2:5]
        assert list(found.epoch(epoch + 1)) != batches
        bucketed, shuffled = indices(batches), indices(plain.epoch(epoch))
        some, drawn = ([i for clips in of for i in clips] for of in (bucketed, shuffled))
        assert sorted(some) == sorted(drawn)  # the same clips
        assert some != sorted(some, key=TOKENS.__getitem__)  # not from short to long
        spread = [np.mean([np.ptp([TOKENS[i] for i in clips]) for clips in of]) for of in (bucketed, shuffled)]
        assert spread[0] < 0.25 * spread[1]
        for clips in batches:
            longest = max(found.sizes(clips))
            assert {request.fill_to for request in clips} == {longest}
            if "tokens" in batch:
                assert len(clips) * longest <= batch["tokens"]
        repeats = [pair for clips in batches for pair in draws(clips)]
        assert len(set(repeats)) == len(repeats)


@pytest.mark.parametrize("weights", [None, np.ones(11)])
@pytest.mark.parametrize("buckets", [False, True])
@pytest.mark.parametrize("clips", [4, 7])
def test_clips_left_over_are_drawn_at_random(buckets, clips, weights):
    """All of 11 clips occur equally often over many epochs, whatever their length."""
    tokens, epochs = list(range(10, 120, 10)), 2000
    found = sampler(tokens_of=tokens, weights=weights, clips=clips, buckets=buckets)
    used = 11 // clips * clips
    seen = np.zeros(11)
    for epoch in range(epochs):
        batches = indices(found.epoch(epoch))
        assert [len(batch) for batch in batches] == [clips] * found.count(epoch)
        np.add.at(seen, np.concatenate(batches), 1)
    assert seen.sum() == epochs * used
    assert np.abs(seen / epochs - used / 11).max() < 0.1 * used / 11


@pytest.mark.parametrize("size", [3, 7, 16, 33])
def test_a_bucketed_epoch_has_the_clips_of_a_shuffled_one(monkeypatch, size):
    monkeypatch.setattr(module, "BUCKET_BATCHES", 4)
    bucketed, plain = sampler(clips=size, buckets=True), sampler(clips=size)
    for epoch in range(3):
        some, others = (sorted(itertools.chain(*indices(s.epoch(epoch)))) for s in (bucketed, plain))
        assert some == others
        assert len(some) == 200 // size * size
        assert len(bucketed.epoch(epoch)) == bucketed.count(epoch) == 200 // size


def test_ranks_fill_up_to_the_longest_clip_of_the_whole_batch():
    found = sampler(clips=6, buckets=True)
    for clips in found.epoch(0):
        shares = deal(found.sizes(clips), 4)
        assert sorted(itertools.chain(*shares)) == list(range(6))
        assert [clips[k].fill_to for share in shares for k in share] == [max(found.sizes(clips))] * 6


@pytest.mark.parametrize("batch", [Batch(clips=1), Batch(clips=3), Batch(clips=10), Batch(tokens=20)])
@pytest.mark.parametrize("weights", [None, np.arange(1.0, 11.0)])
def test_batches_are_counted_without_being_drawn(batch, weights):
    sampler = BatchSampler(list(range(5, 15)), batch, seed=3, weights=weights)
    assert [sampler.count(epoch) for epoch in range(4)] == [len(sampler.epoch(epoch)) for epoch in range(4)]
