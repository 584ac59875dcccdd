"""What a run said of each clip, `predictions.h5`: what intervals are resampled from, and single clips looked up in.

Attributes: ``suite``, ``experiment``, ``seed``, ``dataset``, ``task``, ``model`` (its kind), ``kind`` of the task and
``classes``. A group for each evaluation with the attributes ``x_name`` and ``split``; in it ``id`` utf-8 ``[n]`` and
the targets, ``labels`` int64 (places in ``classes``) and ``first_label`` int64 ``[n + 1]``: clip i has the labels
``first_label[i]`` to ``first_label[i + 1]``; and a group for each x, named ``f"{x:g}"``, in a grid
``f"{x:g}@{compression:g}"``, with the attributes ``x`` and ``compression`` and the logits, float16: ``scores``
``[n, C]``, or where a clip has one label ``predicted`` int32 ``[n]``, the class, and ``score`` ``[n]`` of it.
"""

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from elasticast.config import Evaluation, RunConfig
from elasticast.data.dataset import Clips
from elasticast.hdf5 import writing

_PACKED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_ROWS = 256  # clips of a chunk: a few are read without the others


@contextmanager
def saving(path: Path, suite: str, config: RunConfig) -> Iterator["Predictions"]:
    """Save predictions of a run; they appear at `path` when the `with` block ends without an error, else not at all."""
    with writing(path) as file:
        run = {name: getattr(config, name) for name in ("experiment", "seed", "dataset", "task")}
        file.attrs.update({"suite": suite, **run, "model": config.model.kind})
        yield Predictions(file, path.parent)


class Predictions:
    """Predictions that are being saved, one evaluation after the other.

    Parameters
    ----------
    file : h5py.File
        What to write to.
    folder : Path
        Where it lies.
    """

    def __init__(self, file: h5py.File, folder: Path):
        self.file, self.folder = file, folder
        self._first_of: dict[str, h5py.Group] = {}

    def begin(self, name: str, evaluation: Evaluation, clips: Clips) -> None:
        """What comes next is of this evaluation, on these clips."""
        self.file.attrs.update({"kind": clips.kind, "classes": clips.classes})
        self._group, self._kind = self.file.create_group(name), clips.kind
        self._grid = evaluation.compression is not None
        self._group.attrs.update({"x_name": evaluation.x_name, "split": evaluation.split})
        if evaluation.split in self._first_of:  # the same clips lie in the file once
            for column in ("id", "labels", "first_label"):
                self._group[column] = self._first_of[evaluation.split][column]
            return
        self._first_of[evaluation.split] = self._group
        self._group.create_dataset("id", data=clips.ids, dtype=h5py.string_dtype(), **_PACKED)
        for column in ("labels", "first_label"):
            self._group.create_dataset(column, data=getattr(clips, column), dtype=np.int64, **_PACKED)

    def add(self, x: float, compression: float, logits: Tensor) -> None:
        """Save the logits `[n, C]` of all clips at an x, and how the clips were compressed there."""
        group = self._group.create_group(f"{x:g}@{compression:g}" if self._grid else f"{x:g}")
        group.attrs.update({"x": x, "compression": compression})
        if self._kind == "multi":
            chunks = (min(_ROWS, len(logits)), logits.shape[1])
            scores = group.create_dataset("scores", tuple(logits.shape), np.float16, chunks=chunks, **_PACKED)
            for first in range(0, len(logits), _ROWS):
                scores[first : first + _ROWS] = logits[first : first + _ROWS].to(torch.float16).numpy()
            return
        best = logits.max(1)
        group.create_dataset("predicted", data=best.indices.to(torch.int32).numpy(), **_PACKED)
        group.create_dataset("score", data=best.values.to(torch.float16).numpy(), **_PACKED)

    def room(self, *shape: int) -> Tensor:
        """A float32 tensor in a file without a name, which ends with the tensor: what need not fit in memory."""
        with tempfile.TemporaryFile(dir=self.folder) as file:
            try:
                os.posix_fallocate(file.fileno(), 0, 4 * math.prod(shape))  # later, a full disk would be a crash
            except OSError as error:
                error.filename = str(self.folder)
                raise
            return torch.from_numpy(np.memmap(file, np.float32, "r+", shape=shape))


def points(evaluation: h5py.Group) -> Iterator[h5py.Group]:
    """The group of each point of an evaluation, in the order of x."""
    found = (group for group in evaluation.values() if isinstance(group, h5py.Group))
    return iter(sorted(found, key=lambda group: (group.attrs["x"], group.attrs["compression"])))


def targets(evaluation: h5py.Group, classes: int) -> np.ndarray:
    """`[n, C]` bool, the labels of each clip."""
    counts = np.diff(evaluation["first_label"][:])
    found = np.zeros((len(counts), classes), bool)
    found[np.repeat(np.arange(len(counts)), counts), evaluation["labels"][:]] = True
    return found
