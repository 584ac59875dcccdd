"""Patches of several sizes: how many there are, and settings that are refused."""

import numpy as np
import pytest

from elasticast.config import Evaluation, PatchSize, PatchSizes
from elasticast.config.evaluation import sweep_problems, swept_patches
from tests.complaints import assert_names, complains

SQUARE = {8: 2048, 10: 1224, 12: 850, 15: 544, 16: 512, 20: 306, 24: 210, 30: 136, 32: 128, 40: 75, 48: 42}
"""Tokens of 128 mel bins and 1,024 frames, by size, as published."""
TIME_ONLY = {8: 1024, 10: 816, 12: 680, 16: 512, 20: 408, 24: 336, 30: 272, 32: 256, 40: 200, 48: 168}


@pytest.mark.parametrize(("axes", "tokens"), [("both", SQUARE), ("time", TIME_ONLY)])
def test_the_published_numbers_of_tokens(axes, tokens):
    sizes = PatchSizes(sizes=list(tokens), axes=axes, remainder="drop")
    assert {s: int(np.prod(sizes.at(s, 16).grid(128, 1024))) for s in tokens} == tokens
    assert sizes.smallest(16).time == 8


def test_patches_of_a_width_are_as_many_as_at_the_same_compression():
    for compression in (1, 2, 3, 4):
        size = PatchSizes(sizes=[16 * compression], axes="time").at(16 * compression, 16)
        assert size.grid(128, 1024) == (8, 1024 // compression // 16)


def test_kept_remainders_are_patches_and_no_clip_is_without_a_patch():
    drop, keep = PatchSize(48, 48, 16, keep=False), PatchSize(48, 48, 16, keep=True)
    assert drop.grid(128, 1024) == (2, 21)
    assert keep.grid(128, 1024) == (3, 22)
    assert drop.grid(128, 16) == (2, 1)
    assert keep.grid(96, 96) == drop.grid(96, 96) == (2, 2)
    assert keep.rows(8, 64) == (3, 22)
    assert drop.count(np.array([0, 47, 48, 100]), 48).tolist() == [1, 1, 1, 2]


WRONG = [
    ({"model": {"patch_sizes": {"sizes": [16, 24], "axes": "both"}}}, ("model.patch_sizes.sizes", 24, "mel_bins", 128)),
    (
        {"model": {"patch_sizes": {"sizes": [16, 144], "remainder": "drop"}}},
        ("model.patch_sizes.sizes", 144, "front_end.mel_bins", 128),
    ),
    ({"model": {"patch_sizes": {"sizes": [320], "axes": "time"}}}, ("model.patch_sizes.sizes", 320, 256)),
    (
        {"model": {"patch_sizes": {"sizes": [80], "axes": "time"}}, "view": {"compression": [1.0, 4.0]}},
        ("model.patch_sizes.sizes", 80, 64),
    ),
    ({"model": {"patch_sizes": {"sizes": [16, 8]}, "stride": 8}}, ("model.patch_sizes", "model.stride", 8)),
    (
        {
            "model": {"kind": "ast", "patch_sizes": {"sizes": [16, 8]}},
            "view": {"frames": "native"},
            "train": {"batch": {"buckets": True}},
        },
        ("train.batch.buckets", True, "model.patch_sizes"),
    ),
    ({"model": {"patch_sizes": {"sizes": []}}}, ("model.elasticast.patch_sizes.sizes",)),
    ({"model": {"patch_sizes": {"sizes": [16, 8, 16]}}}, ("model.elasticast.patch_sizes.sizes", 16)),
    ({"model": {"patch_sizes": {"sizes": [0]}}}, ("model.elasticast.patch_sizes.sizes.0", 0)),
]


@pytest.mark.parametrize(("difference", "named"), WRONG)
def test_sizes_that_do_not_fit_are_refused(tiny, difference, named):
    with complains(ValueError, *named):
        tiny(**difference)


@pytest.mark.parametrize("remainder", ["drop", "keep"])
def test_sizes_that_divide_nothing_need_a_decision(tiny, remainder):
    tiny(model={"patch_sizes": {"sizes": [48, 10], "remainder": remainder}})


def test_a_model_that_takes_one_size_is_named(tiny, monkeypatch):
    config = tiny()
    kind, traits = type(config.model), config.model.traits
    monkeypatch.setattr(kind, "traits", property(lambda self: type(traits)()))
    with complains(ValueError, "model.patch_sizes", "elasticast"):
        tiny(model={"patch_sizes": {"sizes": [8]}})
    (problem,) = sweep_problems(config, Evaluation(x_name="patch_size", x=[8, 16]))
    assert_names(str(problem), "x_name", "patch_size", "elasticast")


def test_a_sweep_is_checked_as_training_is(tiny):
    plain, kept = tiny(), tiny(model={"patch_sizes": {"sizes": [16], "remainder": "keep"}})
    odd = Evaluation(x_name="patch_size", x=[16, 48])
    (problem,) = sweep_problems(plain, odd)
    assert_names(str(problem), "x", 48, "remainder", "front_end.mel_bins", 128)
    assert not sweep_problems(kept, odd)
    assert swept_patches(kept, odd)[48].keep
    assert not swept_patches(kept, odd.model_copy(update={"remainder": "drop"}))[48].keep
    assert not sweep_problems(plain, odd.model_copy(update={"remainder": "drop"}))
    assert not sweep_problems(plain, Evaluation(x_name="patch_width", x=[16, 48]))
    (problem,) = sweep_problems(plain, Evaluation(x_name="patch_width", x=[16, 300]))
    assert_names(str(problem), "x", 300, 256)
    (problem,) = sweep_problems(plain, Evaluation(x_name="patch_width", x=[16, 1e12]))
    assert_names(str(problem), "x", 10**12)
    with complains(ValueError, "remainder", "drop", "compression"):
        Evaluation(x_name="compression", x=[1.0], remainder="drop")
    with complains(ValueError, "x", 8.5):
        Evaluation(x_name="patch_size", x=[8.5])
