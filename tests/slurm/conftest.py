"""One real Slurm cluster for all tests in this folder, and a way to run Snakemake on it as a user would."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.slurm.cluster import BootError, Cluster, missing, wait_for

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
QUICK = ("--submitit-grace", "4", "--seconds-between-status-checks", "1", "--latency-wait", "5", "--retries", "0")


# if pytest runs in the background of a script, Ctrl-C is ignored, also by the processes that it starts
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session")
def cluster():
    reason = missing()
    if reason:
        pytest.skip(f"no Slurm cluster can be started: {reason}")
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        cluster = Cluster(Path(folder))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(cluster.conf))
            patch.setenv("PATH", f"{Path(sys.executable).parent}:{cluster.env['PATH']}")
            try:
                cluster.start()
                yield cluster
            except BootError as error:
                # pytest repeats the failure for every test that needs the cluster, but shows the output only once
                print(error.logs)
                raise pytest.fail.Exception(str(error), pytrace=False) from None
            finally:
                cluster.stop()


class Workflow:
    """A folder with a copy of `tests/slurm/Snakefile`, in which Snakemake runs with the project's profile."""

    def __init__(self, folder: Path, cluster: Cluster | None, *options: str):
        self.folder, self.cluster, self.options, self.count = folder, cluster, options, 0
        (folder / "Snakefile").write_text((HERE / "Snakefile").read_text())
        self.started: list[subprocess.Popen] = []

    def start(self, *arguments: str, steps: int = 40, seconds: float = 30, **more) -> subprocess.Popen:
        """Start Snakemake in a new session, so that signals to it do not reach pytest."""
        self.count += 1
        config = [f"stepper={HERE / 'stepper.py'}", f"steps={steps}", f"seconds={seconds}"]
        command = [sys.executable, "-X", "faulthandler", "-m", "snakemake", "--profile", str(ROOT / "slurm"), *QUICK]
        with self.log(self.count).open("w") as out:
            process = subprocess.Popen(
                [*command, *self.options, *arguments, "--config", *config],
                cwd=self.folder,
                stdout=out,
                stderr=out,
                start_new_session=True,
                **more,
            )
        self.started.append(process)
        return process

    def log(self, number: int) -> Path:
        return self.folder / f"output{number}.txt"

    def output(self, number: int | None = None) -> str:
        """What a Snakemake has printed so far: the last one, or that of a number."""
        return self.log(number or self.count).read_text()

    def run(self, *arguments: str, **settings) -> int:
        """Run Snakemake to its end and return its exit status."""
        return self.start(*arguments, **settings).wait(120)

    def ended(self, process: subprocess.Popen, seconds: float = 120) -> int:
        """Wait for the exit status of Snakemake; if it hangs, raise AssertionError with the stacks of its threads."""
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # faulthandler prints the stacks
            process.wait()
            raise AssertionError(f"Snakemake did not end within {seconds} s:\n{self.output()}") from None

    def unlock(self) -> None:
        """Unlock the folder, as Snakemake asks for after it was killed."""
        command = [sys.executable, "-m", "snakemake", "--profile", "none", "--unlock", "--config", "stepper=x"]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)

    def names(self) -> dict[str, str]:
        """Names of the running jobs by id."""
        return dict(line.split() for line in self.cluster.run("squeue", "-h", "-t", "R", "-o", "%i %j").splitlines())

    def running(self, count: int = 1) -> list[str]:
        """Wait until `count` jobs run and return their ids."""
        return wait_for(lambda: (ids := list(self.cluster.jobs("R"))) if len(self.cluster.jobs("R")) >= count else None)

    def starts(self, name: str) -> list[int]:
        """The step at which each start of a training began."""
        path = self.folder / "run" / name / "starts"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def at_step(self, name: str, step: int) -> None:
        """Wait until a training has taken that many steps."""
        path = self.folder / "run" / name / "now"
        wait_for(lambda: path.exists() and int(path.read_text() or 0) >= step)

    def finish(self, *names: str) -> None:
        """Make trainings take their remaining steps at once."""
        for name in names:
            (self.folder / "run" / name / "finish").touch()

    def submitted(self) -> int:
        """Number of jobs that all Snakemakes in this folder have submitted."""
        return len(list((self.folder / ".snakemake/submitit").glob("*/*_submission.sh")))

    def job_log(self, job: str) -> str:
        """Everything that a job has printed."""
        (path,) = (self.folder / ".snakemake" / "submitit").glob(f"*/{job}_0_log.out")
        return path.read_text()

    def stop(self) -> None:
        """Kill each Snakemake that still runs, and cancel all jobs."""
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
        if self.cluster:
            self.cluster.clean()


@pytest.fixture
def workflow(cluster, tmp_path):
    workflow = Workflow(tmp_path, cluster)
    try:
        yield workflow
    finally:
        workflow.stop()


@pytest.fixture(scope="session")
def five_stopped(cluster, tmp_path_factory):
    """One Snakemake with five jobs, each interrupted in a different way.

    The shortest time limit is one minute, so the tests of test_local.py, which need no cluster, run at the same time.
    """
    workflow = Workflow(tmp_path_factory.mktemp("five"), cluster)
    ways = ("warned", "relayed", "requeued", "limit")
    try:
        workflow.start(*(f"train/{way}.txt" for way in ways), "slow/limit.txt", seconds=300)
        for way in ways:
            workflow.at_step(way, 5)
        wait_for((workflow.folder / "starts/limit").exists)
        workflow.ids = {name: job for job, name in workflow.names().items()}
        cluster.run("scancel", "-s", "USR2", workflow.ids["stepper-warned"], workflow.ids["slow-limit"])
        for name in ("stepper-requeued", "slow-limit"):
            cluster.run("scontrol", "requeue", workflow.ids[name])
        os.kill(task_of(workflow.ids["stepper-relayed"]), signal.SIGUSR2)
        yield workflow
    finally:
        workflow.stop()


def task_of(job: str) -> int:
    """Id of the process that submitit runs in a job."""
    pids = subprocess.run(["pgrep", "-f", "submitit.core._submit"], capture_output=True, text=True).stdout.split()
    for pid in pids:
        with open(f"/proc/{pid}/environ") as file:
            if f"SLURM_JOB_ID={job}" in file.read().split("\0"):
                with open(f"/proc/{pid}/cmdline") as command:
                    if "python" in command.read().split("\0")[0]:
                        return int(pid)
    raise AssertionError(f"no process of job {job}")
