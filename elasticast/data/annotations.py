"""The annotations of a dataset, and the checks that are common to all datasets."""

import hashlib
import logging
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import pandas as pd

from elasticast.config.base import TaskKind
from elasticast.config.dataset import SPLITS, DatasetConfig
from elasticast.data.labels import INVISIBLE, clean
from elasticast.data.manifest import LACKING, Known
from elasticast.errors import DataError
from elasticast.text import printable

LOG = logging.getLogger(__name__)
MAX_QUOTED = 200  # characters of a wrong line to quote: a web page saved as a list may be a single line
CLASS = re.compile(r'\s*(\d+)\s*,\s*([^\s,"]+)\s*,\s*(?:"([^"]+)"|([^",]+?))\s*')
_PLAIN = {**INVISIBLE, ord("\u00a0"): " ", ord("\u202f"): " "}
DEFAULTS = {"key": "", "start": 0.0, "duration": math.nan, "longest": math.nan, "reason": "", LACKING: Known.ALL}


class Annotations(NamedTuple):
    """The annotations of a dataset.

    Attributes
    ----------
    clips : pandas.DataFrame
        One row per clip, in the order of the stores. Required columns:

        - ``id``
        - ``split``
        - ``path``: the audio file, or ``""`` if there is none (``reason`` then gives the cause)
        - one column per task, with a list of class names; for tasks of kind ``frames``, only the names of clips whose
          events are not known

        Optional columns (:data:`DEFAULTS` gives their default values):

        - ``key``: the dataset inside an HDF5 file
        - ``start`` (s)
        - ``duration`` (s); NaN means up to the end of the file
        - ``longest`` (s): a file longer than this is rejected as the wrong file; NaN means no limit
        - ``reason``: why the clip is already known to be unusable
        - ``known``: which labels the clip has, a :class:`~elasticast.data.manifest.Known`. Only training clips may
          lack some.
        - ``group``: the recording that the clip was cut from. Clips of the same group are never divided between train
          and dev. By default, every clip is a group.
    classes : dict
        Class names per task, in their published order. A task without an entry uses the names in ``clips``, sorted.
    published : dict
        Number of clips per split in the published annotations, for comparison. Empty if no numbers are published.
    notes : dict
        How the annotations were read, as JSON, for ``summary.json``: guessed columns, how splits were made.
    events : dict
        For each task of kind ``frames``, a table with one row per event and the columns ``id`` (of the clip),
        ``label``, ``onset``, ``offset`` (s) and ``where`` (the place of the annotation, for messages). The classes of
        the events become the labels of the clip.
    """

    clips: pd.DataFrame
    classes: dict[str, list[str]] = {}  # noqa: RUF012
    published: dict[str, int] = {}  # noqa: RUF012
    notes: dict[str, object] = {}  # noqa: RUF012
    events: dict[str, pd.DataFrame] = {}  # noqa: RUF012


class DatasetReader(Protocol):
    """The interface of a dataset module."""

    def fetch(self, config: DatasetConfig, data_root: Path, out: Path) -> None:
        """Generate or download the audio."""

    def annotate(self, config: DatasetConfig, data_root: Path, out: Path) -> Annotations:
        """Read the annotations: one row per clip."""


