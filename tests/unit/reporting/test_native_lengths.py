"""Figure 2: tokens of clips at each length."""

import os

import numpy as np
import pytest

from elasticast.config import FrontEnd
from elasticast.errors import DataError
from elasticast.reporting.lengths import Grid, read_lengths, token_shares
from tests.unit.reporting.toy_suite import prepare_data, suite_of


def test_token_shares_by_hand():
    grid = Grid()
    # 16,000 samples: 1 + (16000 - 400) // 160 = 98 frames, 7 patches = 112; 0.01 s: one patch; 2 s: 198 -> 208
    frames = grid.frames(np.array([1.0, 0.01, 2.0]))
    assert frames.tolist() == [112, 16, 208]
    shares = token_shares(frames, 112, grid)
    assert (shares.kept, shares.discarded, shares.added) == ((112 + 16 + 112) / 2, 96 / 2, 96 / 2)


@pytest.mark.parametrize("length", [16, 64, 256, 1024])
def test_tokens_are_conserved(length):
    frames = Grid().frames(np.random.default_rng(0).lognormal(0.7, 0.8, 200))
    shares = token_shares(frames, length, Grid())
    assert shares.kept + shares.discarded == frames.sum() / 2
    assert shares.kept + shares.added == len(frames) * length / 2
    cropped = token_shares(frames, length, Grid(), least=0)
    assert (cropped.kept, cropped.discarded, cropped.added) == (shares.kept, shares.discarded, 0)


def test_frames_are_those_of_the_models():
    from elasticast.data.views import native_frames

    samples = [1, 399, 400, 560, 2799, 2800, 2960, 16000, 128000]
    assert Grid().frames(np.array(samples) / 16000).tolist() == [native_frames(s, FrontEnd(), 16) for s in samples]
    epic = FrontEnd(kind="stft", sample_rate=24000, n_fft=2048, window_ms=10, hop_ms=5)
    samples = [1, 1799, 1800, 1919, 1920, 24000]
    found = Grid(24000, 10.0, 5, centred=True).frames(np.array(samples) / 24000)
    assert found.tolist() == [native_frames(s, epic, 16) for s in samples]


def test_clips_filled_up_to_the_fewest_frames_have_tokens_added():
    shares = token_shares(np.array([16, 112, 208]), 160, Grid(), least=64)
    assert (shares.kept, shares.discarded, shares.added) == ((16 + 112 + 160) / 2, 48 / 2, 48 / 2)


def test_lengths_come_from_the_suite(project):
    data = prepare_data(project / "toy", np.array([0.3, 2.6]))
    lengths = read_lengths(data / "manifest.parquet", suite_of(project))
    assert lengths.seconds.tolist() == [0.3, 2.6]  # without the rejected clip
    assert (lengths.fixed, lengths.longest) == ([64, 128], 256)  # not the AST of another hop
    os.rename(data, project / "other")
    with pytest.raises(DataError, match="has no dataset 'other'"):
        read_lengths(project / "other" / "manifest.parquet", suite_of(project))
