"""The executor: submits jobs, takes over those of an earlier Snakemake, checks them and cancels them."""

import contextlib
import fcntl
import os
import shlex
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.real import RealExecutor

from snakemake_executor_plugin_submitit.checks import Checks
from snakemake_executor_plugin_submitit.clusters import Local, RefusedError, Slurm, State, UnreachableError
from snakemake_executor_plugin_submitit.describe import (
    Watched,
    changes,
    digests,
    explain_reason,
    failure_message,
    job_label,
    last_lines,
    outputs,
    request_of,
)
from snakemake_executor_plugin_submitit.interrupts import POLL_S, InterruptibleExecutor
from snakemake_executor_plugin_submitit.quoting import quote_for_shells
from snakemake_executor_plugin_submitit.records import Record, refresh, remove_leftovers
from snakemake_executor_plugin_submitit.task import RuleTask

RETRY_S = 5


class Executor(InterruptibleExecutor):
    """Runs each job of the workflow as a Slurm job, or as a process on this machine."""

    def __init__(self, workflow, logger):
        # the base class starts the thread that checks jobs before it calls __post_init__
        self.live: dict[str, Watched] = {}
        self.refusals: set[str] = set()
        self.silent = False
        self.checks = Checks(logger)
        self.fatal: str | None = None
        quote_for_shells()
        super().__init__(workflow, logger)

    def __post_init__(self):
        settings = self.workflow.executor_settings
        if settings.cluster == "slurm" and not shutil.which("sbatch"):
            raise WorkflowError(
                "There is no Slurm here (no sbatch): start Snakemake on a login node, run jobs on this machine with "
                "--submitit-cluster local, or leave out --profile slurm"
            )
        self.root = Path(settings.folder).absolute()
        if "%" in str(self.root):
            raise WorkflowError(
                f"{self.root}: the path of the folder for logs and records of jobs contains %. submitit and Slurm "
                "replace %j, %t, %x and others: set --submitit-folder (submitit-folder in profiles/slurm/config.yaml) "
                "to a folder without %, which all nodes share"
            )
        self.run = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"
        (self.root / self.run).mkdir(parents=True)
        remove_leftovers(self.root)
        self.grace = settings.grace
        local = settings.cluster == "local"
        self.cluster_name = settings.cluster
        self.cluster = Local() if local else Slurm(settings.max_requeues, settings.signal_delay)
        # the CPUs of the machine that submits a job do not limit its threads
        self.workflow.global_resources["_cores"] = None
        self.interrupts.listen()

    # -- submission

    def run_jobs(self, jobs) -> None:
        """Submit jobs while no other Snakemake does, so that the next Snakemake sees these jobs in the queue."""
        with self._submission_lock():
            states = self._states()
            for job in jobs:
                self.interrupts.check()
                self.run_job_pre(job)
                self._start(job, states)

    def run_job(self, job) -> None:
        """Submit one job."""
        self.run_jobs([job])

    @contextlib.contextmanager
    def _submission_lock(self) -> Iterator[None]:
        with (self.root / "lock").open("w") as file:
            while not _locked(file):
                self.interrupts.pause(POLL_S)
            yield

    def _start(self, job, states: dict[str, State]) -> None:
        key, spec = digests(job)
        try:
            record = self._take_over(job, key, spec, states) or self._submit(job, key, spec)
        except RefusedError as error:
            self._refuse(job, str(error))
            return
        info = SubmittedJobInfo(job, external_jobid=record.job_id, aux={"log": str(record.log(self.root))})
        self.live[record.job_id] = Watched(info, record)
        self.report_job_submission(info)

    def _submit(self, job, key: str, spec: str) -> Record:
        record = Record("", self.cluster_name, key, spec, self.run, job_label(job), outputs(job), time.time())
        task = RuleTask(
            self.format_job_exec(job),
            os.getcwd(),
            record.outputs,
            checkpointable=bool(job.resources.get("checkpointable", 0)),
            gpus=job.resources.get("gpus", 0),
        )
        request = request_of(job, record.tag)
        while True:
            try:
                record.job_id = self.cluster.submit(self.root / self.run, task, request)
                break
            except UnreachableError as error:
                self.logger.warning(f"{error}\nTrying to submit {record.rule} again.")
                self.interrupts.pause(RETRY_S)
                taken = self._tagged(record.tag, self._states())
                if taken:
                    record.job_id = taken
                    break
        record.write(self.root)
        self.logger.info(f"{self.cluster_name} job {record.job_id}: {record.rule}, log {self._short(record)}")
        return record

    def _take_over(self, job, key: str, spec: str, states: dict[str, State]) -> Record | None:
        """The running or waiting job for the same files, if another Snakemake has submitted one."""
        prefix = f"smk:{key}:"
        for number, state in states.items():
            if not state.comment.startswith(prefix) or state.ended:
                continue
            submitted_spec, run = state.comment.removeprefix(prefix).split(":")
            if submitted_spec != spec:
                raise RefusedError(
                    f"job {number} writes the same files with other settings. Wait until it ends, or cancel it with "
                    f"`scancel {number}`. Then start Snakemake again."
                )
            record = Record(number, self.cluster_name, key, spec, run, job_label(job), outputs(job), time.time())
            self.logger.info(f"Taking over {self.cluster_name} job {number} ({state.name}): {record.rule}")
            record.write(self.root)
            return record
        return None

    @staticmethod
    def _tagged(tag: str, states: dict[str, State]) -> str | None:
        return next((n for n, state in states.items() if state.comment == tag and not state.ended), None)

    def _refuse(self, job, text: str) -> None:
        """Report a refused job; print the reason only once, since a wrong account is wrong for all jobs."""
        if text in self.refusals:
            self.logger.error(f"{job_label(job)}: not submitted, for the same reason")
            self.workflow.scheduler.error_callback(job)
            return
        self.refusals.add(text)
        self.report_job_error(SubmittedJobInfo(job), msg=f"{self.cluster_name} refused the job: {text}")

    def _states(self) -> dict[str, State]:
        """The state of each job, by id; waits until the scheduler answers."""
        while (states := self.cluster.states()) is None:
            self._warn_no_answer()
            self.interrupts.pause(RETRY_S)
        self.silent = False
        return states

    def _warn_no_answer(self) -> None:
        if self.silent or self.interrupts.pressed():  # Ctrl-C also ends squeue
            return
        self.logger.warning("Slurm does not answer. The jobs are checked again when it does.")
        self.silent = True

    def get_job_args(self, job, **kwargs) -> str:
        """Arguments of the inner Snakemake.

        The base class also waits for a temporary folder of this process. That folder no longer exists if the job is
        requeued after this process has ended, so it is left out. The cores are those that the rule asks for.
        """
        arguments = RealExecutor.get_job_args(self, job, cores=job.resources["_cores"])
        files = [str(file) for file in job.get_wait_for_files()]
        return f"{arguments} --wait-for-files {shlex.join(files)}" if files else arguments

    def get_python_executable(self) -> str:
        """The Python of the inner Snakemake, quoted for a shell."""
        return shlex.quote(super().get_python_executable())

    # -- state

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncIterator[SubmittedJobInfo]:
        """Report the jobs that have ended.

        An exception from here would end the workflow and leave its jobs running. So an error that cannot be retried
        goes to Snakemake's scheduler, which then calls :meth:`shutdown`.
        """
        if self.fatal is None:
            self.fatal = self.checks.run(self._check)
            if self.fatal is not None:
                self.workflow.scheduler.executor_error_callback(WorkflowError(f"Cancelling all jobs: {self.fatal}"))
        for info in active_jobs:
            if info.external_jobid in self.live:
                yield info

    def _check(self) -> None:
        watched = list(self.live.values())
        if not watched:
            return
        states = self.cluster.states()
        if states is None:
            self._warn_no_answer()
        elif self.silent:
            self.silent = False
            self.logger.info("Slurm answers again.")
        for run in {item.record.run for item in watched}:
            refresh(self.root / run)
        for item in watched:
            outcome = item.record.outcome(self.root)
            if outcome is not None:
                self._ended(item, *outcome)
            elif states is not None:
                self._check_state(item, states.get(item.record.job_id))
        if states is not None:
            for line in changes(list(self.live.values()), states):
                self.logger.info(line)

    def _check_state(self, item: Watched, state: State | None) -> None:
        """Decide from its state whether a job without a result has failed."""
        id_reused = state is not None and state.comment.startswith("smk:") and state.comment != item.record.tag
        if state is None or state.ended or id_reused:
            item.gone_since = item.gone_since or time.monotonic()
            # a job that was cancelled or reached its time limit writes no result; that of others may still appear
            wait = 0 if state is not None and state.name in ("CANCELLED", "TIMEOUT") else self.grace
            if time.monotonic() - item.gone_since >= wait:
                self._ended(item, 1, failure_message("GONE" if state is None or id_reused else state.name))
            return
        item.gone_since = None
        if state.blocked:
            self.cluster.cancel([item.record.job_id])
            self._ended(item, 1, f"it could never start, so it was cancelled: {explain_reason(state.reason)}")

    def _ended(self, item: Watched, code: int, message: str) -> None:
        if item.record.job_id not in self.live:  # the main thread has cancelled it
            return
        item.record.end = "failed" if code else "done"
        item.record.write(self.root)  # before the job is forgotten: after an error the next check tries again
        if self.live.pop(item.record.job_id, None) is None:
            return
        if code == 0:
            self.report_job_success(item.info)
        else:
            self.report_job_error(item.info, msg=message)

    # -- end

    def shutdown(self) -> None:
        """Stop checking jobs; after an error of a check, cancel them first."""
        if self.fatal is not None:
            self.cancel_jobs([])
        super().shutdown()

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel all jobs that this process has submitted or taken over, also one that is not in `live` yet.

        `active_jobs` is not used: it is empty if the interrupt came during a check of the jobs.
        """
        with self.interrupts.ignored():
            watched = list(self.live.values())
            self.live.clear()  # so the thread that checks jobs does not report their end
            self.cluster.cancel(item.record.job_id for item in watched)
            tags = {item.record.tag for item in watched}
            states = self.cluster.states() or {}
            ours = {n for n, s in states.items() if s.comment in tags or s.comment.endswith(f":{self.run}")}
            self.cluster.cancel(n for n in ours if not states[n].ended and states[n].name != "COMPLETING")

    def print_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **kwargs) -> None:
        """Print what went wrong, the paths of the logs, and their last lines."""
        text, item = msg or "", job_info.aux
        if item:
            text += f"\njob {job_info.external_jobid}: {item['log']}{last_lines(job_info.job, Path(item['log']))}"
        if job_info.job.is_group():  # Snakemake does not print the message of a group
            self.logger.error(text)
        job_info.job.log_error(text, **kwargs)

    def _short(self, record: Record) -> str:
        return os.path.relpath(record.log(self.root))


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
