"""EPIC-SOUNDS: sounds of actions in kitchens, cut from the videos of EPIC-KITCHENS-100.

Description
    The clips are spans of 0.2 s to 13 minutes of the sound of these videos, which were recorded by a head-mounted
    camera; 24 kHz mono. The task ``sound`` has 44 classes with a long tail: the validation split has 1,381 clips of the
    most frequent class and three of the rarest. All 44 classes are always used, in the order of ``class_id``. Clips of
    the same video form a group, which ``dev_share`` does not divide.

Layout
    The annotations: ``EPIC_Sounds_train.csv`` and ``EPIC_Sounds_validation.csv``, with the columns ``annotation_id``,
    ``video_id``, ``class``, ``class_id`` and the span, either as ``start_sample`` and ``stop_sample`` (at 24 kHz), or
    as ``start_timestamp`` and ``stop_timestamp`` (``HH:MM:SS.mmm``), or both. Other columns are ignored. If both are
    given, the samples are used, and a clip whose timestamps differ by more than 1.5 ms is rejected. The published
    ``.pkl`` files are not read, because loading a pickle can run arbitrary code.

    The audio: either one HDF5 file with a one-dimensional dataset per video, named by its ``video_id`` (as written by
    ``wav_to_hdf5.py`` of https://github.com/ekazakos/auditory-slow-fast: 24 kHz, float32, no attributes), or a folder
    with one file per video, such as ``P01_11.wav``, possibly in sub-folders. To store the clips at another rate than
    24 kHz, the HDF5 file needs the attribute ``sample_rate``.

Counts
    Validation: 8,035 clips of 137 videos, 11.1 h, 44 classes. The labels of the challenge's test split
    (``EPIC_Sounds_recognition_test_timestamps.csv``) are not public: results are reported on the validation split.

Source
    https://github.com/epic-kitchens/epic-sounds-annotations; videos: https://epic-kitchens.github.io.
    J. Huh, J. Chalk, E. Kazakos, D. Damen, A. Zisserman: EPIC-SOUNDS: a large-scale dataset of actions that sound.
    ICASSP 2023.

Licence
    Creative Commons Attribution-NonCommercial 4.0 (CC BY-NC 4.0).
"""

import csv
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from elasticast.config.dataset import EpicSounds
from elasticast.data.annotations import Annotations, published_counts, read_lines
from elasticast.data.labels import UniqueIds, clean, damage, meant
from elasticast.data.lookup import index_audio
from elasticast.errors import DataError
from elasticast.hdf5 import open_hdf5

# In the order of class_id, as in EPIC_Sounds_validation.csv.
CLASSES = [
    *("metal-only collision", "scrub / scrape / scour / wipe", "cut / chop", "open / close", "rustle", "water"),
    *("plastic-only collision", "footstep", "stir / mix / whisk", "slide object", "metal / wood collision"),
    *("metal / plastic collision", "metal / ceramic collision", "background", "ceramic-only collision", "beep"),
    *("click", "metal / glass collision", "paper-only collision", "pour", "glass-only collision"),
    *("wood-only collision", "plastic / paper collision", "metal / paper collision", "human"),
    *("metal / cloth collision", "plastic / ceramic collision", "plastic / wood collision"),
    *("metal / marble collision", "sizzling / boiling", "ceramic / glass collision", "plastic / marble collision"),
    *("plastic / glass collision", "kettle / mixer / appliance", "ceramic / wood collision", "kneading"),
    *("cloth-only collision", "ceramic / marble collision", "glass / marble collision", "wood / glass collision"),
    *("hoover / fan", "spray", "zip", "drink / eat"),
]
PUBLISHED = {"EPIC_Sounds_validation.csv": 8035}
SAMPLE_RATE = 24000
TOLERANCE_SECONDS = 0.0015  # timestamps are whole milliseconds, and the published samples are rounded down
SAMPLES = ["start_sample", "stop_sample"]
STAMPS = ["start_timestamp", "stop_timestamp"]
# Format of each column: a pattern, and its description for error messages.
FORMS = {
    "annotation_id": (r"\S+", "an id such as P01_11_0"),
    "video_id": (r"P\d+_\d+", "a video such as P01_11"),
    "start_sample": (r"\d{1,12}", "a whole number of samples"),
    "stop_sample": (r"\d{1,12}", "a whole number of samples"),
    "start_timestamp": (r"\d+:[0-5]\d:[0-5]\d(?:\.\d+)?", "HH:MM:SS.mmm"),
    "stop_timestamp": (r"\d+:[0-5]\d:[0-5]\d(?:\.\d+)?", "HH:MM:SS.mmm"),
}
SETTING = "set `annotations` in the dataset's settings to EPIC_Sounds_train.csv or EPIC_Sounds_validation.csv"


