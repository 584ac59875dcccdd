"""The table of events of a prepared dataset: check events against their clips, and write them.

Columns of ``events.parquet``: ``task``, ``id`` (of the clip), ``label``, ``onset`` and ``offset`` (s).
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from elasticast.config.base import TaskKind
from elasticast.data.annotations import Annotations
from elasticast.errors import DataError
from elasticast.files import write_atomic
from elasticast.text import printable

LOG = logging.getLogger(__name__)
COLUMNS = ["task", "id", "label", "onset", "offset"]
SLACK_SECONDS = 0.1
"""How far an event may reach beyond the end of its clip: annotations are rounded, and encoders cut or add some ms."""


def strong_tasks(tasks: dict[str, TaskKind]) -> list[str]:
    """The tasks that have events with times."""
    return [task for task, kind in tasks.items() if kind == "frames"]


def with_clip_labels(annotations: Annotations, tasks: dict[str, TaskKind]) -> Annotations:
    """Give each clip, as its labels for a task of kind ``frames``, the classes of its events.

    Clips without events keep the classes that they have.
    """
    clips = annotations.clips.copy(deep=False)
    for task in strong_tasks(tasks):
        labels = annotations.events[task].groupby("id")["label"].agg(lambda names: sorted(set(names)))
        given = clips[task].tolist() if task in clips else [[]] * len(clips)
        found = clips["id"].map(labels).tolist()
        names = [own if isinstance(own, list) else list(classes) for own, classes in zip(found, given, strict=True)]
        clips[task] = pd.Series(names, clips.index, dtype=object)
    return annotations._replace(clips=clips)


def event_table(
    events: dict[str, pd.DataFrame], clips: pd.DataFrame, tasks: dict[str, TaskKind]
) -> pd.DataFrame | None:
    """Check the events of usable clips, and cut those that end up to :data:`SLACK_SECONDS` after their clip.

    Parameters
    ----------
    events : dict
        Events by task, see :class:`~elasticast.data.annotations.Annotations`.
    clips : DataFrame
        The manifest; ``duration`` is the decoded length.
    tasks : dict
        Kind of each task.

    Returns
    -------
    DataFrame or None
        With the columns :data:`COLUMNS`, in the order of the clips. None if no task has events with times.

    Raises
    ------
    DataError
        If an event does not begin before it ends, or is outside its clip. The message contains where the event is
        annotated, the clip, and its times.
    """
    if not (names := strong_tasks(tasks)):
        return None
    used = clips.loc[clips["status"] == "ok", ["id", "duration"]].reset_index(drop=True)
    table = pd.concat([events[task].assign(task=task) for task in names], ignore_index=True)
    table = table.merge(used.reset_index(names="order"), on="id")
    onset, offset, end = (table[name].to_numpy(np.float64) for name in ("onset", "offset", "duration"))
    _check(table, ~(onset < offset), "begins after it ends; expected onset < offset")
    _check(table, onset < 0, "begins before its clip")
    _check(table, (onset >= end) | (offset > end + SLACK_SECONDS), "is outside its clip")
    if late := int((offset > end).sum()):
        LOG.info("%d events end up to %g s after their clip; they were cut", late, SLACK_SECONDS)
    table["offset"] = np.minimum(offset, end)
    return table.sort_values(["task", "order", "onset", "offset", "label"])[COLUMNS].reset_index(drop=True)


def _check(table: pd.DataFrame, wrong: np.ndarray, problem: str) -> None:
    if not wrong.any():
        return
    row = table.iloc[int(wrong.argmax())]
    raise DataError(
        f"{row['where']}: {row['label']!r} from {row['onset']:g} to {row['offset']:g} s {problem} "
        f"(clip {printable(row['id'])}, {row['duration']:g} s)"
    )


def write_events(table: pd.DataFrame, path: Path) -> None:
    """Write a table of events as a Parquet file."""
    write_atomic(path, lambda file: table.to_parquet(file, index=False))
