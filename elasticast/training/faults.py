"""Faults of the machine during training, each reported as one message with a remedy."""

import errno
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from elasticast.config import RunConfig
from elasticast.errors import ElasticASTError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Errors of a full disk: no space, a used-up quota, or a file larger than allowed."""
WORKER = re.compile(r"DataLoader worker \(pid.*?\) (is killed by signal: \w+|exited unexpectedly)")
"""Message of PyTorch if a data loader process ended."""
CONTINUE = "Then start the run again: it continues from its last checkpoint, if it has one"


@contextmanager
def explained(config: RunConfig, out: Path) -> Iterator[None]:
    """Report a full disk, too little memory, and a data loader process that was killed as an `ElasticASTError`.

    The thread that writes TensorBoard events passes its errors on to the main thread. Python would print them as well,
    with a traceback.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    out : Path
        Folder of the run.
    """
    hook = threading.excepthook
    threading.excepthook = lambda args: None if isinstance(args.exc_value, OSError) else hook(args)
    try:
        yield
    except ElasticASTError:
        raise
    except (OSError, MemoryError, RuntimeError) as error:
        if message := _message(error, config, out):
            raise ElasticASTError(f"training of {config.experiment}, seed {config.seed}: {message}") from error
        raise
    finally:
        threading.excepthook = hook


def _message(error: Exception, config: RunConfig, out: Path) -> str | None:
    """The fault and its remedy; None if the error is of another kind."""
    if full := _full_disk(error):
        file = full.filename or out
        return f"{file}: {full.strerror}. Free space or raise the quota. {CONTINUE}"
    train, text = config.train, str(error)
    unit = "clips" if train.batch.clips else "tokens"
    smaller = f"train.batch.{unit} (now {getattr(train.batch, unit)}) or view.max_frames (now {config.view.max_frames})"
    if worker := WORKER.search(text):
        return (
            f"{worker[0]}; the usual cause is too little memory. Set a smaller train.workers (now {train.workers}), or "
            f"give the job more memory (mem_mb). {CONTINUE}"
        )
    if isinstance(error, torch.OutOfMemoryError):
        return (
            f"the GPU has too little memory: {text.splitlines()[0]} Set a smaller {smaller}, set train.precision: "
            "bf16, or train on more GPUs"
        )
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in text or "Cannot allocate memory" in text:
        return (
            f"too little memory. Give the job more (mem_mb), or set a smaller {smaller}, or a smaller train.workers "
            f"(now {train.workers})"
        )
    return None


def _full_disk(error: BaseException | None) -> OSError | None:
    """The error of a full disk that caused `error`; libraries raise their own error after it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        error = error.__cause__ or error.__context__
    return None
