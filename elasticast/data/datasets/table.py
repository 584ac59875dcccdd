"""Your own recordings, listed in a table with one row per clip.

Description
    Tasks, labels and splits are those of the table. Every row is used, or rejected with a reason. Columns that the
    settings do not name are guessed from their names; `prepare` prints the columns, and ``summary.json`` records them.

    Labels: one per clip in one column; several in one column, with a separator; several in several columns; or one
    column per class that holds 0 or 1 (`one_hot`). Spaces at the ends of labels are removed. Labels that differ only in
    case or spaces, and values that a spreadsheet program has changed, are errors. Regression is not supported.

    Splits: with `all_test`, all clips are split test. Otherwise those of the column `split`; else those of the column
    `fold`, of which `test_fold` is the test split; else folds that a hash draws, of the group (speaker, recording) or
    of the id if there are no groups. A clip that is a span of a file belongs to the group of its file.

Layout
    A CSV file (UTF-8; separated by commas, semicolons, tabs or vertical bars), TSV or Parquet file whose first row
    holds names of columns, or one for each split. `file_name,label` is enough. Paths are relative to the folder of the
    table or to `audio`, or absolute; with or without an extension; or only names of files that are in sub-folders.
    Audio has any format, sample rate and number of channels.

Source
    You.

Licence
    Yours.
"""

import logging
import math
import os
from pathlib import Path

import pandas as pd

from elasticast.config.dataset import SPLITS, Table
from elasticast.data.annotations import Annotations
from elasticast.data.labels import UniqueIds, clean, damage
from elasticast.data.tables.columns import label_columns, resolve_columns
from elasticast.data.tables.files import Files, find_files
from elasticast.data.tables.labels import read_classes, read_labels
from elasticast.data.tables.read import Rows, find_table, read_table
from elasticast.data.tables.splits import Division, all_test, drawn_splits, fold_splits, named_splits
from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
DRAW = "draw splits with `columns: {split: false}`"


def fetch(config: Table, data_root: Path, out: Path) -> None:
    """Do nothing: the recordings exist."""


def annotate(config: Table, data_root: Path, out: Path) -> Annotations:
    """Read the annotations: one row per row of the table. Clips without audio get a reason.

    Raises
    ------
    DataError
        If the table is missing or malformed, or a setting does not fit it. The message contains the file and the line.
    """
    folder = data_root / config.folder
    classes = {
        task: read_classes(labels.classes, folder, f"labels.{task}.classes") for task, labels in config.labels.items()
    }
    parts, notes, seen = [], [], UniqueIds()
    for split, path in _tables(config, folder):
        clips, note = _read(config, folder, path, split, classes, seen)
        parts.append(clips)
        notes.append(note)
    one_hot = {task: labels.columns for task, labels in config.labels.items() if labels.one_hot}
    listed = {task: names for task, names in classes.items() if names} | one_hot
    clips = pd.concat(parts, ignore_index=True)
    _check_groups(clips)
    return Annotations(clips, listed, notes={"tables": notes, "drawn": notes[0].pop("drawn")})


def _tables(config: Table, folder: Path) -> list[tuple[str, Path]]:
    """Split and path of each table; the split of a single table is ``""``."""
    if isinstance(config.table, dict):
        return [(split, folder / config.table[split]) for split in SPLITS if split in config.table]
    return [("", folder / config.table if config.table else find_table(folder))]


def _read(
    config: Table, folder: Path, path: Path, split: str, classes: dict, seen: UniqueIds
) -> tuple[pd.DataFrame, dict]:
    """The clips of a table, and how it was read."""
    rows = read_table(path)
    columns = resolve_columns(rows, config)
    taken = {name for name in columns.values() if name}
    of_task = {task: label_columns(rows, task, labels, taken) for task, labels in config.labels.items()}
    starts, durations = _spans(rows, columns)
    ids = _ids(rows, columns, folder if split else rows.path.parent)
    groups, kind = _groups(rows, columns, ids)
    labels = {t: read_labels(rows, t, config.labels[t], names, classes[t]) for t, names in of_task.items()}
    _add_ids(seen, rows, ids, split, next(iter(labels.values())))
    files = find_files(rows, columns["path"], folder / (config.audio or ""))
    _refuse_missing(rows, columns["path"], files, config.max_rejected)
    division = Division([split] * len(rows), "", False) if split else _divide(rows, columns, config, groups, kind)
    clips = {"id": ids, "split": division.splits, "path": files.paths, "reason": files.reasons, "group": groups}
    clips |= {"start": starts, "duration": durations, **labels}
    note = {
        "table": os.path.relpath(path, folder),
        "rows": len(rows),
        "columns": {use: name for use, name in columns.items() if name},
        "labels": of_task,
        "split": f"as the table of split {split}" if split else division.description,
        "drawn": division.drawn,
    }
    _report(path, note)
    return pd.DataFrame(clips), note


def _refuse_missing(rows: Rows, column: str, files: Files, allowed: float) -> None:
    """Stop before anything is decoded if more files are missing than `max_rejected` allows."""
    missing = [row for row, reason in enumerate(files.reasons) if reason]
    if len(missing) > allowed * len(rows):
        row = missing[0]
        raise DataError(
            f"{rows.place(row)}, column {column!r}: {rows.text(column)[row]!r}: {files.reasons[row]}; {len(missing)} "
            f"of {len(rows)} rows have no file. Correct them, or set `max_rejected` in the dataset's settings to at "
            f"least {math.ceil(100 * len(missing) / len(rows)) / 100:g}"
        )


