"""Figures from made-up results: what is drawn, how missing runs appear, and equal bytes for equal results."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from elasticast.evaluation.records import write_table
from elasticast.reporting.curves import _spread, draw_sweeps, draw_teaser
from elasticast.reporting.panels import sweep_panels
from elasticast.reporting.read_tables import read_metrics
from elasticast.reporting.style import DOUBLE_COLUMN, SINGLE_COLUMN, line_styles
from tests.unit.reporting.toy_suite import (
    EVALUATIONS,
    drawn_figure,
    experiments,
    from_metrics,
    metrics_table,
    run_script,
    score,
    suite_of,
)


@pytest.mark.parametrize(
    ("name", "evaluation"),
    [("fig1_teaser", "lengths"), ("fig4_length_curves", "lengths"), ("fig5_resolution_curves", "hops")],
)
def test_curves_are_the_means_over_seeds(project, monkeypatch, name, evaluation):
    figure, _ = drawn_figure(project, monkeypatch, name, from_metrics(project))
    drawn = [line.get_ydata() for line in figure.axes[0].get_lines()]
    for experiment, settings in experiments().items():
        if evaluation in settings["evaluations"]:
            means = [50 * (score(experiment, 0, x) + score(experiment, 1, x)) for x in EVALUATIONS[evaluation]["x"]]
            assert any(len(y) == len(means) and np.allclose(y, means) for y in drawn), experiment


def test_same_input_gives_the_same_bytes(project):
    outs = []
    for i in range(2):
        outs.append(run_script(project, "fig1_teaser", *from_metrics(project), out=f"run{i}"))
        time.sleep(1.1 * (1 - i))  # a date written into the file has a resolution of seconds
    for kind in ("pdf", "png"):
        first, second = (Path(f"{out}.{kind}").read_bytes() for out in outs)
        assert first == second
    assert not list((project / "out").glob(".*")), "a temporary file was left behind"


def test_pdf_embeds_truetype(project):
    out = run_script(project, "fig1_teaser", *from_metrics(project))
    content = Path(f"{out}.pdf").read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert b"CreationDate" not in content


@pytest.mark.parametrize("skip", [("ast64",), tuple(experiments())], ids=["one", "all"])
@pytest.mark.parametrize("name", ["fig1_teaser", "fig4_length_curves"])
def test_missing_run_is_said_in_the_figure(project, monkeypatch, name, skip):
    write_table(project / "metrics.csv", metrics_table(skip), {})
    figure, _ = drawn_figure(project, monkeypatch, name, from_metrics(project))
    texts = [t.get_text() for t in figure.findobj(Text)]
    said = "AST 64: not run" if len(skip) == 1 else "not run"
    assert any(line == said for text in texts for line in text.splitlines())


def test_a_script_ends_with_one_line_on_bad_input(project):
    write_table(project / "metrics.csv", metrics_table().assign(value="high"), {})
    with pytest.raises(SystemExit) as stop:
        run_script(project, "fig1_teaser", *from_metrics(project))
    assert str(stop.value) == f"error: {project / 'metrics.csv'}: line 2: value = 'high' is not a number"


def test_one_panel_with_many_series_is_wide_so_that_its_legend_is_not_higher(project):
    suite = suite_of(project)
    panel = sweep_panels(suite, read_metrics(project / "metrics.csv", suite.name), "max_frames")[0]
    many = replace(panel, series=panel.series * 4)
    for draw in (draw_teaser, lambda panel, styles: draw_sweeps([panel], styles)):
        widths = [draw(some, line_styles(suite)).get_figwidth() for some in (panel, many)]
        assert len(panel.series) <= 10 < len(many.series)
        assert widths == [SINGLE_COLUMN, DOUBLE_COLUMN]


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_an_axis_of_equal_scores_spans_points_and_ends_at_possible_scores(project, monkeypatch, value):
    write_table(project / "metrics.csv", metrics_table().assign(value=value), {})
    figure, _ = drawn_figure(project, monkeypatch, "fig4_length_curves", from_metrics(project))
    low, high = figure.axes[0].get_ylim()
    assert high - low >= 2
    assert low <= 100 * value <= high
    figure.draw_without_rendering()
    ticks = [float(label.get_text()) for label in figure.axes[0].get_yticklabels() if label.get_text()]
    assert all(0 <= tick <= 100 for tick in ticks)


def test_styles_belong_to_labels(project):
    styles = line_styles(suite_of(project))
    assert styles["AST 20 ms"].color == "#123456"
    looks = [(s.color, s.dashes, s.marker) for s in styles.values()]
    assert len(set(looks)) == len(looks)
    assert styles["ElasticAST"].width > styles["AST 64"].width


def test_names_of_curves_keep_their_distance():
    wanted = np.array([10.0, 11.0, 80.0, 10.5])
    placed = _spread(wanted, gap=9, height=100)
    assert (np.diff(np.sort(placed)) >= 9 - 1e-3).all()
    assert (np.argsort(placed) == np.argsort(wanted)).all()
    assert placed[2] == 80
