"""What runs inside a job: the inner Snakemake, and the signals by which a scheduler ends it.

Slurm's warning (USR2 before the time limit or a preemption) reaches the whole process tree, this process only, or
both, depending on how the site tracks processes. So every process below starts with USR2 ignored, and this one hands it
to those that handle it: trainers, which save themselves and end.
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
    """What changes when a file or folder is written anew; none if it is not there."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


@dataclass
class RuleTask:
    """One job of the workflow, called by submitit inside the allocation.

    Parameters
    ----------
    command : str
        The inner Snakemake, for bash.
    folder : str
        Where it is started.
    outputs : list of str
        Files that have to be new when the inner Snakemake says that it succeeded; it also ends with 0 when it found
        nothing to do.
    checkpointable : bool
        Whether the rule saves itself at USR2 and goes on when started again. Others ignore the warning and run
        on to their time limit.
    gpus : int
        Devices the rule asked for; without any it sees none.
    pool : list of str, optional
        Devices of this machine to take them from (cluster ``local``); else the scheduler has assigned them.
    watched : int, optional
        Process that this job must not outlive (cluster ``local``).
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
        """Run the job; returns its exit status, 0 with new outputs only, and what to say about it."""
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
        except UncompletedJobError as error:  # raised by submitit's handler when the job is not to be requeued
            if not self._succeeded():
                return 1, f"{error} It is saved: a new start goes on from there."
        self._stop_strays()
        return self._outcome()

    def checkpoint(self) -> DelayedSubmission | None:
        """Let the job save itself. Slurm kills it as soon as submitit has requeued it, so wait for its end first."""
        self._stopping = True
        self._warn_until_ended()
        if self._succeeded():
            return None
        print("The job has saved itself and is requeued; the failed rule above is part of it.", flush=True)
        return DelayedSubmission(replace(self, _child=None, _before={}, _stopping=False))

    @contextlib.contextmanager
    def _devices(self) -> Iterator[dict[str, str]]:
        """What tells the rule's programs which GPUs are theirs."""
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
        """Exit status of the inner Snakemake, none while it runs.

        Popen's own methods hold a lock that a signal handler which interrupts them would wait for.
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
            return 1, f"Snakemake inside the job ended without making {', '.join(old)}; its log says why."
        return code, "" if code == 0 else f"the rule failed (Snakemake inside the job ended with {code})"

    def _succeeded(self) -> bool:
        return self._code() == 0 and self._outcome()[0] == 0

    def _savers(self) -> list[int]:
        return [pid for pid in descendants(os.getpid()) if handles(pid, WARNING)]

    def _warn_until_ended(self) -> None:
        """Warn every process that saves itself, also one that starts to handle USR2 only now, and wait for all."""
        warned: set[int] = set()
        while (savers := self._savers()) or self._code() is None:
            send([pid for pid in savers if pid not in warned], WARNING)
            warned.update(savers)
            time.sleep(POLL_S)

    def _run_on(self, *_: object) -> None:
        print("The time limit is near, or a preemption; this rule cannot save itself and runs on.", flush=True)

    def _end(self, *_: object) -> None:
        """The job is cancelled, preempted or requeued: let it save itself, then leave the rest to the scheduler.

        To return a failure would be wrong where the scheduler starts the job again, and only it knows.
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
        """End the job without a scheduler's help."""
        if self._savers():
            self._warn_until_ended()
        send(descendants(os.getpid()), signal.SIGTERM)
        limit = time.monotonic() + KILL_AFTER_S
        while self._code() is None and time.monotonic() < limit:
            time.sleep(POLL_S)
        send(descendants(os.getpid()), signal.SIGKILL)
        os._exit(128 + signal.SIGTERM)

    def _stop_strays(self) -> None:
        """A trainer whose shell was killed must not run beside its successor."""
        if self._savers():
            self._warn_until_ended()


def _running() -> bool:
    """Whether Slurm has not decided on this job's end yet: it still counts as running, or nothing is known."""
    command = ["squeue", "--noheader", "--states=all", f"--jobs={os.environ['SLURM_JOB_ID']}", "--format=%T"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return True
    return told.returncode != 0 or told.stdout.strip() == "RUNNING"
