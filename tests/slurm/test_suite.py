"""The workflow of the project on Slurm gives the same numbers as without, also if a training is interrupted."""

import copy
import json
import shutil

import pytest

from tests.slurm.cluster import wait_for
from tests.slurm.conftest import QUICK
from tests.workflow.conftest import DATASET, TINY, Project

RUN = "results/tiny/runs/elastic/seed0"
STEPS = 400
SLURM = ("--profile", "slurm", *QUICK)


@pytest.fixture(scope="module")
def on_slurm(cluster, tmp_path_factory, programs):
    """The tiny suite from audio to figures, with every job on Slurm."""
    project = Project(tmp_path_factory.mktemp("on_slurm"), programs)
    done = project.snakemake(*SLURM, "all")
    assert done.returncode == 0, done.stderr[-4000:]
    return project


def test_metrics_and_weights_are_the_same_bit_for_bit(on_slurm, finished, cluster):
    summary = "results/tiny/summary/metrics.csv"
    assert (on_slurm.folder / summary).read_bytes() == (finished.folder / summary).read_bytes()
    for name in TINY["experiments"]:
        weights = f"results/tiny/runs/{name}/seed0/model.safetensors"
        assert (on_slurm.folder / weights).read_bytes() == (finished.folder / weights).read_bytes()
    names = cluster.run("squeue", "-h", "--states=all", "-o", "%j").split()
    assert {"train-elastic-0", "evaluate-elastic-0", "prepare-tiny"} <= set(names)


def test_a_change_of_the_profile_re_runs_nothing(on_slurm, finished):
    assert on_slurm.planned() == {}
    assert finished.planned("--profile", "slurm", "all") == {}


def test_status_lists_every_run(on_slurm):
    done = on_slurm.elasticast("status", "--suite", "tiny")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "evaluated" in line]
    assert len(rows) == len(TINY["experiments"])
    assert all("3 of 3" in row for row in rows)


@pytest.fixture
def project(on_slurm, programs, tmp_path):
    """A project with prepared data and runs of many steps."""
    shutil.copytree(on_slurm.folder / "results/data", tmp_path / "results/data")
    shutil.copytree(on_slurm.folder / ".snakemake/metadata", tmp_path / ".snakemake/metadata")
    project = Project(tmp_path, programs)
    project.suite, project.dataset = copy.deepcopy(TINY), DATASET
    project.suite["defaults"]["train"] |= {"steps": STEPS, "checkpoint_every": 10 * STEPS}
    return project


def test_an_interrupted_training_gives_the_same_weights(project, cluster):
    weights = project.folder / RUN / "model.safetensors"
    target = f"{RUN}/model.safetensors"
    assert project.snakemake(target).returncode == 0
    expected = weights.read_bytes()
    shutil.rmtree(project.folder / RUN)
    snakemake = project.start(*SLURM, target)
    history = project.folder / RUN / "history/history.csv"
    wait_for(lambda: history.exists() and len(history.read_text().splitlines()) > STEPS // 10)
    (job,) = cluster.jobs("R")
    cluster.run("scancel", "-s", "USR2", job)
    output = snakemake.communicate(timeout=120)[0]
    assert snakemake.returncode == 0, output
    assert json.loads((project.folder / RUN / "run.json").read_text())["restarts"] == 1
    assert weights.read_bytes() == expected
    assert len(list((project.folder / ".snakemake/submitit").glob("*/*_submission.sh"))) == len({job})
    steps = [int(line.split(",")[0]) for line in history.read_text().splitlines()[1:]]
    assert steps == list(range(1, STEPS + 1)), "history.csv lacks a step or has one twice"
