"""Logits of time patches."""

import pytest
import torch

from elasticast.config import TokenMerging
from elasticast.data.packing import PackedClip, grid_positions, pack, pack_clip
from elasticast.evaluation.classes import select_classes
from elasticast.models import build_model
from elasticast.models.crnn import spectrograms
from elasticast.models.frame_head import FrameHead
from elasticast.models.pretrained import Pretrained, start_from
from elasticast.models.token_merging import with_merging
from elasticast.training.checkpoint import save_model
from elasticast.training.cost import ForwardCost
from elasticast.training.distributed import World
from elasticast.training.objective import Objective, compute_loss
from tests.unit.conftest import TIMED

MODELS = [
    {"kind": "elasticast"},
    {"kind": "elasticast", "pooling": "cls"},
    {"kind": "elasticast", "positions": "rotary", "pooling": "cls"},
    {"kind": "elasticast", "pooling": "mean", "stride": 8},
    {"kind": "ast"},
    {"kind": "ast", "prefix_tokens": 0, "pooling": "mean"},
    {"kind": "ast", "prefix_tokens": 2},
]
CRNN = {"channels": [4, 6], "width": 5, "layers": 2}
CRNNS = [
    {"kind": "elasticast", "crnn": CRNN},
    {"kind": "elasticast", "pooling": "cls", "crnn": {**CRNN, "channels": [3]}},
    {"kind": "ast", "crnn": CRNN},
    {"kind": "ast", "patch": 8, "crnn": {**CRNN, "channels": [3, 3, 3, 3, 3]}},
]
CLASSES = 5


def training_loss(model, batch, config):
    return Objective(config, World())(model(batch, frames=True), batch, 1.0)


def built(tiny, settings):
    config = tiny(**TIMED | {"model": {**settings, "frame_head": True}})
    torch.manual_seed(0)
    model = build_model(config, CLASSES).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def clips(model, lengths, seed=1):
    generator, found = torch.Generator().manual_seed(seed), []
    for index, length in enumerate(lengths):
        freq, time = grid_positions(model.settings.patches(128), length)
        patches = torch.randn(len(freq), model.settings.patch**2, generator=generator)
        target = torch.rand(length, CLASSES, generator=generator)
        found.append(PackedClip(index, patches, freq, time, target.max(0).values, length, frame_target=target))
    return found


def lengths(model):
    return [6, 6, 6] if model.settings.traits.one_length else [3, 9, 1, 14]


@pytest.mark.parametrize("settings", [*MODELS, *CRNNS], ids=str)
def test_packed_clips_have_the_logits_of_clips_alone(tiny, equal, settings):
    model = built(tiny, settings)
    found = clips(model, lengths(model))
    packed = model(pack(found), frames=True)
    alone = [model(pack([clip]), frames=True) for clip in found]
    equal(f"frames of {settings}", packed.frames, torch.cat([one.frames for one in alone]))
    equal(f"clips of {settings}", packed.clips, torch.cat([one.clips for one in alone]))
    assert packed.seen.all()


@pytest.mark.parametrize("settings", [*MODELS, *CRNNS], ids=str)
def test_clips_have_the_same_logits_with_and_without_frames(tiny, settings):
    model = built(tiny, settings)
    batch = pack(clips(model, lengths(model)))
    assert torch.equal(model(batch, frames=True).clips, model(batch))


@pytest.mark.parametrize("settings", MODELS, ids=str)
def test_a_frame_head_changes_no_other_weight_of_a_new_model(tiny, settings):
    names = set(built(tiny, settings).state_dict()) - set(build_model(tiny(model=settings), CLASSES).state_dict())
    assert names == {"frame_head.weight", "frame_head.bias"}


def test_the_frame_head_is_a_linear_layer_on_means_over_frequency():
    torch.manual_seed(0)
    head, times, freqs = FrameHead(7, 3), 4, 5
    freq, time = grid_positions(freqs, times)
    tokens = torch.randn(2 * len(freq), 7)
    batch = pack([PackedClip(i, torch.zeros(len(freq), 4), freq, time, torch.zeros(3)) for i in range(2)])
    means = tokens.reshape(2, freqs, times, 7).mean(1).flatten(0, 1)
    torch.testing.assert_close(head(tokens, batch)[0], means @ head.weight.T + head.bias)


def test_time_patches_without_tokens_are_not_seen(tiny):
    model = built(tiny, MODELS[0])
    (clip,) = clips(model, [6])
    packed = pack([clip.select(clip.time.ne(2).nonzero().flatten())])
    assert model(packed, frames=True).seen.tolist() == [True, True, False, True, True, True]


@pytest.mark.parametrize("settings", [MODELS[1], MODELS[4]], ids=str)
def test_merged_tokens_count_in_all_their_time_patches(tiny, equal, settings):
    model = built(tiny, settings)
    found = clips(model, lengths(model))
    merging = with_merging(model, TokenMerging(share=0.4))
    packed = merging(pack(found), frames=True)
    assert packed.seen.all()
    alone = torch.cat([merging(pack([clip]), frames=True).frames for clip in found])
    equal(f"merged frames of {settings}", packed.frames, alone)


