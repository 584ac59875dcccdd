"""The published default suite: it answers its questions, and no score is above its ceiling."""

from pathlib import Path

import pandas as pd
import pytest

from elasticast.config.load_suite import load_resolved_suite
from elasticast.data.ceilings import ceilings
from elasticast.reporting.claims import HELD, NOT_HELD, conclude

FOLDER = Path(__file__).parents[3] / "docs/results/mini"


@pytest.fixture(scope="module")
def intervals() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "intervals.csv")


def test_every_claim_is_answered_by_three_seeds(intervals):
    rules = pd.read_csv(FOLDER / "figures/verdict_claims.csv")
    answers = {name: conclude(of["outcome"], of["p_corrected"]) for name, of in rules.groupby("claim")}
    assert set(answers.values()) <= {HELD, NOT_HELD}, answers
    assert (intervals["seeds"] == 3).all()


def test_no_score_is_above_its_ceiling(intervals):
    """Beyond what chance makes of the guesses."""
    dataset = load_resolved_suite(FOLDER / "suite.yaml").datasets["scenes"]
    for row in intervals[intervals["x_name"] == "max_frames"].itertuples():
        (ceiling,) = ceilings(dataset, row.task, "test", [row.x / 100])
        assert row.low <= ceiling + 1e-9, row
