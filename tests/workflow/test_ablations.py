"""Ablations through the workflow: a file that is dropped in is all they need, and what is trained is trained once."""

import copy

import pandas as pd
import pytest
import yaml

from tests.complaints import assert_names
from tests.drawn import assert_drawn
from tests.workflow.conftest import TINY

POOLING = {"title": "Pooling", "base": "elastic", "grid": {"model.pooling": ["attention", "mean"]}}


@pytest.fixture
def drop(project):
    """Drop an ablation called `mine` into the finished project."""

    def write(said=POOLING, name="mine"):
        path = project.folder / "config" / "ablations" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(said, sort_keys=False))
        return path

    return write


def test_a_dropped_file_is_all_it_takes(project, drop):
    drop()
    jobs = project.planned("ablation_mine")
    assert jobs == {
        "configure": 1,
        "train": 1,  # the base is the suite's, which is trained
        "resolved_ablation": 1,
        "configure_variant": 2,
        "evaluate_variant": 2,
        "resample_variant": 2,
        "ablation": 1,
        "ablation_mine": 1,
    }
    assert project.planned("all") == {}, "an ablation is no part of `all`"
    assert project.planned("ablations")["ablation"] == 1


def test_ablations_share_what_is_equal(project, drop):
    drop()
    drop({**POOLING, "title": "Other", "grid": {"model.pooling": ["mean", "cls"]}}, "other")
    jobs = project.planned("ablations")
    assert (jobs["train"], jobs["evaluate_variant"], jobs["ablation"]) == (2, 5, 2)


def test_an_ablation_from_nothing_to_its_table(project, drop):
    path = drop()
    done = project.snakemake("ablation_mine")
    assert done.returncode == 0, done.stderr
    out = project.folder / "paper_figures" / "tiny" / "ablations"
    assert_drawn(out / "mine")
    table = (out / "mine_table.tex").read_text()
    assert all(variant in table for variant in ("attention", "mean"))
    tidy = pd.read_csv(out / "mine.csv")
    assert set(tidy["variant"]) == {"attention", "mean"}
    assert (tidy.loc[tidy["base"], "delta"] == 0).all()
    suites = pd.read_csv(project.folder / "results/tiny/summary/metrics.csv")
    suites = suites[suites["experiment"] == "elastic"].set_index(["x", "metric"])["value"]
    own = tidy[tidy["variant"] == "attention"].set_index(["x", "metric"])["value"]
    pd.testing.assert_series_equal(own.sort_index(), suites.sort_index())
    for run in tidy["run"].unique():
        assert (project.folder / "results/tiny/runs" / run / "seed0" / "run.json").is_file()
    path.write_text(path.read_text().replace("title: Pooling", "title: Pooled"))
    jobs = project.planned("ablation_mine")
    assert set(jobs) == {"resolved_ablation", "ablation", "ablation_mine"}, "a title trains and measures nothing"
    path.rename(path.with_name("renamed.yaml"))
    assert "train" not in project.planned("ablation_renamed")


def test_a_run_that_starts_from_another_waits_for_it(project, drop):
    start = {"label": "tuned", "model": {"init": "run:ast64", "pool_init": "random"}}
    drop({"title": "Start", "base": "elastic", "variants": {"tuned": start}})
    done = project.snakemake("ablation_mine")
    assert done.returncode == 0, done.stderr
    project.suite = copy.deepcopy(TINY)
    project.suite["experiments"]["ast64"]["train"] = {"lr": 2.0e-3}
    jobs = project.planned("ablation_mine")
    assert jobs["train"] == 2, "ast64, and what starts from it"


def test_an_ablation_for_another_suite_says_so(project, drop):
    drop({**POOLING, "base": None, "suites": {"mini": {"base": "events_elastic"}}})
    done = project.snakemake("-n", "ablation_mine")
    assert done.returncode != 0
    assert_names(done.stderr + done.stdout, "config/ablations/mine.yaml", "suites", "'tiny'", "mini")


def test_a_broken_ablation_stops_its_own_target_and_no_other(project, drop):
    drop()
    drop({**POOLING, "grid": {"model.pool": ["attention", "mean"]}}, "broken")
    drop(POOLING, "name_table")  # a name that is taken: the table of `name`
    broken = ("config/ablations/broken.yaml", "config/ablations/name_table.yaml")
    done = project.snakemake("--rulegraph", "mermaid-js", config={"suite": "tiny"})
    assert done.returncode == 0, done.stderr
    for path in broken:
        assert path not in done.stdout
        assert done.stderr.count(path) == 1
    assert project.planned("all") == {}
    assert project.planned("ablation_mine")["ablation"] == 1
    failing = {"ablation_broken": broken[:1], "ablation_name_table": broken[1:], "ablations": broken}
    for target, paths in failing.items():
        done = project.snakemake("-n", target)
        assert done.returncode != 0, target
        error = done.stdout.split("Building DAG of jobs...")[-1] + done.stderr
        assert [path for path in broken if f"{path}: " in error] == list(paths)
        assert ("model.pool" in error) == (broken[0] in paths)
