"""Figure 2: tokens at each length, counted as the data path does."""

import os

import numpy as np
import pytest

from elasticast.config import FrontEnd, RunConfig
from elasticast.data.dataset import ClipDataset, Clips
from elasticast.data.norm import Norm
from elasticast.data.sampler import ClipRequest
from elasticast.errors import DataError
from elasticast.reporting import collect
from elasticast.reporting.native_lengths import draw_lengths, lengths_caption
from elasticast.reporting.token_shares import read_lengths, token_shares
from tests.complaints import complains
from tests.unit.reporting.toy_suite import VIEWS, change_experiments, line_texts, prepare_data, suite_of


def lengths_of(data, project):
    """What figure 2 counts for one prepared dataset."""
    table = project / "lengths.csv"
    collect.lengths([data / "manifest.parquet"], table)
    (found,) = read_lengths(table, suite_of(project))
    return found


def tokens_given(clips: Clips, config: RunConfig) -> int:
    """Tokens of all clips as the data path packs them."""
    dataset = ClipDataset(clips, config, Norm(0.0, 1.0))
    return sum(len(dataset[ClipRequest(i)].patches) for i in range(len(clips)))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", VIEWS)
def test_tokens_are_those_of_packed_clips(project, case, seed):
    data = prepare_data(project / "toy", np.random.default_rng(seed).lognormal(-0.5, 0.9, 12).clip(0.01, 4))
    change_experiments(project, **VIEWS[case])
    suite, clips = suite_of(project), Clips(data, "train", "events")
    found = lengths_of(data, project)
    assert [length.name for length in found.lengths] == ["64", "128", "native, ≤ 256"]
    native = suite.run_config("elastic", 0)
    unlimited = native.view.model_copy(update={"max_frames": 10_000, "min_frames": None})
    for length, name in zip(found.lengths, ["ast64", "ast128", "elastic"], strict=True):
        config, shares = suite.run_config(name, 0), length.shares
        assert shares.kept + shares.added == tokens_given(clips, config)
        whole = native.model_copy(update={"view": unlimited, "model": config.model, "front_end": config.front_end})
        assert shares.kept + shares.discarded == shares.native == tokens_given(clips, whole)
        assert min(shares.kept, shares.discarded, shares.added) >= 0


def test_token_shares_by_hand(project):
    """1 s has 98 frames, 7 patches; 0.01 s has 1 frame, 1 patch; 2 s has 198 frames, 13 patches; 8 bands."""
    run = suite_of(project).run_config("ast64", 0)
    run = run.model_copy(update={"view": run.view.model_copy(update={"frames": 112})})
    samples = np.array([16000, 160, 32000])
    shares = token_shares(run, samples, "fill")
    assert (shares.kept, shares.discarded, shares.added) == (8 * (7 + 1 + 7), 8 * 6, 8 * 6)
    shares = token_shares(run, samples, "drop")
    assert (shares.kept, shares.discarded, shares.added) == (8 * (6 + 1 + 7), 8 * 5, 8 * (1 + 6))
    apart = run.model_copy(update={"model": run.model.model_copy(update={"stride": 10})})
    bands = (128 - 16) // 10 + 1
    shares = token_shares(
        apart, samples, "fill"
    )  # (T - 16) / 10 + 1 patches, rounded up: 10, 1 and 20; 10 of 112 frames
    assert (shares.kept, shares.discarded, shares.added) == (bands * (10 + 1 + 10), bands * 10, bands * 9)


def test_lengths_come_from_the_suite(project):
    data = prepare_data(project / "toy", np.array([0.3, 2.6]))
    found = lengths_of(data, project)
    assert found.seconds.tolist() == [0.3, 2.6]  # without the rejected clip
    assert [length.name for length in found.fixed] == ["64", "128"]  # not the AST of another hop
    assert [length.seconds for length in found.fixed] == [0.64, 1.28]
    assert found.native.experiment == "elastic"
    os.rename(data, project / "other")
    with complains(DataError, "lengths.csv", "other", "toy_suite", "toy"):
        lengths_of(project / "other", project)


def test_a_table_of_durations_keeps_every_usable_clip(project):
    seconds = np.array([0.3, 2.6, 0.3, 1 / 3])
    found = lengths_of(prepare_data(project / "toy", seconds), project)
    assert sorted(found.seconds) == sorted(seconds)  # bit for bit, repeated ones included


def test_runs_of_one_length_that_count_tokens_differently_have_rows_of_their_own(project):
    data = prepare_data(project / "toy", np.array([0.3, 2.6]))
    change_experiments(project, ast128={"view": {"frames": 64, "fill": "mask"}})
    found = lengths_of(data, project)
    assert [length.name for length in found.fixed] == ["64, AST 64", "64, AST 128"]
    padded, masked = (length.shares for length in found.fixed)
    assert (padded.kept, padded.discarded) == (masked.kept, masked.discarded)
    assert (padded.added, masked.added) == (8 * 2, 0)  # of 28 frames, 2 patches of 4


def test_the_figure_shows_the_counted_tokens(project):
    data = prepare_data(project / "toy", np.array([0.3, 0.5, 0.8, 1.4, 2.6]))
    change_experiments(project, elastic={"view": {"max_frames": 256, "min_frames": 32, "tail": "drop"}})
    found = lengths_of(data, project)
    figure = draw_lengths([found])
    shares = [length.shares for length in found.lengths]
    bars = [round(bar.get_width() * s.native / 100) for bar, s in zip(figure.axes[1].patches[::3], shares, strict=True)]
    assert bars == [s.kept for s in shares]
    assert {"64", "128", "native, ≤ 256"} <= set(line_texts(figure))
    caption = lengths_caption([found])
    assert all(token in caption for token in ("elastic", "256", "32", "left out", "16 × 16", "toy"))


def test_front_end_is_that_of_the_run(project):
    """Windows around each hop, as in EPIC-SOUNDS, make more frames of the same clip."""
    run, samples = suite_of(project).run_config("elastic", 0), np.array([16000])
    centred = FrontEnd(kind="stft", n_fft=2048, window_ms=10, hop_ms=5)
    native = [token_shares(r, samples, "fill").native for r in (run, run.model_copy(update={"front_end": centred}))]
    assert native == [8 * 7, 8 * 13]  # 98 and 1 + 16000 // 80 = 201 frames
