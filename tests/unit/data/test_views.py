"""Views: length and resolution of the clips that are given to a model."""

import math

import numpy as np
import pytest
import torch

from elasticast.config import FrontEnd
from elasticast.config.frames import compressed_frames, native_frames
from elasticast.data.features import log_mel
from elasticast.data.views import ViewRule

FRONT_END = FrontEnd()
TENTHS = range(10, 41)
COMPRESSIONS = [tenths / 10 for tenths in TENTHS]


def test_a_native_view_is_the_clip_up_to_the_limit(tiny):
    rule = ViewRule(tiny(view={"max_frames": 128}))
    for samples in (100, 8000, 20000, 21000, 160000):
        view = rule(samples)
        assert view.frames == min(128, native_frames(samples, FRONT_END, 16))
        assert view.compression == 1.0
    assert ViewRule(tiny(), max_frames=48)(160000).frames == 48


@pytest.mark.parametrize("samples", [1, 400, 2799, 2800, 2960, 5359, 5360, 32000, 160000])
def test_a_tail_that_is_no_whole_patch_is_filled_up_or_left_out(tiny, samples):
    frames = log_mel(torch.randn(samples), FRONT_END).shape[1]
    fill, drop = (ViewRule(tiny(view={"max_frames": 128, "tail": tail}))(samples).frames for tail in ("fill", "drop"))
    assert drop == min(128, max(16, frames - frames % 16))
    assert fill == min(128, math.ceil(frames / 16) * 16)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_ast_sees_exactly_what_it_was_trained_on(tiny, compression):
    for frames in range(16, 1025, 16):
        config = tiny(model={"kind": "ast"}, view={"frames": frames, "compression": [compression]})
        assert ViewRule(config)(16000).frames == frames


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_length_of_a_sweep_is_the_same_seconds_whatever_a_model_was_trained_at(tiny, compression):
    views = [{"max_frames": 256}, {"max_frames": 256, "compression": [4.0, 2.0]}]
    fixed = [{"frames": 64, "compression": c} for c in ([1.0], [1.3], [4.0], [4.0, 1.0])]
    configs = [*(tiny(view=view) for view in (*views, *fixed)), tiny(model={"kind": "ast"}, view=fixed[2])]
    for x in (16, 64, 256, 1024):
        given = {ViewRule(config, max_frames=x, compression=compression)(10**7).frames for config in configs}
        assert given == {max(16, math.floor(x / compression / 16 + 1e-6) * 16)}


@pytest.mark.parametrize("own", [1.0, 1.3, 2.0, 4.0])
def test_ast_keeps_its_seconds_at_another_hop(tiny, own):
    config = tiny(model={"kind": "ast"}, view={"frames": 128, "compression": [own]})
    seconds = 128 * own
    for compression in COMPRESSIONS:
        view = ViewRule(config, compression=compression)(16000)
        assert view.compression == compression
        assert view.frames % 16 == 0
        covered = view.frames * compression
        assert covered <= seconds + 1e-3 < covered + 16 * compression or view.frames == 16


def test_a_drawn_compression_is_one_of_the_list_and_each_has_its_share(tiny):
    compressions = [1.0, 1.5, 2.0, 4.0]
    rule = ViewRule(tiny(view={"compression": compressions}))
    draws = [rule(64000, i / 1000).compression for i in range(1000)]
    assert [draws.count(c) for c in compressions] == [250] * 4
    assert rule(64000, 1 - 2**-24).compression == 4.0
    largest = rule.largest(64000)
    assert all(rule(64000, i / 10).frames <= largest.frames for i in range(10))


@pytest.mark.parametrize("settings", [{}, {"stride": 10}])
def test_a_length_is_drawn_from_the_shortest_to_the_clips_own(tiny, settings):
    shortest, stride = 96, settings.get("stride", 16)
    rule = ViewRule(tiny(view={"cut_from": shortest, "max_frames": 256}, model=settings))
    for samples in (100, 8000, 20000, 32000, 160000):
        own = rule(samples).frames
        drawn = [rule(samples, 0.0, i / 1000).frames for i in range(1000)]
        lengths = sorted(set(drawn))
        if own <= shortest:
            assert lengths == [own]
        else:
            assert lengths == list(range(shortest, own + 1, stride))
            counts = [drawn.count(n) for n in lengths]
            assert max(counts) - min(counts) <= 1  # all lengths are equally likely
        assert rule(samples, 0.0, 1 - 2**-24).frames == max(lengths)
        assert rule.largest(samples).frames == own


def test_a_cut_clip_is_compressed_after_the_cut(tiny):
    rule = ViewRule(tiny(view={"cut_from": 96, "compression": [2.0]}))
    assert {rule(160000, 0.0, i / 1000).frames for i in range(1000)} == set(range(48, 129, 16))


EPIC = FrontEnd(kind="stft", sample_rate=24000, n_fft=2048, window_ms=10, hop_ms=5)


@pytest.mark.parametrize("samples", [100, 18000, 22919, 22920, 25000, 10**6])
def test_short_clip_has_min_frames(tiny, samples):
    view = {"max_frames": 512, "min_frames": 192, "compression": [1.0, 2.0]}
    rule = ViewRule(tiny(view=view, front_end=EPIC.model_dump(), model={"max_frames": 512}))
    native = native_frames(samples, EPIC, 16)
    assert rule.at(samples, 1.0).frames == min(512, max(192, native))
    assert rule.at(samples, 2.0).frames == compressed_frames(min(512, max(192, native)), 2.0, 16)
    assert rule.largest(samples) == rule.at(samples, 1.0)


def test_the_fewest_frames_are_no_matter_of_a_fixed_view(tiny):
    config = tiny(model={"kind": "ast"}, view={"frames": 64, "min_frames": 96})
    assert ViewRule(config)(100).frames == 64


@pytest.mark.parametrize("compression", [1.0, 1.2, 2.0, 4.0])
def test_masked_padding_leaves_what_a_native_view_shows(tiny, compression):
    fixed = ViewRule(tiny(model={"kind": "ast"}, view={"frames": 128, "fill": "mask"}), compression=compression)
    native = ViewRule(tiny(view={"max_frames": 128}), compression=compression)
    for samples in (1, 400, 8000, 12345, 20000, 100000):
        view = fixed(samples)
        assert view.frames == native(samples).frames <= view.grid_frames
        assert view.grid_frames == fixed(10**6).frames == compressed_frames(128, compression, 16)


@pytest.mark.parametrize(
    "view", [{}, {"compression": [1.5, 3.0]}, {"tail": "drop"}, {"min_frames": 64}, {"frames": 64}]
)
def test_most_frames_are_those_of_the_largest_view_of_each_clip(tiny, view):
    rule = ViewRule(tiny(view=view, model={"kind": "ast"} if "frames" in view else {"stride": 10}))
    samples = np.array([16000, 400, 1, 16000, 5359, 5360, 10**6])
    found = rule.most_frames(samples)
    assert found.dtype == np.int64
    assert found.tolist() == [rule.largest(int(n)).frames for n in samples]
