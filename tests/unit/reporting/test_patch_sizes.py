"""The figure of patch sizes: curves over sizes, and over tokens per second."""

import numpy as np
import pandas as pd
import pytest
import yaml

from elasticast.config import Evaluation
from elasticast.evaluation.records import write_table
from elasticast.reporting.patch_sizes import tokens_per_second
from elasticast.reporting.read_tables import METRICS
from tests.unit.reporting.toy_suite import SCRIPTS, drawn_figure, from_metrics

RELEASED = SCRIPTS / "reference" / "released_curves.csv"
SWEEPS = {
    "sizes": {"x_name": "patch_size", "x": [8.0, 16.0, 48.0], "remainder": "drop"},
    "widths": {"x_name": "patch_width", "x": [16.0, 32.0]},
    "hops": {"x_name": "compression", "x": [1.0, 2.0]},
}


def test_widths_have_the_tokens_of_compressions(tiny):
    run = tiny()
    for c in (1, 2, 3):
        widths, hops = Evaluation(x_name="patch_width", x=[16 * c]), Evaluation(x_name="compression", x=[c])
        assert tokens_per_second(run, widths, 16 * c) == pytest.approx(tokens_per_second(run, hops, c))
    assert tokens_per_second(run, Evaluation(x_name="compression", x=[1]), 1) == 8 * 100 / 16


def test_kept_mel_bins_are_more_tokens(tiny):
    run = tiny()
    drop, keep = (Evaluation(x_name="patch_size", x=[48], remainder=r) for r in ("drop", "keep"))
    assert tokens_per_second(run, drop, 48) == pytest.approx(2 * 100 / 48)
    assert tokens_per_second(run, keep, 48) == pytest.approx(3 * 100 / 48)


@pytest.fixture
def sized(project):
    """The toy suite with sweeps over patches: of two experiments, of which one has a released curve."""
    path = project / "config" / "suites" / "toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["evaluations"] |= SWEEPS
    raw["experiments"]["ast64"]["evaluations"] = list(SWEEPS)
    raw["experiments"]["elastic"]["evaluations"] = ["lengths", "sizes"]
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    rows = []
    for name, evaluations in (("ast64", list(SWEEPS)), ("elastic", ["sizes"])):
        for seed in (0, 1):
            for evaluation in evaluations:
                sweep = SWEEPS[evaluation]
                for x in sweep["x"]:
                    about = ["toy_suite", name, seed, evaluation, "toy", "events", sweep["x_name"], x]
                    rows.append([*about, "mAP", 0.5 + 0.01 * seed - x / 1000, 50, 60])
    write_table(project / "metrics.csv", pd.DataFrame(rows, columns=list(METRICS)), {})
    return project


def test_curves_over_sizes_widths_and_tokens(sized, monkeypatch):
    figure, _ = drawn_figure(sized, monkeypatch, "patch_sizes", from_metrics(sized))
    sizes, widths, tokens = figure.axes
    mean = [50.5 - x / 10 for x in SWEEPS["sizes"]["x"]]
    assert sum(np.allclose(line.get_ydata(), mean) for line in sizes.get_lines() if len(line.get_ydata()) == 3) == 2
    assert any(len(line.get_xdata()) == 2 for line in widths.get_lines())
    lines = [line for line in tokens.get_lines() if len(line.get_xdata())]
    assert len(lines) == 4
    rates = [16 * 12.5, 8 * 6.25, 2 * 100 / 48]
    assert sum(np.allclose(line.get_xdata(), rates) for line in lines if len(line.get_xdata()) == 3) == 2


def test_the_released_curve_is_drawn_in_both_panels(sized, monkeypatch):
    path = sized / "config" / "suites" / "toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["experiments"]["ast64"] |= {"task": "scene", "released": {"dataset": "vggsound", "series": "flexiast"}}
    raw["experiments"]["elastic"]["task"] = "scene"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    figure, _ = drawn_figure(sized, monkeypatch, "patch_sizes", [*from_metrics(sized), "--released", str(RELEASED)])
    for ax in (figure.axes[0], figure.axes[-1]):
        (curve,) = [line for line in ax.get_lines() if len(line.get_ydata()) == 10]
        assert curve.get_ydata()[0] == pytest.approx(51.28)
        assert curve.get_ydata()[-1] == pytest.approx(36.87)
