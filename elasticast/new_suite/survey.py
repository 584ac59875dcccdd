"""Look at a folder of recordings: layout, labels, splits, lengths."""

import math
import os
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from elasticast.config.dataset import SPLITS, DatasetConfig, OwnRecordings
from elasticast.config.reading import validate
from elasticast.data.annotations import Annotations, check_annotations
from elasticast.data.audio import open_recording
from elasticast.data.datasets import reader_of
from elasticast.data.datasets.folders import has_splits
from elasticast.data.lookup import scan_audio
from elasticast.data.manifest import class_lists
from elasticast.data.recordings import UnusableAudioError
from elasticast.data.tables.columns import resolve_columns
from elasticast.data.tables.read import Rows, find_table, read_table, tables_in
from elasticast.data.tables.splits import SEEDS, USUAL, EmptySplitError
from elasticast.errors import DataError
from elasticast.new_suite.labels import guess_labels
from elasticast.progress import quiet, track

MOST_MEASURED = 5000
"""Files whose length is read, evenly spaced; the quartiles of more would hardly differ."""
MOST_COMPARED, MOST_SEEDS = 2000, 20
"""Clips up to which several values of `split_seed` are compared, and how many: in larger datasets, every split has
every frequent class."""


@dataclass(frozen=True)
class Survey:
    """What a folder of recordings contains.

    Attributes
    ----------
    settings : dict
        Settings of the dataset, as in its file.
    config : OwnRecordings
        The same, checked.
    clips : pandas.DataFrame
        One row per clip, see :func:`~elasticast.data.annotations.check_annotations`. Column ``duration`` (s) is NaN
        where it was not measured.
    classes : dict of str to list of str
        Classes of each task.
    drawn : bool
        Whether the splits are drawn by a hash.
    rates : dict of int to int
        Number of files per sample rate (Hz).
    """

    settings: dict[str, Any]
    config: OwnRecordings
    clips: pd.DataFrame
    classes: dict[str, list[str]]
    drawn: bool
    rates: dict[int, int]

    @property
    def unusable(self) -> pd.Series:
        """Reasons of clips that cannot be used, as far as was looked at."""
        return self.clips["reason"][self.clips["reason"] != ""]


def default_name(folder: Path) -> str:
    """A name for a dataset: that of its folder, with ``_`` for what names cannot contain."""
    text = unicodedata.normalize("NFKD", Path(os.path.abspath(folder)).name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:40] or "mine"


def look_at(folder: Path, table: str | None, labels: list[str], *, all_test: bool = False) -> Survey:
    """Look at a folder; parameters as in :func:`elasticast.new_suite.new_suite`.

    Raises
    ------
    DataError
        If there is no table and no folder of a class, or they cannot be used.
    """
    settings = _layout(folder, table, labels, all_test)
    settings = {key: value for key, value in settings.items() if value is not None}
    seed, annotations = _best_seed(settings)
    config = _config(settings)
    if seed is not None:
        settings |= {"folds": config.folds, "test_fold": 1, "split_seed": seed}
        config = _config(settings)
    clips = check_annotations(annotations.clips, config.tasks)
    clips, rates = _measured(clips)
    lists = class_lists(clips, config.tasks, annotations.classes)
    classes = {task: content["classes"] for task, content in lists.items()}
    return Survey(settings, config, clips, classes, seed is not None, rates)


def _config(settings: dict) -> OwnRecordings:
    """The settings, checked. Rows without audio are no error here: the survey counts them."""
    return validate(DatasetConfig, settings | {"max_rejected": 1.0}, settings["folder"])


# ---------------------------------------------------------------------------------------------
# Layout
# ---------------------------------------------------------------------------------------------


def _layout(folder: Path, table: str | None, labels: list[str], all_test: bool) -> dict[str, Any]:
    """Settings of the dataset, without its drawn splits."""
    common = {"folder": str(folder), **({"all_test": True} if all_test else {})}
    paths = _tables(folder, table)
    if not paths:
        if labels:
            raise DataError(f"{folder}: contains no table, so there is no column {labels[0]!r} (--labels)")
        return {"source": "folders", **common, **({} if all_test else _folder_splits(folder))}
    names = {split: path.relative_to(folder).as_posix() for split, path in paths.items()}
    settings = {"source": "table", **common, "table": names.get("", names)}
    rows = [read_table(path) for path in paths.values()]
    columns = resolve_columns(rows[0], _config(settings))
    named = {use: name for use, name in columns.items() if name}
    if len(paths) > 1 or all_test:
        named.pop("split", None)
        named.pop("fold", None)
    elif columns["split"]:
        settings["split_values"] = _split_values(rows[0].text(columns["split"]))
        named.pop("fold", None)
    elif columns["fold"]:
        settings["test_fold"] = _last_fold(rows[0], columns["fold"])
    return settings | {"columns": named, "labels": guess_labels(rows, set(named.values()), labels)}


