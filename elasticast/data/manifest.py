"""The manifest: what every clip is, where it comes from, its labels, and why it was rejected."""

import json
import math
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from elasticast.dataset_config import SPLITS
from elasticast.errors import DataError
from elasticast.files import read_json, write_atomic, write_text
from elasticast.settings import TaskKind

COLUMNS = ("id", "split", "path", "key", "start", "duration", "sample_rate", "channels", "status", "reason")
DEFAULTS = {"key": "", "start": 0.0, "duration": math.nan, "longest": math.nan, "reason": ""}


class Annotations(NamedTuple):
    """What a dataset's annotations say.

    Attributes
    ----------
    clips : pandas.DataFrame
        One row a clip, in the order of the stores. Columns: ``id``; ``split``; ``path``, the audio file (``""`` where
        ``reason`` says why there is none); a column a task with a list of class names; and, where they are not as in
        :data:`DEFAULTS`, ``key`` (the dataset inside an HDF5 file), ``start`` (s), ``duration`` (s, NaN: to the end of
        the file), ``longest`` (s; a file longer than this is not the clip it should be, NaN: any), ``reason`` (why the
        clip is already known to be unusable) and ``group`` (the recording it comes from: clips of one are never
        divided between train and dev; by default every clip is its own).
    classes : dict
        Class names of a task in their published order; a task that is not here has the names in ``clips``, sorted.
    published : dict
        Clips of each split in the published annotations, to be compared with; none where nothing is published.
    """

    clips: pd.DataFrame
    classes: dict[str, list[str]] = {}  # noqa: RUF012
    published: dict[str, int] = {}  # noqa: RUF012


def check_annotations(clips: pd.DataFrame, tasks: dict[str, TaskKind]) -> pd.DataFrame:
    """`clips` with a reason on every row whose annotation cannot be used, and with unique ids.

    Of several rows with the same id the first is kept; the others are rejected, under an id with a number.
    """
    clips = clips.reset_index(drop=True)
    for name, value in DEFAULTS.items():
        clips[name] = clips[name].fillna(value) if name in clips else value
    clips["id"] = clips["id"].astype(str)

    def reject(rows: pd.Series, reason: str) -> None:
        clips.loc[rows & (clips["reason"] == ""), "reason"] = reason

    copies = clips.groupby("id").cumcount()
    reject(copies > 0, "duplicate id")
    clips["id"] += copies.map(lambda copy: f"#{copy + 1}" if copy else "")
    reject(~clips["split"].isin(SPLITS), f"split is none of {', '.join(SPLITS)}")
    for task, kind in tasks.items():
        if kind == "single":
            reject(clips[task].map(len) != 1, f"not exactly one label for {task}")
    return clips


def class_lists(clips: pd.DataFrame, tasks: dict[str, TaskKind]) -> dict[str, dict]:
    """Kind and sorted classes of each task, of all annotated clips: a rejected one renumbers nothing."""
    lists = {}
    for task, kind in tasks.items():
        lists[task] = {"kind": kind, "classes": sorted({name for names in clips[task] for name in names})}
    return lists


def write_manifest(clips: pd.DataFrame, tasks: dict[str, TaskKind], path: Path) -> None:
    """Write the manifest as parquet."""
    write_atomic(path, lambda file: clips[[*COLUMNS, *tasks]].to_parquet(file, index=False))


def read_manifest(path: Path, split: str | None = None) -> pd.DataFrame:
    """Read a manifest; with `split`, its usable clips only, in the order of the store."""
    if not path.is_file():
        raise DataError(f"{path}: no such manifest; `elasticast prepare` makes it")
    clips = pd.read_parquet(path)
    if split is None:
        return clips
    return clips[(clips["split"] == split) & (clips["status"] == "ok")].reset_index(drop=True)


def read_classes(path: Path) -> dict[str, dict]:
    """Read ``classes.json``: ``{task: {"kind": ..., "classes": [...]}}``."""
    if not path.is_file():
        raise DataError(f"{path}: no such list of classes; `elasticast prepare` makes it")
    return json.loads(path.read_text(encoding="utf-8"))


def read_data_hash(prepared: Path) -> str:
    """SHA-256 of the audio and labels of a prepared dataset."""
    return read_json(prepared / "summary.json")["sha256"]


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV file."""
    write_text(path, table.to_csv(index=False))
