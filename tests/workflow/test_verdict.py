"""Plans of the paper's suites, the verdict on the runs that exist, and evaluating the authors' weights."""

import copy
import json

import pandas as pd
import pytest
import torch
import yaml

from elasticast.checksums import FOLDER
from elasticast.config import RunConfig
from elasticast.evaluation.records import write_table
from elasticast.models import build_model
from tests.complaints import assert_names
from tests.unit.models import layouts
from tests.workflow.conftest import DATASET, TINY

PARTIAL = {"suite": "tiny", "partial": "true"}
RUNS = "results/tiny/runs"


@pytest.fixture
def judged(project):
    """The finished project with released curves and a claim in its suite."""
    project.suite = copy.deepcopy(TINY)
    experiments = project.suite["experiments"]
    experiments["hop20"]["released"] = {"dataset": "audioset", "series": "ast_hop20"}
    released = {"dataset": "audioset", "series": "elasticast", "weights": "tiny.pth"}
    experiments["elastic_resolution"]["released"] = released
    claim = {"says": "as good as the AST", "model": "elastic_resolution", "against": ["hop20"], "within_own": 100.0}
    project.suite["claims"] = {"hops": {**claim, "evaluation": "resolution"}}
    return project


@pytest.mark.parametrize("suite", ["paper", "paper_fair", "paper_fair_tokens"])
def test_the_suites_of_the_paper_are_planned_without_their_data(finished, suite):
    jobs = finished.planned("all", config={"suite": suite})
    assert (jobs["train"], jobs["evaluate"], jobs["prepare"]) == (63, 63, 4)
    assert jobs["verdict"] == 1


def test_claims_and_released_curves_draw_and_train_nothing(judged):
    jobs = judged.planned()
    assert not {"train", "evaluate", "prepare", "configure", "configure_sweeps"} & set(jobs)
    assert {"verdict", "fig5"} <= set(jobs)
    result = judged.snakemake("verdict")
    assert result.returncode == 0, result.stderr
    claims = pd.read_csv(judged.folder / "paper_figures/tiny/verdict_claims.csv")
    assert claims["outcome"].tolist() == ["holds"]
    curves = pd.read_csv(judged.folder / "paper_figures/tiny/verdict.csv").set_index("experiment")
    assert float(curves.loc["hop20", "released"]) == pytest.approx(0.413, abs=1e-3)  # at its training hop
    assert curves.loc["ast64", "released"] == "not released"


def test_partial_marks_missing_runs_and_does_not_make_them(judged):
    for path in (judged.folder / RUNS / "hop20" / "seed0").iterdir():
        path.unlink() if path.is_file() else None
    before = {p: p.stat().st_mtime_ns for p in (judged.folder / RUNS).rglob("*") if p.is_file()}
    jobs = judged.planned("all", config=PARTIAL)
    assert set(jobs) == {
        "collect_metrics",
        "collect_runs",
        "collect_history",
        "resolved_suite",
        "learning_curves",
        "zoo",
        "table1",
        "verdict",
        "fig1",
        "fig4",
        "fig5",
        "overview",
    }
    result = judged.snakemake("all", config=PARTIAL)
    assert result.returncode == 0, result.stderr
    assert {p: p.stat().st_mtime_ns for p in (judged.folder / RUNS).rglob("*") if p.is_file()} == before
    assert not (judged.folder / "paper_figures/tiny/verdict.md").exists()
    figures = judged.folder / "paper_figures/tiny/partial"
    curves = pd.read_csv(figures / "verdict.csv").set_index("experiment")
    assert curves["status"].to_dict() == {n: "not run" if n == "hop20" else "ok" for n in TINY["experiments"]}
    assert pd.read_csv(figures / "verdict_claims.csv")["outcome"].tolist() == ["not run"]
    assert "not run" in (figures / "table1.md").read_text()


def test_partial_works_if_nothing_has_run(finished, tmp_path):
    config = {"suite": "paper", "partial": "true", "results": str(tmp_path / "results")}
    result = finished.snakemake("verdict", "fig4", "fig5", config=config)
    assert result.returncode == 0, result.stderr
    curves = pd.read_csv(finished.folder / "paper_figures/paper/partial/verdict.csv")
    assert len(curves) == 21
    assert set(curves["status"]) == set(curves["ours"]) == {"not run"}


