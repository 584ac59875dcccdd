"""Translates Snakemake jobs into requests to a scheduler, and states of jobs into messages."""

import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from snakemake.io import is_flagged
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from snakemake_executor_plugin_submitit.clusters import ENDED, Request, State
from snakemake_executor_plugin_submitit.records import Record, short_digest

LINES_SHOWN = 20
NOT_REPORTED = ("", "None", "COMPLETING", "COMPLETED")
"""States of jobs, and reasons to wait, that :func:`changes` leaves out."""
ENDS = {
    "CANCELLED": "it was cancelled",
    "TIMEOUT": "it reached its time limit: give the rule more `runtime` (set-resources in the profile)",
    "DEADLINE": "it reached its time limit: give the rule more `runtime` (set-resources in the profile)",
    "OUT_OF_MEMORY": "it ran out of memory: give the rule more `mem_mb` (set-resources in the profile)",
    "PREEMPTED": "a job of higher priority replaced it, and its rule saves no checkpoint, so it has to start again",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node failed",
    "GONE": "it left the queue without a result: it, or its node, was killed",
}
REASONS = {
    "Resources": "no node is free (Resources)",
    "Priority": "other jobs go first (Priority)",
    "BeginTime": "it was requeued and will start again soon (BeginTime)",
    "JobHeldUser": "it is held: `scontrol release JOB` lets it run (JobHeldUser)",
    "PartitionConfig": "its partition cannot run it (PartitionConfig): set slurm_partition in the profile, see `sinfo`",
    "PartitionTimeLimit": "its partition has a shorter time limit (PartitionTimeLimit): lower `runtime`",
    "PartitionNodeLimit": "its partition has too few nodes (PartitionNodeLimit)",
    "BadConstraints": "no node has what it asks for (BadConstraints): see `constraint` and `gpu_model` in the profile",
    "JobHeldAdmin": "it is held by an administrator, or because it failed to start (JobHeldAdmin)",
}


def explain_reason(reason: str) -> str:
    """Explain why a job waits; the text contains the reason as Slurm reports it."""
    return REASONS.get(reason, reason)


def failure_message(state: str) -> str:
    """Explain why a job failed that left no result; the text contains its state."""
    return f"{ENDS.get(state, 'it ended without a result: it could not start, or was killed')} ({state})"


def job_label(job) -> str:
    """Rule and wildcards of a job, for messages."""
    if job.is_group():
        return f"group {job.groupid} of {', '.join(sorted(rule for rule in job.rules))}"
    wildcards = " ".join(str(value) for value in job.wildcards_dict.values())
    return f"{job.name} {wildcards}".strip()


def outputs(job) -> list[str]:
    """Files that exist after the job has succeeded."""
    return [str(file) for file in job.output if not any(is_flagged(file, f) for f in ("temp", "pipe", "service"))]


def digests(job) -> tuple[str, str]:
    """Digest of the files that a job writes (of its rule, if it writes none), and of its commands and parameters."""
    single = list(job.jobs) if job.is_group() else [job]
    files = sorted(str(file) for part in single for file in part.output)
    key = short_digest(os.getcwd(), *(files or [job_label(job)]))
    return key, short_digest(*(f"{part.name} {part.shellcmd} {list(part.params)}" for part in single))


def request_of(job, tag: str) -> Request:
    """The resources that a job asks for, as a request to the cluster."""
    resources = job.resources
    text = {
        name: str(resources[name])
        for name in ("slurm_account", "slurm_partition", "qos", "constraint")
        if resources.get(name)
    }
    return Request(
        name=re.sub(r"[^A-Za-z0-9_.-]+", "-", job_label(job))[:60],
        comment=tag,
        threads=resources["_cores"],
        gpus=resources.get("gpus", 0),
        nodes=resources.get("nodes", 1),
        mem_mb=resources.get("mem_mb"),
        runtime=resources.get("runtime"),
        extra={name.removeprefix("slurm_"): value for name, value in text.items()}
        | _flags(resources.get("slurm_extra")),
        gpu_model=resources.get("gpu_model"),
    )


def _flags(text: str | None) -> dict[str, str | bool]:
    """Options such as ``--exclude=n1 --exclusive``, in the form that submitit needs."""
    pairs = (word.removeprefix("--").partition("=") for word in shlex.split(text or ""))
    return {name: value or True for name, _, value in pairs}


def last_lines(job, log: Path) -> str:
    """The end of the rule's log, or of the job's log if the rule has none."""
    for path in [*map(Path, job.log), log]:
        try:
            lines = path.read_text(errors="replace").splitlines()[-LINES_SHOWN:]
        except OSError:  # it must not keep the failure of the job from being reported
            continue
        if lines or path == log:
            return f"\nlast lines of {path}:\n" + "\n".join(f"  {line}" for line in lines)
    return ""


@dataclass
class Watched:
    """A job that the executor checks: its Snakemake job, its record, and the result of the last check."""

    info: SubmittedJobInfo
    record: Record
    reason: str = ""
    gone_since: float | None = None


def changes(jobs: Iterable[Watched], states: dict[str, State]) -> list[str]:
    """One line per state or reason to wait that is new for at least one job; also updates `reason` of the jobs."""
    new: dict[str, list[Watched]] = {}
    for item in jobs:
        state = states.get(item.record.job_id)
        reason = "" if state is None else state.reason if state.name == "PENDING" else state.name
        if reason != item.reason:
            item.reason = reason
            new.setdefault(reason, []).append(item)
    return [_change(reason, items) for reason, items in new.items() if reason not in NOT_REPORTED]


def _change(reason: str, items: list[Watched]) -> str:
    more = f" and {len(items) - 1} more" if len(items) > 1 else ""
    what = reason.lower() if reason in ENDED or reason == "RUNNING" else f"waiting, {explain_reason(reason)}"
    return f"job {items[0].record.job_id} ({items[0].record.rule}){more}: {what}"
