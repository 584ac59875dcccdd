"""Real jobs on a real cluster, interrupted in every way: no work is lost, nothing runs twice, errors are explained."""

import os
import signal
import time

import pytest

from tests.slurm.cluster import wait_for
from tests.slurm.conftest import task_of

STEPS = 40
LONG = 200
"""Steps of a training that takes longer than its time limit of one minute."""


def finished(workflow, name, steps=STEPS):
    """Whether a training has taken all its steps; a step taken twice would give another file."""
    return (workflow.folder / f"train/{name}.txt").read_text() == f"{steps} steps\n"


@pytest.fixture(scope="module")
def interrupted(five_stopped):
    """The five interrupted jobs, after Snakemake has ended."""
    five_stopped.code = five_stopped.started[0].wait(200)
    return five_stopped


def resumed(workflow, name, steps=STEPS):
    """Whether a training resumed where it was interrupted and finished, all in one job."""
    starts = workflow.starts(name)
    assert starts[0] == 0
    assert 5 <= starts[1] < steps
    assert starts == sorted(starts)
    assert finished(workflow, name, steps)
    assert workflow.submitted() == 5
    log = workflow.job_log(workflow.ids[f"stepper-{name}"])
    assert f"step 1 of {steps}" in log, "the log of the first start was lost"
    assert f"step {steps} of {steps}" in log
    return True


def test_a_warning_before_the_time_limit_saves_and_requeues(interrupted):
    assert resumed(interrupted, "warned")


def test_a_warning_reaches_the_trainer_if_only_submitit_gets_it(interrupted):
    """With proctrack/cgroup Slurm signals the first process of the task only."""
    assert resumed(interrupted, "relayed")


def test_a_job_that_is_requeued_by_hand_resumes_and_keeps_its_log(interrupted):
    assert resumed(interrupted, "requeued")


def test_a_training_outlasts_a_real_time_limit(interrupted):
    """Slurm itself sends USR2."""
    assert resumed(interrupted, "limit", LONG)


def test_a_rule_without_checkpoints_fails_once_at_its_time_limit(interrupted):
    """USR2 does not end it, and Slurm refuses to requeue it."""
    assert interrupted.code != 0
    assert (interrupted.folder / "starts/limit").read_text() == "start\n"
    assert interrupted.output().count("(TIMEOUT)") == 1


def resume_and_finish(workflow, snakemake):
    """Wait until the training `a` has started again, and let it finish."""
    wait_for(lambda: len(workflow.starts("a")) == 2)
    workflow.finish("a")
    assert snakemake.wait(120) == 0, workflow.output()
    assert finished(workflow, "a", 1000)


def test_a_job_that_is_preempted_resumes(workflow, cluster):
    snakemake = workflow.start("train/a.txt", steps=1000)
    workflow.at_step("a", 5)
    cluster.run("sbatch", "-p", "urgent", "-N2", "--exclusive", "-t1", "-o", "/dev/null", "--wrap", "sleep 3")
    resume_and_finish(workflow, snakemake)
    assert workflow.starts("a")[1] >= 5


def test_a_job_on_a_node_that_goes_down_starts_again(workflow, cluster):
    snakemake = workflow.start("train/a.txt", steps=1000)
    workflow.at_step("a", 3)
    (job,) = workflow.running()
    node = cluster.run("squeue", "-h", "-j", job, "-o", "%N").strip()
    cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        resume_and_finish(workflow, snakemake)
    finally:
        cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME")


def test_a_cancelled_job_is_reported(workflow, cluster):
    snakemake = workflow.start("slow/a.txt", "train/a.txt", seconds=300, steps=1000)
    workflow.at_step("a", 1)
    jobs = workflow.running(2)
    cluster.run("scancel", *jobs)
    assert snakemake.wait(120) != 0
    assert workflow.output().count("(CANCELLED)") == 2
    assert (workflow.folder / "run/a/saved").exists()


def test_a_killed_job_is_reported_without_accounting(workflow, cluster):
    snakemake = workflow.start("slow/a.txt", seconds=300)
    (job,) = workflow.running()
    wait_for((workflow.folder / "starts/a").exists)
    os.kill(task_of(job), signal.SIGKILL)
    assert snakemake.wait(120) != 0
    assert workflow.output().count("(FAILED)") == 1


@pytest.mark.parametrize("delay", [0.5, 1.5, 2.5, 3.3])
def test_ctrl_c_leaves_no_job(workflow, cluster, delay):
    """The delays hit submissions, checks of the queue, and the time between them."""
    snakemake = workflow.start(
        *(f"slow/{i}.txt" for i in range(20)), "--seconds-between-status-checks", "0", seconds=300
    )
    wait_for(lambda: "Select jobs to execute" in workflow.output(), every=0.01)
    time.sleep(delay - 0.5)
    os.killpg(snakemake.pid, signal.SIGINT)
    assert workflow.ended(snakemake) != 0
    wait_for(lambda: not cluster.jobs(), 15)


@pytest.mark.parametrize("pause", [0.01, 0.1])
def test_ctrl_c_pressed_again_leaves_no_job(workflow, cluster, pause):
    snakemake = workflow.start(*(f"slow/{i}.txt" for i in range(20)), seconds=300)
    workflow.running()
    for _ in range(3):
        os.killpg(snakemake.pid, signal.SIGINT)
        time.sleep(pause)
    assert workflow.ended(snakemake) != 0
    wait_for(lambda: not cluster.jobs(), 15)


