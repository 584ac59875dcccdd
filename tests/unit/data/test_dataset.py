"""The training dataset: the tokens of a clip depend only on seed, epoch and clip."""

import json
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from elasticast.config import Batch
from elasticast.data import encoder as module
from elasticast.data.dataset import ClipDataset, Clips
from elasticast.data.encoder import ClipEncoder, crop_or_pad
from elasticast.data.features import log_mel, patchify
from elasticast.data.manifest import read_manifest
from elasticast.data.packing import pack
from elasticast.data.sampler import BatchSampler, ClipRequest
from elasticast.data.views import ViewRule
from elasticast.errors import DataError
from tests.complaints import complains

ALL_OF_IT = {
    "view": {"max_frames": 96, "compression": [1.0, 1.3, 2.0]},
    "train": {
        "token_dropout": 0.3,
        "mixup": 0.5,
        "mixstyle": {"share": 0.6},
        "freq_warp": {"share": 0.6},
        "filter_augment": {"share": 0.6},
        "spec_augment": {"freq_bins": 24, "time_frames": 96},
    },
}
OPTIONS = {
    "shifted": {"model": {"kind": "ast", "time_offset": True}, "view": {"frames": 128, "fill": "mask"}},
    "masked": {"model": {"kind": "ast"}, "view": {"frames": 128, "fill": "mask"}, "train": {"mixup": 0.5}},
    "pooled": {**ALL_OF_IT, "view": {"max_frames": 96, "compression": [1.0, 2.0, 3.0], "resolution": "max_pool"}},
    "cut": {**ALL_OF_IT, "view": {"max_frames": 192, "cut_from": 32}},
    "a range of token dropout": {**ALL_OF_IT, "train": {"token_dropout": [0.1, 0.6]}},
}
ONE_HOP = {**ALL_OF_IT, "view": {"max_frames": 96}}


def at(dataset, index, epoch=0, draw=0, fill_to=0):
    """The tokens of a clip in a given epoch."""
    return dataset[ClipRequest(index, epoch, draw, fill_to)]


def requests(*batches):
    return [[ClipRequest(index) for index in batch] for batch in batches]


def encoded(clips, config, norm, index):
    """The tokens of a clip without random augmentation."""
    encoder, view = ClipEncoder(config, norm), ViewRule(config)(int(clips.samples[index]))
    spectrogram = encoder.spectrogram(clips.waveform(index), view.compression)
    return encoder.encode(spectrogram, view, index=index, target=clips.target(index))


def same(a, b) -> bool:
    """Whether two packed clips or batches are equal bit for bit."""
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(a)]
    return all(torch.equal(x, y) if isinstance(x, Tensor) else x == y for x, y in pairs)


@pytest.fixture
def training(tiny, train_clips, norm):
    def build(difference=ALL_OF_IT, **others):
        return ClipDataset(train_clips, tiny(**{**difference, **others}), norm)

    return build


def test_clip_does_not_depend_on_earlier_clips(training):
    forward, backward = training(), training()
    items = {i: at(forward, i) for i in range(len(forward))}
    for i in reversed(range(len(backward))):
        assert same(items[i], at(backward, i))
        assert same(items[i], at(backward, i))


@pytest.mark.parametrize("workers", [1, 2])
def test_clip_does_not_depend_on_the_number_of_workers(training, workers):
    batches = requests([3, 1, 4], [0, 5, 9], [2, 6])
    alone = [pack([training()[request] for request in batch]) for batch in batches]
    loader = DataLoader(training(), batch_sampler=batches, collate_fn=pack, num_workers=workers)
    assert all(same(a, b) for a, b in zip(loader, alone, strict=True))


@pytest.mark.parametrize("difference", [ALL_OF_IT, ONE_HOP])
def test_epochs_and_seeds_differ(training, difference):
    found, other = training(difference), training(difference, seed=1)
    first = [at(found, i) for i in range(12)]
    assert sum(same(first[i], at(found, i, epoch=1)) for i in range(12)) == 0
    assert sum(same(first[i], at(other, i)) for i in range(12)) == 0


