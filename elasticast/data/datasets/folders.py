"""Your own recordings, in one folder per class.

Description
    The one task, `task`, has one label per clip: the name of its folder. Files that are in no folder of a class are
    rejected. Folder names that differ only in case or spaces are an error.

Layout
    ``FOLDER/dog/1.wav``, or with splits ``FOLDER/train/dog/1.wav``, ``FOLDER/test/dog/2.wav``. Splits have their usual
    names (train, training; dev, val, valid, validation; test, testing, eval, evaluation) or those in `split_values`.
    All folders in FOLDER are splits, or none is. Without splits, a hash of the path draws folds. With `all_test`, all
    clips are split test, whatever the folders. Further sub-folders are allowed below the folder of a class.
    Audio has any format, sample rate and number of channels.

Source
    You.

Licence
    Yours.
"""

import logging
import os
import unicodedata
from pathlib import Path

import pandas as pd

from elasticast.config.dataset import Folders
from elasticast.data.annotations import Annotations
from elasticast.data.labels import clean
from elasticast.data.lookup import EXTENSIONS, scan_audio
from elasticast.data.tables.labels import check_classes, first_rows, read_classes
from elasticast.data.tables.splits import Division, all_test, drawn_splits, named_splits, split_of_names
from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
REMEDY = "set `folder` in the dataset's settings to a folder with one sub-folder per class"
NO_CLASS = "in no folder of a class"


def fetch(config: Folders, data_root: Path, out: Path) -> None:
    """Do nothing: the recordings exist."""


def annotate(config: Folders, data_root: Path, out: Path) -> Annotations:
    """Read the annotations: one row per audio file.

    Raises
    ------
    DataError
        If the folder is missing or has another layout, or a setting does not fit it.
    """
    folder = data_root / config.folder
    classes = read_classes(config.classes, folder, "classes")
    clips = pd.DataFrame(sorted(_files(folder)), columns=["id", "path"])
    parts = [name.split("/") for name in clips["id"]]
    split_folders = has_splits(config, folder, parts)
    folders = [part[int(split_folders) : -1] for part in parts]
    labels = [[clean(names[0])] if names else [] for names in folders]

    def place(row: int) -> str:
        return f"{folder}: {clips['id'][row]}"

    check_classes(first_rows(labels), place, config.task, "classes", classes)
    division = _divide(config, folder, clips["id"].tolist(), [part[0] for part in parts] if split_folders else None)
    LOG.info("%s: %d audio files; splits %s", folder, len(clips), division.description)
    columns = {"split": division.splits, "reason": ["" if names else NO_CLASS for names in labels], config.task: labels}
    notes = {"files": len(clips), "split": division.description, "drawn": division.drawn}
    return Annotations(clips.assign(**columns), {config.task: classes} if classes else {}, notes=notes)


def _files(folder: Path) -> list[tuple[str, str]]:
    """Path of each audio file relative to `folder`, in composed form (NFC), and its path."""
    if not folder.is_dir():
        raise DataError(f"{folder}: {'a file, not a folder' if folder.exists() else 'no such folder'}; {REMEDY}")
    paths = [path for path, _ in scan_audio(folder, REMEDY)]
    if not paths:
        raise DataError(f"{folder}: contains no audio file ({', '.join(EXTENSIONS)}); {REMEDY}")
    files = [(unicodedata.normalize("NFC", os.path.relpath(path, folder)), path) for path in paths]
    if not any("/" in name for name, _ in files):
        raise DataError(f"{folder}: its {len(files)} audio files are in no sub-folder; {REMEDY}, or use a table")
    return files


def has_splits(config: Folders, folder: Path, parts: list[list[str]]) -> bool:
    """Whether the folders in `folder` are splits. One of several classes may have the name of a split.

    Raises
    ------
    DataError
        If only some of the folders are splits. Also if there is one folder, it is a split, and `all_test` is not set.
    """
    names, known = sorted({part[0] for part in parts if len(part) > 1}), split_of_names(config)
    splits = [name for name in names if clean(name).casefold() in known]
    others = [name for name in names if name not in splits]
    if len(splits) > 1 and others:
        raise DataError(
            f"{folder}: the folders {', '.join(splits)} have names of splits, but {', '.join(others[:10])} "
            f"{'have' if len(others) > 1 else 'has'} not; move the folders of classes into those of splits, or name "
            "the splits with `split_values` in the dataset's settings"
        )
    if len(splits) != 1 or others or not any(len(part) > 2 for part in parts):
        return len(splits) > 1
    if not config.all_test:
        raise DataError(
            f"{folder / splits[0]}: has the name of a split, but there is no other split in {folder}; add the other "
            "split, or, if no model trains on these clips, set `all_test: true` in the dataset's settings "
            "(`elasticast new-suite --all-test`)"
        )
    return True


def _divide(config: Folders, folder: Path, ids: list[str], names: list[str] | None) -> Division:
    if config.all_test:
        return all_test(len(ids))
    if names is None:
        return drawn_splits(ids, config, "path", folder)
    train = next(name for name, split in split_of_names(config).items() if split == "train")
    top = [name if "/" in clip else train for name, clip in zip(names, ids, strict=True)]  # the others are rejected
    return named_splits(top, config, lambda row: f"{folder}: {ids[row]}", "the folders", "use no folders of splits")
