"""DESED: 10 s clips of sounds in homes, with onset and offset of every event. Also other datasets in its format.

Description
    The task ``timed_events`` (kind ``frames``) has the events. The id of a clip is the name of its file without the
    extension. Classes are sorted. Of training clips with weak labels, only the classes are known; of those in a folder
    without a list, nothing. A clip in several lists has the most exact labels. `aliases` in the settings give classes
    another name; events of one class that overlap are merged.

Layout
    Lists of events: a header ``filename``, ``onset``, ``offset``, ``event_label``, then rows such as
    ``YvaujCxjJXlI_30.000_40.000.wav``, ``0.000``, ``4.480``, ``Speech``, separated by tabs. A clip without events has
    one row without times and label. In a further column ``confidence`` (MAESTRO), events of 0.5 or less are left out.

    Weak labels: a header ``filename``, ``event_labels``, then rows such as ``Y-_eMzzlBc0I_20.000_30.000.wav``,
    ``Speech,Dog``.

    Clips without labels: a folder of audio files, such as ``unlabel_in_domain``.

Source
    https://github.com/turpaultn/DESED. N. Turpault, R. Serizel, A. Parag Shah, J. Salamon: Sound event detection in
    domestic environments with weakly labeled data and soundscape synthesis. DCASE 2019.

Licence
    Lists: MIT. The audio belongs to its authors.
"""

from pathlib import Path, PurePosixPath

import pandas as pd

from elasticast.config.dataset import Desed
from elasticast.data.annotations import Annotations
from elasticast.data.event_lists import Row, events_of, lists, read_rows
from elasticast.data.lookup import index_audio, stem_of
from elasticast.data.manifest import LACKING, Known
from elasticast.errors import DataError, did_you_mean

COLUMNS = ("filename", "onset", "offset", "event_label")
WEAK_COLUMNS = ("filename", "event_labels")
LEAST_CONFIDENCE = 0.5
TASK = "timed_events"


def fetch(config: Desed, data_root: Path, out: Path) -> None:
    """Do nothing: the lists and the clips cannot be downloaded automatically."""


def annotate(config: Desed, data_root: Path, out: Path) -> Annotations:
    """Read the annotations: one row per clip, and its events. Clips without audio have the reason ``missing``.

    Raises
    ------
    DataError
        If a list is malformed, the folder of clips without labels has no further clips, or no list has a class in
        `aliases`.
    """
    clips, events, classes = {}, [], set()
    for split, path in lists(config.annotations, data_root):
        for row in read_rows(path, COLUMNS, ("confidence",)):
            clip = PurePosixPath(row.cells["filename"]).stem
            clips[clip, split] = None
            if any(row.cells[column] for column in COLUMNS[1:]):
                classes.add(_label(row))
                if _confident(row):
                    events.append((clip, _label(row), *row.seconds("onset", "offset"), row.where))
    strong = {clip for clip, _ in clips}
    weak = _weak(config, data_root)
    _check_aliases(config.aliases, classes.union(*weak.values()))
    events = [(clip, config.aliases.get(label, label), *rest) for clip, label, *rest in events]
    weak = {
        clip: sorted({config.aliases.get(name, name) for name in names})
        for clip, names in weak.items()
        if clip not in strong
    }
    rows = [(*clip, Known.ALL, []) for clip in clips] + [(clip, "train", Known.CLASSES, weak[clip]) for clip in weak]
    table = pd.DataFrame(rows, columns=["id", "split", LACKING, TASK])
    table["path"] = index_audio(data_root / config.audio, clip_of=stem_of).paths(table["id"].tolist())
    table["reason"] = table["path"].map({"": "missing"}).fillna("")
    tables = [table, *_unlabelled(config, data_root, strong | set(weak))]
    return Annotations(pd.concat(tables, ignore_index=True), events={TASK: events_of(events)})


def _check_aliases(aliases: dict[str, str], classes: set[str]) -> None:
    """Check that every class that is read as another one is in a list."""
    if unknown := [name for name in aliases if name not in classes]:
        meant = did_you_mean(unknown[0], classes) or f"expected some of: {', '.join(sorted(classes))}"
        raise DataError(f"aliases: {unknown[0]!r} is a class in no list of `annotations` and `weak`; {meant.strip()}")


def _weak(config: Desed, data_root: Path) -> dict[str, set[str]]:
    """Classes of each clip with weak labels."""
    found: dict[str, set[str]] = {}
    for row in (row for file in config.weak for row in read_rows(data_root / file, WEAK_COLUMNS)):
        names = [name.strip() for name in row.cells["event_labels"].split(",")]
        if not all(names):
            raise DataError(f"{row.where}: event_labels = {row.cells['event_labels']!r}, expected labels and commas")
        found.setdefault(PurePosixPath(row.cells["filename"]).stem, set()).update(names)
    return found


def _unlabelled(config: Desed, data_root: Path, listed: set[str]) -> list[pd.DataFrame]:
    """The clips without labels that are in no list, as a table; no table without such a folder."""
    if config.unlabelled is None:
        return []
    index = index_audio(data_root / config.unlabelled, setting="unlabelled", clip_of=stem_of)
    clips = sorted(clip for clip in index if clip not in listed)
    if not clips:
        raise DataError(
            f"{data_root / config.unlabelled}: all {len(index)} clips in it are in a list; set `unlabelled` in the "
            "dataset's settings to a folder with further clips, or to null"
        )
    table = pd.DataFrame({"id": clips, "split": "train", "path": index.paths(clips), "reason": ""})
    return [table.assign(**{LACKING: Known.NOTHING, TASK: [[] for _ in clips]})]


def _label(row: Row) -> str:
    if not row.cells["event_label"]:
        raise DataError(f"{row.where}: event_label is empty, but the event has times")
    return row.cells["event_label"]


def _confident(row: Row) -> bool:
    text = row.cells.get("confidence", "1")
    try:
        return float(text) > LEAST_CONFIDENCE
    except ValueError:
        raise DataError(f"{row.where}: confidence = {text!r}, expected a number") from None
