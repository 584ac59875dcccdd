"""The same jobs on one machine, without Slurm: each with devices of its own, and none that outlives Snakemake."""

import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.slurm.cluster import missing, wait_for
from tests.slurm.conftest import Attack


@pytest.fixture(scope="module", autouse=True)
def _meanwhile(request):
    if not missing():
        request.getfixturevalue("five_stopped")


@pytest.fixture
def attack(tmp_path):
    attack = Attack(tmp_path, None, "--submitit-cluster", "local")
    try:
        yield attack
    finally:
        attack.stop()


def processes(folder):
    """Command lines of the processes that work in a folder."""
    listed = subprocess.run(["pgrep", "-af", str(folder)], capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if "pgrep" not in line]


def devices():
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "4,7"}


def test_each_job_has_devices_of_its_own(attack):
    """Four jobs with one GPU on two: two at a time; one without a GPU sees none."""
    targets = [f"devices/1gpu-{i}.txt" for i in range(4)]
    assert attack.run(*targets, "devices/0gpu-0.txt", env=devices()) == 0, attack.said()
    seen = [(attack.folder / target).read_text().strip() for target in targets]
    assert sorted(seen) == ["4", "4", "7", "7"]
    assert (attack.folder / "devices/0gpu-0.txt").read_text() == "\n"


def test_more_devices_than_there_are(attack):
    assert attack.run("devices/3gpu-0.txt", env=devices()) != 0
    assert "asks for 3 GPUs; this machine is one, with 2 GPUs" in attack.said()
    assert "Traceback" not in attack.said()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_jobs_save_themselves_and_end_with_snakemake(attack, end):
    """Also when it is killed and can tell them nothing; started again, training goes on."""
    snakemake = attack.start("train/a.txt", "slow/b.txt", steps=30, seconds=300)
    attack.at_step("a", 5)
    wait_for((attack.folder / "starts/b").exists)
    os.kill(snakemake.pid, end)
    assert attack.ended(snakemake) != 0
    wait_for(lambda: not processes(attack.folder), 20)
    attack.unlock()
    assert attack.run("train/a.txt", steps=30) == 0, attack.said()
    assert attack.starts("a")[1] >= 5


def test_ctrl_c_is_not_lost_while_snakemake_prints(attack):
    """Its log handler drops a KeyboardInterrupt; a pipe that is full, with nobody reading, holds it in there."""
    os.mkfifo(attack.log(1))
    with open(os.open(attack.log(1), os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        names = [f"slow/{'x' * 200}{i}.txt" for i in range(20)]
        snakemake = attack.start(*names, "--seconds-between-status-checks", "60", seconds=300)
        attack.log(1).unlink()
        with attack.log(1).open("wb", buffering=0) as said:
            # as soon as nobody reads, the lines on the next jobs fill the pipe
            wait_for(lambda: said.write(pipe.read() or b"") and "Select jobs" in attack.said(), every=0.01)
            wait_for(lambda: "pipe_write" in Path(f"/proc/{snakemake.pid}/wchan").read_text())
            os.kill(snakemake.pid, signal.SIGINT)
            os.set_blocking(pipe.fileno(), True)
            reader = threading.Thread(target=shutil.copyfileobj, args=(pipe, said))
            reader.start()
            assert attack.ended(snakemake) != 0
            reader.join()
    wait_for(lambda: not processes(attack.folder), 20)


def test_ctrl_c_is_not_lost_when_another_thread_gets_it(attack):
    """The kernel chooses the thread; Python's handlers run in the main thread, which sleeps until a job ends."""
    snakemake = attack.start("slow/a.txt", seconds=300)
    wait_for((attack.folder / "starts/a").exists)
    threads = [int(task.name) for task in Path(f"/proc/{snakemake.pid}/task").iterdir()]
    other = max(number for number in threads if number != snakemake.pid)
    assert ctypes.CDLL(None).tgkill(snakemake.pid, other, signal.SIGINT) == 0
    assert attack.ended(snakemake) != 0
    wait_for(lambda: not processes(attack.folder), 20)


def test_a_failed_rule_shows_its_own_error(attack):
    assert attack.run("broken/a.txt") != 0
    assert "the number of wheels is 5, not 4" in attack.said()


def test_jobs_that_can_no_longer_be_checked_are_ended(attack):
    """Someone deletes the folder of the records: after some tries the workflow ends, and its jobs with it."""
    snakemake = attack.start("train/a.txt", "--seconds-between-status-checks", "0", steps=1000)
    attack.at_step("a", 2)
    (records,) = attack.folder.glob(".snakemake/submitit/*-*")
    shutil.rmtree(records)
    assert attack.ended(snakemake) != 0
    assert str(records) in attack.said()
    wait_for(lambda: not processes(attack.folder), 20)
    assert (attack.folder / "run/a/saved").exists()