def test_the_loss_is_that_of_clips_and_of_frames(tiny):
    model = built(tiny, MODELS[0])
    config = tiny(**TIMED | {"train": {"event_loss": {"clips": 0.25, "frames": 2.0}}})
    found = clips(model, [3, 9, 4])
    logits = model(pack(found), frames=True)
    frames = [
        compute_loss(part, clip.frame_target, "bce")
        for part, clip in zip(logits.frames.split([3, 9, 4]), found, strict=True)
    ]
    expected = 0.25 * compute_loss(logits.clips, pack(found).targets, "bce") + 2 * sum(frames) / 3
    torch.testing.assert_close(training_loss(model, pack(found), config), expected)


def test_time_patches_without_tokens_have_no_loss(tiny):
    model, config = built(tiny, MODELS[0]), tiny(**TIMED)
    (clip,) = clips(model, [6])
    kept = clip.select(clip.time.ne(2).nonzero().flatten())
    loss = training_loss(model, pack([kept]), config)
    kept.frame_target = kept.frame_target.clone()
    kept.frame_target[2] = 1 - kept.frame_target[2]
    torch.testing.assert_close(training_loss(model, pack([kept]), config), loss)


@pytest.mark.parametrize("settings", CRNNS, ids=str)
def test_a_recurrent_head_is_given_the_spectrogram(tiny, settings):
    """Patch by patch as it was cut, and nothing where tokens are left out."""
    model = built(tiny, settings)
    generator, edge = torch.Generator().manual_seed(3), model.settings.patch
    whole = [torch.randn(128, edge * length, generator=generator) for length in lengths(model)]
    packed = [pack_clip(i, spectrogram, torch.zeros(1), model.settings) for i, spectrogram in enumerate(whole)]
    found = spectrograms(pack(packed), edge, 128 // edge)
    assert found.shape == (len(whole), 1, 128, max(part.shape[1] for part in whole))
    for row, spectrogram in zip(found, whole, strict=True):
        assert torch.equal(row[0, :, : spectrogram.shape[1]], spectrogram)
        assert not row[0, :, spectrogram.shape[1] :].any()
    (dropped,) = spectrograms(pack([packed[0].select(torch.arange(1, len(packed[0].patches)))]), edge, 128 // edge)
    assert not dropped[0, :edge, :edge].any()
    assert torch.equal(dropped[0, edge:], whole[0][edge:])


def test_a_recurrent_head_reads_states_and_spectrogram_in_both_directions(tiny):
    """A change of one time patch changes the logits of the whole clip, and of no other clip."""
    model = built(tiny, CRNNS[0])
    found = clips(model, [9, 5])
    batch, changed, states = pack(found), pack(found), torch.randn(14 * 8, 32)
    changed.patches[found[0].time.eq(4).nonzero().flatten()] += 1
    before, after = model.frame_head(states, batch)[0], model.frame_head(states, changed)[0]
    assert (before != after)[:9].any(1).all()
    assert torch.equal(before[9:], after[9:])
    states[found[0].time.eq(4).nonzero().flatten()] += 1
    moved = model.frame_head(states, batch)[0]
    assert (before != moved)[:9].any(1).all()
    assert torch.equal(before[9:], moved[9:])


def test_every_parameter_of_a_recurrent_head_learns(tiny):
    model, config = built(tiny, CRNNS[0]), tiny(**TIMED)
    training_loss(model, pack(clips(model, [9, 5])), config).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.frame_head.parameters())


def test_classes_of_a_recurrent_head_are_selected_by_name(tiny):
    model = built(tiny, CRNNS[0])
    batch = pack(clips(model, [9, 5]))
    before = model(batch, frames=True)
    names = [f"class {number}" for number in range(CLASSES)]
    config = tiny(**TIMED | {"model": {**CRNNS[0], "frame_head": True}})
    weights = Pretrained(model, config, None, names, "frames", "weights", [], "", classes_known=True)
    select_classes(weights, [names[3], names[1]], "data")
    after = model(batch, frames=True)
    torch.testing.assert_close(after.frames, before.frames[:, [3, 1]])
    torch.testing.assert_close(after.clips, before.clips[:, [3, 1]])


def test_a_recurrent_head_starts_anew_behind_the_weights_of_another_head(tiny, tmp_path, norm):
    linear, config = built(tiny, {"kind": "elasticast"}), tiny(**TIMED)
    names = [f"class {number}" for number in range(CLASSES)]
    save_model(tmp_path, linear, config, norm, names, "frames")
    recurrent = tiny(**TIMED | {"model": {**CRNNS[0], "frame_head": True, "init": str(tmp_path)}})
    model = build_model(recurrent, CLASSES)
    before = {name: value.clone() for name, value in model.frame_head.state_dict().items()}
    notes = start_from(str(tmp_path), model, recurrent, names)["notes"]
    assert any("frame_head" in note for note in notes)
    assert all(torch.equal(value, before[name]) for name, value in model.frame_head.state_dict().items())
    assert torch.equal(model.head.weight, linear.head.weight)


def test_the_cost_of_a_recurrent_head_is_counted(tiny):
    config = tiny(**TIMED | {"model": {**CRNNS[0], "frame_head": True}})
    cost = ForwardCost(config.model, config, CLASSES, frames=True)
    plain = ForwardCost(tiny(**TIMED).model, tiny(**TIMED), CLASSES, frames=True)
    assert cost.clip(64) > plain.clip(64)
    assert cost.clip(128) > cost.clip(64)
