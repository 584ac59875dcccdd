"""Snakemake executor that submits every job through submitit, to Slurm or to this machine (docs/cluster.md)."""

from dataclasses import dataclass, field
from pathlib import Path

from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

from snakemake_executor_plugin_submitit.executor import Executor

__all__ = ["Executor", "ExecutorSettings", "common_settings"]


def _setting(default: object, text: str, **more: object) -> object:
    return field(default=default, metadata={"help": text, "env_var": False, "required": False, **more})


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """The options ``--submitit-...``; how often jobs are looked at is Snakemake's ``--seconds-between-status-checks``."""

    cluster: str = _setting("slurm", "Where jobs run: slurm, or local (this machine).", choices=["slurm", "local"])
    folder: Path = _setting(Path(".snakemake/submitit"), "Folder for the logs and records of jobs.")
    max_requeues: int = _setting(
        20, "How often a job of a checkpointable rule goes on after its time limit before it counts as failed."
    )
    signal_delay: int = _setting(
        120, "Seconds before the time limit at which a job is asked to save itself; at most a third of the limit."
    )
    grace: int = _setting(
        60, "Seconds that a job's result may take to appear on a shared file system after the job has left the queue."
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
