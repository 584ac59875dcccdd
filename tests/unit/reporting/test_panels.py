"""Results joined with their suite, and the tables they are read from."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from elasticast.errors import DataError
from elasticast.evaluation.records import write_table
from elasticast.reporting.panels import sweep_panels
from elasticast.reporting.read_tables import METRICS, read_metrics
from tests.complaints import complains
from tests.unit.reporting.toy_suite import metrics_table, suite_of


def test_grids_and_windows_are_no_points_of_a_curve(project: Path):
    """Rows of another meaning than a curve's change nothing, whatever their x."""
    suite, table = suite_of(project), metrics_table()
    expected = sweep_panels(suite, table, "max_frames")
    path = project / "config" / "suites" / "toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["evaluations"]["windowed"] = {"x_name": "max_frames", "x": [64.0, 512.0], "windows": True}
    raw["evaluations"]["heat"] = {"x_name": "max_frames", "x": [16.0, 64.0], "compression": [1.0, 2.0]}
    raw["experiments"]["ast64"]["evaluations"] += ["windowed", "heat"]
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    own = table[(table["experiment"] == "ast64") & (table["x"] == 64)].assign(value=0.123)
    more = [own.assign(evaluation="heat", compression=c) for c in (1.0, 2.0)] + [own.assign(evaluation="windowed")]
    longer = pd.concat([*more, table], ignore_index=True)
    write_table(project / "metrics.csv", longer, {})
    found = sweep_panels(suite_of(project), read_metrics(project / "metrics.csv", "toy_suite"), "max_frames")
    for a, b in zip(found, expected, strict=True):
        for one, other in zip(a.series, b.series, strict=True):
            pd.testing.assert_frame_equal(one.points, other.points)


def test_windows_are_the_curve_of_an_experiment_without_another(project: Path):
    path = project / "config" / "suites" / "toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["evaluations"]["windowed"] = {"x_name": "max_frames", "x": [64.0], "windows": True}
    raw["experiments"]["ast64"]["evaluations"] = ["windowed"]
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    table = metrics_table()
    table.loc[table["experiment"] == "ast64", "evaluation"] = "windowed"
    series = sweep_panels(suite_of(project), table, "max_frames")[0].series[0]
    assert series.experiment == "ast64"
    assert list(series.points.index) == [64.0]
    assert series.seeds_run == 2


def test_missing_seed_is_counted(project):
    table = metrics_table()
    table = table[(table["experiment"] != "ast64") | (table["seed"] == 0)]
    panel = sweep_panels(suite_of(project), table, "max_frames")[0]
    assert panel.series[0].shortfall == "1 of 2 seeds"
    assert panel.series[1].shortfall == ""


@pytest.mark.parametrize("column", METRICS)
def test_missing_column_names_file_and_column(project, column):
    path = project / "metrics.csv"
    write_table(path, metrics_table().drop(columns=column), {})
    with complains(DataError, path, column):
        read_metrics(path, "toy_suite")


def test_results_of_another_suite_are_refused(project):
    with complains(DataError, project / "metrics.csv", "'toy_suite'", "'fsdd'"):
        read_metrics(project / "metrics.csv", "fsdd")


def test_a_suite_without_the_sweep_is_refused(project):
    suite = suite_of(project).model_copy(update={"evaluations": {}, "runs": {}})
    with complains(DataError, "x_name", "compression"):
        sweep_panels(suite, metrics_table(), "compression")


def test_compression_survives_float_noise(project):
    noisy = metrics_table().assign(x=lambda t: t["x"].replace(1.2, 1.2000000000000002))
    panel = sweep_panels(suite_of(project), noisy, "compression")[0]
    assert panel.series[0].shortfall == ""
    assert panel.series[0].at(1.2).status == "ok"


def test_native_is_the_longest_length_and_the_finest_hop(project):
    suite = suite_of(project)
    assert sweep_panels(suite, metrics_table(), "max_frames")[0].native_x == 256
    assert sweep_panels(suite, metrics_table(), "compression")[0].native_x == 1


def test_curves_are_of_the_test_split_alone(project):
    """Another split's scores at the same x would be of other clips."""
    file = project / "config" / "suites" / "toy_suite.yaml"
    suite = yaml.safe_load(file.read_text())
    suite["evaluations"]["held_out"] = {"x_name": "max_frames", "x": [64.0, 512.0], "split": "dev"}
    suite["experiments"]["elastic"]["evaluations"].insert(0, "held_out")
    suite["experiments"]["elastic"]["model"]["max_frames"] = 512
    file.write_text(yaml.safe_dump(suite, sort_keys=False))
    (project / "config" / "datasets" / "toy.yaml").write_text(
        "source: soundscapes\nclips: {train: 8, test: 8}\ndev_share: 0.3\n"
    )
    metrics = metrics_table()
    (before,) = sweep_panels(suite_of(project), metrics, "max_frames")
    of_dev = metrics[(metrics["experiment"] == "elastic") & (metrics["x"] == 64)].assign(
        evaluation="held_out", value=0.01
    )
    (panel,) = sweep_panels(suite_of(project), pd.concat([of_dev, metrics]), "max_frames")
    for one, other in zip(panel.series, before.series, strict=True):
        pd.testing.assert_frame_equal(one.points, other.points)
    assert 512 not in panel.series[-1].points.index
