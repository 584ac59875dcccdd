"""The published controls: the claim held where it must, not where it cannot, and no score is above its ceiling."""

from pathlib import Path

import pandas as pd
import pytest

from elasticast.config.load_suite import load_resolved_suite
from elasticast.data.ceilings import ceilings

FOLDER = Path(__file__).parents[3] / "docs/results/controls"


@pytest.fixture(scope="module")
def intervals() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "intervals.csv")


def test_each_control_ends_as_it_was_made_to():
    rules = pd.read_csv(FOLDER / "figures/verdict_claims.csv").set_index("claim")["outcome"]
    assert rules.to_dict() == {"once": "holds", "always": "does not hold"}


def test_only_whole_clips_reach_more_than_the_ceiling_of_the_crops(intervals):
    suite = load_resolved_suite(FOLDER / "suite.yaml")
    (crop,) = ceilings(suite.datasets["controls_once"], "tone", "test", [1.28])
    at = intervals.set_index(["experiment", "x"])
    assert at.loc[("once_ast128", 128.0), "low"] <= crop < at.loc[("once_elastic", 512.0), "low"]


def test_no_score_is_above_its_ceiling(intervals):
    """Beyond what chance makes of the guesses."""
    suite = load_resolved_suite(FOLDER / "suite.yaml")
    for row in intervals.itertuples():
        (ceiling,) = ceilings(suite.datasets[row.dataset], row.task, "test", [row.x / 100])
        assert row.low <= ceiling + 1e-9, row
