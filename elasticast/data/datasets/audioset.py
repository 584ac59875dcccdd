"""AudioSet: excerpts of YouTube videos, each with one or more of 527 kinds of sound.

Description
    There is one excerpt of up to 10 s per video, and the id of a clip is the 11-character id of the video. The task
    ``events`` has several labels per clip. Its classes are in the order of ``class_labels_indices.csv``. The published
    lists are a balanced training set, an unbalanced training set, and an evaluation set, which is used as the test
    split. They have no video in common; lists in which a video occurs twice are rejected. The list of classes is
    compared with the published one.

Layout
    ``*_segments.csv``: three lines that start with ``# ``, then ``-0RWZT-miFs, 420.000, 430.000, "/m/03v3yw,/m/0k4j"``
    (id, start and end in s, labels). A list that was saved by a spreadsheet program is rejected, because the program
    replaces ids that start with ``-`` by ``#NAME?``, converts ids of digits and one E to numbers, and splits the quoted
    labels into several columns.

    ``class_labels_indices.csv``: ``index,mid,display_name``. Names with commas are quoted.

    The clips, each cut from its video, in one folder or in sub-folders, in any format. They can be named ``ID.wav``,
    ``YID.wav``, ``ID_30000_40000.flac``, ``ID_30.000.flac`` or ``ID_30.000_40.000.wav`` (start, or start and end, in s
    or ms). A file with a different start or end is ignored. A file more than a second longer than its segment is
    rejected, because it is probably the whole video.

Counts
    balanced_train_segments.csv 22,160; unbalanced_train_segments.csv 2,041,789; eval_segments.csv 20,371. Many of the
    videos are no longer on YouTube: in March 2023, 16 % of the balanced training clips and of the evaluation clips were
    unavailable (https://huggingface.co/datasets/agkphysics/AudioSet).

Source
    https://research.google.com/audioset/download.html (the lists and the class names; the audio is not
    distributed). J. F. Gemmeke, D. P. W. Ellis, D. Freedman, A. Jansen, W. Lawrence, R. C. Moore, M. Plakal,
    M. Ritter: Audio Set: An ontology and human-labeled dataset for audio events. ICASSP 2017.

Licence
    Lists: Creative Commons Attribution 4.0 (CC BY 4.0). Ontology: CC BY-SA 4.0. The audio belongs to its authors.
"""

import hashlib
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from elasticast.config.dataset import SPLITS, AudioSet
from elasticast.data.annotations import MAX_QUOTED, Annotations, published_counts, read_class_names, read_lines
from elasticast.data.labels import near_duplicates, twice, video_damage
from elasticast.data.lookup import index_audio, stem_of
from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
URL = "https://research.google.com/audioset/download.html"
PUBLISHED = {
    "balanced_train_segments.csv": 22160,
    "unbalanced_train_segments.csv": 2041789,
    "eval_segments.csv": 20371,
}
CLASSES = 527
CLASSES_SHA256 = "f85472490005458dc35701f185cbf412b9b75a3413441ac80a5dee04bac305b5"
"""SHA-256 of the lines ``mid,display_name`` of the published list, without quotation marks."""
MAX_EXTRA_SECONDS = 1.0  # encoders add a fraction of a second; an uncut video is longer by more
ROW = re.compile(
    r"[ \t]*([\w-]{11})[ \t]*,[ \t]*(\d+(?:\.\d*)?)[ \t]*,[ \t]*(\d+(?:\.\d*)?)[ \t]*,[ \t]*"
    r'(?:"[ \t]*(/[\w/]+(?:,[ \t]*/[\w/]+)*)[ \t]*"|(/[\w/]+))\s*',
    re.ASCII,
)
# Patterns of malformed rows, each with the probable cause. The first pattern that matches is reported.
DAMAGES = (
    (r"[^,]*;", "the columns are separated by semicolons, as spreadsheet programs do in some countries"),
    (r"[^,]*,[^,]*,[^,]*(?:,\s*)*$", "there are no labels"),
    (r'[^"]*"[^"]*$', "a quotation mark is missing: the file may be truncated"),
    (r'.*(?:""|",|,"[^,]*$|/[^"]*,[^"]*$)', "a program has split the quoted labels at their commas"),
    (r"", "the start, the end or the labels are malformed"),
)
EXPECTED = 'expected a row such as -0RWZT-miFs, 420.000, 430.000, "/m/03v3yw,/m/0k4j"; download the list from ' + URL
# A leading Y is either a prefix or part of the id. Only one of the two fits, because an id has 11 characters.
NAME = re.compile(r"Y?([\w-]{11})(?:_(\d+(?:\.\d+)?))?(?:_(\d+(?:\.\d+)?))?", re.ASCII)


