"""The manifest: a table with the source, the labels and the status of every clip."""

from enum import IntEnum
from pathlib import Path

import pandas as pd

from elasticast.checksums import read_record
from elasticast.config.base import TaskKind
from elasticast.data.prepared import REMEDY, SUMMARY, read_rows, verified_file
from elasticast.files import read_json, write_atomic, write_text

COLUMNS = ("id", "split", "path", "key", "start", "duration", "sample_rate", "channels", "status", "reason")
LACKING = "known"
"""Further column, only if clips lack labels: the name of what is :class:`Known` of each."""


class Known(IntEnum):
    """What is known of the sounds in a clip: nothing, which classes occur in it but not when, or all labels."""

    NOTHING = 0
    CLASSES = 1
    ALL = 2


def reason_kind(reason: str) -> str:
    """The kind of a reason, without the details in parentheses.

    Examples
    --------
    >>> reason_kind("longer than its segment (12.3 s of 11.0 s)")
    'longer than its segment'
    """
    return reason.split(" (")[0]


def class_lists(
    clips: pd.DataFrame, tasks: dict[str, TaskKind], published: dict[str, list[str]] | None = None
) -> dict[str, dict]:
    """Kind and class names of each task.

    The classes are the published ones if there are any, otherwise the sorted labels of all annotated clips, including
    rejected ones.
    """
    lists = {}
    for task, kind in tasks.items():
        names = (published or {}).get(task) or sorted({name for names in clips[task] for name in names})
        lists[task] = {"kind": kind, "classes": list(names)}
    return lists


def write_manifest(clips: pd.DataFrame, tasks: dict[str, TaskKind], path: Path) -> None:
    """Write the manifest as a Parquet file."""
    columns = [*COLUMNS, *([LACKING] if lack_labels(clips) else []), *tasks]
    table = clips.assign(**{LACKING: clips[LACKING].map(lambda known: Known(known).name.lower())})[columns]
    write_atomic(path, lambda file: table.to_parquet(file, index=False))


def lack_labels(clips: pd.DataFrame) -> bool:
    """Whether some clips lack labels."""
    return bool((clips[LACKING] != Known.ALL).any())


def read_manifest(path: Path, split: str | None = None) -> pd.DataFrame:
    """Verify and read a manifest; see :func:`~elasticast.data.prepared.read_rows`.

    If `split` is given, return only the usable clips of that split, in the order of the store.
    """
    clips = read_rows(path)
    if split is None:
        return clips
    return clips[(clips["split"] == split) & (clips["status"] == "ok")].reset_index(drop=True)


def read_classes(path: Path) -> dict[str, dict]:
    """Verify and read ``classes.json``: ``{task: {"kind": ..., "classes": [...]}}``."""
    return read_json(verified_file(path))


def read_data_hash(prepared: Path) -> str:
    """SHA-256 of the audio and labels of a prepared dataset."""
    return read_record(prepared / SUMMARY, REMEDY)["sha256"]


def read_listed(prepared: Path, split: str) -> int:
    """Number of clips in the published list of a split; in the list that was used, if no number is published."""
    summary = read_record(prepared / SUMMARY, REMEDY)
    return summary["published"].get(split, summary["annotated"][split])


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV file, unless the file already has the same content."""
    text = table.to_csv(index=False)
    if not path.is_file() or path.read_bytes() != text.encode():
        write_text(path, text)