@pytest.mark.parametrize("difference", [ALL_OF_IT, ONE_HOP])
def test_clip_drawn_again_is_augmented_differently(training, difference):
    found = training(difference)
    first = [at(found, i) for i in range(12)]
    again = [[at(found, i, draw=draw) for i in range(12)] for draw in (1, 2)]
    assert all(same(at(found, i), first[i]) for i in range(12))
    for a, b in ((first, again[0]), (first, again[1]), again):
        assert sum(same(x, y) for x, y in zip(a, b, strict=True)) == 0
    assert [clip.index for clip in again[1]] == list(range(12))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_balanced_epoch_is_the_same_whatever_the_workers_and_where_it_is_resumed(training, train_clips, workers):
    found = training(ONE_HOP)
    sampler = BatchSampler(found.tokens(), Batch(clips=3), 0, train_clips.weights)
    alone = [pack([found[request] for request in batch]) for batch in sampler.epoch(0)]
    for skip in (0, 2):
        batches = sampler.epoch(0)[skip:]
        loader = DataLoader(training(ONE_HOP), batch_sampler=batches, collate_fn=pack, num_workers=workers)
        assert all(same(a, b) for a, b in zip(loader, alone[skip:], strict=True))


@pytest.mark.parametrize("room", [0, 150_000, 2**30])
@pytest.mark.parametrize("hops", [ONE_HOP, ALL_OF_IT], ids=["one hop", "several hops and mixup"])
def test_keeping_log_mels_or_waveforms_changes_nothing(training, monkeypatch, room, hops):
    monkeypatch.setattr(module, "KEPT_BYTES", 0)
    plain = training(hops)
    monkeypatch.setattr(module, "KEPT_BYTES", room)
    keeping = training(hops)
    for epoch in range(3):
        assert all(same(at(plain, i, epoch), at(keeping, i, epoch)) for i in range(12))
    kept = sum(spectrogram.nbytes for spectrogram in keeping.log_mels._kept.values())
    assert not plain.log_mels._kept
    assert kept <= room
    assert kept + keeping.log_mels._room == room
    assert (len(keeping.log_mels._kept) > 0) == (room > 0)


def test_several_hops_keep_each_waveform_once(training, train_clips):
    found = training(ALL_OF_IT)
    for epoch in range(3):
        assert all(at(found, i, epoch) is not None for i in range(12))
    assert all(np.array_equal(kept, train_clips.store[i]) for i, kept in found.log_mels._kept.items())
    assert len(found.log_mels._kept) == 12


def test_training_without_randomness_is_evaluation(tiny, train_clips, norm):
    config = tiny(view={"max_frames": 96, "crop": "start"})
    found = ClipDataset(train_clips, config, norm)
    assert all(same(at(found, i), encoded(train_clips, config, norm, i)) for i in range(12))


def test_evaluation_has_no_randomness(tiny, train_clips, norm):
    for seed, difference in ((0, {}), (0, ALL_OF_IT), (5, ONE_HOP)):
        config = tiny(**{**difference, "seed": seed, "view": {"max_frames": 96, "compression": [1.0]}})
        for i in range(12):
            found = encoded(train_clips, config, norm, i)
            frames = ViewRule(config)(int(train_clips.samples[i])).frames
            spectrogram = norm(crop_or_pad(log_mel(train_clips.waveform(i), config.front_end), frames))
            assert torch.equal(found.patches, patchify(spectrogram, 16))
            assert torch.equal(found.target, train_clips.targets[i])


def test_training_and_evaluation_pool_alike(tiny, train_clips, norm):
    config = tiny(view={"max_frames": 96, "compression": [2.0], "resolution": "max_pool", "crop": "start"})
    found = ClipDataset(train_clips, config, norm)
    for i in range(12):
        clip = at(found, i)
        assert same(clip, encoded(train_clips, config, norm, i))
        frames = ViewRule(config)(int(train_clips.samples[i])).frames
        plain = log_mel(train_clips.waveform(i), config.front_end)
        pooled = torch.nn.functional.max_pool1d(plain, 2)[:, : frames - 1]
        assert torch.equal(clip.patches.view(8, -1, 256)[0, 0].view(16, 16)[:, :15], norm(pooled)[:16, :15])


def test_masked_padding_is_the_unpadded_clip_on_the_whole_grid(tiny, train_clips, norm):
    masked = tiny(model={"kind": "ast"}, view={"frames": 128, "fill": "mask", "crop": "start"})
    native = tiny(view={"max_frames": 128, "crop": "start"})
    tokens = ClipDataset(train_clips, masked, norm).tokens()
    makers = (lambda config, i: at(ClipDataset(train_clips, config, norm), i),)
    makers += (lambda config, i: encoded(train_clips, config, norm, i),)
    for make in makers:
        shorter = 0
        for i in range(12):
            one, other = make(masked, i), make(native, i)
            assert one.time_patches == 8
            assert all(torch.equal(getattr(one, n), getattr(other, n)) for n in ("patches", "freq", "time", "target"))
            assert len(one.patches) == tokens[i]
            shorter += len(one.patches) < 64
        assert shorter > 2


