"""The arithmetic of lengths against the log-mel itself, and against exact fractions."""

import math
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch

from elasticast.config import FrontEnd
from elasticast.config.frames import (
    compressed_frames,
    frame_count,
    native_frames,
    patch_count,
    patch_frames,
    spectrogram_frames,
)
from elasticast.data.features import log_mel

FRONT_END = FrontEnd()
EPIC = FrontEnd(kind="stft", sample_rate=24000, n_fft=2048, window_ms=10, hop_ms=5)
HOP = 160
TENTHS = range(10, 41)


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


@pytest.mark.parametrize("samples", [1, 1799, 1800, 1919, 1920, 24000])
def test_native_length_of_the_other_front_end(samples):
    frames = log_mel(torch.randn(samples), EPIC).shape[1]
    assert native_frames(samples, EPIC, 16) == max(16, 16 * math.ceil(frames / 16))


@pytest.mark.parametrize("stride", [1, 10, 16])
def test_a_tail_is_filled_up_or_dropped(stride):
    for samples in range(1, 12000, 37):
        frames = frame_count(samples, FRONT_END)
        fill, drop = (native_frames(samples, FRONT_END, 16, stride, tail) for tail in ("fill", "drop"))
        assert drop == compressed_frames(frames, 1.0, 16, stride)
        assert fill - drop == (stride if frames > 16 and (frames - 16) % stride else 0)


@pytest.mark.parametrize("stride", [1, 10, 16])
def test_an_extended_tail_adds_a_patch_to_clips_of_whole_patches(stride):
    for frames in range(1, 120):
        samples = 400 + (frames - 1) * 160
        fill, extend = (native_frames(samples, FRONT_END, 16, stride, tail) for tail in ("fill", "extend"))
        whole = frames >= 16 and not (frames - 16) % stride
        assert extend - fill == (stride if whole else 0)


@pytest.mark.parametrize("front_end", [FRONT_END, EPIC], ids=["kaldi", "stft"])
def test_arrays_are_counted_as_numbers_are(front_end):
    samples = np.array([1, 16, 399, 400, 401, 559, 560, 2799, 2800, 2960, 16000, 10**6])
    assert frame_count(samples, front_end, 1.2).tolist() == [frame_count(int(n), front_end, 1.2) for n in samples]
    for tail in ("fill", "drop", "extend"):
        found = native_frames(samples, front_end, 16, 10, tail)
        assert found.tolist() == [native_frames(int(n), front_end, 16, 10, tail) for n in samples]
    assert {type(frame_count(1, front_end)), type(native_frames(1, front_end, 16))} == {int}


def test_patches_and_the_frames_they_cover():
    for patch, stride in ((16, 16), (16, 10), (4, 1)):
        for patches in range(1, 50):
            frames = patch_frames(patches, patch, stride)
            assert patch_count(frames, patch, stride) == patches
            assert patch_count(frames - 1, patch, stride) == patches - 1
            assert patch_count(frames + stride - 1, patch, stride) == patches


def test_pooled_frames_are_counted_with_the_rest():
    for samples in (1, 400, 560, 720, 16000):
        frames = frame_count(samples, FRONT_END)
        assert [spectrogram_frames(samples, FRONT_END, c, "max_pool") for c in (1.0, 2.0, 3.0)] == [
            math.ceil(frames / c) for c in (1, 2, 3)
        ]


def test_lengths_need_no_torch():
    code = "import sys, elasticast.data.views; print([name for name in ('torch', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
