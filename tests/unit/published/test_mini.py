"""The published default suite: every model has three seeds, and no score is above its ceiling."""

from pathlib import Path

import pandas as pd
import pytest

from elasticast.config.load_suite import load_resolved_suite
from elasticast.data.ceilings import ceilings

FOLDER = Path(__file__).parents[3] / "docs/results/mini"


@pytest.fixture(scope="module")
def intervals() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "intervals.csv")


def test_every_model_has_three_seeds(intervals):
    assert (intervals["seeds"] == 3).all()


def test_repeated_runs_are_compared_with_the_published_scores():
    scores = pd.read_csv(FOLDER / "metrics.csv")
    scores["run"] = scores["experiment"] + "/seed" + scores["seed"].astype(str)
    repeats = pd.read_csv(FOLDER / "repeats.csv")
    both = repeats.merge(scores, on=["run", "evaluation", "x", "metric"], validate="one_to_one")
    assert len(both) == len(repeats)
    assert (both["published"] == both["value"]).all()
    assert both["difference"].to_numpy() == pytest.approx(100 * (both["repeated"] - both["published"]), abs=1e-9)


def test_no_score_is_above_its_ceiling(intervals):
    """Beyond what chance makes of the guesses."""
    dataset = load_resolved_suite(FOLDER / "suite.yaml").datasets["scenes"]
    for row in intervals[intervals["x_name"] == "max_frames"].itertuples():
        (ceiling,) = ceilings(dataset, row.task, "test", [row.x / 100])
        assert row.low <= ceiling + 1e-9, row
