"""The file `predictions.h5`: predictions of a run for each clip. Confidence intervals are computed from it.

Layout of the file, for n clips and C classes:

- attributes: ``suite``, ``experiment``, ``seed``, ``dataset``, ``task``, ``model`` (kind of the model), ``kind`` (of
  the task) and ``classes``;
- one group per evaluation, with the attributes ``x_name``, ``split`` and ``listed`` (number of clips in the published
  list, see :func:`~elasticast.data.manifest.read_listed`) and the datasets ``id`` (utf-8 ``[n]``), ``labels`` (int64,
  indices into ``classes``) and ``first_label`` (int64 ``[n + 1]``). The labels of clip i are
  ``labels[first_label[i]:first_label[i + 1]]``;
- in it one group per x, named ``f"{x:g}"``, or ``f"{x:g}@{compression:g}"`` in a grid, with the attributes ``x`` and
  ``compression``. Its dataset ``scores`` (float16 ``[n, C]``) holds log-probabilities if the model was trained with
  cross-entropy, else logits, and sigmoids in evaluations with ``scores: released_fp16_sigmoid``. All metrics can be
  computed from it. Single-label tasks also have ``predicted`` (int32 ``[n]``), the class with the largest score before
  rounding to float16.

Tasks of kind ``frames`` also have:

- in the group of an evaluation, the events of the clips: ``event_clip``, ``event_label`` (int64 indices), ``onset`` and
  ``offset`` (float64, s), and the attribute ``detection`` (JSON);
- in the group of an x, the group ``frames``: the logits of all time patches, ``scores`` (float16 ``[R, C]``), ``first``
  (int64 ``[n + 1]``; those of clip i are ``scores[first[i]:first[i + 1]]``), ``seconds`` (float64 ``[n]``), and the
  attributes ``step`` and ``lead``, see :class:`~elasticast.evaluation.frames.Layout`.
"""

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from elasticast.config import Evaluation, RunConfig
from elasticast.config.evaluation import Detection
from elasticast.data.dataset import Clips
from elasticast.data.events import Events
from elasticast.evaluation.frames import FrameScores
from elasticast.hdf5 import write_column, writing

EVENT_COLUMNS = ("event_clip", "event_label", "onset", "offset")
_PACKED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_NUMBERS = {**_PACKED, "fletcher32": True}  # a checksum per chunk; HDF5 has none for texts
_ROWS = 256  # clips per HDF5 chunk, so that a few clips can be read without the rest


@contextmanager
def saving(path: Path, suite: str, config: RunConfig) -> Iterator["Predictions"]:
    """Save the predictions of a run. The file appears at `path` only if the `with` block ends without an error."""
    with writing(path) as file:
        run = {name: getattr(config, name) for name in ("experiment", "seed", "dataset", "task")}
        file.attrs.update({"suite": suite, **run, "model": config.model.kind})
        file.attrs["one_length"] = config.model.traits.one_length
        yield Predictions(file, path.parent)


class Predictions:
    """Writer of predictions, one evaluation after another.

    Parameters
    ----------
    file : h5py.File
        Open file to write to.
    folder : Path
        Folder for temporary files.
    """

    def __init__(self, file: h5py.File, folder: Path):
        self.file, self.folder = file, folder
        self._first_of: dict[str, h5py.Group] = {}

    def begin(self, name: str, evaluation: Evaluation, clips: Clips, listed: int) -> None:
        """Start a new evaluation on `clips` out of `listed` clips; later :meth:`add` calls belong to it."""
        self.file.attrs.update({"kind": clips.kind, "classes": clips.classes})
        self._group, self._kind = self.file.create_group(name), clips.kind
        self._grid = evaluation.compression is not None
        self._group.attrs.update({"x_name": evaluation.x_name, "split": evaluation.split, "listed": listed})
        if clips.events is not None:
            self._group.attrs["detection"] = (evaluation.detection or Detection()).model_dump_json()
        if evaluation.split in self._first_of:  # store the clips of a split only once: these are links
            for column, dataset in self._first_of[evaluation.split].items():
                if isinstance(dataset, h5py.Dataset):
                    self._group[column] = dataset
            return
        self._first_of[evaluation.split] = self._group
        self._group.create_dataset("id", data=clips.ids, dtype=h5py.string_dtype(), **_PACKED)
        for column in ("labels", "first_label"):
            self._group.create_dataset(column, data=getattr(clips, column), dtype=np.int64, **_NUMBERS)
        if clips.events is not None:
            for column, values in zip(EVENT_COLUMNS, astuple(clips.events), strict=True):
                write_column(self._group, column, values)

    def add(self, x: float, compression: float, scores: np.ndarray, frames: FrameScores | None = None) -> None:
        """Save the scores `[n, C]` of all clips at `x`, evaluated at `compression`, and the scores of time patches.

        See :func:`~elasticast.evaluation.metrics.ranking_scores`.
        """
        group = self._group.create_group(f"{x:g}@{compression:g}" if self._grid else f"{x:g}")
        group.attrs.update({"x": x, "compression": compression})
        _write_scores(group, scores)
        if self._kind == "single":
            group.create_dataset("predicted", data=scores.argmax(1).astype(np.int32), **_NUMBERS)
        if frames is not None:
            self._add_frames(group.create_group("frames"), frames)

    def _add_frames(self, group: h5py.Group, frames: FrameScores) -> None:
        layout = frames.layout
        group.attrs.update({"step": layout.step, "lead": layout.lead})
        for name in ("first", "seconds"):
            group.create_dataset(name, data=getattr(layout, name), **_NUMBERS)
        _write_scores(group, frames.logits.numpy())

    def allocate(self, *shape: int) -> Tensor:
        """Allocate a float32 tensor on disk, for logits that may not fit into memory.

        The tensor is backed by a temporary file without a name, which is deleted together with the tensor.

        Raises
        ------
        OSError
            If the disk is full.
        """
        with tempfile.TemporaryFile(dir=self.folder) as file:
            try:
                # reserve the space now: writing to a full disk later would crash the process
                os.posix_fallocate(file.fileno(), 0, 4 * math.prod(shape))
            except OSError as error:
                error.filename = str(self.folder)
                raise
            return torch.from_numpy(np.memmap(file, np.float32, "r+", shape=shape))


def _write_scores(group: h5py.Group, scores: np.ndarray) -> None:
    """Write the dataset `scores`, float16, some rows at a time."""
    chunks = (min(_ROWS, len(scores)), scores.shape[1])
    saved = group.create_dataset("scores", scores.shape, np.float16, chunks=chunks, **_NUMBERS)
    for first in range(0, len(scores), _ROWS):
        saved[first : first + _ROWS] = scores[first : first + _ROWS].astype(np.float16)


def points(evaluation: h5py.Group) -> Iterator[h5py.Group]:
    """Groups of the points of an evaluation, sorted by x and compression."""
    groups = (group for group in evaluation.values() if isinstance(group, h5py.Group))
    return iter(sorted(groups, key=lambda group: (group.attrs["x"], group.attrs["compression"])))


def targets(evaluation: h5py.Group, classes: int) -> np.ndarray:
    """Targets `[n, C]` bool: True for the labels of each clip."""
    counts = np.diff(evaluation["first_label"][:])
    matrix = np.zeros((len(counts), classes), bool)
    matrix[np.repeat(np.arange(len(counts)), counts), evaluation["labels"][:]] = True
    return matrix


def saved_events(evaluation: h5py.Group) -> Events:
    """Events of the clips of an evaluation of a task of kind ``frames``."""
    return Events(*(evaluation[name][:] for name in EVENT_COLUMNS))