def _tables(folder: Path, table: str | None) -> dict[str, Path]:
    """The table of each split, or that of all with the key ``""``; empty if there are none."""
    if table is not None:
        return {"": folder / table}
    if not folder.is_dir() or tables_in(folder):
        return {"": find_table(folder)}
    below = {path.name: tables_in(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    found = {name: tables for name, tables in below.items() if tables}
    by_split = {split: found[name][0] for split in SPLITS for name in found if name.casefold() in USUAL[split]}
    if found and len(by_split) == len(found) and {"train", "test"} <= set(by_split):
        return by_split
    paths = list(chain(*found.values()))
    if len(paths) > 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in paths)
        raise DataError(f"{folder}: contains several tables ({names}); name one with --table")
    return {"": paths[0]} if paths else {}


def _split_values(values: list[str]) -> dict[str, list[str]] | None:
    """The names of each split, None if one is unknown. If there is no split test, split dev is used as such."""
    names = sorted({" ".join(value.split()) for value in values})
    found = {split: [name for name in names if name.casefold() in USUAL[split]] for split in SPLITS}
    if sum(map(len, found.values())) < len(names):
        return None
    if not found["test"]:
        found |= {"test": found["dev"], "dev": []}
    return {split: values for split, values in found.items() if values} if found["train"] and found["test"] else None


def _folder_splits(folder: Path) -> dict[str, Any]:
    config = _config({"source": "folders", "folder": str(folder)})
    if not folder.is_dir():
        return {}
    parts = [relative.split("/") for _, relative in scan_audio(folder, "")]
    if not has_splits(config, folder, parts):
        return {}
    return {"split_values": _split_values([part[0] for part in parts if len(part) > 1])}


def _last_fold(rows: Rows, column: str) -> str | int:
    folds = sorted(set(rows.text(column)), key=lambda fold: (len(fold), fold))
    return int(folds[-1]) if folds[-1].isdigit() else folds[-1]


# ---------------------------------------------------------------------------------------------
# Splits
# ---------------------------------------------------------------------------------------------


def _best_seed(settings: dict) -> tuple[int | None, Annotations]:
    """The annotations, and the `split_seed` with the fewest classes in one split only; None if no split is drawn."""
    lacking: dict[int, int] = {}
    error = None
    for seed in range(SEEDS):
        config = _config(settings | {"split_seed": seed})
        try:
            with quiet():
                annotations = reader_of(config).annotate(config, Path(), Path())
        except EmptySplitError as empty:
            error = empty
            continue
        if not annotations.notes["drawn"]:
            return None, reader_of(config).annotate(config, Path(), Path())
        lacking[seed] = _lacking(annotations.clips, list(config.tasks))
        if not lacking[seed] or len(annotations.clips) > MOST_COMPARED or len(lacking) >= MOST_SEEDS:
            break
    if error is not None and not lacking:
        raise error
    best = min(lacking, key=lambda seed: (lacking[seed], seed))
    config = _config(settings | {"split_seed": best})
    return best, reader_of(config).annotate(config, Path(), Path())


def _lacking(clips: pd.DataFrame, tasks: list[str]) -> int:
    """Number of classes of several clips that are in one split only."""
    number = 0
    for task in tasks:
        counts = Counter(chain.from_iterable(clips[task]))
        of_split = [set(chain.from_iterable(clips.loc[clips["split"] == s, task])) for s in ("train", "test")]
        number += sum(counts[name] > 1 for name in of_split[0] ^ of_split[1])
    return number


# ---------------------------------------------------------------------------------------------
# Lengths
# ---------------------------------------------------------------------------------------------


def _measured(clips: pd.DataFrame) -> tuple[pd.DataFrame, dict[int, int]]:
    """The clips with lengths from the headers of their files, and the number of files per sample rate (Hz)."""
    usable = clips.index[clips["reason"] == ""]
    chosen = usable[:: math.ceil(len(usable) / MOST_MEASURED)] if len(usable) else usable
    seconds, reasons, rates = pd.Series(math.nan, clips.index), clips["reason"].copy(), Counter()
    for row in track(chosen, len(chosen), "lengths read"):
        try:
            with open_recording(Path(clips["path"][row])) as recording:
                rates[recording.rate] += 1
                length = recording.frames / recording.rate - clips["start"][row]
        except UnusableAudioError as error:
            reasons[row] = str(error)
            continue
        duration = clips["duration"][row]
        length = length if math.isnan(duration) else min(length, duration)
        seconds[row] = length if 0 < length < math.inf else math.nan
    return clips.assign(duration=seconds, reason=reasons), dict(rates.most_common())
