"""`elasticast bench tokens`: its scores and costs are those of an evaluation."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from elasticast.benchmarks.tokens import measure_tokens
from elasticast.cli import app
from elasticast.config import Evaluation
from elasticast.data.dataset import Clips
from elasticast.errors import DataError
from elasticast.evaluation.sweep import evaluate, gflops_per_clip
from elasticast.models import build_model
from elasticast.models.pretrained import Pretrained
from elasticast.training.checkpoint import save_model
from tests.complaints import assert_names

SHARES = [0.5, 0.25]


@pytest.fixture
def trained(tiny, prepared, norm, cpu):
    """Make a model of the prepared data, with random weights."""

    def make(**settings):
        torch.manual_seed(0)
        config = tiny(model=settings)
        clips = Clips(prepared, "test", config.task)
        model = build_model(config, len(clips.classes))
        return Pretrained(model, config, norm, clips.classes, clips.kind, "random weights", [], "0" * 64, True)

    return make


@pytest.mark.parametrize("settings", [{}, {"padding": "longest"}], ids=["packed", "padded"])
def test_scores_and_costs_are_those_of_an_evaluation(trained, prepared, settings):
    model = trained(**settings)
    table = measure_tokens(model, prepared, "test", shares=SHARES, clips=100, rounds=2)
    ways = ["drop"] if settings else ["drop", "merge", "prune"]
    assert table[["way", "share"]].values.tolist() == [
        ["all tokens", 0.0], *([way, share] for way in ways for share in SHARES)
    ]  # fmt: skip
    for row in table.itertuples():
        sweep = Evaluation(x_name=f"token_{row.way}" if row.share else "token_drop", x=[row.share])
        expected = evaluate(model.model, prepared, model.config, model.norm, {"tokens": sweep})
        values = expected.set_index("metric")["value"]
        assert row.metric == "mAP"
        assert (row.score, row.gflops_per_clip) == pytest.approx((values["mAP"], values["gflops_per_clip"]))
    assert table["speedup"][0] == 1
    assert (table["clips_per_s"] * table["seconds"]).round(6).eq(6).all()


def test_only_so_many_clips_are_used(trained, prepared):
    table = measure_tokens(trained(), prepared, "test", shares=[], clips=4, rounds=1)
    assert (table["clips_per_s"] * table["seconds"]).round(6).eq(4).all()


def test_clips_are_spread_over_the_split(trained, prepared):
    model = trained()
    table = measure_tokens(model, prepared, "test", shares=[], clips=2, rounds=1)
    whole, clips = Evaluation(x_name="token_drop", x=[0.0]), Clips(prepared, "test", model.config.task)
    first_and_last = gflops_per_clip(model.model, clips, model.config, whole, np.array([0, 5]))
    assert table["gflops_per_clip"].tolist() == [first_and_last[0.0]]


def test_the_command_refuses_data_of_other_classes(trained, prepared, norm, tmp_path):
    model = trained()
    others = ["yodel", *model.classes[1:]]
    save_model(tmp_path / "run", model.model, model.config, norm, others, model.kind)
    done = CliRunner().invoke(app, ["bench", "tokens", str(tmp_path / "run"), "--data", str(prepared)])
    assert isinstance(done.exception, DataError)
    assert_names(str(done.exception), tmp_path / "run", model.classes[0])
