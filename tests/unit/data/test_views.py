"""How long a clip is shown, at which resolution, and how it is cut or filled."""

import math
from fractions import Fraction

import pytest
import torch

from elasticast.config import FrontEnd
from elasticast.data.features import log_mel
from elasticast.data.views import ViewRule, compressed_frames, crop_or_pad, native_frames, spectrogram

FRONT_END = FrontEnd()
TENTHS = range(10, 41)
COMPRESSIONS = [tenths / 10 for tenths in TENTHS]
HOP, WINDOW = 160, 400


@pytest.mark.parametrize("samples", [1, 399, 400, 559, 560, 400 + 15 * HOP, 400 + 16 * HOP, 32000, 160000])
def test_native_length_is_rounded_up_to_a_whole_patch(samples):
    frames = log_mel(torch.randn(samples), FRONT_END).shape[1]
    found = native_frames(samples, FRONT_END, 16)
    assert found % 16 == 0
    assert found - 16 < frames <= found


@pytest.mark.parametrize("tenths", TENTHS)
def test_compressed_length_is_the_exact_floor(tenths):
    for frames in range(16, 2049, 16):
        exact = math.floor(Fraction(10 * frames, tenths * 16)) * 16
        for compression in (tenths / 10, 1 + 0.1 * (tenths - 10)):  # without and with float noise
            assert compressed_frames(frames, compression, 16) == max(16, exact)


@pytest.mark.parametrize("stride", [1, 10, 15])
def test_overlapping_patches_cover_a_clip_with_less_than_a_step_to_spare(stride):
    for samples in (1, 560, 32000, 33000, 160000):
        frames = log_mel(torch.randn(samples), FRONT_END).shape[1]
        found = native_frames(samples, FRONT_END, 16, stride)
        assert (found - 16) % stride == 0
        assert max(16, frames) <= found < max(16, frames) + stride
    for frames in range(16, 1100):  # as many patches as AST's (T - 16) // stride + 1
        found = compressed_frames(frames, 1.0, 16, stride)
        assert found <= frames
        assert (found - 16) // stride == (frames - 16) // stride


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
        for x in (16, 64, 1024):  # a length sweep: x frames at its own hop
            assert ViewRule(config, max_frames=x, compression=compression)(16000).frames == x


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
            assert max(counts) - min(counts) <= 1  # each has its share
        assert rule(samples, 0.0, 1 - 2**-24).frames == max(lengths)
        assert rule.largest(samples).frames == own


def test_a_cut_clip_is_compressed_after_the_cut(tiny):
    rule = ViewRule(tiny(view={"cut_from": 96, "compression": [2.0]}))
    assert {rule(160000, 0.0, i / 1000).frames for i in range(1000)} == set(range(48, 129, 16))


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("samples", [100, 400, 4240, 32000])
def test_a_pooled_spectrogram_is_the_maximum_of_its_frames(samples, factor):
    waveform = torch.randn(samples)
    plain = log_mel(waveform, FRONT_END)
    found = spectrogram(waveform, FRONT_END, float(factor), "max_pool")
    whole = plain.shape[1] // factor
    assert found.shape[1] == math.ceil(plain.shape[1] / factor)
    if whole:
        assert torch.equal(found[:, :whole], torch.nn.functional.max_pool1d(plain, factor))
    assert torch.equal(found, torch.stack([part.amax(1) for part in plain.split(factor, 1)], 1))
    assert torch.equal(spectrogram(waveform, FRONT_END, factor, "hop"), log_mel(waveform, FRONT_END, factor))


EPIC = FrontEnd(kind="stft", sample_rate=24000, n_fft=2048, window_ms=10, hop_ms=5)


@pytest.mark.parametrize("samples", [1, 1799, 1800, 1919, 1920, 24000])
def test_native_length_of_the_other_front_end(samples):
    frames = log_mel(torch.randn(samples), EPIC).shape[1]
    assert native_frames(samples, EPIC, 16) == max(16, 16 * math.ceil(frames / 16))


@pytest.mark.parametrize("samples", [100, 18000, 22919, 22920, 25000, 10**6])
def test_a_short_clip_is_shown_with_the_fewest_frames(tiny, samples):
    view = {"max_frames": 512, "min_frames": 192, "compression": [1.0, 2.0]}
    rule = ViewRule(tiny(view=view, front_end=EPIC.model_dump(), model={"max_frames": 512}))
    native = native_frames(samples, EPIC, 16)
    assert rule.at(samples, 1.0).frames == min(512, max(192, native))
    assert rule.at(samples, 2.0).frames == compressed_frames(min(512, max(192, native)), 2.0, 16)
    assert rule.largest(samples) == rule.at(samples, 1.0)


def test_the_fewest_frames_are_no_matter_of_a_fixed_view(tiny):
    config = tiny(model={"kind": "ast"}, view={"frames": 64, "min_frames": 96})
    assert ViewRule(config)(100).frames == 64


@pytest.mark.parametrize("fill", ["zeros", "edge", "repeat"])
def test_a_view_fills_short_clips_its_way(tiny, fill):
    view = ViewRule(tiny(view={"min_frames": 64, "fill": fill}))(100)
    spectrogram = torch.randn(8, 40)
    found = view.cut(spectrogram)
    assert torch.equal(found[:, :40], spectrogram)
    last = {"zeros": torch.zeros(8, 24), "edge": spectrogram[:, -1:].expand(8, 24), "repeat": spectrogram[:, :24]}
    assert torch.equal(found[:, 40:], last[fill])
    longer = torch.randn(8, 100)
    assert torch.equal(view.cut(longer, 1.0), longer[:, 36:])


@pytest.mark.parametrize("frames", [1, 39, 40, 41, 80, 200])
def test_a_repeated_clip_goes_round(frames):
    found = crop_or_pad(torch.arange(40.0)[None], frames, fill="repeat")
    assert torch.equal(found[0], torch.arange(frames) % 40.0)


@pytest.mark.parametrize("compression", [1.0, 1.2, 2.0, 4.0])
def test_masked_padding_leaves_what_a_native_view_shows(tiny, compression):
    fixed = ViewRule(tiny(model={"kind": "ast"}, view={"frames": 128, "fill": "mask"}), compression=compression)
    native = ViewRule(tiny(view={"max_frames": 128}), compression=compression)
    for samples in (1, 400, 8000, 12345, 20000, 100000):
        view = fixed(samples)
        assert view.frames == native(samples).frames <= view.grid_frames
        assert view.grid_frames == fixed(10**6).frames == compressed_frames(128, compression, 16)


@pytest.mark.parametrize("start", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("frames", [1, 16, 39, 40, 41, 64])
def test_crop_or_pad(frames, start):
    spectrogram = torch.randn(8, 40)
    found = crop_or_pad(spectrogram, frames, start)
    assert found.shape == (8, frames)
    if frames >= 40:
        assert torch.equal(found[:, :40], spectrogram)
        assert not found[:, 40:].any()
    else:
        first = round(start * (40 - frames))
        assert torch.equal(found, spectrogram[:, first : first + frames])


def test_a_random_crop_stays_inside_and_reaches_both_ends():
    spectrogram = torch.arange(1.0, 41.0)[None]  # no zero: padding would show
    starts = {int(crop_or_pad(spectrogram, 30, i / 1000)[0, 0]) for i in range(1001)}
    assert starts == set(range(1, 12))
    assert all(crop_or_pad(spectrogram, 30, i / 1000).all() for i in range(1001))
