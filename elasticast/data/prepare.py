"""Prepare a dataset: turn audio and annotations into a manifest and one waveform store per split."""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from elasticast.checksums import FILES as SUMS
from elasticast.checksums import OWN, file_sha256, read_record, verify, write_record
from elasticast.config import digest
from elasticast.config.dataset import SPLITS, DatasetConfig
from elasticast.data.annotations import Annotations, check_annotations, select_ids
from elasticast.data.coverage import report_coverage, with_unlisted
from elasticast.data.datasets import reader_of
from elasticast.data.duplicates import check_duplicates
from elasticast.data.event_table import event_table, with_clip_labels, write_events
from elasticast.data.events import EVENTS
from elasticast.data.labels import check_labels, report_classes
from elasticast.data.manifest import LACKING, class_lists, lack_labels, reason_kind, write_csv, write_manifest
from elasticast.data.parts import Part, decode_parts, plan, read_outcomes
from elasticast.data.prepared import SUMMARY
from elasticast.data.store import read_part, write_index
from elasticast.errors import DataError
from elasticast.files import locked, write_json, write_text
from elasticast.text import decodable, printable

LOG = logging.getLogger(__name__)
MAX_REASONS = 5
FILES = ("manifest.parquet", "classes.json", "ids.txt", "summary.csv", *(f"{split}.h5" for split in SPLITS))
"""Files of every prepared dataset; those with tasks of kind ``frames`` have a table of events as well."""
BUSY = "another process is preparing this dataset; wait until it ends, or stop it"


def prepare(config: DatasetConfig, data_root: Path, out: Path, *, workers: int = 1) -> None:
    """Fetch, annotate and decode a dataset into `out`. Finished parts are reused, and a complete dataset is left as is.

    Writes ``manifest.parquet``, ``events.parquet`` (if a task is of kind ``frames``), ``train.h5``, ``dev.h5``,
    ``test.h5``, ``parts/``, ``classes.json``, ``ids.txt``, ``rejected.csv``, ``summary.csv`` and finally
    ``summary.json``, which holds the checksums of the others. Files that were
    damaged are written again. The ``sha256`` in ``summary.json`` depends only on the audio and the annotations.

    Parameters
    ----------
    config : DatasetConfig
        Settings of the dataset.
    data_root : Path
        Folder of downloaded datasets.
    out : Path
        Folder of the prepared dataset, named after the dataset.
    workers : int
        Number of processes that decode.

    Raises
    ------
    DataError
        If the audio cannot be fetched, if the share of unusable clips exceeds ``config.max_rejected``, if a split has
        no usable clip, if the same audio is in two splits of your own recordings, or if an event is outside its clip.
        In the last four cases
        ``rejected.csv`` is still written.
    ElasticASTError
        If another process is preparing `out`.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / ".lock", BUSY):
        annotations, parts = _plan(config, data_root, out)
        _clean_up(out, kept=None)
        decode_parts(parts, config, workers)
        clips = _add_outcomes(annotations.clips, parts)
        write_csv(clips.loc[clips["status"] == "rejected", ["id", "split", "path", "reason"]], out / "rejected.csv")
        _check_usable(clips, config, out)
        events = event_table(annotations.events, clips, config.tasks)
        check_duplicates(clips, list(config.tasks), refuse=not getattr(config, "allow_leakage", True))
        classes = class_lists(clips, config.tasks, annotations.classes)
        report_classes(clips, classes, complete=config.ids is None and not getattr(config, "twin", None))
        summary = _summary(clips, classes, events, config, parts)
        summary |= {"published": annotations.published, "notes": annotations.notes}
        report_coverage(summary, config, out)
        files = FILES if events is None else (*FILES, EVENTS)
        if _is_complete(out, summary, files):
            LOG.info("%s: complete, nothing to do", out)
        else:
            with _keeping_times(out, files):
                (out / SUMMARY).unlink(missing_ok=True)  # its presence means that the other files are complete
                _write_dataset(clips, classes, config, parts, summary, out)
                if events is not None:
                    write_events(events, out / EVENTS)
                write_record(out / SUMMARY, summary, [out / name for name in files])
        _clean_up(out, kept={part.path for part in parts})
    LOG.info("%s: %s", out, ", ".join(f"{n} {split} clips" for split, n in summary["clips"].items() if n))


def _clean_up(out: Path, kept: set[Path] | None) -> None:
    """Delete unfinished files of killed processes, and all parts that are not in `kept`. If None, keep all parts."""
    folder = out / "parts"
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.startswith(".") or (kept is not None and path not in kept):
            path.unlink()


def prepare_shard(config: DatasetConfig, data_root: Path, out: Path, shard: int, shards: int, *, workers: int) -> None:
    """Decode every `shards`-th part, starting with part `shard` (counted from 1). A later `prepare` joins the parts.

    Shards may run at the same time, on several machines that share `out`.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / ".lock", BUSY, shared=True), locked(out / f".lock-{shard}-of-{shards}", BUSY):
        _, parts = _plan(config, data_root, out)
        shard_parts = parts[shard - 1 :: shards]
        decode_parts(shard_parts, config, workers)
    LOG.info("%s: shard %d of %d is complete (%d of %d parts)", out, shard, shards, len(shard_parts), len(parts))


