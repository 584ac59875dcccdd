"""Clean and check what annotation files contain: labels, ids, and damage by spreadsheet programs.

Every reader of a dataset uses these functions, so a mistyped label or a damaged id never becomes a new class or clip.
"""

import logging
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

import pandas as pd

from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
MAX_NAMED = 10  # classes that a warning names
SIMILAR = 0.8  # ratio of `difflib` from which a label is probably a mistyped class
INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060\u00ad"))
"""Byte-order marks, zero-width characters and soft hyphens. They come from copied text and joined files."""
# Traces of spreadsheet programs in a value, each with its cause. The first pattern that matches is reported.
_DAMAGES = (
    (r"#\S*[?!]|#N/A", "a spreadsheet program has taken a value that starts with '-' or '=' for a formula"),
    (r"[='].+", "a spreadsheet program has written a value that starts with '-' as a formula or a quoted text"),
    (r"-?\d+(?:[.,]\d+)?E[+-]?\d+", "a spreadsheet program has converted the value to a number"),
    (
        r"\d{1,2}-[A-Z]{3}(?:-\d{2,4})?|[A-Z]{3}-\d{2,4}|\d{1,2}([/.])\d{1,2}\1\d{2,4}|\d{4}-\d\d-\d\d(?: .*)?",
        "a spreadsheet program has converted the value to a date",
    ),
    (r"\d\d?:\d\d\.\d", "a spreadsheet program has shortened the time"),
    (r"TRUE|FALSE", "a spreadsheet program has converted the value to a truth value"),
)
_YOUTUBE_ID = re.compile(r"[\w-]{11}", re.ASCII)


