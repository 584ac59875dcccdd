"""A Snakemake job in the terms of a scheduler, and a scheduler's in those of a person."""

import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from snakemake.io import is_flagged
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from snakemake_executor_plugin_submitit.clusters import Request, State
from snakemake_executor_plugin_submitit.records import Record, short_digest

LINES_SHOWN = 20
NOT_REPORTED = ("", "None", "COMPLETING", "COMPLETED")
"""Reasons and states that :func:`changes` leaves out."""
ENDS = {
    "CANCELLED": "it was cancelled",
    "TIMEOUT": "it reached its time limit: give the rule more `runtime` (set-resources in the profile)",
    "DEADLINE": "it reached its time limit: give the rule more `runtime` (set-resources in the profile)",
    "OUT_OF_MEMORY": "it ran out of memory: give the rule more `mem_mb` (set-resources in the profile)",
    "PREEMPTED": "another job took its place, and its rule cannot save itself; a new start begins it anew",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node failed",
    "GONE": "the queue does not know it any more and it left no result: it was killed, with its node or by hand",
}
REASONS = {
    "Resources": "no node is free (Resources)",
    "Priority": "others are ahead (Priority)",
    "BeginTime": "it was requeued and starts again in a moment (BeginTime)",
    "JobHeldUser": "it is held: `scontrol release JOB` lets it run (JobHeldUser)",
    "PartitionConfig": "its partition cannot run it (PartitionConfig): see `sinfo`, and slurm_partition in the profile",
    "PartitionTimeLimit": "its partition allows less time (PartitionTimeLimit): lower `runtime`, or take another",
    "PartitionNodeLimit": "its partition has not so many nodes (PartitionNodeLimit)",
    "BadConstraints": "no node is like that (BadConstraints): see `constraint` and `gpu_model` in the profile",
    "JobHeldAdmin": "it is held, by an administrator or after failed starts (JobHeldAdmin)",
}


def explained(reason: str) -> str:
    """A reason of the scheduler's in words, with the word to search for."""
    return REASONS.get(reason, reason)


def failure(state: str) -> str:
    """Why a job without a result has failed."""
    return f"{ENDS.get(state, 'it ended without a result: it could not be started, or was killed')} ({state})"


def described(job) -> str:
    """Rule and wildcards."""
    if job.is_group():
        return f"group {job.groupid} of {', '.join(sorted(rule for rule in job.rules))}"
    wildcards = " ".join(str(value) for value in job.wildcards_dict.values())
    return f"{job.name} {wildcards}".strip()


def outputs(job) -> list[str]:
    """Files that are there when the job has ended well."""
    return [str(file) for file in job.output if not any(is_flagged(file, f) for f in ("temp", "pipe", "service"))]


def digests(job) -> tuple[str, str]:
    """What a job makes (or is, without outputs), and what it is asked to do."""
    single = list(job.jobs) if job.is_group() else [job]
    files = sorted(str(file) for part in single for file in part.output)
    key = short_digest(os.getcwd(), *(files or [described(job)]))
    return key, short_digest(*(f"{part.name} {part.shellcmd} {list(part.params)}" for part in single))


def request_of(job, tag: str) -> Request:
    """What the job asks of the cluster."""
    found = job.resources
    text = {
        name: str(found[name]) for name in ("slurm_account", "slurm_partition", "qos", "constraint") if found.get(name)
    }
    return Request(
        name=re.sub(r"[^A-Za-z0-9_.-]+", "-", described(job))[:60],
        comment=tag,
        threads=found["_cores"],
        gpus=found.get("gpus", 0),
        nodes=found.get("nodes", 1),
        mem_mb=found.get("mem_mb"),
        runtime=found.get("runtime"),
        extra={name.removeprefix("slurm_"): value for name, value in text.items()} | _flags(found.get("slurm_extra")),
        gpu_model=found.get("gpu_model"),
    )


def _flags(text: str | None) -> dict[str, str | bool]:
    """``--exclude=n1 --exclusive`` as submitit takes it."""
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
    """A job that the executor checks: Snakemake's view of it, its record, and what the last check saw."""

    info: SubmittedJobInfo
    record: Record
    reason: str = ""
    gone_since: float | None = None


def changes(jobs: Iterable[Watched], states: dict[str, State]) -> list[str]:
    """One line for each reason to wait that is new for some of the jobs; remembers the reasons in the jobs."""
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
    what = "running" if reason == "RUNNING" else f"waiting, {explained(reason)}"
    return f"job {items[0].record.job_id} ({items[0].record.rule}){more}: {what}"
