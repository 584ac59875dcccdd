"""The process inside a job: it runs the inner Snakemake and handles the signals of the scheduler.

Slurm warns a job with USR2 before its time limit or a preemption. It depends on the site whether the signal reaches all
processes of the job, or this one only. So all other processes start with USR2 ignored, and this one passes the signal
to those that handle it: trainers, which save a checkpoint and exit.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from submitit.core.utils import DelayedSubmission, UncompletedJobError

from snakemake_executor_plugin_submitit.devices import take
from snakemake_executor_plugin_submitit.processes import adopt_orphans, alive, descendants, handles, send

WARNING = signal.SIGUSR2
POLL_S = 0.2
KILL_AFTER_S = 5


def identity(path: str) -> tuple | None:
    """Values that change when a file or folder is written again; None if it does not exist."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


@dataclass
class RuleTask:
    """One job of the workflow, which submitit calls inside the allocation.

    Parameters
    ----------
    command : str
        Bash command that starts the inner Snakemake.
    folder : str
        Working directory of the command.
    outputs : list of str
        Files that the job must have written. The exit status alone is not enough: the inner Snakemake also exits with
        0 if it had nothing to do.
    checkpointable : bool
        Whether the rule saves a checkpoint at USR2 and resumes from it. Other rules ignore the warning and run until
        their time limit.
    gpus : int
        Number of GPUs that the rule asks for; with 0 its programs see no GPU.
    pool : list of str, optional
        Devices to choose from (cluster ``local``). By default the scheduler has assigned the devices.
    watched : int, optional
        Id of a process that this job must not outlive (cluster ``local``).
    """

    command: str
    folder: str
    outputs: list[str]
    checkpointable: bool
    gpus: int = 0
    pool: list[str] | None = None
    watched: int | None = None
    _child: subprocess.Popen | None = field(default=None, repr=False)
    _before: dict = field(default_factory=dict, repr=False)
    _stopping: bool = False

    def __call__(self) -> tuple[int, str]:
        """Run the job; return its exit status (0 only if all outputs are new) and a message."""
        adopt_orphans()
        signal.signal(signal.SIGTERM, self._end)
        if not self.checkpointable:
            signal.signal(WARNING, self._run_on)
        self._before = {path: identity(path) for path in self.outputs}
        with self._devices() as devices:
            return self._run({**os.environ, **devices})

    def _run(self, env: dict[str, str]) -> tuple[int, str]:
        self._child = subprocess.Popen(["bash", "-c", f"trap '' USR2\n{self.command}"], cwd=self.folder, env=env)
        try:
            while self._code() is None:
                self._wait()
        except UncompletedJobError as error:  # submitit raises it if the job may not be requeued again
            if not self._succeeded():
                return 1, f"{error} It saved a checkpoint and resumes from it when it is started again."
        self._stop_strays()
        return self._outcome()

    def checkpoint(self) -> DelayedSubmission | None:
        """Let the job save a checkpoint. Slurm kills the job when submitit requeues it, so wait until it has ended."""
        self._stopping = True
        self._warn_until_ended()
        if self._succeeded():
            return None
        print("The job saved a checkpoint and is requeued; this is why the rule above failed.", flush=True)
        return DelayedSubmission(replace(self, _child=None, _before={}, _stopping=False))

    @contextlib.contextmanager
    def _devices(self) -> Iterator[dict[str, str]]:
        """Environment variables that select the GPUs of the rule."""
        if self.gpus and self.pool is None:
            yield {}
            return
        with contextlib.ExitStack() as held:
            while (taken := take(self.pool or [], self.gpus, held)) is None:
                self._wait()
            yield {"CUDA_VISIBLE_DEVICES": ",".join(taken)}

    def _wait(self) -> None:
        time.sleep(POLL_S)
        if self.watched and not alive(self.watched):
            self._end()

    def _code(self) -> int | None:
        """Exit status of the inner Snakemake; None while it runs.

        The methods of Popen hold a lock. A signal handler that interrupts one of them must not call another.
        """
        if self._child is None:
            return 1
        ended = os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else 128 + ended.si_status

    def _outcome(self) -> tuple[int, str]:
        code = self._code()
        old = [path for path in self.outputs if identity(path) in (None, self._before.get(path))]
        if code == 0 and old:
            return 1, f"Snakemake inside the job did not write {', '.join(old)}; see its log."
        return code, "" if code == 0 else f"the rule failed (Snakemake inside the job exited with {code})"

    def _succeeded(self) -> bool:
        return self._code() == 0 and self._outcome()[0] == 0

    def _savers(self) -> list[int]:
        return [pid for pid in descendants(os.getpid()) if handles(pid, WARNING)]

    def _warn_until_ended(self) -> None:
        """Send the warning once to each process that handles it, also to new ones, until all have ended."""
        warned: set[int] = set()
        while (savers := self._savers()) or self._code() is None:
            send([pid for pid in savers if pid not in warned], WARNING)
            warned.update(savers)
            time.sleep(POLL_S)

    def _run_on(self, *_: object) -> None:
        print("Slurm will stop this job soon; its rule saves no checkpoint and runs on.", flush=True)

    def _end(self, *_: object) -> None:
        """Let a job that is cancelled, preempted or requeued save a checkpoint, then wait for the scheduler to end it.

        Do not return a failure: the scheduler may start the job again, and only the scheduler knows.
        """
        if self._stopping:
            return
        self._stopping = True
        if self.watched:
            self._kill_all()
        if self._savers():
            self._warn_until_ended()
        if self._succeeded():
            return
        while _running():
            time.sleep(1)
        os._exit(128 + signal.SIGTERM)

    def _kill_all(self) -> None:
        """Stop the job without a scheduler."""
        if self._savers():
            self._warn_until_ended()
        send(descendants(os.getpid()), signal.SIGTERM)
        limit = time.monotonic() + KILL_AFTER_S
        while self._code() is None and time.monotonic() < limit:
            time.sleep(POLL_S)
        send(descendants(os.getpid()), signal.SIGKILL)
        os._exit(128 + signal.SIGTERM)

    def _stop_strays(self) -> None:
        """Stop a trainer that outlived its shell, so that it cannot run at the same time as its next start."""
        if self._savers():
            self._warn_until_ended()


def _running() -> bool:
    """Whether Slurm still lists this job as running, or does not answer."""
    command = ["squeue", "--noheader", "--states=all", f"--jobs={os.environ['SLURM_JOB_ID']}", "--format=%T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0 or done.stdout.strip() == "RUNNING"
