"""What Snakemake prints about jobs that are refused, wait, or fail on a real cluster."""

import os
import re

import pytest

from tests.slurm.cluster import wait_for
from tests.slurm.conftest import Workflow

NAME = 'it\'s a "test" of $(touch hacked) & `that`'


def test_each_reason_for_a_refusal_is_printed_once(workflow):
    """The reason is in Slurm's words; other jobs run."""
    reasons = {
        "gpus": "Requested node configuration is not available",
        "memory": "Memory specification can not be satisfied",
        "partition": "invalid partition specified: gpus",
        "account": "Invalid account or account/partition combination specified",
        "constraint": "Invalid feature specification",
    }
    targets = [f"refused/{name}-{i}.txt" for name in reasons for i in range(2)]
    assert workflow.run(*targets, "quick/a.txt") != 0
    assert all(message in workflow.output() for message in reasons.values()), workflow.output()
    assert workflow.output().count("Error in rule refused") == len(reasons)
    assert "Traceback" not in workflow.output()
    assert (workflow.folder / "quick/a.txt").exists()
    assert workflow.submitted() == 1


def test_a_job_that_can_never_start_is_cancelled(workflow, cluster):
    """sbatch accepts it, then the time limit of its partition is lowered. A job that a user holds is left alone."""
    workflow.start("slow/a.txt", "--set-resources", "slow:runtime=5", "slow:slurm_extra='--hold'")
    job = wait_for(lambda: next(iter(cluster.jobs("PD")), None))
    wait_for(lambda: "(JobHeldUser)" in workflow.output())
    cluster.run("scontrol", "update", "PartitionName=gpu", "MaxTime=1")
    try:
        cluster.run("scontrol", "release", job)
        assert workflow.started[0].wait(120) != 0
    finally:
        cluster.run("scontrol", "update", "PartitionName=gpu", "MaxTime=INFINITE")
    assert "(PartitionTimeLimit)" in workflow.output()
    assert job in cluster.jobs("CA")


def test_the_reason_to_wait_is_printed_when_it_changes(workflow, cluster):
    cluster.run("sbatch", "-N2", "--exclusive", "-t1", "-o", "/dev/null", "--wrap", "sleep 60")
    (other,) = wait_for(lambda: cluster.jobs("R"))
    snakemake = workflow.start("quick/a.txt", "quick/b.txt")
    wait_for(lambda: re.search(r"job \d+ \(quick \w\).*\((Resources|Priority)\)", workflow.output()))
    assert not re.search(r"job \d+ \(quick \w\).*: running", workflow.output())
    cluster.run("scancel", other)
    assert snakemake.wait(120) == 0, workflow.output()
    assert re.search(r"job \d+ \(quick \w\).*: running", workflow.output())


@pytest.fixture(scope="module")
def four_ends(cluster, tmp_path_factory):
    """A Snakemake that itself runs in a job, with a job that fails, one without output, and two that succeed."""
    workflow = Workflow(tmp_path_factory.mktemp("ends"), cluster)
    in_job = {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_CPU": "7", "SLURM_CPU_BIND": "map_cpu:9", "SLURM_NTASKS": "9"}
    try:
        targets = ("broken/a.txt", "silent/a.txt", "quick/a.txt", f"quick/{NAME}.txt")
        workflow.code = workflow.run(*targets, env={**os.environ, **in_job})
        yield workflow
    finally:
        workflow.stop()


def test_a_failed_rule_shows_its_error_and_the_logs(four_ends):
    assert four_ends.code != 0
    output = four_ends.output()
    assert "the number of wheels is 5, not 4" in output
    assert "logs/broken_a.log" in output
    assert re.search(r"\.snakemake/submitit/\S+_0_log\.out", output)
    assert "Traceback" not in output
    assert "submitit.core" not in output


def test_a_job_that_writes_no_output_fails(four_ends):
    assert four_ends.code != 0
    assert "silent/a.txt" in four_ends.output().split("Error in rule silent")[1]


def test_settings_of_the_job_that_runs_snakemake_are_not_passed_on(four_ends):
    assert (four_ends.folder / "quick/a.txt").read_text() == "a\n"


def test_a_name_is_never_run_by_a_shell(four_ends):
    assert (four_ends.folder / f"quick/{NAME}.txt").read_text() == f"{NAME}\n"
    assert not list(four_ends.folder.rglob("hacked"))
