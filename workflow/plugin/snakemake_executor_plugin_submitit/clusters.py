"""Where jobs run: Slurm, or the processors and devices of this machine."""

import contextlib
import io
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import submitit
from submitit.core.utils import FailedJobError

from snakemake_executor_plugin_submitit.devices import visible_devices
from snakemake_executor_plugin_submitit.task import RuleTask

ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "TIMEOUT",
}
NEVER = {
    *(
        "AccountNotAllowed",
        "BadConstraints",
        "DependencyNeverSatisfied",
        "InvalidAccount",
        "InvalidQOS",
        "JobHeldAdmin",
    ),
    *("JobHoldMaxRequeue", "PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit", "QOSNotAllowed"),
    "launch_failed_requeued_held",
}
"""Reasons to wait that only a person can remove; those that end in ``PerJob`` or ``PerJobLimit`` are too."""
UNREACHABLE = re.compile(
    r"Unable to contact slurm controller|Socket timed out|Zero Bytes were transmitted|Connection refused|"
    r"temporarily unable to accept job"
)
LOCAL_LIMIT_MIN = 60 * 24 * 365
LOCAL_END_S = 60
DEFAULT_LIMIT_MIN = 60 * 24


class RefusedError(Exception):
    """A job that cannot be submitted, in the scheduler's words."""


class UnreachableError(Exception):
    """The scheduler does not answer; whether it has taken the job is unknown."""


@dataclass(frozen=True)
class Request:
    """What a job needs: the resources of its rule.

    Parameters
    ----------
    name : str
        Name in the queue.
    comment : str
        Tag by which a later Snakemake recognises the job.
    threads, gpus, nodes : int
        CPUs and GPUs (both a node), nodes.
    mem_mb, runtime : int, optional
        Memory (MB, a node), time limit (minutes).
    extra : dict
        Other options of sbatch.
    gpu_model : str, optional
        Type of GPU as the site calls it.
    """

    name: str
    comment: str
    threads: int
    gpus: int
    nodes: int
    mem_mb: int | None
    runtime: int | None
    extra: dict[str, str | bool]
    gpu_model: str | None


@dataclass(frozen=True)
class State:
    """A job as the scheduler sees it; `reason` says why it waits."""

    name: str
    reason: str
    comment: str

    @property
    def ended(self) -> bool:
        """Whether the scheduler is done with the job."""
        return self.name in ENDED

    @property
    def hopeless(self) -> bool:
        """Whether the job waits for what does not come by itself."""
        return self.name == "PENDING" and (self.reason in NEVER or self.reason.endswith(("PerJob", "PerJobLimit")))


@contextlib.contextmanager
def uninterrupted():
    """Let what is started here not see a Ctrl-C at the terminal: jobs are ended by cancelling them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def queue() -> dict[str, State] | None:
    """All jobs of this user that Slurm remembers, by id; none if it does not answer."""
    command = ["squeue", "--noheader", f"--user={os.getuid()}", "--states=all", "--format=%i|%T|%r|%k"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return None
    if told.returncode:
        return None
    rows = [line.split("|", 3) for line in told.stdout.splitlines()]
    return {row[0]: State(*row[1:]) for row in rows if len(row) == 4}


class Slurm:
    """Jobs in a Slurm cluster, seen with one `squeue` for all; accounting need not be there."""

    def __init__(self, max_requeues: int, signal_delay: int):
        self.max_requeues, self.signal_delay = max_requeues, signal_delay
        if "SLURM_JOB_ID" in os.environ:  # Snakemake itself runs in a job, whose settings are not those of its jobs
            for name in [n for n in os.environ if n.startswith(("SLURM_", "SRUN_")) and n != "SLURM_CONF"]:
                del os.environ[name]

    def submit(self, folder: Path, task: RuleTask, request: Request) -> str:
        """Submit a job and return its id.

        Raises
        ------
        RefusedError
            If Slurm does not take it.
        UnreachableError
            If Slurm does not answer.
        """
        executor = submitit.SlurmExecutor(folder, max_num_timeout=self.max_requeues)
        executor._throttling = 0  # it would wait 0.2 s between jobs
        executor.update_parameters(**self._parameters(task, request))
        try:
            # submitit prints what it raises
            with uninterrupted(), contextlib.redirect_stderr(io.StringIO()):
                return executor.submit(task).job_id
        except FailedJobError as error:
            kind = UnreachableError if UNREACHABLE.search(str(error)) else RefusedError
            raise kind(str(error).strip()) from None

    def _parameters(self, task: RuleTask, request: Request) -> dict:
        minutes = request.runtime or DEFAULT_LIMIT_MIN
        options = {"requeue": True} if task.checkpointable else {"no-requeue": True}
        apart = [] if request.nodes == 1 else ["--nodes=1", "--ntasks=1", "--overlap"]
        parameters = {
            "job_name": request.name,
            "comment": request.comment,
            "time": minutes,
            "nodes": request.nodes,
            "ntasks_per_node": 1,
            "cpus_per_task": request.threads,
            # USR2 can come a minute early
            "signal_delay_s": min(self.signal_delay, minutes * 60 // 3),
            "stderr_to_stdout": True,
            # srun does not take the CPUs of a task from sbatch, nor the way to open the log
            "setup": ["export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK"],
            "srun_args": ["--open-mode=append", *apart],
            "additional_parameters": {**options, **request.extra},
        }
        if request.mem_mb:
            parameters["mem"] = f"{request.mem_mb}M"
        if request.gpus:
            parameters["gres"] = ":".join(filter(None, ("gpu", request.gpu_model, str(request.gpus))))
        return parameters

    def states(self) -> dict[str, State] | None:
        """All jobs of this user; none if Slurm does not answer."""
        return queue()

    def cancel(self, ids: Iterable[str]) -> None:
        """End jobs; those that are gone already do not matter."""
        ids = list(ids)
        for start in range(0, len(ids), 500):
            subprocess.run(["scancel", *ids[start : start + 500]], capture_output=True, timeout=120)


class Local:
    """Jobs as processes of this machine. Each takes GPUs of its own, see :mod:`.devices`, and waits for them."""

    def __init__(self):
        self.jobs: dict[str, submitit.LocalJob] = {}
        self.devices = visible_devices()

    def submit(self, folder: Path, task: RuleTask, request: Request) -> str:
        """Start a job and return its id.

        Raises
        ------
        RefusedError
            If the machine has not what it asks for.
        """
        if request.gpus > len(self.devices) or request.nodes > 1:
            wanted = f"{request.nodes} nodes" if request.nodes > 1 else f"{request.gpus} GPUs"
            raise RefusedError(f"the job asks for {wanted}; this machine is one, with {len(self.devices)} GPUs")
        executor = submitit.LocalExecutor(folder)
        executor._throttling = 0
        executor.update_parameters(timeout_min=LOCAL_LIMIT_MIN, stderr_to_stdout=True)
        with uninterrupted():
            job = executor.submit(replace(task, pool=self.devices, watched=os.getpid()))
        self.jobs[job.job_id] = job
        return job.job_id

    def states(self) -> dict[str, State]:
        """The jobs that this process started."""
        return {i: State("FAILED" if job.done() else "RUNNING", "None", "") for i, job in self.jobs.items()}

    def cancel(self, ids: Iterable[str]) -> None:
        """End jobs and wait until they have saved themselves."""
        processes = [self.jobs[i]._process for i in ids if i in self.jobs]
        for process in processes:
            process.terminate()
        limit = time.monotonic() + LOCAL_END_S
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, limit - time.monotonic()))