def test_after_a_kill_the_next_snakemake_takes_over_running_jobs(workflow, cluster):
    snakemake = workflow.start("train/a.txt", "train/b.txt", steps=1000)
    workflow.at_step("a", 3)
    workflow.at_step("b", 3)
    os.killpg(snakemake.pid, signal.SIGKILL)
    snakemake.wait()
    workflow.unlock()
    jobs = workflow.running(2)
    snakemake = workflow.start("train/a.txt", "train/b.txt", steps=1000)
    wait_for(lambda: all(f"job {job}" in workflow.output() for job in jobs))
    workflow.finish("a", "b")
    assert snakemake.wait(120) == 0, workflow.output()
    assert workflow.submitted() == 2
    for name in "ab":
        assert workflow.starts(name) == [0]
        assert finished(workflow, name, 1000)
    assert set(jobs) <= set(cluster.jobs("CD"))


def test_a_job_that_succeeded_while_no_snakemake_ran_is_not_repeated(workflow, cluster):
    snakemake = workflow.start("train/a.txt", steps=10)
    workflow.running()
    os.killpg(snakemake.pid, signal.SIGKILL)
    snakemake.wait()
    workflow.unlock()
    wait_for(lambda: not cluster.jobs())
    assert workflow.run("train/a.txt", steps=10) == 0, workflow.output()
    assert workflow.submitted() == 1
    assert workflow.starts("a") == [0]


def test_a_running_job_with_other_settings_is_not_joined_by_a_second(workflow, cluster):
    snakemake = workflow.start("train/a.txt", steps=200)
    workflow.at_step("a", 1)
    os.killpg(snakemake.pid, signal.SIGKILL)
    snakemake.wait()
    workflow.unlock()
    assert workflow.run("train/a.txt", steps=20) != 0
    (job,) = cluster.jobs("R")
    assert f"`scancel {job}`" in workflow.output()
    assert workflow.submitted() == 1


def test_two_snakemakes_at_once(workflow, cluster):
    """Snakemake's lock stops the second; without the lock it shares the job of the first."""
    first = workflow.start("train/a.txt", steps=1000)
    workflow.at_step("a", 1)
    assert workflow.run("train/a.txt", steps=1000) != 0
    second = workflow.start("train/a.txt", "--nolock", steps=1000)
    (job,) = workflow.running()
    wait_for(lambda: f"job {job}" in workflow.output())
    workflow.finish("a")
    assert (first.wait(120), second.wait(120)) == (0, 0), workflow.output(1) + workflow.output(3)
    assert workflow.starts("a") == [0]
    assert workflow.submitted() == 1


def test_two_unlocked_snakemakes_at_the_same_moment(workflow, cluster):
    both = [workflow.start("train/a.txt", "--nolock", steps=20) for _ in range(2)]
    assert [process.wait(180) for process in both] == [0, 0], workflow.output(1) + workflow.output(2)
    assert workflow.starts("a") == [0]
    assert workflow.submitted() == 1


def test_an_outage_of_the_controller(workflow, cluster):
    """Running jobs go on, a submission waits, and each job runs once."""
    snakemake = workflow.start("train/a.txt", steps=1000)
    workflow.at_step("a", 3)
    (job,) = workflow.running()
    wait_for(lambda: f"job {job} (stepper a): running" in workflow.output(1))
    before = workflow.output(1)
    cluster.stop_controller()
    other = workflow.start("quick/a.txt", "--nolock")
    wait_for(lambda: "does not answer" in workflow.output(1) and "does not answer" in workflow.output(2))
    assert (snakemake.poll(), other.poll()) == (None, None), workflow.output(1) + workflow.output(2)
    assert len(workflow.output(1).splitlines()) == len(before.splitlines()) + 1
    cluster.start_controller()
    workflow.finish("a")
    assert (snakemake.wait(120), other.wait(120)) == (0, 0), workflow.output(1) + workflow.output(2)
    assert workflow.starts("a") == [0]
    assert workflow.submitted() == 2


def test_jobs_that_run_at_the_same_time_get_different_gpus(workflow):
    targets = [f"devices/{g}gpu-{i}.txt" for g in (0, 1) for i in range(2)]
    assert workflow.run(*targets, "--set-resources", "devices:slurm_extra='--nodelist=n1'") == 0, workflow.output()
    seen = [(workflow.folder / target).read_text().strip() for target in targets]
    assert seen[:2] == ["", ""]
    assert sorted(seen[2:]) == ["0", "1"]


def test_two_hundred_jobs(workflow, cluster):
    """All are queued and then cancelled at once; prints how long that takes."""
    snakemake = workflow.start(*(f"slow/{i}.txt" for i in range(200)), seconds=600)
    wait_for(lambda: "Select jobs to execute" in workflow.output(), every=0.05)
    begun = time.monotonic()
    wait_for(lambda: len(cluster.jobs()) == 200, 60)
    print(f"200 jobs queued in {time.monotonic() - begun:.1f} s")
    begun = time.monotonic()
    os.killpg(snakemake.pid, signal.SIGINT)
    workflow.ended(snakemake)
    assert not cluster.jobs("PD", "R")
    print(f"cancelled in {time.monotonic() - begun:.1f} s")