def fetch(config: EpicSounds, data_root: Path, out: Path) -> None:
    """Do nothing: the audio cannot be downloaded automatically."""


def annotate(config: EpicSounds, data_root: Path, out: Path) -> Annotations:
    """Read the annotations: one row per clip. Clips with an invalid span or without audio get a reason.

    Raises
    ------
    DataError
        If an annotation file or the audio is missing or malformed.
    """
    tables, ids = [], UniqueIds()
    for split, names in config.annotations.items():
        tables += [_clips(data_root / name, split, ids) for name in names]
    clips = pd.concat(tables, ignore_index=True)
    audio = data_root / config.audio
    clips["path"] = clips["group"].map(_find(audio, clips["group"].unique().tolist(), config.store_rate))
    clips["key"] = "" if audio.is_dir() else clips["group"]
    clips.loc[clips["path"].eq("") & clips["reason"].eq(""), "reason"] = "missing"
    return Annotations(clips, {"sound": CLASSES}, published_counts(config.annotations, PUBLISHED))


# ---------------------------------------------------------------------------------------------
# Annotations
# ---------------------------------------------------------------------------------------------


def _clips(path: Path, split: str, ids: UniqueIds) -> pd.DataFrame:
    """The clips of a file: ``id``, ``split``, ``start``, ``duration`` (s), ``sound``, ``group``, and ``reason``."""
    table = read_table(path)
    for row in table[["annotation_id", "line", "class"]].itertuples(index=False, name=None):
        ids.add(row[0], path, row[1], split, row[2])
    start, stop = _span(table)
    return pd.DataFrame(
        {
            "id": table["annotation_id"],
            "split": split,
            "start": start,
            "duration": stop - start,
            "sound": [[name] for name in table["class"]],
            "group": table["video_id"],
            "reason": _span_reasons(table, start, stop),
        }
    )


def read_table(path: Path) -> pd.DataFrame:
    """Read an annotation file as text, with a column ``line`` that contains the line number of each row.

    Raises
    ------
    DataError
        If the file cannot be read or is a pickle, if a column is missing, or if a value is malformed.
    """
    if path.suffix in (".pkl", ".pickle"):
        raise DataError(
            f"{path}: pickles are not supported, because loading one can run arbitrary code; use {path.stem}.csv, "
            f"which is published with it"
        )
    reader = csv.reader(read_lines(path, "annotations"))
    try:
        rows = [[reader.line_num, *map(clean, row)] for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: {error}; a quotation mark may be missing; {SETTING}"
        ) from None
    _, *header = rows[0] if rows else [0]
    used = _used_columns(header, path)
    uneven = [row for row in rows if len(row) != len(header) + 1]
    if uneven:
        raise DataError(
            f"{path}, line {uneven[0][0]}: {len(uneven[0]) - 1} values, expected {len(header)} (text with commas must "
            f"be quoted); {len(uneven)} of {len(rows) - 1} lines are malformed"
        )
    table = pd.DataFrame(rows[1:], columns=["line", *header])
    _check_values(table, used, path)
    return table


def _used_columns(header: list[str], path: Path) -> list[str]:
    """The columns to read. Checks that they exist; of samples and timestamps, one pair is enough."""
    labels = ["class", "class_id"]
    ends = [name for pair in (SAMPLES, STAMPS) if {*pair} & {*header} for name in pair]
    used = ["annotation_id", "video_id", *(ends or SAMPLES), *labels]
    missing = [name for name in used if name not in header]
    if missing == labels:
        raise DataError(
            f"{path}: no labels (columns class and class_id); the labels of the challenge's test split are not public; "
            f"{SETTING}"
        )
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(missing)}; the columns are {', '.join(header) or 'empty'}; {SETTING}"
        )
    return used


