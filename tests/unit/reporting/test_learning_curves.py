"""The figure of learning curves: one line per run of the suite, told apart by model."""

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
TABLE = logs(
    ("elastic", 0, "train", "loss", FALLING),
    ("elastic", 1, "train", "loss", [np.inf, *FALLING[1:]]),
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


def test_each_run_is_one_line_in_the_colour_of_its_model(project, monkeypatch):
    write_table(project / "history.csv", TABLE, {})
    figure, caption = drawn_figure(project, monkeypatch, "learning_curves", ["--history", str(project / "history.csv")])
    styles = line_styles(suite_of(project))
    loss, dev = figure.axes
    assert [line.get_color() for line in loss.lines] == [
        styles[label].color for label in ("ElasticAST",) * 2 + ("AST 64",)
    ]
    assert (len(dev.lines), loss.lines[1].get_xdata()[0]) == (1, 20)  # an infinite loss is left out
    middle = len(FALLING) // 2
    around = FALLING[middle - AVERAGED // 2 : middle + AVERAGED // 2 + 1]
    assert loss.lines[0].get_ydata()[middle] == pytest.approx(np.mean(around))
    assert dev.lines[0].get_ydata().tolist() == [25, 50]  # scores are not averaged
    assert {"AST 64", "ElasticAST"} <= set(line_texts(figure))
    assert "3 in all" in caption


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
