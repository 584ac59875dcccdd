"""Snakemake executor that runs every job through submitit, on Slurm or on this machine (docs/cluster.md)."""

from dataclasses import dataclass, field
from pathlib import Path

from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

from snakemake_executor_plugin_submitit.executor import Executor

__all__ = ["Executor", "ExecutorSettings", "common_settings"]


def _about(text: str, **more: object) -> dict[str, object]:
    """The metadata of an option for Snakemake."""
    return {"help": text, "env_var": False, "required": False, **more}


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """The options ``--submitit-...``; ``--seconds-between-status-checks`` sets how often jobs are checked."""

    cluster: str = field(
        default="slurm",
        metadata=_about("Where jobs run: slurm, or local (this machine).", choices=["slurm", "local"]),
    )
    folder: Path = field(
        default=Path(".snakemake/submitit"), metadata=_about("Folder for the logs and records of jobs.")
    )
    max_requeues: int = field(
        default=20,
        metadata=_about("How many times a job of a checkpointable rule is requeued at its time limit before it fails."),
    )
    signal_delay: int = field(
        default=120,
        metadata=_about(
            "How long before its time limit (s) a job is asked to save a checkpoint; at most a third of the limit."
        ),
    )
    grace: int = field(
        default=60,
        metadata=_about("Seconds to wait for the result of a job that has left the queue."),
    )


common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    # otherwise the job's command line would show the values; sbatch passes the environment on anyway
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
    pass_group_args=True,
)