def clean(text: str) -> str:
    """Return text in Unicode's composed form (NFC), without invisible characters, and with single spaces.

    Non-breaking spaces, tabs and line ends count as spaces. Spaces at both ends are removed.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.translate(INVISIBLE))
    return " ".join(text.split())


# ---------------------------------------------------------------------------------------------
# Labels
# ---------------------------------------------------------------------------------------------


def meant(label: str, classes: Collection[str]) -> str:
    """The class that a mistyped label probably stands for, or ``""``.

    Names that differ in case, spaces and punctuation only come first, then the most similar name.
    """
    alike = next((name for name in classes if _folded(name) == _folded(label)), "")
    return alike or next(iter(get_close_matches(label, classes, 1, SIMILAR)), "")


def class_of(label: str, classes: Collection[str]) -> str:
    """Return the class that a label names, which may have further spaces.

    Raises
    ------
    ValueError
        If there is no such class. The message contains the label and the class that is probably meant.
    """
    name = clean(label)
    if name in classes:
        return name
    probable = meant(name, classes)
    hint = f"; the class {probable!r} is probably meant" if probable else ""
    raise ValueError(f"label {name!r} is none of the {len(classes)} classes{hint}")


def near_duplicates(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ only in case, spaces, punctuation or Unicode form."""
    groups = defaultdict(list)
    for name in dict.fromkeys(names):
        groups[_folded(name) or name].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _folded(name: str) -> str:
    """A name without case, spaces, punctuation and invisible characters, in compatibility form (NFKC)."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())


def check_labels(clips: pd.DataFrame, classes: dict[str, list[str]]) -> None:
    """Check that all labels of usable clips are published classes.

    Parameters
    ----------
    clips : pandas.DataFrame
        See :class:`~elasticast.data.annotations.Annotations`.
    classes : dict
        Published classes per task. Tasks without published classes are not checked.

    Raises
    ------
    DataError
        If a label is not a class. The message contains the clip, the label and the class that is probably meant.
    """
    usable = clips[clips["reason"] == ""]
    for task, names in classes.items():
        unknown = set(chain.from_iterable(usable[task])).difference(names)
        if unknown:
            label = min(unknown)
            clip = next(row for row, labels in zip(usable["id"], usable[task], strict=True) if label in labels)
            hint = f"; {meant(label, names)!r} is probably meant" if meant(label, names) else ""
            raise DataError(f"clip {clip}: {label!r} is none of the {len(names)} classes of task {task}{hint}")


def report_classes(clips: pd.DataFrame, lists: dict[str, dict], complete: bool) -> None:
    """Log warnings about classes without clips, classes in one split only, and class names that are alike.

    Parameters
    ----------
    clips : pandas.DataFrame
        The manifest.
    lists : dict
        See :func:`~elasticast.data.manifest.class_lists`.
    complete : bool
        Whether every class should have clips: neither a selection of clips nor a twin.
    """
    for task, content in lists.items():
        names = content["classes"]
        counts = _counts(clips[clips["status"] == "ok"], task)
        untrained = [name for name in names if not counts["train"][name] and counts["test"][name]]
        if untrained and (clips["split"] == "train").any():
            text = "task %s: no model can learn classes with test clips but without a usable training clip (%d): %s"
            LOG.warning(text, task, len(untrained), _named(untrained))
        untested = [name for name in names if not counts["test"][name]]
        trained = [name for name in untested if counts["train"][name]]
        if content["kind"] == "single" and trained:
            text = "task %s: no score covers classes with training clips but without a usable test clip (%d): %s"
            LOG.warning(text, task, len(trained), _named(trained))
        annotated = set(chain.from_iterable(clips[task]))
        absent = [name for name in names if name not in annotated]
        if absent:
            cause = "the list may be truncated" if complete else "the dataset is a selection of clips or a twin"
            level = logging.WARNING if complete else logging.INFO
            text = "task %s: %d of the %d classes have no clip (%s): %s"
            LOG.log(level, text, task, len(absent), len(names), cause, _named(absent))
        if content["kind"] != "single" and untested:
            text = "task %s: mAP is the mean over %d of %d classes; these have no usable test clip: %s"
            level = logging.WARNING if complete else logging.INFO
            LOG.log(level, text, task, len(names) - len(untested), len(names), _named(untested))
        for group in near_duplicates(names):
            LOG.warning("task %s: these classes may be the same: %s", task, _named(group))


def _counts(clips: pd.DataFrame, task: str) -> dict[str, Counter]:
    """Clips per class of each split."""
    counts = defaultdict(Counter)
    for split, rows in clips.groupby("split")[task]:
        counts[split].update(chain.from_iterable(rows))
    return counts


def _named(names: Sequence[str]) -> str:
    text = ", ".join(repr(name) for name in names[:MAX_NAMED])
    return text + (f", and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")


# ---------------------------------------------------------------------------------------------
# Ids
# ---------------------------------------------------------------------------------------------


def damage(value: str) -> str:
    """How a spreadsheet program has damaged a value, or ``""`` if it shows no trace of one."""
    matches = (cause for pattern, cause in _DAMAGES if re.fullmatch(pattern, value, re.IGNORECASE))
    return next(matches, "")


def video_damage(value: str) -> str:
    """Why a value is not the id of a YouTube video, or ``""`` if it is one."""
    if _YOUTUBE_ID.fullmatch(value):
        return ""
    if re.fullmatch(r"\d{1,10}", value):
        return "a spreadsheet program has removed zeros at the start of the id"
    return damage(value) or "the id does not consist of 11 characters from A-Z, a-z, 0-9, _ and -"


class UniqueIds:
    """Checks that every clip occurs once in the annotation files of a dataset."""

    def __init__(self):
        self._seen: dict[str, tuple[Path, int, str, str]] = {}

    def add(self, clip: str, path: Path, line: int, split: str = "", label: str = "") -> None:
        """Add a row.

        Raises
        ------
        DataError
            If a row before has the same id. The message contains both places, and the splits or labels that differ.
        """
        row = (path, line, split, label)
        first = self._seen.setdefault(clip, row)
        if first is not row:
            raise DataError(f"{path}, line {line}: {twice(clip, first, row)}")


def twice(clip: str, first: tuple[Path | str, int, str, str], again: tuple[Path | str, int, str, str]) -> str:
    """Describe two rows (file, line, split, label) of one clip."""
    (path, line, *old), (_, _, *new) = first, again
    differ = [
        f"{kind} {a!r} there, {b!r} here" for kind, a, b in zip(("split", "label"), old, new, strict=True) if a != b
    ]
    text = f"clip {clip} is also in {path}, line {line}"
    return (
        f"{text}, with different annotations ({'; '.join(differ)})" if differ else f"{text}; every clip may occur once"
    )
