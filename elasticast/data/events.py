"""Events of clips: class, onset and offset (strong labels), and what share of each frame they cover.

A prepared dataset with tasks of kind ``frames`` has the table ``events.parquet``, see
:mod:`elasticast.data.event_table`. Times are in seconds from the start of the clip.

Shape legend: E events, C classes, T frames, n clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from elasticast.config import RunConfig, TaskKind
from elasticast.data.prepared import REMEDY, read_rows
from elasticast.errors import DataError

EVENTS = "events.parquet"
"""File of a prepared dataset with the events of all usable clips."""


@dataclass(frozen=True)
class Events:
    """Events of some clips, sorted by clip.

    Attributes
    ----------
    clip : ndarray
        `[E]` int64, index of the clip.
    label : ndarray
        `[E]` int64, index of the class.
    onset, offset : ndarray
        `[E]` float64. [s]
    """

    clip: np.ndarray
    label: np.ndarray
    onset: np.ndarray
    offset: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int, float, float]]) -> "Events":
        """Events from rows of clip, class, onset and offset."""
        clip, label, onset, offset = np.array(rows, np.float64).reshape(-1, 4).T
        return cls(clip.astype(np.int64), label.astype(np.int64), onset, offset)._sorted()

    def __len__(self) -> int:
        return len(self.clip)

    def select(self, rows: np.ndarray) -> "Events":
        """The events at these indices, or where this mask is True."""
        return Events(self.clip[rows], self.label[rows], self.onset[rows], self.offset[rows])

    def of_clip(self, clip: int) -> "Events":
        """The events of one clip."""
        return self.select(np.arange(*np.searchsorted(self.clip, [clip, clip + 1])))

    def _sorted(self) -> "Events":
        return self.select(np.lexsort((self.label, self.offset, self.onset, self.clip)))

    def merged(self) -> "Events":
        """Join events of the same clip and class that overlap or touch."""
        if not len(self):
            return self
        events = self.select(np.lexsort((self.onset, self.label, self.clip)))
        # one number per clip and class: the running maximum of the ends must not reach into the next group
        key = events.clip * (events.label.max() + 1) + events.label
        group = np.cumsum(np.diff(key, prepend=-1) != 0)
        span = events.offset.max() + 1
        ends = np.maximum.accumulate(events.offset + group * span) - group * span
        first = np.ones(len(events), bool)
        first[1:] = (group[1:] != group[:-1]) | (events.onset[1:] > ends[:-1])
        last = np.append(np.flatnonzero(first)[1:], len(events)) - 1
        joined = events.select(first)
        return Events(joined.clip, joined.label, joined.onset, ends[last])._sorted()

    def until(self, seconds: np.ndarray) -> "Events":
        """Cut the events at the end of shortened clips, `[n]` s; events after the end are left out."""
        end = np.asarray(seconds)[self.clip]
        kept = self.onset < end
        return Events(self.clip[kept], self.label[kept], self.onset[kept], np.minimum(self.offset, end)[kept])

    def repeated(self, every: float, until: float) -> "Events":
        """The events of clips that are repeated every `every` s, until `until` s."""
        if not len(self):
            return self
        copies = np.arange(max(1, int(np.ceil(until / every - 1e-9))))
        shift = (copies * every).repeat(len(self))
        events = self.select(np.tile(np.arange(len(self)), len(copies)))
        events = Events(events.clip, events.label, events.onset + shift, np.minimum(events.offset, every) + shift)
        return events._sorted().until(np.full(self.clip.max() + 1, until))

    def shares(self, classes: int, frames: int, hop: float) -> Tensor:
        """Share of each frame that the events cover, for the events of one clip.

        Frame t is the time from ``t * hop`` to ``(t + 1) * hop``.

        Parameters
        ----------
        classes, frames : int
            Number of classes C, and of frames T.
        hop : float
            Length of a frame. [s]

        Returns
        -------
        Tensor
            `[C, T]` float32 in [0, 1].
        """
        begin = np.arange(frames) * hop
        covered = np.minimum(self.offset[:, None], begin + hop) - np.maximum(self.onset[:, None], begin)
        shares = np.zeros((classes, frames))
        np.add.at(shares, self.label, covered.clip(min=0) / hop)
        return torch.from_numpy(shares.clip(max=1)).float()


def check_frame_head(config: RunConfig, kind: TaskKind) -> None:
    """Check that a model computes logits of time patches if its task, of this kind, has events.

    Raises
    ------
    DataError
        If it does not.
    """
    if kind == "frames" and not config.model.traits.frames:
        raise DataError(
            f"model.frame_head: the model of {config.experiment} ({config.model.kind}) has no frame head, but task "
            f"{config.task!r} of {config.dataset} is of kind 'frames'; train an ElasticAST or AST with one"
        )


class Mixed(NamedTuple):
    """A clip that is mixed into another one, which has the share `share` in the sum."""

    clip: int
    share: float


def frame_labels(
    events: Events, clip: int, partner: Mixed | None, seconds: np.ndarray, size: tuple[int, int, float], fill: str
) -> Tensor:
    """Labels of the frames of a clip, `[C, T]`: the share of each frame that events cover.

    Parameters
    ----------
    events : Events
        Events of all clips.
    clip : int
        The clip.
    partner : Mixed or None
        The clip that it is mixed with. The labels are mixed as the waveforms are.
    seconds : ndarray
        `[n]`, length of each clip. [s]
    size : tuple
        Number of classes C, number of frames T, and length of a frame (s).
    fill : {"repeat", "zeros"}
        What follows a shorter partner, see :func:`~elasticast.data.augment.mixup`.
    """
    labels = events.of_clip(clip).shares(*size)
    if partner is None:
        return labels
    end, own = float(seconds[clip]), float(seconds[partner.clip])
    other = events.of_clip(partner.clip).repeated(own if fill == "repeat" else max(own, end), end)
    return partner.share * labels + (1 - partner.share) * other.shares(*size)


def read_events(prepared: Path, task: str, ids: list[str], classes: list[str]) -> Events:
    """Verify and read the events of a task. Events of a class that overlap or touch are merged.

    Parameters
    ----------
    prepared : Path
        Folder of the prepared dataset.
    task : str
        Task of kind ``frames``.
    ids, classes : list of str
        Clips and classes, in the order of their indices. Events of other clips are left out.

    Raises
    ------
    DataError
        If the file is missing or was changed, or if it has a label that is none of the classes.
    """
    path = prepared / EVENTS
    table = read_rows(path)
    table = table[(table["task"] == task) & table["id"].isin(ids)]
    label = pd.Index(classes).get_indexer(table["label"])
    if (label < 0).any():
        row = table[label < 0].iloc[0]
        raise DataError(f"{path}: {task} of clip {row['id']!r}: {row['label']!r} is no class in classes.json; {REMEDY}")
    clip = pd.Index(ids).get_indexer(table["id"])
    times = (table[name].to_numpy(np.float64) for name in ("onset", "offset"))
    return Events(clip.astype(np.int64), label.astype(np.int64), *times)._sorted().merged()
