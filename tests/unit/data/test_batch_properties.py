"""Properties of batches that hold for all clips and budgets."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elasticast.config import Batch, ElasticASTSettings
from elasticast.data import sampler
from elasticast.data.packing import PackedClip, grid_positions, kept_count, pack, pack_clip
from elasticast.data.sampler import BatchSampler, balanced_weights, deal, token_batches

sizes = st.lists(st.integers(1, 60), min_size=1, max_size=40)


def indices(batches):
    return [[request.index for request in batch] for batch in batches]


@given(sizes, st.integers(0, 100), st.integers(0, 5))
def test_an_epoch_is_cut_where_the_next_clip_would_exceed_the_budget(tokens, more, epoch):
    budget = max(tokens) + more
    batches = indices(BatchSampler(tokens, Batch(tokens=budget), seed=2).epoch(epoch))
    order = [clip for batch in batches for clip in batch]
    assert sorted(order) == list(range(len(tokens)))
    assert batches == list(token_batches(order, tokens, budget))
    used = [sum(tokens[clip] for clip in batch) for batch in batches]
    assert max(used) <= budget
    assert all(size + tokens[after[0]] > budget for size, after in zip(used, batches[1:], strict=False))


@given(sizes, st.integers(0, 200))
def test_a_bucket_is_filled_up_to_the_budget_exactly(tokens, more):
    """In a single bucket, clips are sorted by length, and each batch is as large as its longest clip allows."""
    budget = max(tokens) + more
    found = BatchSampler(tokens, Batch(tokens=budget, buckets=True), seed=2)
    batches = indices(found.epoch(0))
    assert sorted(clip for batch in batches for clip in batch) == list(range(len(tokens)))
    batches = sorted(batches, key=lambda batch: (tokens[batch[0]], tokens[batch[-1]], -len(batch)))
    for batch, after in zip(batches, [*batches[1:], None], strict=True):
        lengths = [tokens[clip] for clip in batch]
        assert lengths == sorted(lengths)
        assert len(batch) * lengths[-1] <= budget
        assert after is None or (len(batch) + 1) * tokens[after[0]] > budget


@given(st.lists(st.integers(1, 60), min_size=30, max_size=60), st.sampled_from(["clips", "tokens"]))
def test_a_bucket_is_of_clips_drawn_one_after_another(tokens, unit):
    """So many as fill about `BUCKET_BATCHES` batches; a clip meets others in the next epoch."""
    limit = 4 if unit == "clips" else 4 * max(tokens)
    plain, bucketed = (BatchSampler(tokens, Batch(**{unit: limit}, buckets=buckets), 0) for buckets in (False, True))
    drawn = [clip for batch in indices(plain.epoch(0)) for clip in batch]
    size = 2 * (4 if unit == "clips" else limit // int(np.mean(tokens)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "BUCKET_BATCHES", 2)
        batches = indices(bucketed.epoch(0))
    assert sorted(clip for batch in batches for clip in batch) == sorted(drawn)
    for batch in batches:
        assert len({drawn.index(clip) // size for clip in batch}) == 1


@given(sizes, st.integers(1, 6))
def test_ranks_share_a_batch_about_evenly(tokens, ranks):
    shares = deal(tokens, ranks)
    assert len(shares) == ranks
    assert sorted(place for share in shares for place in share) == list(range(len(tokens)))
    assert all(share == sorted(share) for share in shares)
    load = [sum(tokens[place] for place in share) for share in shares]
    # each rank had the fewest tokens before it got its last (and smallest) clip
    for share, tokens_of_rank in zip(shares, load, strict=True):
        assert not share or tokens_of_rank - min(tokens[place] for place in share) <= min(load)


@given(st.integers(1, 40), st.integers(1, 8), st.data())
def test_any_part_of_an_epoch_is_that_part_of_its_batches(clips, size, data):
    size = min(size, clips)
    epoch = BatchSampler([1] * clips, Batch(clips=size), seed=0, weights=np.ones(clips)).epoch(0)
    whole = list(epoch)
    first, last = (data.draw(st.integers(-len(whole) - 2, len(whole) + 2)) for _ in range(2))
    assert list(copy.copy(epoch)[first:last]) == whole[first:last]
    assert list(epoch[first:]) == whole[first:]
    assert [epoch[place] for place in range(-len(whole), len(whole))] == whole + whole


@given(st.lists(st.sets(st.integers(0, 4)), min_size=1, max_size=12))
def test_weights_of_clips_are_the_sums_of_those_of_their_labels(labels):
    owners = np.array([clip for clip, some in enumerate(labels) for _ in some], dtype=int)
    flat = np.array([label for some in labels for label in some], dtype=int)
    found = balanced_weights(owners, flat, len(labels), 5)
    counts = [sum(label in some for some in labels) for label in range(5)]
    assert found == pytest.approx([sum(1000 / (counts[label] + 0.01) for label in some) for some in labels])


grids = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), min_size=1, max_size=5)


@given(grids, st.data())
def test_clip_with_dropped_tokens_keeps_its_grid(shapes, data):
    """Positions are relative to the whole grid, even if all tokens of the last column are dropped."""
    clips, kept = [], []
    for index, shape in enumerate(shapes):
        freq, time = grid_positions(*shape)
        assert (freq * shape[1] + time).tolist() == list(range(len(freq)))
        whole = PackedClip(index + 3, torch.randn(len(freq), 4), freq, time, torch.rand(2))
        assert whole.time_patches == shape[1]
        keep = torch.tensor(sorted(data.draw(st.sets(st.sampled_from(range(len(freq))), min_size=1))))
        some = whole.select(keep)
        assert (some.index, some.time_patches) == (whole.index, shape[1])
        assert torch.equal(some.patches, whole.patches[keep])
        assert (some.freq.tolist(), some.time.tolist()) == (freq[keep].tolist(), time[keep].tolist())
        clips.append(some)
        kept.append(len(keep))
    batch = pack(clips)
    assert batch.seqlens == kept
    assert batch.clip_time_patches == [columns for _, columns in shapes]
    assert batch.time_patches == max(columns for _, columns in shapes)
    assert batch.grid_lengths().tolist() == [c.time_patches for c, n in zip(clips, kept, strict=True) for _ in range(n)]
    assert batch.index == [clip.index for clip in clips]


@given(st.integers(16, 80), st.integers(0, 80))
def test_tokens_are_the_patches_of_the_frames_and_the_grid_that_of_the_view(frames, more):
    model = ElasticASTSettings(kind="elasticast", max_frames=256)
    spectrogram, target = torch.randn(128, frames), torch.ones(3)
    clip = pack_clip(5, spectrogram, target, model, frames + more)
    columns = frames // 16
    assert len(clip.patches) == len(clip.freq) == len(clip.time) == 8 * columns
    assert clip.time_patches == (frames + more) // 16
    assert (clip.index, clip.target.tolist()) == (5, [1, 1, 1])
    for token, (row, column) in enumerate(zip(clip.freq.tolist(), clip.time.tolist(), strict=True)):
        patch = spectrogram[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        assert torch.equal(clip.patches[token].sort().values, patch.flatten().sort().values)
    assert pack_clip(5, spectrogram, target, model).time_patches == columns


@given(st.integers(1, 2000), st.floats(0, 1, exclude_max=True))
def test_what_stays_is_the_stated_share_within_half_a_token(tokens, dropout):
    kept = kept_count(tokens, dropout)
    assert 1 <= kept <= tokens
    assert kept == 1 or abs(kept - (1 - dropout) * tokens) <= 0.5 + 1e-9
    assert kept_count(tokens, dropout, "down") == max(1, math.floor((1 - dropout) * tokens))
