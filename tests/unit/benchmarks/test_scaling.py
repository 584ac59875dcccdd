"""`elasticast bench scaling` and `plan`: sizes, exponents, and estimates that can be checked by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from elasticast.benchmarks.planning import plan_training
from elasticast.benchmarks.scaling import COSTS, exponents, measure_scaling
from elasticast.cli import app
from elasticast.errors import ElasticASTError
from tests.complaints import complains

pytestmark = pytest.mark.usefixtures("cpu")
LONG = {"view": {"frames": "native", "max_frames": 1024}, "model": {"max_frames": 1024}}


def measure(tiny, **sizes):
    sizes = {"clips": [1, 2], "seconds": [1, 2], "budgets": []} | sizes
    return measure_scaling(tiny(**LONG), "sdpa", **sizes, device=torch.device("cpu"), rounds=1)


def test_sizes_and_costs_of_each_axis(tiny):
    table = measure(tiny).set_index(["axis", "x"])
    assert table.loc["clips", "tokens"].tolist() == [504, 1008]
    assert table.loc["length", "tokens"].tolist() == [56, 104]  # 98 and 198 frames, up to whole patches
    assert table.loc[("clips", 2), "gflop"] == pytest.approx(2 * table.loc[("clips", 1), "gflop"])
    assert (table[list(COSTS)] > 0).all(axis=None)


def test_batches_of_a_budget_fill_it_without_exceeding_it(tiny):
    table = measure(tiny, clips=[], seconds=[], budgets=[1000, 3000])
    assert (table["tokens"] <= table["x"]).all()
    assert table["tokens"].is_monotonic_increasing
    with complains(ElasticASTError, "--budget", 8):
        measure(tiny, clips=[], seconds=[], budgets=[8])


def test_exponents_are_those_of_powers():
    tokens = np.array([10, 100, 1000])
    table = pd.DataFrame({"axis": "length", "tokens": tokens} | {cost: 3.0 * tokens**1.5 for cost in COSTS})
    table = pd.concat([table, table.head(1).assign(axis="clips")])  # a single value has no exponent
    (row,) = exponents(table).to_dict("records")
    assert row == {"axis": "length"} | {cost: pytest.approx(1.5) for cost in COSTS}


def test_a_plan_by_hand(tiny):
    config = tiny(**LONG)
    options = {"seconds": 10, "epochs": 2, "classes": 5, "days": 0.5, "tflops": 0.001, "core_clips": 50}
    plan = plan_training(config, 1000, **options)
    flop = 3 * config.model.flops(504, 5)
    assert plan["step_gflop"] == pytest.approx(flop / 1e9)
    assert plan["gpu_hours"] == pytest.approx(2000 * flop / 1e9 / 3600)
    assert plan["gpus"] == pytest.approx(plan["gpu_hours"] / 12)
    assert plan["clips_per_s"] == pytest.approx(2000 / 43200)
    assert plan["cores"] == pytest.approx(2000 / 43200 / 50)
    assert plan["store_tb"] == pytest.approx(1000 * 320_000 / 1e12)
    hundred = plan_training(config, 100_000, **options)
    assert hundred["gpus"] == pytest.approx(100 * plan["gpus"])


def test_the_plan_prints_a_column_for_each_number_of_clips():
    done = CliRunner().invoke(app, ["bench", "plan", "--clips", "1000", "--clips", "2000", "--model", "tiny"])
    assert done.exit_code == 0, done.output
    assert "1,000" in done.output
    assert "2,000" in done.output
