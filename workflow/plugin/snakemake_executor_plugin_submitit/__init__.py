"""Snakemake executor that submits every job through submitit, to Slurm or to this machine (docs/cluster.md)."""

from dataclasses import dataclass, field
from pathlib import Path

from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

from snakemake_executor_plugin_submitit.executor import Executor

__all__ = ["Executor", "ExecutorSettings", "common_settings"]


def _about(text: str, **more: object) -> dict[str, object]:
    """What Snakemake has to know of an option."""
    return {"help": text, "env_var": False, "required": False, **more}


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """The options ``--submitit-...``; how often jobs are looked at is ``--seconds-between-status-checks``."""

    cluster: str = field(
        default="slurm",
        metadata=_about("Where jobs run: slurm, or local (this machine).", choices=["slurm", "local"]),
    )
    folder: Path = field(
        default=Path(".snakemake/submitit"), metadata=_about("Folder for the logs and records of jobs.")
    )
    max_requeues: int = field(
        default=20,
        metadata=_about("How often a job of a checkpointable rule goes on after its time limit before it has failed."),
    )
    signal_delay: int = field(
        default=120,
        metadata=_about("Seconds before the time limit at which a job is asked to save itself; a third of it at most."),
    )
    grace: int = field(
        default=60,
        metadata=_about("Seconds that the result of a job may take to appear after the job has left the queue."),
    )


common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    # values of environment variables would be readable in the job's command line; sbatch hands on the environment
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
    pass_group_args=True,
)
