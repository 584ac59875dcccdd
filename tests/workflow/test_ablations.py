"""Ablations through the workflow: one file adds an ablation, and each run is trained only once."""

import copy
import json

import pandas as pd
import pytest
import yaml

from tests.complaints import assert_names
from tests.drawn import assert_drawn
from tests.workflow.conftest import TINY

POOLING = {"title": "Pooling", "base": "elastic", "grid": {"model.pooling": ["attention", "mean"]}}


@pytest.fixture
def add_ablation(project):
    """Write the file of an ablation into the finished project."""

    def write(settings=POOLING, name="mine"):
        path = project.folder / "config" / "ablations" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(settings, sort_keys=False))
        return path

    return write


def test_one_file_adds_an_ablation(project, add_ablation):
    add_ablation()
    jobs = project.planned("ablation_mine")
    assert jobs == {
        "configure": 1,
        "train": 1,  # the base is a run of the suite, which has been trained
        "resolved_ablation": 1,
        "configure_variant": 2,
        "evaluate_variant": 2,
        "resample_variant": 2,
        "ablation": 1,
        "ablation_mine": 1,
    }
    assert project.planned("all") == {}, "`all` does not include ablations"
    assert project.planned("ablations")["ablation"] == 1


def test_ablations_share_equal_runs(project, add_ablation):
    add_ablation()
    add_ablation({**POOLING, "title": "Other", "grid": {"model.pooling": ["mean", "cls"]}}, "other")
    jobs = project.planned("ablations")
    assert (jobs["train"], jobs["evaluate_variant"], jobs["ablation"]) == (2, 5, 2)


def test_an_ablation_makes_its_tables_and_figure(project, add_ablation):
    path = add_ablation()
    result = project.snakemake("ablation_mine")
    assert result.returncode == 0, result.stderr
    out = project.folder / "paper_figures" / "tiny" / "ablations"
    assert_drawn(out / "mine")
    table = (out / "mine_table.tex").read_text()
    assert all(variant in table for variant in ("attention", "mean"))
    tidy = pd.read_csv(out / "mine.csv")
    assert set(tidy["variant"]) == {"attention", "mean"}
    assert (tidy.loc[tidy["base"], "delta"] == 0).all()
    suite_scores = pd.read_csv(project.folder / "results/tiny/summary/metrics.csv")
    suite_scores = suite_scores[suite_scores["experiment"] == "elastic"].set_index(["x", "metric"])["value"]
    base_scores = tidy[tidy["variant"] == "attention"].set_index(["x", "metric"])["value"]
    pd.testing.assert_series_equal(base_scores.sort_index(), suite_scores.sort_index())
    for run in tidy["run"].unique():
        assert (project.folder / "results/tiny/runs" / run / "seed0" / "run.json").is_file()
    path.write_text(path.read_text().replace("title: Pooling", "title: Pooled"))
    jobs = project.planned("ablation_mine")
    assert set(jobs) == {"resolved_ablation", "ablation", "ablation_mine"}, "a title trains and evaluates nothing"
    path.rename(path.with_name("renamed.yaml"))
    assert "train" not in project.planned("ablation_renamed")


def test_a_run_that_starts_from_another_depends_on_it(project, add_ablation):
    start = {"label": "tuned", "model": {"init": "run:ast64", "pool_init": "random"}}
    add_ablation({"title": "Start", "base": "elastic", "variants": {"tuned": start}})
    result = project.snakemake("ablation_mine")
    assert result.returncode == 0, result.stderr
    project.suite = copy.deepcopy(TINY)
    project.suite["experiments"]["ast64"]["train"] = {"lr": 2.0e-3}
    jobs = project.planned("ablation_mine")
    assert jobs["train"] == 2, "ast64, and the run that starts from it"


def test_a_teacher_is_trained_before_its_student(project, add_ablation):
    student = {"label": "student", "train": {"distill": {"teacher": "run:cnn", "weight": 0.5}}}
    teacher = {"label": "CNN", "model": {"kind": "cnn", "width": 8, "stages": 2}, "train": {"token_dropout": 0.0}}
    distilled = {"title": "Distillation", "base": "elastic", "variants": {"student": student, "cnn": teacher}}
    add_ablation(distilled)
    result = project.snakemake("ablation_mine")
    assert result.returncode == 0, result.stderr
    trained = yaml.safe_load((project.folder / "results/tiny/ablations/mine/ablation.yaml").read_text())["trained"]
    records = {name: project.folder / "results/tiny/runs" / run / "seed0/run.json" for name, run in trained.items()}
    found = json.loads(records["student"].read_text())["distill"]
    weights = json.loads(records["cnn"].read_text())["files"]["model.safetensors"]
    assert (found["teacher"], found["sha256"], found["kind"]) == (f"run:{trained['cnn']}", weights, "cross-model")
    add_ablation({**distilled, "variants": {"student": student, "cnn": {**teacher, "train": {"lr": 2.0e-3}}}})
    assert project.planned("ablation_mine")["train"] == 2, "the teacher, and its student"


def test_an_ablation_for_another_suite_is_an_error(project, add_ablation):
    add_ablation({**POOLING, "base": None, "suites": {"mini": {"base": "events_elastic"}}})
    result = project.snakemake("-n", "ablation_mine")
    assert result.returncode != 0
    assert_names(result.stderr + result.stdout, "config/ablations/mine.yaml", "suites", "'tiny'", "mini")


def test_a_broken_ablation_stops_only_its_target(project, add_ablation):
    add_ablation()
    add_ablation({**POOLING, "grid": {"model.pool": ["attention", "mean"]}}, "broken")
    add_ablation(POOLING, "name_table")  # this name is reserved for the table of an ablation `name`
    broken = ("config/ablations/broken.yaml", "config/ablations/name_table.yaml")
    result = project.snakemake("--rulegraph", "mermaid-js", config={"suite": "tiny"})
    assert result.returncode == 0, result.stderr
    for path in broken:
        assert path not in result.stdout
        assert result.stderr.count(path) == 1
    assert project.planned("all") == {}
    assert project.planned("ablation_mine")["ablation"] == 1
    failing = {"ablation_broken": broken[:1], "ablation_name_table": broken[1:], "ablations": broken}
    for target, paths in failing.items():
        result = project.snakemake("-n", target)
        assert result.returncode != 0, target
        error = result.stdout.split("Building DAG of jobs...")[-1] + result.stderr
        assert [path for path in broken if f"{path}: " in error] == list(paths)
        assert ("model.pool" in error) == (broken[0] in paths)