def read_lines(path: Path, setting: str, target: str = "the published file") -> Iterator[str]:
    """Iterate over the lines of a UTF-8 text file, without byte-order marks and other invisible characters.

    Non-breaking spaces become spaces, and accented characters have their composed form (NFC).

    Parameters
    ----------
    path : Path
        The file.
    setting : str
        The key of the dataset's settings that names the file, for error messages.
    target : str
        What the setting should name, for error messages.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    remedy = f"set `{setting}` in the dataset's settings to {target}, relative to data_root"
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield line if line.isascii() else unicodedata.normalize("NFC", line.translate(_PLAIN))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; {remedy}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; {remedy}") from None


def read_class_names(path: Path) -> dict[str, str]:
    """Read a list of classes as a dict from label (``mid``) to class name, in the order of the class indices.

    Raises
    ------
    DataError
        If the file does not have the published format.
    """
    lines = read_lines(path, "labels")
    header = next(lines, "").strip()
    if header != "index,mid,display_name":
        raise DataError(f"{path}, line 1: {header!r}, expected 'index,mid,display_name'")
    names: dict[str, str] = {}
    for number, line in enumerate(lines):
        row = CLASS.fullmatch(line)
        name = clean(row[3] or row[4]) if row else ""
        if not name or int(row[1]) != number:
            expected = f'{number},LABEL,"NAME" (names with commas must be quoted)'
            raise DataError(f"{path}, line {number + 2}: {line.strip()[:MAX_QUOTED]!r}, expected {expected}")
        if row[2] in names or name in names.values():
            raise DataError(
                f"{path}, line {number + 2}: {line.strip()[:MAX_QUOTED]!r} repeats a class; expected every class once"
            )
        names[row[2]] = name
    return names


def published_counts(files: dict[str, list[str]], counts: dict[str, int]) -> dict[str, int]:
    """Count the published clips per split. Splits that use a file with no published count are left out.

    Parameters
    ----------
    files : dict
        Annotation files per split.
    counts : dict
        Number of clips per published file, by file name.
    """
    names = {split: [Path(file).name for file in paths] for split, paths in files.items()}
    return {split: sum(counts[name] for name in used) for split, used in names.items() if set(used) <= set(counts)}


def check_annotations(clips: pd.DataFrame, tasks: dict[str, TaskKind], dev_share: float = 0.0) -> pd.DataFrame:
    """Fill in missing columns, check the ids, and give a reason to every row whose annotation cannot be used.

    Ids are written to text files, one per line. A clip whose id is not printable UTF-8 is therefore rejected.

    Parameters
    ----------
    clips : pandas.DataFrame
        See :class:`Annotations`.
    tasks : dict
        Kind of each task.
    dev_share : float
        Share of the recordings in split train to move to split dev. A hash of the recording's name decides, so every
        machine moves the same recordings, whichever clips are available there.

    Raises
    ------
    DataError
        If two rows have the same id.
    """
    clips = clips.reset_index(drop=True)
    for name, value in DEFAULTS.items():
        clips[name] = clips[name].fillna(value) if name in clips else value
    clips["id"] = clips["id"].astype(str)
    _check_unique(clips)

    def reject(rows: pd.Series, reason: str) -> None:
        clips.loc[rows & (clips["reason"] == ""), "reason"] = reason

    if dev_share:
        groups = clips["group"] if "group" in clips else clips["id"]
        chosen = {group: hash_fraction(str(group)) < dev_share for group in groups.unique()}
        complete = clips[LACKING] == Known.ALL
        clips.loc[(clips["split"] == "train") & complete & groups.map(chosen), "split"] = "dev"
    hidden = clips["id"].map(lambda name: not name.isprintable())
    reject(hidden, "id is not printable UTF-8")
    clips.loc[hidden, "id"] = clips.loc[hidden, "id"].map(printable)
    reject(~clips["split"].isin(SPLITS), f"split is none of {', '.join(SPLITS)}")
    for task, kind in tasks.items():
        if kind == "single":
            reject(clips[task].map(len) != 1, f"not exactly one label for {task}")
    return clips


def _check_unique(clips: pd.DataFrame) -> None:
    again = clips["id"].duplicated()
    if again.any():
        name = clips["id"][again].iloc[0]
        splits = " and ".join(clips["split"][clips["id"] == name].astype(str))
        raise DataError(
            f"clip {printable(name)}: several rows (splits {splits}) have this id; every clip may occur once; "
            f"{again.sum()} rows are repeated"
        )


def hash_fraction(name: str) -> float:
    """Hash a name to a number in [0, 1)."""
    return int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8]) / 2**64


def select_ids(clips: pd.DataFrame, path: Path, splits: Sequence[str] = SPLITS) -> pd.DataFrame:
    """Select the clips whose ids are listed in a file, one id per line, such as the ``ids.txt`` of another lab.

    Parameters
    ----------
    clips : pandas.DataFrame
        See :func:`check_annotations`.
    path : Path
        The file.
    splits : sequence of str
        Splits that the list restricts; all clips of other splits are kept.

    Raises
    ------
    DataError
        If the file cannot be read, or none of its ids is among the clips of these splits.
    """
    lines = read_lines(path, "ids", "a list of ids, one per line")
    wanted = {line.strip() for line in lines if line.strip()}
    others = ~clips["split"].isin(splits) & clips["split"].isin(SPLITS)
    listed = clips["id"].isin(wanted) & ~others
    if not listed.any():
        example = next(iter(sorted(wanted)), "nothing")
        raise DataError(
            f"{path}: none of its {len(wanted)} ids is in the annotations; it contains {example!r}, but the "
            f"annotations have ids like {clips['id'].iloc[0]!r}"
        )
    unknown = wanted.difference(clips["id"][listed])
    if unknown:
        LOG.warning(
            "%s: %d of its %d ids are not in the annotations, such as %r", path, len(unknown), len(wanted), min(unknown)
        )
    return clips[listed | others].reset_index(drop=True)
