"""AudioSet: excerpts of YouTube videos, each with one or more of 527 kinds of sound.

Description
    One excerpt of up to 10 s a video, so that a clip's id is the 11 characters of the video's. Task ``events``,
    several labels, in the order of ``class_labels_indices.csv``. The published lists are a balanced and an unbalanced
    training set and an evaluation set, which is the test split here; they share no video, and lists that do are
    refused.

Layout
    ``*_segments.csv``: three lines that begin with ``# ``, then ``-0RWZT-miFs, 420.000, 430.000, "/m/03v3yw,/m/0k4j"``
    (id, start and end in s, labels). A list that a spreadsheet program has been at is refused: ids that begin with
    ``-`` have become ``#NAME?``, ids of digits and one E have become numbers, the quoted labels lie in many columns.

    ``class_labels_indices.csv``: ``index,mid,display_name``, names quoted where they hold commas.

    The clips, each cut out of its video, flat or in sub-folders, as any of ``ID.wav``, ``YID.wav``,
    ``ID_30000_40000.flac``, ``ID_30.000.flac``, ``ID_30.000_40.000.wav`` (start, or start and end, in s or ms), in any
    format. A file of another start or end is not the clip. Nor is one more than a second longer than its segment: that
    is a video nobody has cut.

Counts
    balanced_train_segments.csv 22,160; unbalanced_train_segments.csv 2,041,789; eval_segments.csv 20,371. Many of the
    videos are no longer on YouTube: in March 2023, 16 % of the balanced and of the evaluation clips were gone
    (https://huggingface.co/datasets/agkphysics/AudioSet).

Source
    https://research.google.com/audioset/download.html (the lists and the names of the classes; the audio is not
    distributed). J. F. Gemmeke, D. P. W. Ellis, D. Freedman, A. Jansen, W. Lawrence, R. C. Moore, M. Plakal,
    M. Ritter: Audio Set: An ontology and human-labeled dataset for audio events. ICASSP 2017.

Licence
    The lists Creative Commons Attribution 4.0 (CC BY 4.0), the ontology CC BY-SA 4.0; the audio is its authors'.
"""

import logging
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from elasticast.config.dataset import SPLITS, AudioSet
from elasticast.data.annotations import MAX_QUOTED, Annotations, published_counts, read_class_names, text_lines
from elasticast.data.lookup import index_audio, stem_of
from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
URL = "https://research.google.com/audioset/download.html"
PUBLISHED = {
    "balanced_train_segments.csv": 22160,
    "unbalanced_train_segments.csv": 2041789,
    "eval_segments.csv": 20371,
}
LONGER_SECONDS = 1.0  # encoders add a fraction of a second; an uncut video is longer by more
ROW = re.compile(
    r"([\w-]{11})[ \t]*,[ \t]*(\d+(?:\.\d*)?)[ \t]*,[ \t]*(\d+(?:\.\d*)?)[ \t]*,[ \t]*"
    r'(?:"[ \t]*(/[\w/]+(?:,[ \t]*/[\w/]+)*)[ \t]*"|(/[\w/]+))\s*',
    re.ASCII,
)
# What has happened to a row that is not as published: the first that fits.
DAMAGES = (
    (r'"?#\S*[?!]', "a spreadsheet program has taken an id that begins with '-' for a formula"),
    (r"[^,]*;", "the columns are divided by semicolons, as a spreadsheet program does it in some countries"),
    (r'(?![\w-]{11}"?\s*,)"?-?[\d.]+E[+-]?\d+', "a spreadsheet program has taken the id for a number"),
    (r"(?![\w-]{11}\s*,)", "the id is not 11 of A-Z, a-z, 0-9, _ and -"),
    (r"[^,]*,[^,]*,[^,]*(?:,\s*)*$", "there are no labels"),
    (r'[^"]*"[^"]*$', "a quotation mark is missing: the file may have been cut off"),
    (r'.*(?:""|",|,"[^,]*$|/[^"]*,[^"]*$)', "a program that divides quoted text at commas has split the labels"),
    (r"", "the start, the end or the labels are not as they should be"),
)
SHOULD_BE = 'a row should be like -0RWZT-miFs, 420.000, 430.000, "/m/03v3yw,/m/0k4j"; take the list from ' + URL
# Exactly one of the two readings of a leading Y fits a name: an id has 11 characters.
NAME = re.compile(r"Y?([\w-]{11})(?:_(\d+(?:\.\d+)?))?(?:_(\d+(?:\.\d+)?))?", re.ASCII)


