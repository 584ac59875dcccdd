"""Jobs on one machine, without Slurm: each gets different GPUs, and none outlives Snakemake."""

import ctypes
import fcntl
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.slurm.cluster import missing, wait_for
from tests.slurm.conftest import Workflow


@pytest.fixture(scope="module", autouse=True)
def _interrupted_jobs_in_the_background(request):
    if not missing():
        request.getfixturevalue("five_stopped")


@pytest.fixture
def workflow(tmp_path):
    workflow = Workflow(tmp_path, None, "--submitit-cluster", "local")
    try:
        yield workflow
    finally:
        workflow.stop()


def processes(folder):
    """Command lines of the processes that name a folder."""
    listed = subprocess.run(["pgrep", "-af", str(folder)], capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if "pgrep" not in line]


def devices():
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "4,7"}


def test_jobs_that_run_at_the_same_time_get_different_gpus(workflow):
    """Four jobs of one GPU each share two GPUs; a job without GPUs sees none."""
    targets = [f"devices/1gpu-{i}.txt" for i in range(4)]
    assert workflow.run(*targets, "devices/0gpu-0.txt", env=devices()) == 0, workflow.output()
    seen = [(workflow.folder / target).read_text().strip() for target in targets]
    assert sorted(seen) == ["4", "4", "7", "7"]
    assert (workflow.folder / "devices/0gpu-0.txt").read_text() == "\n"


def test_a_job_that_asks_for_more_gpus_than_the_machine_has(workflow):
    assert workflow.run("devices/3gpu-0.txt", env=devices()) != 0
    assert re.search(r"\b3 GPUs\b.*\b2 GPUs\b", workflow.output()), workflow.output()
    assert "Traceback" not in workflow.output()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_jobs_save_a_checkpoint_and_end_with_snakemake(workflow, end):
    """Also if Snakemake is killed and cannot cancel them; training resumes at the next start."""
    snakemake = workflow.start("train/a.txt", "slow/b.txt", steps=30, seconds=300)
    workflow.at_step("a", 5)
    wait_for((workflow.folder / "starts/b").exists)
    os.kill(snakemake.pid, end)
    assert workflow.ended(snakemake) != 0
    wait_for(lambda: not processes(workflow.folder), 20)
    workflow.unlock()
    assert workflow.run("train/a.txt", steps=30) == 0, workflow.output()
    assert workflow.starts("a")[1] >= 5


def test_ctrl_c_is_not_lost_while_snakemake_prints(workflow):
    """The log handler drops a KeyboardInterrupt. A full pipe that nobody reads keeps Snakemake in that handler."""
    os.mkfifo(workflow.log(1))
    with open(os.open(workflow.log(1), os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        names = [f"slow/{'x' * 200}{i}.txt" for i in range(20)]
        snakemake = workflow.start(*names, "--seconds-between-status-checks", "60", seconds=300)
        workflow.log(1).unlink()
        with workflow.log(1).open("wb", buffering=0) as output:
            # once nobody reads any more, the lines about the next jobs fill the pipe
            wait_for(lambda: output.write(pipe.read() or b"") and "Select jobs" in workflow.output(), every=0.01)
            wait_for(lambda: "pipe_write" in Path(f"/proc/{snakemake.pid}/wchan").read_text())
            os.kill(snakemake.pid, signal.SIGINT)
            os.set_blocking(pipe.fileno(), True)
            reader = threading.Thread(target=shutil.copyfileobj, args=(pipe, output))
            reader.start()
            assert workflow.ended(snakemake) != 0
            reader.join()
    wait_for(lambda: not processes(workflow.folder), 20)


def test_ctrl_c_is_not_lost_when_another_thread_gets_it(workflow):
    """The kernel chooses the thread, but Python runs handlers in the main thread, which sleeps until a job ends."""
    snakemake = workflow.start("slow/a.txt", seconds=300)
    wait_for((workflow.folder / "starts/a").exists)
    threads = [int(task.name) for task in Path(f"/proc/{snakemake.pid}/task").iterdir()]
    other = max(number for number in threads if number != snakemake.pid)
    assert ctypes.CDLL(None).tgkill(snakemake.pid, other, signal.SIGINT) == 0
    assert workflow.ended(snakemake) != 0
    wait_for(lambda: not processes(workflow.folder), 20)


def test_the_error_of_a_failed_rule_is_shown(workflow):
    assert workflow.run("broken/a.txt") != 0
    assert "the number of wheels is 5, not 4" in workflow.output()


def test_jobs_that_can_no_longer_be_checked_are_cancelled(workflow):
    """Someone deletes the folder of the logs: after some tries Snakemake cancels its jobs and ends."""
    snakemake = workflow.start("train/a.txt", "--seconds-between-status-checks", "0", steps=1000)
    workflow.at_step("a", 2)
    (records,) = workflow.folder.glob(".snakemake/submitit/*-*")
    shutil.rmtree(records)
    assert workflow.ended(snakemake) != 0
    assert str(records) in workflow.output()
    wait_for(lambda: not processes(workflow.folder), 20)
    assert (workflow.folder / "run/a/saved").exists()
