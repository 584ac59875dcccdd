"""The figure of learning curves: one line per model of the suite."""

import numpy as np
import pandas as pd
import pytest

from elasticast.evaluation.records import write_table
from elasticast.reporting.learning_curves import AVERAGED, LOSS, NO_LOG, draw_learning, learning_panels
from elasticast.reporting.read_tables import HISTORY
from elasticast.reporting.style import line_styles
from tests.complaints import complains
from tests.unit.reporting.toy_suite import drawn_figure, line_texts, suite_of

STEPS = range(10, 101, 10)


def logs(*rows) -> pd.DataFrame:
    """The log of each run: experiment, seed, split, metric and the values at `STEPS`."""
    table = [
        (name, seed, step, split, metric, y)
        for name, seed, split, metric, ys in rows
        for step, y in zip(STEPS, ys, strict=False)
    ]
    return pd.DataFrame(table, columns=list(HISTORY))


FALLING = [1 / step for step in STEPS]
LOSS_OF_SEED_1 = 0.5  # above that of seed 0
TABLE = logs(
    ("elastic", 0, "train", "loss", FALLING),
    ("elastic", 1, "train", "loss", [np.inf, *(y + LOSS_OF_SEED_1 for y in FALLING[1:])]),
    ("elastic", 0, "dev", "mAP", [0.25, 0.5]),
    ("ast64", 0, "train", "loss", FALLING),
    ("of_another_suite", 0, "train", "loss", FALLING),
)


def test_panels_have_the_runs_of_the_suite(project):
    loss, dev = learning_panels(suite_of(project), TABLE)
    assert (loss.title, loss.quantity) == (dev.title, LOSS) == ("toy · events", LOSS)
    assert [(curve.label, curve.seed) for curve in loss.curves] == [("ElasticAST", 0), ("ElasticAST", 1), ("AST 64", 0)]
    assert dev.curves[0].steps.tolist() == [10, 20]
    assert dev.curves[0].values.tolist() == [25, 50]  # in %


def test_each_model_is_one_line_in_its_colour_the_mean_over_its_seeds(project, monkeypatch):
    write_table(project / "history.csv", TABLE, {})
    figure, caption = drawn_figure(project, monkeypatch, "learning_curves", ["--history", str(project / "history.csv")])
    styles = line_styles(suite_of(project))
    loss, dev = figure.axes
    assert [line.get_color() for line in loss.lines] == [styles[label].color for label in ("ElasticAST", "AST 64")]
    elastic, ast = loss.lines
    assert (elastic.get_xdata()[0], ast.get_xdata()[0]) == (20, 10)  # an infinite loss is left out
    middle, half = len(FALLING) // 2, AVERAGED // 2
    around = FALLING[middle - half : middle + half + 1]
    assert ast.get_ydata()[middle] == pytest.approx(np.mean(around))
    assert elastic.get_ydata()[middle - 1] == pytest.approx(np.mean([y + LOSS_OF_SEED_1 / 2 for y in around]))
    assert [line.get_ydata().tolist() for line in dev.lines] == [[25, 50]]  # scores are not averaged over steps
    assert {"AST 64", "ElasticAST"} <= set(line_texts(figure))
    assert "3 runs" in caption


def test_a_curve_of_one_point_is_a_marker(project, monkeypatch):
    """A run of fewer than two log intervals; a line through one point is invisible."""
    one = TABLE[(TABLE["metric"] == "loss") & (TABLE["step"] == TABLE["step"].max())]
    write_table(project / "history.csv", pd.concat([one, TABLE[TABLE["metric"] != "loss"]]), {})
    figure, _ = drawn_figure(project, monkeypatch, "learning_curves", ["--history", str(project / "history.csv")])
    markers = [[line.get_marker() for line in ax.lines] for ax in figure.axes]
    assert markers == [["o", "o"], ["none"]]


def test_labels_that_look_alike_are_told_apart(project):
    suite, names = suite_of(project), ("elastic", "hop20", "ast64")
    styles = dict.fromkeys(line_styles(suite), line_styles(suite)["ElasticAST"])
    table = logs(*((name, 0, "train", "loss", FALLING) for name in names))
    (axes,) = draw_learning(learning_panels(suite, table), styles).axes
    assert len({line.get_color() for line in axes.lines}) == 1
    assert len({line._unscaled_dash_pattern for line in axes.lines}) == len(names)


def test_without_logs_the_figure_says_so(project, monkeypatch):
    write_table(project / "history.csv", TABLE[:0], {})
    figure, caption = drawn_figure(project, monkeypatch, "learning_curves", ["--history", str(project / "history.csv")])
    assert NO_LOG in line_texts(figure)
    assert "no run" in caption.lower()


def test_an_edited_log_is_refused(project, monkeypatch):
    write_table(project / "history.csv", TABLE, {})
    with (project / "history.csv").open("a") as file:
        file.write("elastic,0,110,train,loss,0\n")
    with complains(SystemExit, "history.csv"):
        drawn_figure(project, monkeypatch, "learning_curves", ["--history", str(project / "history.csv")])
