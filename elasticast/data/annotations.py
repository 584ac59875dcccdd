"""What a dataset's annotations say of its clips, and what can be checked of that in every dataset alike."""

import hashlib
import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import pandas as pd

from elasticast.config.base import TaskKind
from elasticast.config.dataset import SPLITS, DatasetConfig
from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
SHOWN = 200  # characters of a wrong line: a web page saved as a list may be one line
CLASS = re.compile(r'(\d+),([^\s,"]+),(?:"([^"]+)"|([^",]+?))\s*')
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


class DatasetReader(Protocol):
    """What a dataset module offers."""

    def fetch(self, config: DatasetConfig, data_root: Path, out: Path) -> None:
        """Bring the audio into being."""

    def annotate(self, config: DatasetConfig, data_root: Path, out: Path) -> Annotations:
        """One row a clip."""


def text_lines(path: Path, setting: str) -> Iterator[str]:
    """Lines of a UTF-8 text file, with or without a byte-order mark.

    Raises
    ------
    DataError
        If it cannot be read; names `setting`, the key of the dataset's settings it comes from.
    """
    should = f"`{setting}` in the dataset's settings should name it as it was published, relative to data_root"
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from file
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; {should}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; {should}") from None


def read_class_names(path: Path) -> dict[str, str]:
    """Label of each class (``mid``) to its name, in the order of their indices.

    Raises
    ------
    DataError
        If the file is not as published.
    """
    lines = text_lines(path, "labels")
    header = next(lines, "").strip()
    if header != "index,mid,display_name":
        raise DataError(f"{path}, line 1: {header!r}, expected 'index,mid,display_name'")
    names: dict[str, str] = {}
    for number, line in enumerate(lines):
        row = CLASS.fullmatch(line)
        if row is None or int(row[1]) != number:
            expected = f'{number},LABEL,"NAME", names with commas in quotation marks'
            raise DataError(f"{path}, line {number + 2}: {line.strip()[:SHOWN]!r}, expected {expected}")
        name = row[3] or row[4]
        if row[2] in names or name in names.values():
            raise DataError(
                f"{path}, line {number + 2}: {line.strip()[:SHOWN]!r} is there twice, expected every class once"
            )
        names[row[2]] = name
    return names


def published_counts(files: dict[str, list[str]], counts: dict[str, int]) -> dict[str, int]:
    """Clips of each split in the published annotations, for the splits that are made of whole published files.

    Parameters
    ----------
    files : dict
        Annotation files of each split.
    counts : dict
        Clips in each published file, by its name.
    """
    names = {split: [Path(file).name for file in some] for split, some in files.items()}
    return {split: sum(counts[name] for name in some) for split, some in names.items() if set(some) <= set(counts)}


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
        chosen = {group: _place(str(group)) < dev_share for group in groups.unique()}
        clips.loc[(clips["split"] == "train") & groups.map(chosen), "split"] = "dev"
    copies = clips.groupby("id").cumcount()
    reject(copies > 0, "duplicate id")
    clips["id"] = clips["id"].where(copies == 0, clips["id"] + "#" + (copies + 1).astype(str))
    reject(~clips["split"].isin(SPLITS), f"split is none of {', '.join(SPLITS)}")
    for task, kind in tasks.items():
        if kind == "single":
            reject(clips[task].map(len) != 1, f"not exactly one label for {task}")
    return clips


def _place(name: str) -> float:
    """A number in [0, 1) that depends on nothing but the name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64


def only_ids(clips: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The clips whose ids stand in the file `path`, one a line, such as the ``ids.txt`` of another lab.

    Raises
    ------
    DataError
        If there is no such file, or none of its ids is among the clips.
    """
    try:
        wanted = {line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()}
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
            "%s: %d of its %d ids are not in the annotations, such as %r", path, len(unknown), len(wanted), min(unknown)
        )
    return chosen
