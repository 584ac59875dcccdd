"""Records stored with a result: versions, git commit, machine."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from elasticast.config import RunConfig, deciding, digest
from elasticast.config.model.own_code import code_sha256
from elasticast.provenance.stages import PACKAGE

PACKAGES = (
    "elasticast", "torch", "torchaudio", "xformers", "mamba_ssm", "numpy", "pandas", "scikit-learn", "h5py",
    "snakemake",
)  # fmt: skip


def git_commit(folder: Path = PACKAGE) -> str | None:
    """Commit of the checkout that holds `folder`, with ``-dirty`` if files differ from it; None outside of git."""
    # `git describe --dirty` would lock the index: jobs would disturb each other, and a killed one would leave the lock
    git = ["git", "--no-optional-locks", "-C", str(folder)]
    try:
        commit, changes = (
            subprocess.run([*git, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changes else commit


def versions() -> dict[str, str]:
    """Versions of Python and of the packages results depend on."""
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "not installed"
    return installed


def provenance() -> dict[str, Any]:
    """Record of code, versions, machine and command that is stored with every result."""
    return {
        "git_commit": git_commit(),
        "versions": versions(),
        "machine": {"system": platform.platform(), "processor": _processor(), "cpus": os.cpu_count()},
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def job_record(
    code: str, config: RunConfig, data_sha256: str, *, device: str, attention_backend: str, threads: int
) -> dict[str, Any]:
    """Record of a training or evaluation job: settings, data, device and provenance.

    Parameters
    ----------
    code : str
        Digest of the code that decides the result.
    config : RunConfig
        Settings of the run.
    data_sha256 : str
        Digest of the prepared dataset.
    device, attention_backend, threads
        Device, attention backend and number of threads, see :func:`elasticast.models.device.compute_record`.
    """
    sha256 = code_sha256(config.model)
    return {
        "experiment": config.experiment,
        "seed": config.seed,
        "dataset": config.dataset,
        "task": config.task,
        "config_digest": digest(deciding(config)),
        "code_digest": code,
        **({} if sha256 is None else {"model_file_sha256": sha256}),
        "data_sha256": data_sha256,
        "device": device,
        "attention_backend": attention_backend,
        "threads": threads,
        **provenance(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
