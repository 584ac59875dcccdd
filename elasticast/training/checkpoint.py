"""Checkpoints that an interrupted run resumes from, and the files of a trained model."""

import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from elasticast.checksums import read_record, verified, write_record
from elasticast.config import RunConfig
from elasticast.config.model.own_code import allowed_source
from elasticast.data.norm import Norm
from elasticast.errors import DataError, ElasticASTError
from elasticast.files import replacing_folder, write_atomic
from elasticast.models.adapters import trained_state
from elasticast.models.trained import BASE, CODE_FILE, MODEL_FILES, first_nonfinite
from elasticast.progress import LOG

STATE, RECORD = "state.pt", "checkpoint.json"
KEPT = 2
"""Number of checkpoints that are kept: the last one, and another one in case the last one is damaged."""
CHECKPOINT = re.compile(r"step-(\d+)")


class Checkpoints:
    """The checkpoints of one run, ``checkpoint/step-N``.

    A checkpoint is a folder with the state and a record. The record holds the checksum of the state and the identity of
    the run. The folder is renamed when it is complete, so a checkpoint is complete or does not exist.

    Parameters
    ----------
    run : Path
        Folder of the run.
    identity : dict
        Settings, code, data and initial weights of the run, as JSON values. A checkpoint with another identity is not
        used.
    """

    def __init__(self, run: Path, identity: dict[str, Any]):
        self.run, self.folder, self.identity = run, run / "checkpoint", identity

    def load(self) -> dict[str, Any] | None:
        """Read the last checkpoint, or the one before if the last one is damaged.

        If the checkpoints have another identity, they are moved to ``replaced-N`` in the folder of the run.

        Returns
        -------
        dict or None
            The saved state; None if there is no checkpoint with the identity of this run.

        Raises
        ------
        DataError
            If all checkpoints are damaged.
        """
        damaged = []
        for path in saved_checkpoints(self.folder):
            try:
                record = read_record(path / RECORD, "it is not used")
                if record["identity"] != self.identity:
                    return self._move_aside(path, record["identity"])
                return _read_state(path)
            except DataError as error:
                damaged.append(path)
                LOG.warning("damaged checkpoint %s: %s", path, error)
        if damaged:
            raise DataError(
                f"{self.folder}: all checkpoints are damaged ({', '.join(path.name for path in damaged)}); restore one "
                "from a backup, or delete this folder to train from the start"
            )
        return None

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Save a checkpoint, and remove all but the last :data:`KEPT`. If this fails, earlier ones are unchanged.

        Raises
        ------
        ElasticASTError
            If a weight, or a value of the optimiser, is not finite.
        """
        _refuse_nonfinite(_tensors(state), f"{self.run}: checkpoint of step {step}")
        path = self.folder / f"step-{step}"
        with replacing_folder(path) as part:
            write_atomic(part / STATE, lambda file: torch.save(state, file))
            write_record(part / RECORD, {"step": step, "identity": self.identity}, [part / STATE])
        # a checkpoint of a later step is damaged, otherwise the run would have resumed from it
        others = saved_checkpoints(self.folder)
        earlier = [other for other in others if _step(other) < step]
        for other in set(others) - {path, *earlier[: KEPT - 1]}:
            shutil.rmtree(other)

    def _move_aside(self, path: Path, identity: dict[str, Any]) -> None:
        """Move all checkpoints and the history of the run to ``replaced-N``, and say what differs."""
        number = 1
        while (aside := self.run / f"replaced-{number}").exists():
            number += 1
        (aside / self.folder.name).mkdir(parents=True)
        for saved in saved_checkpoints(self.folder):
            saved.rename(aside / self.folder.name / saved.name)
        if (self.run / "history").exists():
            (self.run / "history").rename(aside / "history")
        LOG.warning(
            "%s belongs to a run with other inputs, so training starts from the beginning. The old checkpoints and "
            "history are kept in %s. What differs (old -> new): %s",
            path,
            aside,
            "; ".join(_changes(identity, self.identity)),
        )


def saved_checkpoints(folder: Path) -> list[Path]:
    """Folders of all checkpoints of a run, the last one first; `folder` is the run's ``checkpoint``."""
    found = [path for path in folder.glob("step-*") if CHECKPOINT.fullmatch(path.name)]
    return sorted(found, key=_step, reverse=True)


def _step(path: Path) -> int:
    return int(CHECKPOINT.fullmatch(path.name)[1])


def _read_state(path: Path) -> dict[str, Any]:
    file = verified(path / STATE, path / RECORD, "it is not used")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:  # saved by a version of torch that differs
        raise DataError(f"{file}: cannot be read: {str(error).splitlines()[:1]}") from None


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The entries in which two identities differ, such as ``settings.train.lr: 0.001 -> 0.002``."""
    before, after = _flat(old), _flat(new)
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return [f"{key}: {before.get(key)} -> {after.get(key)}" for key in keys]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _tensors(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Weights and values of the optimiser in a state, by name."""
    tensors = dict(state["model"])
    for index, values in state["optimizer"]["state"].items():
        tensors |= {f"{name} of parameter {index} in the optimiser": value for name, value in values.items()}
    return {name: value for name, value in tensors.items() if isinstance(value, torch.Tensor)}


def _refuse_nonfinite(tensors: dict[str, torch.Tensor], what: str) -> None:
    if name := first_nonfinite(tensors):
        raise ElasticASTError(
            f"{what}: not saved, because {name} is not finite; try a lower train.lr, a longer train.warmup_steps, or "
            "train.grad_clip"
        )


def save_model(
    folder: Path,
    model: nn.Module,
    config: RunConfig,
    norm: Norm,
    classes: list[str],
    kind: str,
    base: dict[str, str] | None = None,
) -> None:
    """Write the weights to `model.safetensors`, and what is needed to use them to `model.json`.

    `model.json` is a record: it holds the checksum of itself and of the weights. The file of a model of the user is
    copied to `model_code.py`, and its checksum is in the record too. With `base`, the record of the weights that a
    model adapted (:func:`base_record`), only the weights that it trained are
    written.

    Raises
    ------
    ElasticASTError
        If a weight is not finite.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in _saved(model, base).items()}
    file, about = (folder / name for name in MODEL_FILES)
    _refuse_nonfinite(weights, str(file))
    write_atomic(file, lambda part: save_file(weights, part))
    content = {"format": "elasticast-1", "task": config.task, "kind": kind, "classes": classes}
    content |= {"norm": {"mean": norm.mean, "std": norm.std}, "config": config.model_dump(mode="json")}
    content |= {BASE: base} if base else {}
    files = [file]
    if (source := allowed_source(config.model)) is not None:
        files.append(folder / CODE_FILE)
        write_atomic(files[-1], lambda part: part.write_bytes(source))
    write_record(about, content, files)


def _saved(model: nn.Module, base: dict[str, str] | None) -> dict[str, torch.Tensor]:
    return model.state_dict() if base is None else trained_state(model)


def base_record(init: str, source: str, sha256: str, run: Path) -> dict[str, str]:
    """What `model.json` holds of the weights that a run adapted.

    Parameters
    ----------
    init, source : str
        The setting `model.init`, and what it resolves to, see :func:`~elasticast.models.pretrained.init_source`.
    sha256 : str
        Hash of the weights.
    run : Path
        Folder of the run. A path that was not given as an absolute one is recorded relative to it, so that results can
        move as a whole.
    """
    if Path(init).is_absolute() or not Path(source).exists():  # weights of a hub have no path
        return {"source": source, "sha256": sha256}
    return {"source": os.path.relpath(source, run), "sha256": sha256}
