"""DESED: 10 s clips of sounds in homes, with onset and offset of every event. Also other datasets in its format.

Description
    The task ``timed_events`` (kind ``frames``) has the events. The id of a clip is the name of its file without the
    extension. Classes are sorted. Clips with weak labels and clips without labels are not used.

Layout
    Lists of events: a header ``filename``, ``onset``, ``offset``, ``event_label``, then rows such as
    ``YvaujCxjJXlI_30.000_40.000.wav``, ``0.000``, ``4.480``, ``Speech``, separated by tabs. A clip without events has
    one row without times and label. In a further column ``confidence`` (MAESTRO), events of 0.5 or less are left out.

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
from elasticast.errors import DataError

COLUMNS = ("filename", "onset", "offset", "event_label")
LEAST_CONFIDENCE = 0.5


def fetch(config: Desed, data_root: Path, out: Path) -> None:
    """Do nothing: the lists and the clips cannot be downloaded automatically."""


def annotate(config: Desed, data_root: Path, out: Path) -> Annotations:
    """Read the annotations: one row per clip, and its events. Clips without audio have the reason ``missing``.

    Raises
    ------
    DataError
        If a list is malformed.
    """
    clips, events = {}, []
    for split, path in lists(config.annotations, data_root):
        for row in read_rows(path, COLUMNS, ("confidence",)):
            clip = PurePosixPath(row.cells["filename"]).stem
            clips[clip, split] = None
            if any(row.cells[column] for column in COLUMNS[1:]) and _confident(row):
                events.append((clip, _label(row), *row.seconds("onset", "offset"), row.where))
    table = pd.DataFrame(list(clips), columns=["id", "split"])
    table["path"] = index_audio(data_root / config.audio, clip_of=stem_of).paths(table["id"].tolist())
    table["reason"] = table["path"].map({"": "missing"}).fillna("")
    return Annotations(table, events={"timed_events": events_of(events)})


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
