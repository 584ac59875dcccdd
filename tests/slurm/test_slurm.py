"""What happens to jobs on a shared cluster, done to real ones: no work lost, nothing run twice, all explained."""

import os
import re
import signal
import time

import pytest

from tests.slurm.cluster import wait_for
from tests.slurm.conftest import task_of

STEPS = 40
WAITING = r"job \d+ \(quick \w\).*: waiting, (no node is free|others are ahead)"
LONG = 200
"""Steps of a training that needs more than its limit of one minute."""


def finished(attack, name, steps=STEPS):
    """Whether a training has done all its steps; false if it did some of them twice, which would give other files."""
    return (attack.folder / f"train/{name}.txt").read_text() == f"{steps} steps\n"


@pytest.fixture(scope="module")
def interrupted(five_stopped):
    """Five jobs, each stopped in its own way, after Snakemake has seen their end."""
    five_stopped.code = five_stopped.started[0].wait(200)
    return five_stopped


def went_on(attack, name, steps=STEPS):
    """Whether a training was started again, went on where it was, and is complete, all in one job."""
    starts = attack.starts(name)
    assert starts[0] == 0
    assert 5 <= starts[1] < steps
    assert starts == sorted(starts)
    assert (attack.folder / f"train/{name}.txt").read_text() == f"{steps} steps\n"
    job = attack.ids[f"stepper-{name}"]
    assert len(submitted(attack)) == 5
    log = attack.job_log(job)
    assert f"step 1 of {steps}" in log, "the log of the first start was lost"
    assert f"step {steps} of {steps}" in log
    return True


def submitted(attack):
    """The jobs submitted by all that ran Snakemake in this folder."""
    return list((attack.folder / ".snakemake/submitit").glob("*/*_submission.sh"))


def test_the_warning_before_the_time_limit_saves_and_requeues(interrupted):
    assert went_on(interrupted, "warned")


def test_the_warning_reaches_the_trainer_when_only_submitit_gets_it(interrupted):
    """As under proctrack/cgroup: Slurm signals the task's own process, not its children."""
    assert went_on(interrupted, "relayed")


def test_a_job_that_is_requeued_by_hand_goes_on_and_keeps_its_log(interrupted):
    assert went_on(interrupted, "requeued")


def test_a_real_time_limit_is_outlived(interrupted):
    """USR2 comes from Slurm itself."""
    assert went_on(interrupted, "limit", LONG)


def test_rules_that_cannot_save_themselves_fail_plainly(interrupted):
    """USR2 does not end them, a requeue is refused, and at their time limit they fail once, saying so."""
    assert interrupted.code != 0
    assert (interrupted.folder / "starts/limit").read_text() == "start\n"
    assert interrupted.said().count("it reached its time limit: give the rule more `runtime`") == 1


def test_preemption_by_a_higher_partition(attack, cluster):
    snakemake = attack.start("train/a.txt")
    attack.at_step("a", 5)
    cluster.run("sbatch", "-p", "urgent", "-N2", "--exclusive", "-t1", "-o", "/dev/null", "--wrap", "sleep 3")
    assert snakemake.wait(120) == 0, attack.said()
    assert attack.starts("a")[1] >= 5
    assert finished(attack, "a")


def test_a_dead_node(attack, cluster):
    snakemake = attack.start("train/a.txt")
    attack.at_step("a", 3)
    (job,) = attack.running()
    node = cluster.run("squeue", "-h", "-j", job, "-o", "%N").strip()
    cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        assert snakemake.wait(120) == 0, attack.said()
    finally:
        cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
    assert len(attack.starts("a")) == 2
    assert finished(attack, "a")


def test_a_cancelled_job_is_seen(attack, cluster):
    snakemake = attack.start("slow/a.txt", "train/a.txt", seconds=300, steps=1000)
    attack.at_step("a", 1)
    jobs = attack.running(2)
    begun = time.monotonic()
    cluster.run("scancel", *jobs)
    assert snakemake.wait(120) != 0
    print(f"seen after {time.monotonic() - begun:.1f} s")
    assert attack.said().count("it was cancelled (CANCELLED)") == 2
    assert (attack.folder / "run/a/saved").exists()


def test_a_killed_job_is_seen_without_accounting(attack, cluster):
    snakemake = attack.start("slow/a.txt", seconds=300)
    (job,) = attack.running()
    wait_for((attack.folder / "starts/a").exists)
    os.kill(task_of(job), signal.SIGKILL)
    assert snakemake.wait(120) != 0
    assert "it ended without a result: it could not be started, or was killed (FAILED)" in attack.said()