def _report(path: Path, note: dict) -> None:
    """Log what was read from where."""
    columns = [f"{use} from {name!r}" for use, name in note["columns"].items()]
    labels = [f"labels of {task} from {', '.join(map(repr, names[:5]))}" for task, names in note["labels"].items()]
    LOG.info("%s: %d rows; %s", path, note["rows"], "; ".join(columns + labels))
    LOG.info("%s: splits %s", path, note["split"])


# ---------------------------------------------------------------------------------------------
# Spans, ids and groups
# ---------------------------------------------------------------------------------------------


def _spans(rows: Rows, columns: dict[str, str]) -> tuple[list[float], list[float]]:
    """Start (s) and duration (s) of each clip; a duration of NaN means up to the end of the file."""
    if not columns["start"]:
        return [0.0] * len(rows), [math.nan] * len(rows)
    starts = [_seconds(rows, row, columns["start"], 0.0) for row in range(len(rows))]
    if not columns["end"]:
        return starts, [math.nan] * len(rows)
    ends = [_seconds(rows, row, columns["end"], math.nan) for row in range(len(rows))]
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if end <= start:
            raise DataError(
                f"{rows.place(row)}: ends at {end:g} s (column {columns['end']!r}); expected an end after the start at "
                f"{start:g} s (column {columns['start']!r})"
            )
    return starts, [end - start for start, end in zip(starts, ends, strict=True)]


def _seconds(rows: Rows, row: int, column: str, default: float) -> float:
    text = clean(rows.text(column)[row])
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        cause = f": {damage(text)}" if damage(text) else ""
        raise DataError(f"{rows.place(row)}, column {column!r}: {text!r}{cause}; expected seconds such as 1.5")
    return seconds


def _ids(rows: Rows, columns: dict[str, str], base: Path) -> list[str]:
    """Id of each clip: that in the table, or its path and span. They do not depend on which files exist.

    Parameters
    ----------
    base : Path
        Folder that paths in ids are relative to.
    """
    if columns["id"]:
        ids = [clean(cell) for cell in rows.text(columns["id"])]
        for row, name in enumerate(ids):
            if not name or damage(name):
                cause = damage(name) or "every clip needs an id"
                raise DataError(f"{rows.place(row)}, column {columns['id']!r}: {name!r}: {cause}")
        return ids
    folder = rows.path.parent
    ids = [os.path.relpath(os.path.join(folder, cell.strip()), base) for cell in rows.text(columns["path"])]
    for use in ("start", "end"):
        if columns[use]:
            ids = [f"{name}@{clean(cell)}" for name, cell in zip(ids, rows.text(columns[use]), strict=True)]
    return ids


def _groups(rows: Rows, columns: dict[str, str], ids: list[str]) -> tuple[list[str], str]:
    """Group of each clip, and what a group is in words. Clips of one file are never divided."""
    if columns["group"]:
        groups = [clean(cell) for cell in rows.text(columns["group"])]
        empty = groups.count("")
        if empty:
            LOG.warning("%s: %d rows have no %r; each of them is its own group", rows.path, empty, columns["group"])
        return [group or name for group, name in zip(groups, ids, strict=True)], f"column {columns['group']!r}"
    if columns["start"]:
        return [cell.strip() for cell in rows.text(columns["path"])], "audio file"
    return ids, "id"


def _divide(rows: Rows, columns: dict[str, str], config: Table, groups: list[str], kind: str) -> Division:
    if config.all_test:
        return all_test(len(rows))
    by_fold = config.test_fold is not None and not config.columns.split
    if columns["split"] and not (by_fold and columns["fold"]):
        source = f"column {columns['split']!r}"
        return named_splits(rows.text(columns["split"]), config, rows.place, source, DRAW)
    if columns["fold"]:
        return fold_splits(rows.text(columns["fold"]), config, f"column {columns['fold']!r}", rows.path)
    return drawn_splits(groups, config, kind, rows.path)


# ---------------------------------------------------------------------------------------------
# Checks of all tables
# ---------------------------------------------------------------------------------------------


def _add_ids(seen: UniqueIds, rows: Rows, ids: list[str], split: str, labels: list[list[str]]) -> None:
    """Check that no row before has the same id."""
    for row, (name, names) in enumerate(zip(ids, labels, strict=True)):
        try:
            seen.add(name, rows.path, rows.numbers[row], split, ", ".join(names))
        except DataError as error:
            raise DataError(
                f"{error}; write several labels of a clip into one row; spans of one file need `columns.start`"
            ) from None


def _check_groups(clips: pd.DataFrame) -> None:
    """Warn if a speaker or recording is in several splits, which only named splits allow."""
    splits = clips.groupby("group")["split"].nunique()
    shared = splits[splits > 1]
    if len(shared):
        text = "%d of %d groups (speakers, recordings) have clips in several splits, such as %r; scores may be too high"
        LOG.warning(text, len(shared), len(splits), shared.index[0])