def _plan(config: DatasetConfig, data_root: Path, out: Path) -> tuple[Annotations, list[Part]]:
    """Fetch the dataset, check its annotations, and divide its clips into parts."""
    for folder in (data_root, out):
        if decodable(str(folder)) != str(folder):
            raise DataError(
                f"{printable(str(folder))}: its name is not UTF-8, as manifests require; rename this folder"
            )
    reader = reader_of(config)
    with locked(out / ".lock-fetch", BUSY, wait=True):  # shards may start at the same time
        reader.fetch(config, data_root, out)
    annotations = with_clip_labels(reader.annotate(config, data_root, out), config.tasks)
    if annotations.clips.empty:
        raise DataError(f"{out.name}: the annotations contain no clip")
    clips = check_annotations(annotations.clips, config.tasks, config.dev_share)
    check_labels(clips, annotations.classes)
    for file, splits in config.id_files().items():
        clips = select_ids(clips, data_root / file, splits)
    return annotations._replace(clips=clips), plan(clips, config, data_root, out / "parts")


def _add_outcomes(clips: pd.DataFrame, parts: list[Part]) -> pd.DataFrame:
    """The manifest: the annotations and the outcome of decoding each clip."""
    outcomes = pd.concat([read_outcomes(part) for part in parts]).reindex(clips.index)
    outcomes = outcomes.rename(columns={"seconds": "duration"})
    clips = clips.drop(columns=["reason", "duration"]).join(outcomes)
    clips["status"] = clips["reason"].eq("").map({True: "ok", False: "rejected"})
    multichannel = int((clips["channels"] > 1).sum())
    if multichannel:
        LOG.info("%d clips with more than one channel were averaged to mono", multichannel)
    return clips


# ---------------------------------------------------------------------------------------------
# Writing and checking
# ---------------------------------------------------------------------------------------------


def _summary(
    clips: pd.DataFrame, classes: dict, events: pd.DataFrame | None, config: DatasetConfig, parts: list[Part]
) -> dict:
    """Hashes and counts of the clips of a dataset."""
    used = clips[clips["status"] == "ok"]
    total = hashlib.sha256()
    for row in used[["split", "id", "sha256", *config.tasks]].itertuples(index=False, name=None):
        total.update(json.dumps([*row[:3], *map(list, row[3:])]).encode())
    if events is not None:
        total.update(json.dumps(events.to_numpy().tolist()).encode())
    if lack_labels(clips):
        total.update(json.dumps(used[LACKING].astype(int).tolist()).encode())
    reasons = clips.loc[clips["status"] == "rejected", ["id", "split", "reason"]].to_dict("split")["data"]
    content = [
        [(part.path.name, read_part(part.path)[1]) for part in parts],
        classes,
        total.hexdigest(),
        config.store_rate,
        reasons,
    ]
    return {
        "sha256": total.hexdigest(),
        "identity": digest(content),
        "ids_sha256": {split: _ids_hash(used, split) for split in SPLITS},
        "clips": {split: int((used["split"] == split).sum()) for split in SPLITS},
        "annotated": {split: int((clips["split"] == split).sum()) for split in SPLITS},
        "rejected": len(clips) - len(used),
        "sample_rate": config.store_rate,
    }