@pytest.mark.parametrize("delay", [0.5, 1.5, 2.5, 3.3])
def test_ctrl_c_leaves_no_job(attack, cluster, delay):
    """At moments that fall into submission, into looks at the queue, and between them."""
    snakemake = attack.start(*(f"slow/{i}.txt" for i in range(20)), "--seconds-between-status-checks", "0", seconds=300)
    wait_for(lambda: "Select jobs to execute" in attack.said(), every=0.01)
    time.sleep(delay - 0.5)
    os.killpg(snakemake.pid, signal.SIGINT)
    assert attack.ended(snakemake) != 0
    wait_for(lambda: not cluster.jobs(), 15)


@pytest.mark.parametrize("pause", [0.01, 0.1])
def test_ctrl_c_pressed_again_leaves_no_job(attack, cluster, pause):
    snakemake = attack.start(*(f"slow/{i}.txt" for i in range(20)), seconds=300)
    attack.running()
    for _ in range(3):
        os.killpg(snakemake.pid, signal.SIGINT)
        time.sleep(pause)
    assert attack.ended(snakemake) != 0
    wait_for(lambda: not cluster.jobs(), 15)


def test_after_a_kill_live_jobs_are_taken_over(attack, cluster):
    snakemake = attack.start("train/a.txt", "train/b.txt", steps=45)
    attack.at_step("a", 3)
    attack.at_step("b", 3)
    os.killpg(snakemake.pid, signal.SIGKILL)
    snakemake.wait()
    attack.unlock()
    assert attack.run("train/a.txt", "train/b.txt", steps=45) == 0, attack.said()
    assert attack.said().count("Taking over slurm job") == 2
    for name in "ab":
        assert attack.starts(name) == [0]
        assert finished(attack, name, 45)
    assert len(cluster.jobs("CD")) >= 2


def test_what_ended_well_while_nobody_looked_is_not_repeated(attack, cluster):
    snakemake = attack.start("train/a.txt", steps=10)
    attack.running()
    os.killpg(snakemake.pid, signal.SIGKILL)
    snakemake.wait()
    attack.unlock()
    wait_for(lambda: not cluster.jobs())
    assert attack.run("train/a.txt", steps=10) == 0, attack.said()
    assert "Nothing to be done" in attack.said()
    assert attack.starts("a") == [0]


def test_a_live_job_with_other_settings_is_not_joined_by_a_second(attack, cluster):
    snakemake = attack.start("train/a.txt", steps=200)
    attack.at_step("a", 1)
    os.killpg(snakemake.pid, signal.SIGKILL)
    snakemake.wait()
    attack.unlock()
    assert attack.run("train/a.txt", steps=20) != 0
    (job,) = cluster.jobs("R")
    assert f"job {job} still makes these files with other settings" in attack.said()


def test_two_snakemakes_at_once(attack, cluster):
    """Snakemake's lock refuses the second; without the lock it shares the jobs of the first."""
    first = attack.start("train/a.txt", steps=100)
    attack.at_step("a", 1)
    assert attack.run("train/a.txt", steps=100) != 0
    assert "Directory cannot be locked" in attack.said()
    second = attack.start("train/a.txt", "--nolock", steps=100)
    assert (first.wait(120), second.wait(120)) == (0, 0), attack.said()
    assert "Taking over slurm job" in attack.said()
    assert attack.starts("a") == [0]
    assert len(submitted(attack)) == 1


def test_two_unlocked_snakemakes_at_the_same_moment(attack, cluster):
    both = [attack.start("train/a.txt", "--nolock", steps=20) for _ in range(2)]
    assert [process.wait(180) for process in both] == [0, 0], attack.said(1) + attack.said(2)
    assert attack.starts("a") == [0]
    assert len(submitted(attack)) == 1


def test_the_controller_is_away_for_20_s(attack, cluster):
    """Running jobs are kept, and a submission waits; each is done once."""
    snakemake = attack.start("train/a.txt", steps=150)
    attack.at_step("a", 3)
    cluster.stop_controller()
    other = attack.start("quick/a.txt", "--nolock")
    time.sleep(20)
    assert (snakemake.poll(), other.poll()) == (None, None), attack.said(1) + attack.said(2)
    cluster.start_controller()
    assert (snakemake.wait(120), other.wait(120)) == (0, 0), attack.said(1) + attack.said(2)
    assert attack.said(1).count("Slurm does not answer") == 1
    assert "Slurm answers again" in attack.said(1)
    assert attack.starts("a") == [0]
    assert len(submitted(attack)) == 2


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ("gpus=5", "Requested node configuration is not available"),
        ("mem_mb=90000", "Memory specification can not be satisfied"),
        ("slurm_partition=gpus", "invalid partition specified: gpus"),
        ("slurm_partition=closed", "Invalid account or account/partition combination specified"),
        ("constraint=h100", "Invalid feature specification"),
    ],
)
def test_what_the_cluster_has_not_is_one_clear_message(attack, resource, message):
    assert attack.run("quick/a.txt", "quick/b.txt", "--set-resources", f"quick:{resource}") != 0
    assert attack.said().count(message) == 1, attack.said()
    assert "Traceback" not in attack.said()