class Segments(NamedTuple):
    """The rows of a list of segments: ids, ``(start, end)`` in s, and class names.

    Equal spans and equal labels share one object to save memory.
    """

    ids: list[str]
    spans: list[tuple[float, float]]
    labels: list[list[str]]


# ---------------------------------------------------------------------------------------------
# The lists
# ---------------------------------------------------------------------------------------------


def read_segments(path: Path, names: dict[str, str]) -> Segments:
    """Read a list of segments.

    Parameters
    ----------
    names : dict
        Label (``mid``) to class name.

    Raises
    ------
    DataError
        If a row is malformed, or a label is not in `names`. The message contains the file and the line.
    """
    segments, comments = Segments([], [], []), ""
    spans: dict[tuple[str, str], tuple[float, float]] = {}
    labels: dict[str, list[str]] = {}
    for number, line in enumerate(read_lines(path, "segments"), start=1):
        row = ROW.fullmatch(line)
        if row is None:
            if line.startswith("# ") or not line.strip():
                comments += line
                continue
            raise DataError(f"{path}, line {number}: {line.strip()[:MAX_QUOTED]!r}: {_damage(line)}; {EXPECTED}")
        name, start, end, several, single = row.groups()
        try:
            span = spans.get((start, end)) or spans.setdefault((start, end), _span(start, end))
            mids = several or single
            classes = labels.get(mids) or labels.setdefault(mids, _classes(mids, names))
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {line.strip()[:MAX_QUOTED]!r}: {error}") from None
        segments.ids.append(name)
        segments.spans.append(span)
        segments.labels.append(classes)
    _check_count(path, len(segments.ids), comments)
    return segments


def _span(start: str, end: str) -> tuple[float, float]:
    span = float(start), float(end)
    if span[0] >= span[1]:
        raise ValueError(f"ends at {end} s, expected an end after the start at {start} s")
    return span


def _classes(mids: str, names: dict[str, str]) -> list[str]:
    try:
        return [names[mid.strip()] for mid in mids.split(",")]
    except KeyError as error:
        raise ValueError(
            f"label {error} is not in the list of {len(names)} classes, `labels` in the dataset's settings"
        ) from None


def _damage(line: str) -> str:
    damaged_id = "" if re.match(DAMAGES[0][0], line) else video_damage(line.partition(",")[0].strip('" \t\n'))
    return damaged_id or next(text for pattern, text in DAMAGES if re.match(pattern, line, re.ASCII | re.IGNORECASE))


def _check_count(path: Path, rows: int, comments: str) -> None:
    """Check that a list is not empty. Log a warning if its length differs from the number in its header."""
    if not rows:
        raise DataError(f"{path}: contains no segment; {EXPECTED}")
    announced = re.search(r"num_segs=(\d+)", comments)
    if announced and int(announced[1]) != rows:
        cause = "the list is truncated or a selection from a longer one"
        LOG.warning("%s: %d segments, but its header announces %s: %s", path, rows, announced[1], cause)


def _check_unique(files: list[tuple[str, Path]], lists: list[list[str]]) -> None:
    """Check that every clip occurs once in all lists.

    Parameters
    ----------
    files : list of tuple
        Split and path of each list.
    lists : list of list of str
        Ids in each list.
    """
    ids = pd.Series([name for names in lists for name in names])
    again = ids[ids.duplicated()]
    if len(again):
        clip = again.iloc[0]
        rows = [row for split, path in files for row in _rows_of(clip, split, path)]
        (path, line, *_), total = rows[1], f"{len(again)} rows are repeated"
        raise DataError(f"{path}, line {line}: {twice(clip, rows[0], rows[1])}; {total}")


