"""Shares the GPUs of one machine between jobs, also those of other Snakemakes of the same user.

A job holds a lock file for each of its GPUs. The lock ends with the process, however that ends.
"""

import contextlib
import fcntl
import os
import subprocess
import tempfile
from pathlib import Path


def visible_devices() -> list[str]:
    """The GPUs in CUDA_VISIBLE_DEVICES; if that is not set, all GPUs that nvidia-smi lists."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    except FileNotFoundError:
        return []
    return [str(i) for i, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]


def take(pool: list[str], count: int, held: contextlib.ExitStack) -> list[str] | None:
    """Lock `count` free devices of `pool` until `held` closes; if fewer are free, lock none and return None."""
    with contextlib.ExitStack() as attempt:
        taken = []
        for name in pool:
            if len(taken) < count and _lock(name, attempt):
                taken.append(name)
        if len(taken) < count:
            return None
        held.enter_context(attempt.pop_all())
    return taken


def _lock(name: str, held: contextlib.ExitStack) -> bool:
    file = held.enter_context((Path(tempfile.gettempdir()) / f"submitit-gpu-{os.getuid()}-{name}.lock").open("w"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
