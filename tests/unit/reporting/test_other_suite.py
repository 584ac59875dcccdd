"""Figures with the curves of another suite."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from elasticast.config.load_suite import load_other_suite, load_suite, load_workflow_config
from elasticast.errors import ConfigError
from elasticast.evaluation.records import write_table
from elasticast.reporting.panels import add_other_suite, sweep_panels
from tests.complaints import complains
from tests.unit.reporting.toy_suite import (
    EVALUATIONS,
    drawn_figure,
    experiments,
    from_metrics,
    line_texts,
    metrics_table,
    other_metrics,
    score,
    suite_of,
    without_ast64,
    write_other,
)


def both_panels(project: Path, x_name: str, metrics: pd.DataFrame) -> list:
    suite, other = suite_of(project), load_suite("other", project / "config")
    return add_other_suite(sweep_panels(suite, metrics_table(), x_name), suite, other, metrics)


def test_curves_of_two_suites_meet_by_experiment_whatever_the_datasets_name(project, two):
    (panel,) = both_panels(project, "max_frames", other_metrics())
    ours = {s.experiment: s for s in panel.series}
    assert (panel.dataset, panel.other_title) == ("toy", "Toy, otherwise")
    assert ours["ast64"].other is None
    assert ours["ast128"].other.shortfall == "sweep incomplete"
    assert ours["elastic"].other.shortfall == "1 of 2 seeds"
    assert ours["elastic"].other.points["mean"].tolist() == [
        pytest.approx(score("elastic", 0, x) + 0.05) for x in EVALUATIONS["lengths"]["x"]
    ]


def test_the_other_suites_points_are_shown_where_ours_are(project, two):
    more = other_metrics().query("experiment == 'elastic' and x == 256").assign(x=16.0)
    path = project / "config" / "suites" / "other.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["evaluations"]["lengths"]["x"] = [16, 128, 256]
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    (panel,) = both_panels(project, "max_frames", pd.concat([other_metrics(), more]))
    found = panel.series[-1].other
    assert found.points.index.tolist() == EVALUATIONS["lengths"]["x"]
    assert found.points["mean"].dropna().index.tolist() == [128, 256]
    assert found.shortfall == "sweep incomplete"


def test_both_suites_are_drawn_and_what_is_missing_is_said(project, two, monkeypatch):
    figure, _ = drawn_figure(project, monkeypatch, "fig4_length_curves", two)
    texts = line_texts(figure)
    assert "Toy, otherwise" in texts
    said = "“Toy, otherwise”: AST 128 (sweep incomplete), AST 64 (not in suite), ElasticAST (1 of 2 seeds)"
    assert any(said in text for text in texts)
    lines = figure.axes[0].get_lines()
    dotted = [line for line in lines if line.get_marker() == "None" and len(line.get_xdata()) > 1]
    assert [line.get_xdata().tolist() for line in dotted] == [[32, 64], [32, 64, 128, 256]]
    colors = [line.get_color() for line in lines if line not in dotted]
    assert all(line.get_color() in colors for line in dotted)
    alone = line_texts(drawn_figure(project, monkeypatch, "fig4_length_curves", from_metrics(project))[0])
    assert not any("Toy, otherwise" in text for text in alone)


def test_a_suite_that_has_not_run_is_said_once(project, two, monkeypatch):
    write_table(project / "other.csv", other_metrics().query("experiment == 'ast128'"), {})
    texts = line_texts(drawn_figure(project, monkeypatch, "fig5_resolution_curves", two)[0])
    assert "Toy, otherwise" not in texts  # there is no such line
    assert any(text.endswith("“Toy, otherwise”: not run") for text in texts)


def test_runs_of_the_other_suite_alone_are_drawn(project, two, monkeypatch):
    write_table(project / "metrics.csv", metrics_table(skip=tuple(experiments())), {})
    texts = line_texts(drawn_figure(project, monkeypatch, "fig4_length_curves", two)[0])
    assert "Toy, otherwise" in texts
    assert any("this suite: not run" in text for text in texts)


def of_one_label(experiments: dict) -> None:
    for experiment in experiments.values():
        experiment.update(dataset="speech", task="word")


def renamed(experiments: dict) -> None:
    for name in list(experiments):
        experiments[f"{name}_2"] = experiments.pop(name)


@pytest.mark.parametrize("change", [of_one_label, renamed])
def test_suites_without_a_common_curve_are_refused(project, change):
    (project / "config" / "datasets" / "speech.yaml").write_text("source: speech_commands\n")
    write_other(project, change)
    with complains(ConfigError, "config/config.yaml", "beside", "'other'"):
        load_other_suite(workflow("other"), suite_of(project), project / "config")


def workflow(beside: str | None):
    return load_workflow_config({"suite": "toy_suite", "data_root": "d", "results": "r", "beside": beside})


def test_the_suite_beside_ours_has_to_be_another_one(project):
    write_other(project, without_ast64)
    suite, config = suite_of(project), project / "config"
    assert load_other_suite(workflow("other"), suite, config).name == "other"
    for none in (None, "null"):  # the second is what `--config beside=null` comes to
        assert load_other_suite(workflow(none), suite, config) is None
    with complains(ConfigError, "config/config.yaml", "beside", "'toy_suite'"):
        load_other_suite(workflow("toy_suite"), suite, config)
    with complains(ConfigError, "config/config.yaml", "beside", "'oter'", "other", "toy_suite"):
        load_other_suite(workflow("oter"), suite, config)