def _rows_of(clip: str, split: str, path: Path) -> list[tuple[Path, int, str, str]]:
    """File, line, split and labels of each row of a clip."""
    rows = ((number, ROW.fullmatch(line)) for number, line in enumerate(read_lines(path, "segments"), start=1))
    return [(path, number, split, row[4] or row[5]) for number, row in rows if row and row[1] == clip]


def _check_classes(path: Path, names: dict[str, str]) -> None:
    """Compare a list of classes with the published one."""
    text = "".join(f"{mid},{name}\n" for mid, name in names.items())
    if hashlib.sha256(text.encode()).hexdigest() == CLASSES_SHA256:
        return
    if len(names) == CLASSES:
        raise DataError(
            f"{path}: has {CLASSES} classes, but labels, names or their order differ from the published list (SHA-256 "
            f"of its rows: expected {CLASSES_SHA256[:12]}...); download class_labels_indices.csv from {URL}"
        )
    LOG.warning("%s: %d classes, the published list has %d; scores are over these", path, len(names), CLASSES)
    for alike in near_duplicates(names.values()):
        LOG.warning("%s: these classes may be the same: %s", path, ", ".join(map(repr, alike)))


# ---------------------------------------------------------------------------------------------
# The audio
# ---------------------------------------------------------------------------------------------


def clip_of(spans: dict[str, tuple[float, float]]) -> Callable[[str], str]:
    """The function `clip_of` of :func:`~elasticast.data.lookup.index_audio`.

    It returns the id in the name of a file if `spans` contains the id with the same start and end.
    """

    def find(relative: str) -> str:
        name = NAME.fullmatch(stem_of(relative))
        span = spans.get(name[1]) if name else None
        if span and _is_time(name[2], span[0]) and _is_time(name[3], span[1]):
            return name[1]
        return ""

    return find


def _is_time(text: str | None, seconds: float) -> bool:
    """Whether `text` is None, or equals the time `seconds` written in s or as a whole number of ms."""
    if text is None:
        return True
    value = float(text)
    return abs(value - seconds) < 1e-3 or ("." not in text and abs(value - 1000 * seconds) < 1)


# ---------------------------------------------------------------------------------------------
# The two functions of every dataset module
# ---------------------------------------------------------------------------------------------


def fetch(config: AudioSet, data_root: Path, out: Path) -> None:
    """Do nothing: the lists and the clips cannot be downloaded automatically."""


def annotate(config: AudioSet, data_root: Path, out: Path) -> Annotations:
    """Read the annotations: one row per segment.

    Raises
    ------
    DataError
        If a list or the class names are malformed, if a clip occurs twice, or if there is no audio.
    """
    names = read_class_names(data_root / config.labels)
    if config.twin is None:
        _check_classes(data_root / config.labels, names)
    files = [(split, data_root / file) for split in SPLITS for file in config.segments.get(split, [])]
    segments = [read_segments(path, names) for _, path in files]
    _check_unique(files, [part.ids for part in segments])
    ids = [name for part in segments for name in part.ids]
    spans = [span for part in segments for span in part.spans]
    paths = index_audio(data_root / config.audio, clip_of=clip_of(dict(zip(ids, spans, strict=True)))).paths(ids)
    columns = {
        "id": ids,
        "split": [split for (split, _), part in zip(files, segments, strict=True) for _ in part.ids],
        "path": paths,
        "reason": ["" if path else "missing" for path in paths],
        "longest": [end - start + MAX_EXTRA_SECONDS for start, end in spans],
        "events": [classes for part in segments for classes in part.labels],
    }
    return Annotations(
        pd.DataFrame(columns), {"events": list(names.values())}, published_counts(config.segments, PUBLISHED)
    )
