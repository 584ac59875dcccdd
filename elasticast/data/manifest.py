"""The manifest: what every clip is, where it comes from, its labels, and why it was rejected."""

import json
import logging
import math
import zlib
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from elasticast.dataset_config import SPLITS
from elasticast.errors import DataError
from elasticast.files import read_json, write_atomic, write_text
from elasticast.settings import TaskKind

LOG = logging.getLogger(__name__)
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


def check_annotations(clips: pd.DataFrame, tasks: dict[str, TaskKind], dev_share: float = 0.0) -> pd.DataFrame:
    """`clips` with all columns, a reason on every row whose annotation cannot be used, and unique ids.

    Of several rows with the same id the first is kept; the others are rejected, under an id with a number.

    Parameters
    ----------
    dev_share : float
        Share of the recordings of split train that becomes split dev. A hash of the recording decides, so that it is
        the same share everywhere, whichever clips are there.
    """
    clips = clips.reset_index(drop=True)
    for name, value in DEFAULTS.items():
        clips[name] = clips[name].fillna(value) if name in clips else value
    clips["id"] = clips["id"].astype(str)

    def reject(rows: pd.Series, reason: str) -> None:
        clips.loc[rows & (clips["reason"] == ""), "reason"] = reason

    if dev_share:
        groups = clips["group"] if "group" in clips else clips["id"]
        chosen = {group: zlib.crc32(str(group).encode()) / 2**32 < dev_share for group in groups.unique()}
        clips.loc[(clips["split"] == "train") & groups.map(chosen), "split"] = "dev"
    copies = clips.groupby("id").cumcount()
    reject(copies > 0, "duplicate id")
    clips["id"] = clips["id"].where(copies == 0, clips["id"] + "#" + (copies + 1).astype(str))
    reject(~clips["split"].isin(SPLITS), f"split is none of {', '.join(SPLITS)}")
    for task, kind in tasks.items():
        if kind == "single":
            reject(clips[task].map(len) != 1, f"not exactly one label for {task}")
    return clips


def only_ids(clips: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The clips whose ids stand in the file `path`, one a line, such as the ``ids.txt`` of another lab.

    Raises
    ------
    DataError
        If there is no such file, or none of its ids is among the clips.
    """
    try:
        wanted = {line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the list of ids cannot be read: {error}") from None
    chosen = clips[clips["id"].isin(wanted)].reset_index(drop=True)
    if chosen.empty:
        example = (
            f"{next(iter(sorted(wanted)), 'nothing')!r}, where the annotations have ids like {clips['id'].iloc[0]!r}"
        )
        raise DataError(f"{path}: none of its {len(wanted)} ids is in the annotations; it holds {example}")
    unknown = wanted.difference(chosen["id"])
    if unknown:
        LOG.warning(
            "%s: %d of its %d ids are not in the annotations, such as %s", path, len(unknown), len(wanted), min(unknown)
        )
    return chosen


def reason_kind(reason: str) -> str:
    """A reason without the numbers of one clip: ``longer than its segment (12.3 s of 11.0 s)`` without brackets."""
    return reason.split(" (")[0]


def class_lists(
    clips: pd.DataFrame, tasks: dict[str, TaskKind], published: dict[str, list[str]] | None = None
) -> dict[str, dict]:
    """Kind and classes of each task: as published, else of all annotated clips, used or not, sorted."""
    lists = {}
    for task, kind in tasks.items():
        names = (published or {}).get(task) or sorted({name for names in clips[task] for name in names})
        lists[task] = {"kind": kind, "classes": list(names)}
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