def _ids_hash(used: pd.DataFrame, split: str) -> str:
    """SHA-256 of the sorted ids of a split, one per line. Equal hashes mean that the same clips are usable."""
    return hashlib.sha256(
        "".join(f"{name}\n" for name in sorted(used["id"][used["split"] == split])).encode()
    ).hexdigest()


def _is_complete(out: Path, summary: dict, files: tuple[str, ...]) -> bool:
    """Whether `out` already contains all files, undamaged and with the content that would be written."""
    if not (out / SUMMARY).is_file():
        return False
    try:
        record = read_record(out / SUMMARY, "the dataset is written again")
        for name in files:
            verify(out / name, record, out / SUMMARY, "the dataset is written again")
    except DataError as error:
        LOG.warning("%s", error)
        return False
    return {key: value for key, value in record.items() if key not in (OWN, SUMS)} == json.loads(json.dumps(summary))


@contextmanager
def _keeping_times(out: Path, files: tuple[str, ...]) -> Iterator[None]:
    """Restore the modification times of files that are written with the content that they had.

    Snakemake then re-runs nothing after the repair of a damaged file: later stages have used the file that
    ``summary.json`` records, because they verify it. A repaired file gets the time of ``summary.json``.
    """
    before = {path: (file_sha256(path), path.stat().st_mtime_ns) for name in files if (path := out / name).is_file()}
    try:
        sums, time = read_record(out / SUMMARY, "")[SUMS], (out / SUMMARY).stat().st_mtime_ns
        before = {out / name: (sums[name], time) for name in files}
        before[out / SUMMARY] = file_sha256(out / SUMMARY), time
    except (DataError, KeyError):
        pass  # no record, or a damaged one
    yield
    for path, (sha256, time) in before.items():
        if file_sha256(path) == sha256:
            os.utime(path, ns=(time, time))


def _write_dataset(
    clips: pd.DataFrame, classes: dict, config: DatasetConfig, parts: list[Part], summary: dict, out: Path
) -> None:
    used = clips[clips["status"] == "ok"]
    for split in SPLITS:
        of_split = [part.path for part in parts if part.path.name.startswith(f"{split}-")]
        write_index(out / f"{split}.h5", of_split, used["id"][used["split"] == split].tolist(), config.store_rate)
    write_manifest(clips, config.tasks, out / "manifest.parquet")
    write_json(out / "classes.json", classes)
    write_text(out / "ids.txt", "".join(f"{name}\n" for name in sorted(used["id"])))
    columns = {"hours": clips["duration"] / 3600, "reason": clips["reason"].map(reason_kind)}
    groups = clips.assign(**columns).groupby(["split", "status", "reason"])
    table = groups["hours"].agg(clips="size", hours=lambda hours: hours.sum(min_count=1))
    table = with_unlisted(table.round({"hours": 4}).reset_index(), summary["annotated"], summary["published"])
    write_csv(table, out / "summary.csv")


def _check_usable(clips: pd.DataFrame, config: DatasetConfig, out: Path) -> None:
    rejected, allowed = clips[clips["status"] == "rejected"], config.max_rejected
    share = len(rejected) / len(clips)
    where = f"see {out / 'rejected.csv'}"
    if share > allowed:
        raise DataError(
            f"{out.name}: {len(rejected)} of {len(clips)} clips ({share:.2%}) are unusable, but "
            f"`max_rejected` in the dataset's settings allows only {allowed:.2%}: {_counted(rejected)}; {where}"
        )
    for split in SPLITS:
        of_split = clips[clips["split"] == split]
        if not (of_split["status"] == "ok").any() and (len(of_split) or split in config.splits() - {"dev"}):
            reasons = (
                f": {_counted(of_split)}; {where}"
                if len(of_split)
                else "; the annotations contain none, or `ids` or `dev_share` removed all of them"
            )
            raise DataError(f"{out.name}: split {split!r} has no usable clip{reasons}")
    if len(rejected):
        LOG.warning("%d of %d clips were rejected (%s); %s", len(rejected), len(clips), _counted(rejected), where)


def _counted(rejected: pd.DataFrame) -> str:
    """The most frequent reasons, with their counts."""
    counts = Counter(rejected["reason"].map(reason_kind)).most_common()
    text = ", ".join(f"{n} × {reason}" for reason, n in counts[:MAX_REASONS])
    return text + (f", and {len(counts) - MAX_REASONS} more reasons" if len(counts) > MAX_REASONS else "")