class Segments(NamedTuple):
    """Ids, ``(start, end)`` in s, and class names of the rows of a list; equal ones are the same object."""

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
        If a row is not as published, or a label not among `names`; names file and line.
    """
    found, comments = Segments([], [], []), ""
    spans: dict[tuple[str, str], tuple[float, float]] = {}
    labels: dict[str, list[str]] = {}
    for number, line in enumerate(text_lines(path, "segments"), start=1):
        row = ROW.fullmatch(line)
        if row is None:
            if line.startswith("# ") or not line.strip():
                comments += line
                continue
            raise DataError(f"{path}, line {number}: {line.strip()[:MAX_QUOTED]!r}: {_damage(line)}; {SHOULD_BE}")
        name, start, end, several, single = row.groups()
        try:
            span = spans.get((start, end)) or spans.setdefault((start, end), _span(start, end))
            mids = several or single
            classes = labels.get(mids) or labels.setdefault(mids, _classes(mids, names))
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {line.strip()[:MAX_QUOTED]!r}: {error}") from None
        found.ids.append(name)
        found.spans.append(span)
        found.labels.append(classes)
    _check_count(path, len(found.ids), comments)
    return found


def _span(start: str, end: str) -> tuple[float, float]:
    span = float(start), float(end)
    if span[0] >= span[1]:
        raise ValueError(f"ends at {end} s, expected later than its start")
    return span


def _classes(mids: str, names: dict[str, str]) -> list[str]:
    try:
        return [names[mid.strip()] for mid in mids.split(",")]
    except KeyError as error:
        raise ValueError(f"label {error} is not in the file that `labels` names ({len(names)} classes)") from None


def _damage(line: str) -> str:
    return next(text for pattern, text in DAMAGES if re.match(pattern, line, re.ASCII | re.IGNORECASE))


def _check_count(path: Path, rows: int, comments: str) -> None:
    """Refuse an empty list; warn of one that is not as long as its own header says."""
    if not rows:
        raise DataError(f"{path}: no segment in it; {SHOULD_BE}")
    told = re.search(r"num_segs=(\d+)", comments)
    if told and int(told[1]) != rows:
        why = "it is cut off, or chosen from a longer one"
        LOG.warning("%s: %d segments where its header says %s: %s", path, rows, told[1], why)


def _check_disjoint(ids: dict[str, list[str]]) -> None:
    """Refuse splits that share a clip."""
    for one, other in combinations(ids, 2):
        shared = set(ids[other]).intersection(ids[one])
        if shared:
            raise DataError(
                f"segments: {len(shared)} ids, such as {min(shared)}, are in the lists of both {one} and {other}; "
                "a clip belongs to one split"
            )


# ---------------------------------------------------------------------------------------------
# The audio
# ---------------------------------------------------------------------------------------------


def clip_of(spans: dict[str, tuple[float, float]]) -> Callable[[str], str]:
    """For `index_audio`: the id in a file's name, where it is one of `spans` and start and end do not differ."""

    def find(relative: str) -> str:
        name = NAME.fullmatch(stem_of(relative))
        span = spans.get(name[1]) if name else None
        if span and _is_time(name[2], span[0]) and _is_time(name[3], span[1]):
            return name[1]
        return ""

    return find


def _is_time(text: str | None, seconds: float) -> bool:
    """Whether `text` is a time in s, or a whole number of ms, or not there at all."""
    if text is None:
        return True
    value = float(text)
    return abs(value - seconds) < 1e-3 or ("." not in text and abs(value - 1000 * seconds) < 1)


# ---------------------------------------------------------------------------------------------
# The two functions of every dataset module
# ---------------------------------------------------------------------------------------------


def fetch(config: AudioSet, data_root: Path, out: Path) -> None:
    """Nothing: the lists and the clips have to be there."""


def annotate(config: AudioSet, data_root: Path, out: Path) -> Annotations:
    """One row a segment.

    Raises
    ------
    DataError
        If a list or the class names are not as published, two splits share a clip, or there is no audio.
    """
    names = read_class_names(data_root / config.labels)
    splits = [split for split in SPLITS if split in config.segments]
    lists = {split: [read_segments(data_root / file, names) for file in config.segments[split]] for split in splits}
    _check_disjoint({split: [name for part in lists[split] for name in part.ids] for split in splits})
    every = [part for split in splits for part in lists[split]]
    ids = [name for part in every for name in part.ids]
    spans = [span for part in every for span in part.spans]
    first = dict(zip(reversed(ids), reversed(spans), strict=True))  # of rows with the same id the first is used
    paths = index_audio(data_root / config.audio, clip_of=clip_of(first)).paths(ids)
    columns = {
        "id": ids,
        "split": [split for split in splits for part in lists[split] for _ in part.ids],
        "path": paths,
        "reason": ["" if path else "missing" for path in paths],
        "longest": [end - start + LONGER_SECONDS for start, end in spans],
        "events": [classes for part in every for classes in part.labels],
    }
    return Annotations(
        pd.DataFrame(columns), {"events": list(names.values())}, published_counts(config.segments, PUBLISHED)
    )
