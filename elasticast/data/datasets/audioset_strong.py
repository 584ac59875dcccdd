"""AudioSet-Strong: 10 s excerpts of YouTube videos, with onset and offset of every event.

Description
    The task ``timed_events`` (kind ``frames``) has the events. The id of a clip is that of its segment: the id of the
    video, ``_``, and the start in ms. The classes are those in the lists, in the order of the list of names.

Layout
    ``audioset_train_strong.tsv``, ``audioset_eval_strong.tsv``: a header ``segment_id``, ``start_time_seconds``,
    ``end_time_seconds``, ``label``, then rows such as ``b0RFKhbpFJA_30000``, ``0.000``, ``10.000``, ``/m/03m9d0z``,
    separated by tabs. Times count from the start of the segment.

    ``audioset_eval_strong_framed_posneg.tsv`` is refused: its rows are frames of 0.96 s with a further column
    ``present``, and no events.

    ``mid_to_display_name.tsv``: label and name, separated by a tab, without a header.

    The clips may have the names that `elasticast.data.datasets.audioset` describes.

Counts
    103,463 training clips with 934,821 events of 447 classes; 16,996 evaluation clips with events of 416 classes.

Source
    https://research.google.com/audioset/download_strong.html. S. Hershey, D. P. W. Ellis, E. Fonseca, A. Jansen,
    C. Liu, R. C. Moore, M. Plakal: The benefit of temporally-strong labels in audio event classification. ICASSP 2021.

Licence
    Creative Commons Attribution 4.0 (CC BY 4.0). The audio belongs to its authors.
"""

import re
from pathlib import Path

import pandas as pd

from elasticast.config.dataset import AudioSetStrong
from elasticast.data.annotations import Annotations, published_counts, read_lines
from elasticast.data.datasets.audioset import MAX_EXTRA_SECONDS, clip_of
from elasticast.data.event_lists import Row, events_of, lists, read_rows
from elasticast.data.labels import clean
from elasticast.data.lookup import index_audio
from elasticast.errors import DataError

PUBLISHED = {"audioset_train_strong.tsv": 103463, "audioset_eval_strong.tsv": 16996}
COLUMNS = ("segment_id", "start_time_seconds", "end_time_seconds", "label")
SEGMENT_SECONDS = 10.0
SEGMENT = re.compile(r"([\w-]{11})_(\d+)", re.ASCII)


def fetch(config: AudioSetStrong, data_root: Path, out: Path) -> None:
    """Do nothing: the lists and the clips cannot be downloaded automatically."""


def annotate(config: AudioSetStrong, data_root: Path, out: Path) -> Annotations:
    """Read the annotations: one row per segment, and its events. Segments without audio have the reason ``missing``.

    Raises
    ------
    DataError
        If a list is malformed, or a label has no name.
    """
    names = read_names(data_root / config.labels)
    clips, events = {}, []
    for split, path in lists(config.annotations, data_root):
        for row in read_rows(path, COLUMNS, ("present",)):
            if "present" in row.cells:
                raise DataError(
                    f"{path}: with the column `present`, each row is a frame of 0.96 s with or without a class, "
                    "and no event; use audioset_eval_strong.tsv, which has the events of the same clips"
                )
            segment = row.cells["segment_id"]
            clips.setdefault((segment, split), _span(row))
            events.append((segment, _name(row, names), *row.seconds(*COLUMNS[1:3]), row.where))
    videos = {segment.rpartition("_")[0]: span for (segment, _), span in clips.items()}
    index = index_audio(data_root / config.audio, clip_of=clip_of(videos))
    table = pd.DataFrame(list(clips), columns=["id", "split"])
    table["path"] = index.paths(table["id"].str.rpartition("_")[0].tolist())
    table["reason"] = table["path"].map({"": "missing"}).fillna("")
    table["longest"] = SEGMENT_SECONDS + MAX_EXTRA_SECONDS
    used = {label for _, label, *_ in events}
    classes = {"timed_events": [name for name in names.values() if name in used]}
    counts = published_counts(config.annotations, PUBLISHED)
    return Annotations(table, classes, counts, events={"timed_events": events_of(events)})


def read_names(path: Path) -> dict[str, str]:
    """Read the list of names: label (``mid``) to class name.

    Raises
    ------
    DataError
        If a line does not have two cells, or repeats a label or a name.
    """
    names: dict[str, str] = {}
    for number, line in enumerate(read_lines(path, "labels"), start=1):
        cells = [clean(cell) for cell in line.split("\t")]
        if len(cells) != 2 or not all(cells):
            raise DataError(f"{path}, line {number}: {line.strip()!r}, expected a label and a name, separated by a tab")
        if cells[0] in names or cells[1] in names.values():
            raise DataError(f"{path}, line {number}: {line.strip()!r} repeats a class; expected every class once")
        names[cells[0]] = cells[1]
    return names


def _span(row: Row) -> tuple[float, float]:
    """Start and end of a segment in its video (s)."""
    match = SEGMENT.fullmatch(row.cells["segment_id"])
    if match is None:
        raise DataError(
            f"{row.where}: segment_id = {row.cells['segment_id']!r}, expected the id of a video, _ and a start in ms"
        )
    return int(match[2]) / 1000, int(match[2]) / 1000 + SEGMENT_SECONDS


def _name(row: Row, names: dict[str, str]) -> str:
    label = row.cells["label"]
    if label not in names:
        raise DataError(f"{row.where}: label = {label!r} is not in the list of {len(names)} names, `labels`")
    return names[label]
