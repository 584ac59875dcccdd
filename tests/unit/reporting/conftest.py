"""Fixtures of the tests of figures and tables."""

from pathlib import Path

import pytest
import yaml

from elasticast.config.load_suite import load_suite
from elasticast.evaluation.records import write_table
from tests.unit.reporting.toy_suite import (
    EVALUATIONS,
    experiments,
    from_metrics,
    metrics_table,
    other_metrics,
    without_ast64,
    write_other,
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    config = tmp_path / "config"
    (config / "suites").mkdir(parents=True)
    (config / "datasets").mkdir()
    defaults = {"train": {"steps": 1, "batch": {"clips": 2}}}
    suite = {"title": "Toy", "seeds": [0, 1], "defaults": defaults, "experiments": experiments()}
    (config / "suites" / "toy_suite.yaml").write_text(
        yaml.safe_dump({**suite, "evaluations": EVALUATIONS}, sort_keys=False)
    )
    (config / "datasets" / "toy.yaml").write_text("source: soundscapes\nclips: {train: 8, test: 8}\n")
    write_table(tmp_path / "metrics.csv", metrics_table(), {})
    return tmp_path


@pytest.fixture
def two(project):
    """Arguments of a script that draws the two suites."""
    write_other(project, without_ast64)
    write_table(project / "other.csv", other_metrics(), {})
    resolved = load_suite("other", project / "config").model_dump(mode="json")
    (project / "other.yaml").write_text(yaml.safe_dump(resolved))
    return [*from_metrics(project), "--beside", str(project / "other.yaml"), str(project / "other.csv")]
