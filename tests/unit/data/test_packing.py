"""Packing clips into flat batches, and dropping tokens."""

import pytest
import torch
from torch.utils.data import DataLoader
from torch.utils.data._utils.pin_memory import pin_memory as loader_pins

from elasticast.data.packing import PackedBatch, PackedClip, grid_positions, kept_tokens, pack
from tests.gpu import gpu


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def clip(index, time_patches):
    freq, time = grid_positions(8, time_patches)
    return PackedClip(index, torch.randn(len(freq), 256), freq, time, torch.rand(5))


@pytest.mark.parametrize("tokens", [1, 2, 7, 8, 96, 512])
@pytest.mark.parametrize("dropout", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_dropout_keeps_the_stated_share_and_at_least_one(tokens, dropout):
    kept = kept_tokens(tokens, dropout, generator())
    assert len(kept) == max(1, round((1 - dropout) * tokens))
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert 0 <= kept.min() <= kept.max() < tokens


def test_each_token_is_as_likely_to_stay():
    draws, counts = 4000, torch.zeros(20)
    shared = generator()
    for _ in range(draws):
        counts[kept_tokens(20, 0.5, shared)] += 1
    assert (counts / draws - 0.5).abs().max() < 0.05


def test_dropout_is_its_generators():
    assert torch.equal(kept_tokens(96, 0.5, generator(1)), kept_tokens(96, 0.5, generator(1)))
    assert not torch.equal(kept_tokens(96, 0.5, generator(1)), kept_tokens(96, 0.5, generator(2)))


def test_packing_only_joins():
    clips = [clip(7, 3), clip(2, 1), clip(5, 12)]
    batch = pack(clips)
    assert (len(batch), batch.seqlens, batch.index, batch.time_patches) == (3, [24, 8, 96], [7, 2, 5], 12)
    parts = zip(clips, *(getattr(batch, k).split(batch.seqlens) for k in ("patches", "freq", "time")), strict=True)
    assert batch.bounds.tolist() == [0, 24, 32, 128]
    for row, (one, patches, freq, time) in enumerate(parts):
        assert torch.equal(patches, one.patches)
        assert torch.equal(freq, one.freq)
        assert torch.equal(time, one.time)
        assert torch.equal(batch.targets[row], one.target)


def test_the_longest_clip_is_known_after_dropout():
    one, keep = clip(0, 6), torch.tensor([0, 2, 4])
    dropped = PackedClip(0, one.patches[keep], one.freq[keep], one.time[keep], one.target)
    assert pack([dropped]).time_patches == 5


def test_a_batch_moves_whole():
    batch = pack([clip(0, 2), clip(1, 3)])
    moved = batch.to("meta")
    assert {moved.patches.device.type, moved.freq.device.type, moved.time.device.type} == {"meta"}
    assert (moved.seqlens, moved.index) == (batch.seqlens, batch.index)


def test_a_data_loader_pins_a_batch_through_its_own_method(monkeypatch):
    """`DataLoader(pin_memory=True)` calls this if there is a GPU."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor.clone())
    batch = pack([clip(0, 2), clip(1, 3)])
    found = loader_pins(batch)
    assert isinstance(found, PackedBatch)
    assert {id(tensor) for tensor in pinned} == {
        id(t) for t in (batch.patches, batch.freq, batch.time, batch.targets, batch.bounds)
    }
    assert found.patches is not batch.patches
    assert torch.equal(found.patches, batch.patches)
    assert (found.seqlens, found.index, found.clip_time_patches) == (batch.seqlens, [0, 1], [2, 3])


def test_only_copies_from_pinned_memory_do_not_wait(monkeypatch):
    waits = []
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: tensor.dtype == torch.int64)
    monkeypatch.setattr(
        torch.Tensor, "to", lambda t, _, non_blocking: waits.append((t.is_pinned(), not non_blocking)) or t
    )
    pack([clip(0, 2)]).to("cpu")
    assert sorted(waits) == [(False, True)] * 3 + [(True, False)] * 2


@gpu
@pytest.mark.parametrize("workers", [0, 1])
def test_batches_of_a_loader_are_pinned_and_arrive_whole(workers):
    clips = [clip(i, 2 + i) for i in range(4)]
    loader = DataLoader(clips, batch_sampler=[[0, 1], [2, 3]], collate_fn=pack, num_workers=workers, pin_memory=True)
    for found, expected in zip(loader, ([0, 1], [2, 3]), strict=True):
        assert all(t.is_pinned() for t in (found.patches, found.freq, found.time, found.targets, found.bounds))
        moved = found.to("cuda")
        torch.cuda.synchronize()
        assert torch.equal(moved.patches.cpu(), torch.cat([clips[i].patches for i in expected]))
        assert moved.index == expected
