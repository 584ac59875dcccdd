"""Checkpoints that an interrupted run resumes from, and the files of a trained model."""

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from elasticast.config import RunConfig
from elasticast.data.features import Norm
from elasticast.errors import DataError
from elasticast.files import write_atomic, write_json


def load_checkpoint(path: Path, identity: str) -> dict[str, Any] | None:
    """Read a checkpoint.

    Parameters
    ----------
    path : Path
        Checkpoint file.
    identity : str
        Digest of the settings, code and data of the run that resumes.

    Returns
    -------
    dict or None
        The saved state; None if there is no checkpoint, or if it has another identity.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: damaged checkpoint, delete it to start anew: {error}") from None
    return state if state["identity"] == identity else None


def save_model(folder: Path, model: nn.Module, config: RunConfig, norm: Norm, classes: list[str], kind: str) -> None:
    """Write the weights to `model.safetensors`, and what is needed to use them to `model.json`."""
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_atomic(folder / "model.safetensors", lambda file: save_file(weights, file))
    content = {"format": "elasticast-1", "task": config.task, "kind": kind, "classes": classes}
    content |= {"norm": {"mean": norm.mean, "std": norm.std}, "config": config.model_dump(mode="json")}
    write_json(folder / "model.json", content)