def _check_values(table: pd.DataFrame, used: list[str], path: Path) -> None:
    """Check the values of the columns in `used`."""
    for name, (form, description) in FORMS.items():
        if name in used:
            wrong = ~table[name].str.fullmatch(form)
            cause = next(filter(None, map(damage, table.loc[wrong, name])), "")
            _check_rows(table, wrong, path, [name], description + (f"; {cause}" if cause else ""))
    unknown = ~table["class"].isin(CLASSES)
    for label in table.loc[unknown, "class"].iloc[:1]:
        hint = f"; {meant(label, CLASSES)!r} is probably meant" if meant(label, CLASSES) else ""
        _check_rows(table, unknown, path, ["class", "class_id"], f"one of the {len(CLASSES)} classes{hint}")
    numbers = {name: str(number) for number, name in enumerate(CLASSES)}
    wrong = table["class"].map(numbers) != table["class_id"]
    expected = "a class and its number as published (older lists use other numbers)"
    _check_rows(table, wrong, path, ["class", "class_id"], expected)


def _check_rows(table: pd.DataFrame, wrong: pd.Series, path: Path, columns: list[str], expected: str) -> None:
    """Raise an error that quotes the first wrong row."""
    if wrong.any():
        row = table[wrong].iloc[0]
        values = ", ".join(f"{name} = {row[name]!r}" for name in columns)
        raise DataError(
            f"{path}, line {row['line']}: {values}; expected {expected}; {wrong.sum()} of {len(table)} lines are wrong"
        )


def _span(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Start and end of each clip (s)."""
    if SAMPLES[0] in table:
        return tuple(table[name].astype(np.int64) / SAMPLE_RATE for name in SAMPLES)
    return tuple(_seconds(table[name]) for name in STAMPS)


def _seconds(stamps: pd.Series) -> pd.Series:
    parts = stamps.str.split(":", expand=True).reindex(columns=range(3)).astype(float)
    return parts[0] * 3600 + parts[1] * 60 + parts[2]


def _span_reasons(table: pd.DataFrame, start: pd.Series, stop: pd.Series) -> pd.Series:
    """Why each span cannot be used, ``""`` if it can."""
    reasons = pd.Series("", index=table.index)
    if STAMPS[0] in table:
        for seconds, sample, stamp in zip((start, stop), SAMPLES, STAMPS, strict=True):
            far = (seconds - _seconds(table[stamp])).abs() > TOLERANCE_SECONDS
            values = sample + " " + seconds.round(3).astype(str) + " s, " + stamp + " " + table[stamp]
            reasons = reasons.mask(far & reasons.eq(""), "samples and timestamps differ (" + values + ")")
    ends = " (" + start.round(3).astype(str) + " s, " + stop.round(3).astype(str) + " s)"
    return reasons.mask((stop <= start) & reasons.eq(""), "stop is not after start" + ends)


# ---------------------------------------------------------------------------------------------
# Audio
# ---------------------------------------------------------------------------------------------


def _find(audio: Path, videos: list[str], rate: int) -> dict[str, str]:
    """Path of the file with the sound of each video, ``""`` if there is none."""
    if audio.is_dir():
        return dict(zip(videos, index_audio(audio).paths(videos), strict=True))
    expected = (
        "set `audio` in the dataset's settings to an HDF5 file with one dataset per video, or to a folder with one "
        "audio file per video"
    )
    with open_hdf5(audio, expected) as file:
        available = {video for video in videos if file.get(video, getclass=True) is h5py.Dataset}
        has_rate = "sample_rate" in file.attrs or all("sample_rate" in file[video].attrs for video in available)
    if not has_rate and rate != SAMPLE_RATE:  # without the attribute, decoding assumes the sample rate of the store
        raise DataError(
            f"{audio}: has no attribute sample_rate, so it cannot be resampled to `store_rate` = {rate}; set "
            f"`store_rate` to {SAMPLE_RATE}, the published sample rate, or add the attribute: "
            f"python -c \"import h5py; h5py.File('{audio.name}', 'a').attrs['sample_rate'] = {SAMPLE_RATE}\""
        )
    return {video: str(audio) if video in available else "" for video in videos}
