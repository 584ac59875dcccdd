"""Where jobs run: a Slurm cluster, or the CPUs and GPUs of this machine."""

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
BLOCKING = {
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
"""Reasons to wait that only a person can remove; so are those that end in ``PerJob`` or ``PerJobLimit``."""
UNREACHABLE = re.compile(
    r"Unable to contact slurm controller|Socket timed out|Zero Bytes were transmitted|Connection refused|"
    r"temporarily unable to accept job"
)
LOCAL_LIMIT_MIN = 60 * 24 * 365
LOCAL_END_S = 60
DEFAULT_LIMIT_MIN = 60 * 24


class RefusedError(Exception):
    """The scheduler refused a job; the message is the scheduler's."""


class UnreachableError(Exception):
    """The scheduler does not answer, so it may or may not have accepted the job."""


@dataclass(frozen=True)
class Request:
    """The resources that a job asks for.

    Parameters
    ----------
    name : str
        Name of the job in the queue.
    comment : str
        Tag that lets a later Snakemake recognise the job.
    threads, gpus, nodes : int
        CPUs per node, GPUs per node, and number of nodes.
    mem_mb, runtime : int, optional
        Memory per node (MB) and time limit (minutes).
    extra : dict
        Further options of sbatch.
    gpu_model : str, optional
        Type of GPU, by the name that the site uses.
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
    """State of a job in the queue; `reason` is why it waits."""

    name: str
    reason: str
    comment: str

    @property
    def ended(self) -> bool:
        """Whether the job is over."""
        return self.name in ENDED

    @property
    def blocked(self) -> bool:
        """Whether the job waits and will never start unless a person acts."""
        return self.name == "PENDING" and (self.reason in BLOCKING or self.reason.endswith(("PerJob", "PerJobLimit")))


@contextlib.contextmanager
def uninterrupted():
    """Start processes that ignore Ctrl-C at the terminal; jobs end only when they are cancelled."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def queue() -> dict[str, State] | None:
    """The state of each job of this user that Slurm remembers, by id; None if Slurm does not answer."""
    command = ["squeue", "--noheader", f"--user={os.getuid()}", "--states=all", "--format=%i|%T|%r|%k"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        return None
    rows = [line.split("|", 3) for line in done.stdout.splitlines()]
    return {row[0]: State(*row[1:]) for row in rows if len(row) == 4}


class Slurm:
    """Jobs on a Slurm cluster. One `squeue` reads the states of all jobs; accounting (`sacct`) is not needed."""

    def __init__(self, max_requeues: int, signal_delay: int):
        self.max_requeues, self.signal_delay = max_requeues, signal_delay
        if "SLURM_JOB_ID" in os.environ:  # Snakemake runs in a job itself: do not pass that job's settings on
            for name in [n for n in os.environ if n.startswith(("SLURM_", "SRUN_")) and n != "SLURM_CONF"]:
                del os.environ[name]

    def submit(self, folder: Path, task: RuleTask, request: Request) -> str:
        """Submit a job and return its id.

        Raises
        ------
        RefusedError
            If Slurm refuses the job.
        UnreachableError
            If Slurm does not answer.
        """
        executor = submitit.SlurmExecutor(folder, max_num_timeout=self.max_requeues)
        executor._throttling = 0  # the default waits 0.2 s between jobs
        executor.update_parameters(**self._parameters(task, request))
        try:
            # submitit also prints the error that it raises
            with uninterrupted(), contextlib.redirect_stderr(io.StringIO()):
                return executor.submit(task).job_id
        except FailedJobError as error:
            kind = UnreachableError if UNREACHABLE.search(str(error)) else RefusedError
            raise kind(str(error).strip()) from None

    def _parameters(self, task: RuleTask, request: Request) -> dict:
        minutes = request.runtime or DEFAULT_LIMIT_MIN
        options = {"requeue": True} if task.checkpointable else {"no-requeue": True}
        one_task = [] if request.nodes == 1 else ["--nodes=1", "--ntasks=1", "--overlap"]
        parameters = {
            "job_name": request.name,
            "comment": request.comment,
            "time": minutes,
            "nodes": request.nodes,
            "ntasks_per_node": 1,
            "cpus_per_task": request.threads,
            # Slurm may send USR2 up to a minute early
            "signal_delay_s": min(self.signal_delay, minutes * 60 // 3),
            "stderr_to_stdout": True,
            # srun inherits neither the CPUs per task nor the mode of the log file from sbatch
            "setup": ["export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK"],
            "srun_args": ["--open-mode=append", *one_task],
            "additional_parameters": {**options, **request.extra},
        }
        if request.mem_mb:
            parameters["mem"] = f"{request.mem_mb}M"
        if request.gpus:
            parameters["gres"] = ":".join(filter(None, ("gpu", request.gpu_model, str(request.gpus))))
        return parameters

    def states(self) -> dict[str, State] | None:
        """The state of each job of this user, by id; None if Slurm does not answer."""
        return queue()

    def cancel(self, ids: Iterable[str]) -> None:
        """Cancel jobs; ids of jobs that are over are ignored."""
        ids = list(ids)
        for start in range(0, len(ids), 500):
            subprocess.run(["scancel", *ids[start : start + 500]], capture_output=True, timeout=120)


class Local:
    """Jobs as processes on this machine. Each waits until enough GPUs are free, see :mod:`.devices`."""

    def __init__(self):
        self.jobs: dict[str, submitit.LocalJob] = {}
        self.devices = visible_devices()

    def submit(self, folder: Path, task: RuleTask, request: Request) -> str:
        """Start a job and return its id.

        Raises
        ------
        RefusedError
            If the job asks for more GPUs or nodes than this machine has.
        """
        if request.gpus > len(self.devices) or request.nodes > 1:
            wanted = f"{request.nodes} nodes" if request.nodes > 1 else f"{request.gpus} GPUs"
            raise RefusedError(f"the job asks for {wanted}, but this is one machine with {len(self.devices)} GPUs")
        executor = submitit.LocalExecutor(folder)
        executor._throttling = 0
        executor.update_parameters(timeout_min=LOCAL_LIMIT_MIN, stderr_to_stdout=True)
        with uninterrupted():
            job = executor.submit(replace(task, pool=self.devices, watched=os.getpid()))
        self.jobs[job.job_id] = job
        return job.job_id

    def states(self) -> dict[str, State]:
        """The state of each job that this process started, by id."""
        return {i: State("FAILED" if job.done() else "RUNNING", "None", "") for i, job in self.jobs.items()}

    def cancel(self, ids: Iterable[str]) -> None:
        """Stop jobs and wait until they have saved their checkpoints."""
        processes = [self.jobs[i]._process for i in ids if i in self.jobs]
        for process in processes:
            process.terminate()
        limit = time.monotonic() + LOCAL_END_S
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, limit - time.monotonic()))