def test_a_short_clip_is_shifted_to_every_place_it_fits_in(training):
    settings = {"view": {"frames": 192, "fill": "mask"}}
    found = training({}, model={"kind": "ast", "time_offset": True}, **settings)
    plain = training({}, model={"kind": "ast"}, **settings)
    places = {i: set() for i in range(12)}
    for epoch in range(100):
        for i in range(12):
            one, other = at(found, i, epoch), at(plain, i, epoch)
            offset = (one.time - other.time).unique()
            assert len(offset) == 1  # all tokens are shifted by the same offset
            assert one.time_patches == other.time_patches == 12
            assert torch.equal(one.patches, other.patches)
            assert torch.equal(one.freq, other.freq)
            places[i].add(int(offset))
    for i, offsets in places.items():
        assert offsets == set(range(12 - len(at(plain, i).patches) // 8 + 1))
    assert max(map(len, places.values())) > 3


BUCKETS = {"model": {"kind": "ast"}, "view": {"frames": "native", "max_frames": 256}}
OF_CLIPS = {"steps": 4, "batch": {"clips": 4, "buckets": True}}


@pytest.mark.parametrize("fill", ["zeros", "repeat"])
def test_clips_of_a_bucket_are_filled_up_to_its_longest(training, train_clips, norm, fill):
    found = training({}, **{**BUCKETS, "view": {**BUCKETS["view"], "fill": fill}}, train=OF_CLIPS)
    padded = 0
    for asked in BatchSampler(found.tokens(), Batch(clips=4, buckets=True), 0).epoch(0):
        batch = pack([found[request] for request in asked])
        clips = [request.index for request in asked]
        longest = max(found.tokens()[clips])
        assert batch.seqlens == [longest] * 4
        assert batch.clip_time_patches == [longest // 8] * 4
        for i, patches in zip(clips, batch.patches.split(batch.seqlens), strict=True):
            spectrogram = log_mel(train_clips.waveform(i), found.config.front_end)
            assert torch.equal(patches, patchify(norm(crop_or_pad(spectrogram, 2 * longest, fill=fill)), 16))
            padded += found.tokens()[i] < longest
    assert padded


def test_a_bucket_with_an_offset_takes_a_stretch_of_the_whole_table(training):
    settings = {**BUCKETS, "model": {"kind": "ast", "time_offset": True}}
    found = training({}, **settings, train=OF_CLIPS)
    starts = set()
    for epoch in range(30):
        clip = at(found, 0, epoch, fill_to=8 * 10)
        assert len(clip.patches) == 80
        assert clip.time_patches == 16
        assert clip.time.max() - clip.time.min() == 9
        starts.add(int(clip.time.min()))
    assert starts == set(range(7))


def test_evaluation_starts_at_the_first_place(tiny, train_clips, norm):
    config = tiny(model={"kind": "ast", "time_offset": True}, view={"frames": 128, "fill": "mask"})
    assert all(encoded(train_clips, config, norm, i).time.min() == 0 for i in range(12))


def test_dropout_keeps_its_share_drawn_for_each_clip(training):
    found = training(train={"token_dropout": 0.3}, view={"max_frames": 64})
    whole = training(train={"token_dropout": 0.0}, view={"max_frames": 64})
    kept = set()
    for i in range(12):
        item, tokens = at(found, i), len(at(whole, i).patches)
        assert len(item.patches) == len(item.freq) == len(item.time) == round(0.7 * tokens)
        places = (item.freq * (tokens // 8) + item.time).tolist()
        assert torch.equal(item.patches, at(whole, i).patches[places])  # patches keep their positions
        if tokens == 32:
            kept.add(tuple(places))
    of_32 = sum(len(at(whole, i).patches) == 32 for i in range(12))
    assert len(kept) == of_32 > 1


def test_a_share_to_drop_is_drawn_for_each_clip_anew(training):
    found = training(train={"token_dropout": [0.1, 0.6]}, view={"max_frames": 96})
    whole = training(view={"max_frames": 96}, train={"token_dropout": 0.0})
    shares = []
    for epoch in range(30):
        pairs = [(len(at(found, i, epoch).patches), len(at(whole, i, epoch).patches)) for i in range(12)]
        shares += [1 - kept / tokens for kept, tokens in pairs if tokens == 48]
        assert all(round(0.4 * tokens) <= kept <= round(0.9 * tokens) for kept, tokens in pairs)
    assert len(set(shares)) > 15
    assert abs(sum(shares) / len(shares) - 0.35) < 0.04  # uniform between the two limits
    assert all(at(found, i).time_patches == at(whole, i).time_patches for i in range(12))


def test_clips_are_cut_to_many_lengths_at_many_places(training):
    found = training({}, view={"max_frames": 256, "cut_from": 32})
    whole = training({}, view={"max_frames": 256, "crop": "start"})
    lengths, starts = set(), set()
    for epoch in range(20):
        for i in range(12):
            part, clip = at(found, i, epoch).patches.view(8, -1, 256), at(whole, i).patches.view(8, -1, 256)
            assert min(2, clip.shape[1]) <= part.shape[1] <= clip.shape[1]
            lengths.add(part.shape[1])
            starts.add(bool(torch.equal(part[:, 0], clip[:, 0])))
            assert part.shape[1] <= found.tokens()[i] // 8
    assert len(lengths) > 10
    assert starts == {False, True}


def test_a_range_of_one_share_drops_that_share(training):
    found, whole = training(train={"token_dropout": [0.3, 0.3]}), training(train={"token_dropout": 0.3})
    assert all(same(at(found, i), at(whole, i)) for i in range(12))


@pytest.mark.parametrize("workers", [0, 2])
def test_options_of_training_do_not_depend_on_workers(training, workers):
    for difference in OPTIONS.values():
        batches = requests([3, 1, 4], [0, 5])
        alone = [pack([training(difference)[request] for request in batch]) for batch in batches]
        loader = DataLoader(training(difference), batch_sampler=batches, collate_fn=pack, num_workers=workers)
        assert all(same(a, b) for a, b in zip(loader, alone, strict=True))


def test_the_stated_tokens_are_never_exceeded(training):
    found = training(train={"mixup": 0.5})
    for epoch in range(4):
        assert all(len(at(found, i, epoch).patches) <= found.tokens()[i] for i in range(12))


def test_mixup_mixes_labels_as_it_mixes_sound(training, train_clips):
    found = training(ONE_HOP, train={"mixup": 1.0})
    never = training(ONE_HOP, train={"mixup": 0.0})
    mixed = 0
    for i in range(12):
        target = at(found, i).target
        assert target.min() >= 0
        assert target.max() <= 1 + 1e-6
        assert torch.equal(at(never, i).target, train_clips.targets[i])
        mixed += not torch.equal(target, train_clips.targets[i])
    assert mixed > 6


def test_a_fixed_view_has_one_length(tiny, train_clips, norm):
    config = tiny(model={"kind": "ast"}, view={"frames": 128})
    found = ClipDataset(train_clips, config, norm)
    assert {len(at(found, i).patches) for i in range(12)} == {64}
    assert {len(encoded(train_clips, config, norm, i).patches) for i in range(12)} == {64}


def test_targets_are_the_labels_of_the_manifest(prepared, train_clips):
    manifest = read_manifest(prepared / "manifest.parquet", "train")
    assert train_clips.ids == manifest["id"].tolist() == train_clips.store.ids
    for row, labels in zip(train_clips.targets, manifest["events"], strict=True):
        assert {train_clips.classes[i] for i in row.nonzero().flatten()} == set(labels)
    scenes = Clips(prepared, "test", "scene")
    assert (scenes.kind, train_clips.kind) == ("single", "multi")
    assert scenes.targets.sum(1).tolist() == [1.0] * 6


def test_weights_are_those_of_the_labels(train_clips):
    counts = train_clips.targets.sum(0).double()
    expected = (train_clips.targets.double() * (1000 / (counts + 0.01))).sum(1)
    torch.testing.assert_close(torch.from_numpy(train_clips.weights), expected)
    assert all(torch.equal(train_clips.target(i), train_clips.targets[i]) for i in range(12))


def test_wrong_use_is_one_clear_error(tiny, prepared, train_clips, norm, tmp_path):
    with complains(DataError, "classes.json", "digit", "events", "scene"):
        Clips(prepared, "train", "digit")
    with complains(DataError, "manifest.parquet", "dev", "dev_share"):
        Clips(prepared, "dev", "events")
    with complains(DataError, "manifest.parquet"):
        Clips(tmp_path, "train", "events")
    with complains(DataError, "front_end.sample_rate", 8000, "train.h5", 16000):
        ClipDataset(train_clips, tiny(front_end={"sample_rate": 8000}), norm)
    assert json.loads((prepared / "norm.json").read_text())["front_end"]["sample_rate"] == 16000