def test_a_job_that_would_wait_for_ever_is_ended(attack, cluster):
    """Taken by sbatch, then impossible: its partition was cut."""
    attack.start("slow/a.txt", "--set-resources", "slow:runtime=5", "slow:slurm_extra='--hold'")
    job = wait_for(lambda: next(iter(cluster.jobs("PD")), None))
    wait_for(lambda: "it is held: `scontrol release JOB` lets it run" in attack.said())
    cluster.run("scontrol", "update", "PartitionName=gpu", "MaxTime=1")
    try:
        cluster.run("scontrol", "release", job)
        wait_for(lambda: "it would wait for ever, so it was cancelled: its partition allows less time" in attack.said())
    finally:
        cluster.run("scontrol", "update", "PartitionName=gpu", "MaxTime=INFINITE")
    assert attack.started[0].wait(120) != 0


def test_why_jobs_wait_is_told_when_it_changes(attack, cluster):
    cluster.run("sbatch", "-N2", "--exclusive", "-t1", "-o", "/dev/null", "--wrap", "sleep 8")
    wait_for(lambda: cluster.jobs("R"))
    assert attack.run("quick/a.txt", "quick/b.txt") == 0, attack.said()
    waiting, running = (re.search(text, attack.said()) for text in (WAITING, r"job \d+ \(quick \w\).*: running"))
    assert waiting.start() < running.start()


def test_a_failed_rule_shows_its_own_error_and_the_logs(attack):
    assert attack.run("broken/a.txt") != 0
    said = attack.said()
    assert "the number of wheels is 5, not 4" in said
    assert "logs/broken_a.log" in said
    assert re.search(r"\.snakemake/submitit/\S+_0_log\.out", said)
    assert "Traceback" not in said
    assert "submitit.core" not in said


def test_success_without_output_is_no_success(attack):
    assert attack.run("silent/a.txt") != 0
    assert "silent/a.txt" in attack.said()


def test_devices(attack):
    targets = [f"devices/{g}gpu-{i}.txt" for g in (0, 1) for i in range(2)]
    assert attack.run(*targets, "--set-resources", "devices:slurm_extra='--nodelist=n1'") == 0, attack.said()
    seen = [(attack.folder / target).read_text().strip() for target in targets]
    assert seen[:2] == ["", ""]
    assert sorted(seen[2:]) == ["0", "1"]


def test_any_name(attack):
    name = 'it\'s a "test" of $(touch hacked) & `that`'
    assert attack.run(f"quick/{name}.txt") == 0, attack.said()
    assert (attack.folder / f"quick/{name}.txt").read_text() == f"{name}\n"
    assert not list(attack.folder.rglob("hacked"))


def test_snakemake_inside_of_a_job(attack, cluster):
    """Settings of the job that Snakemake itself runs in are not those of its jobs."""
    env = {
        **os.environ,
        "SLURM_JOB_ID": "1",
        "SLURM_MEM_PER_CPU": "7",
        "SLURM_CPU_BIND": "map_cpu:9",
        "SLURM_NTASKS": "9",
    }
    assert attack.run("quick/a.txt", env=env) == 0, attack.said()


def test_two_hundred_jobs(attack, cluster):
    """Queued in one go; prints how long it took."""
    snakemake = attack.start(*(f"slow/{i}.txt" for i in range(200)), seconds=600)
    wait_for(lambda: "Select jobs to execute" in attack.said(), every=0.05)
    begun = time.monotonic()
    wait_for(lambda: len(cluster.jobs()) == 200, 60)
    print(f"200 jobs queued in {time.monotonic() - begun:.1f} s")
    begun = time.monotonic()
    os.killpg(snakemake.pid, signal.SIGINT)
    attack.ended(snakemake)
    assert not cluster.jobs("PD", "R")
    print(f"cancelled in {time.monotonic() - begun:.1f} s")