def test_two_suites_in_one_figure(project):
    """`beside` uses the existing results of the other suite and does not change the normal figures."""
    other = yaml.safe_dump({"extends": "tiny", "title": "Tiny, otherwise", "seeds": [0, 1]})
    (project.folder / "config/suites/tiny_other.yaml").write_text(other)
    config, summary = {"suite": "tiny", "beside": "tiny_other"}, project.folder / "results/tiny_other/summary"
    result = project.snakemake("-n", "fig5", config=config)
    assert result.returncode != 0
    assert "results/tiny_other/summary/suite.yaml" in result.stdout + result.stderr
    assert "snakemake summary --config suite=tiny_other" in result.stdout + result.stderr
    assert project.snakemake("results/tiny_other/summary/suite.yaml", config={"suite": "tiny_other"}).returncode == 0
    metrics = pd.read_csv(project.folder / "results/tiny/summary/metrics.csv")
    write_table(summary / "metrics.csv", metrics.assign(suite="tiny_other"), {})
    assert project.planned("fig4", "fig5", config=config) == {"fig4": 1, "fig5": 1}
    figures = project.folder / "paper_figures/tiny"
    before = {path: path.read_bytes() for path in figures.glob("fig*.png")}
    result = project.snakemake("fig4", "fig5", config=config)
    assert result.returncode == 0, result.stderr
    assert {path: path.read_bytes() for path in figures.glob("fig*.png")} == before
    both = (figures / "beside_tiny_other/fig5_resolution_curves.png").read_bytes()
    assert both != (figures / "fig5_resolution_curves.png").read_bytes()
    assert project.planned() == {}


def write_random_weights(project):
    """Write random weights in the released layout, with as many classes as the tiny dataset has."""
    run = yaml.safe_load((project.folder / RUNS / "elastic" / "seed0" / "config.yaml").read_text())
    del run[FOLDER]
    run["model"] |= {"dim": 64, "depth": 2, "heads": 1, "attention_scale": "none"}
    classes = json.loads((project.folder / "results/data/tiny/classes.json").read_text())["events"]["classes"]
    model = build_model(RunConfig.model_validate(run), len(classes))
    (project.folder / "weights").mkdir()
    torch.save(layouts.released_elastic(model.state_dict(), 2), project.folder / "weights" / "tiny.pth")


def test_the_authors_weights_are_evaluated_without_training(judged):
    write_random_weights(judged)
    config = {"suite": "tiny", "released_weights": "weights"}
    jobs = judged.planned("released", config=config)
    assert jobs == {"evaluate_released": 1, "collect_released": 1, "resolved_suite": 1, "released": 1}
    result = judged.snakemake("released", config=config)
    assert result.returncode == 0, result.stderr
    metrics = pd.read_csv(judged.folder / "results/tiny/released/metrics.csv")
    assert set(metrics["experiment"]) == {"elastic_resolution"}
    assert set(metrics.loc[metrics["evaluation"] == "resolution", "x"]) == {1.0, 2.0}
    assert (metrics["n"] == DATASET["clips"]["test"]).all()
    table = pd.read_csv(judged.folder / "paper_figures/tiny/released.csv").set_index("experiment")
    assert table["agrees"].to_dict() == {"elastic_resolution": "does not hold"}  # the weights are random
    assert judged.planned("released", config=config) == {}


def test_the_folder_of_the_authors_weights_must_be_set(judged):
    result = judged.snakemake("-n", "released")
    assert result.returncode != 0
    assert_names(result.stdout + result.stderr, "config/config.yaml", "released_weights")
    result = judged.snakemake("-n", "released", config={"suite": "tiny", "released_weights": "elsewhere"})
    assert result.returncode != 0
    assert "elsewhere/tiny.pth" in result.stdout + result.stderr


def test_a_suite_without_the_authors_weights_cannot_evaluate_them(finished):
    result = finished.snakemake("-n", "released", config={"suite": "tiny", "released_weights": "weights"})
    assert result.returncode != 0
    output = result.stdout + result.stderr
    assert "config/suites/tiny.yaml: " in output
    assert "released.weights" in output
