"""A Snakemake job in the terms of a scheduler, and a scheduler's in those of a person."""

import os
import re
import shlex
from pathlib import Path

from snakemake.io import is_flagged

from snakemake_executor_plugin_submitit.clusters import Request
from snakemake_executor_plugin_submitit.records import short_digest

LINES_SHOWN = 20
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
    """The end of the rule's own log, or of the job's where the rule has none."""
    own = [Path(path) for path in job.log if Path(path).is_file() and Path(path).stat().st_size]
    for path in [*own, log]:
        if path.is_file():
            lines = path.read_text(errors="replace").splitlines()[-LINES_SHOWN:]
            return f"\nlast lines of {path}:\n" + "\n".join(f"  {line}" for line in lines)
    return ""
