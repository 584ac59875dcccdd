"""Prepare a dataset: audio and annotations to a manifest and one waveform store a split."""

import hashlib
import json
import logging
from collections import Counter
from pathlib import Path

import pandas as pd

from elasticast.config import digest
from elasticast.config.dataset import SPLITS, DatasetConfig
from elasticast.data.annotations import Annotations, check_annotations, only_ids
from elasticast.data.datasets import reader_of
from elasticast.data.manifest import class_lists, reason_kind, write_csv, write_manifest
from elasticast.data.parts import Part, decode_parts, plan, read_outcomes
from elasticast.data.store import write_index
from elasticast.errors import DataError
from elasticast.files import locked, read_json, write_json, write_text

LOG = logging.getLogger(__name__)
REASONS_SHOWN = 5
FILES = ("manifest.parquet", "classes.json", "ids.txt", "summary.csv", *(f"{split}.h5" for split in SPLITS))
BUSY = "another process is preparing this dataset; wait for it, or stop it first"


def prepare(config: DatasetConfig, data_root: Path, out: Path, *, workers: int = 1) -> None:
    """Fetch, annotate and decode a dataset into `out`; go on from what is there, do nothing when all of it is.

    Writes ``manifest.parquet``, ``train.h5``, ``dev.h5``, ``test.h5``, ``parts/``, ``classes.json``, ``ids.txt``,
    ``rejected.csv``, ``summary.csv`` and, last of all, ``summary.json``. The same audio and annotations always give the
    same ``sha256`` there.

    Parameters
    ----------
    data_root : Path
        Folder of downloaded datasets.
    out : Path
        Folder of the prepared dataset; its name is the dataset's.
    workers : int
        Processes that decode.

    Raises
    ------
    DataError
        If audio cannot be fetched, if more than ``config.max_rejected`` of the clips are unusable, or if a split has no
        usable clip. ``rejected.csv`` is written even then, nothing else is.
    ElasticASTError
        If another process is at work on `out`.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / ".lock", BUSY):
        notes, parts = _planned(config, data_root, out)
        _tidy(out, kept=None)
        decode_parts(parts, config, workers)
        clips = _completed(notes.clips, parts)
        write_csv(clips.loc[clips["status"] == "rejected", ["id", "split", "path", "reason"]], out / "rejected.csv")
        _check_usable(clips, config.max_rejected, out)
        classes = class_lists(clips, config.tasks, notes.classes)
        summary = {**_summary(clips, classes, config, parts), "published": notes.published}
        if _is_there(out, summary):
            LOG.info("%s: all of it is there already", out)
        else:
            (out / "summary.json").unlink(missing_ok=True)  # it says that the rest is whole
            _write_dataset(clips, classes, config, parts, out)
            write_json(out / "summary.json", summary)
        _tidy(out, kept={part.path for part in parts})
    LOG.info("%s: %s", out, ", ".join(f"{n} {split} clips" for split, n in summary["clips"].items() if n))


def _tidy(out: Path, kept: set[Path] | None) -> None:
    """Delete what killed runs have left unfinished, and parts other than those that are `kept`; none: keep all."""
    folder = out / "parts"
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.startswith(".") or (kept is not None and path not in kept):
            path.unlink()


def prepare_shard(config: DatasetConfig, data_root: Path, out: Path, shard: int, shards: int, *, workers: int) -> None:
    """Decode every `shards`-th part, beginning with part `shard` (1 is the first), for a later `prepare` to join.

    Shards may run at the same time, on several machines that share `out`.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / ".lock", BUSY, shared=True), locked(out / f".lock-{shard}-of-{shards}", BUSY):
        _, parts = _planned(config, data_root, out)
        mine = parts[shard - 1 :: shards]
        decode_parts(mine, config, workers)
    LOG.info("%s: shard %d of %d, %d of %d parts, is there", out, shard, shards, len(mine), len(parts))


def _planned(config: DatasetConfig, data_root: Path, out: Path) -> tuple[Annotations, list[Part]]:
    """The annotations, checked, and the parts they are decoded in."""
    source = reader_of(config)
    with locked(out / ".lock-fetch", BUSY, wait=True):  # shards begin at the same time
        source.fetch(config, data_root, out)
    notes = source.annotate(config, data_root, out)
    if notes.clips.empty:
        raise DataError(f"{out.name}: the annotations name no clip")
    clips = check_annotations(notes.clips, config.tasks, config.dev_share)
    if config.ids is not None:
        clips = only_ids(clips, data_root / config.ids)
    return notes._replace(clips=clips), plan(clips, config, data_root, out / "parts")


def _completed(clips: pd.DataFrame, parts: list[Part]) -> pd.DataFrame:
    """The manifest: the annotations, and what became of each clip."""
    outcomes = pd.concat([read_outcomes(part) for part in parts]).reindex(clips.index)
    outcomes = outcomes.rename(columns={"seconds": "duration"})
    clips = clips.drop(columns=["reason", "duration"]).join(outcomes)
    clips["status"] = clips["reason"].eq("").map({True: "ok", False: "rejected"})
    several = int((clips["channels"] > 1).sum())
    if several:
        LOG.info("%d clips with more than one channel: averaged to mono", several)
    return clips


# ---------------------------------------------------------------------------------------------
# What is written
# ---------------------------------------------------------------------------------------------


def _summary(clips: pd.DataFrame, classes: dict, config: DatasetConfig, parts: list[Part]) -> dict:
    """Hashes and counts of what `clips` holds."""
    used = clips[clips["status"] == "ok"]
    total = hashlib.sha256()
    for row in used[["split", "id", "sha256", *config.tasks]].itertuples(index=False, name=None):
        total.update(json.dumps([*row[:3], *map(list, row[3:])]).encode())
    reasons = clips.loc[clips["status"] == "rejected", ["id", "split", "reason"]].to_dict("split")["data"]
    made_of = [[part.path.name for part in parts], classes, total.hexdigest(), config.store_rate, reasons]
    return {
        "sha256": total.hexdigest(),
        "identity": digest(made_of),
        "ids_sha256": {split: _ids_hash(used, split) for split in SPLITS},
        "clips": {split: int((used["split"] == split).sum()) for split in SPLITS},
        "annotated": {split: int((clips["split"] == split).sum()) for split in SPLITS},
        "rejected": len(clips) - len(used),
        "sample_rate": config.store_rate,
    }


def _ids_hash(used: pd.DataFrame, split: str) -> str:
    """SHA-256 of the sorted ids of a split, one a line: equal wherever the same clips survived."""
    return hashlib.sha256(
        "".join(f"{name}\n" for name in sorted(used["id"][used["split"] == split])).encode()
    ).hexdigest()


def _is_there(out: Path, summary: dict) -> bool:
    """Whether `out` holds, whole, what would be written."""
    if not all((out / name).is_file() for name in (*FILES, "summary.json")):
        return False
    return read_json(out / "summary.json").get("identity") == summary["identity"]


def _write_dataset(clips: pd.DataFrame, classes: dict, config: DatasetConfig, parts: list[Part], out: Path) -> None:
    used = clips[clips["status"] == "ok"]
    for split in SPLITS:
        of_split = [part.path for part in parts if part.path.name.startswith(f"{split}-")]
        write_index(out / f"{split}.h5", of_split, used["id"][used["split"] == split].tolist(), config.store_rate)
    write_manifest(clips, config.tasks, out / "manifest.parquet")
    write_json(out / "classes.json", classes)
    write_text(out / "ids.txt", "".join(f"{name}\n" for name in sorted(used["id"])))
    columns = {"hours": clips["duration"] / 3600, "reason": clips["reason"].map(reason_kind)}
    groups = clips.assign(**columns).groupby(["split", "status", "reason"])
    summary = groups["hours"].agg(clips="size", hours=lambda hours: hours.sum(min_count=1))
    write_csv(summary.round({"hours": 4}).reset_index(), out / "summary.csv")


def _check_usable(clips: pd.DataFrame, allowed: float, out: Path) -> None:
    rejected = clips[clips["status"] == "rejected"]
    share = len(rejected) / len(clips)
    where = f"see {out / 'rejected.csv'}"
    if share > allowed:
        raise DataError(
            f"{out.name}: {len(rejected)} of {len(clips)} clips ({share:.2%}) are unusable, "
            f"`max_rejected` in the dataset's settings allows {allowed:.2%}: {_counted(rejected)}; {where}"
        )
    for split in SPLITS:
        of_split = clips[clips["split"] == split]
        if not (of_split["status"] == "ok").any() and (len(of_split) or split != "dev"):
            reasons = (
                f": {_counted(of_split)}; {where}"
                if len(of_split)
                else "; none is annotated, or `ids` or `dev_share` left none"
            )
            raise DataError(f"{out.name}: split {split!r} has no usable clip{reasons}")
    if len(rejected):
        LOG.warning("%d of %d clips rejected (%s); %s", len(rejected), len(clips), _counted(rejected), where)


def _counted(rejected: pd.DataFrame) -> str:
    """Reasons with their counts, the most frequent first."""
    counts = Counter(rejected["reason"].map(reason_kind)).most_common()
    text = ", ".join(f"{n} × {reason}" for reason, n in counts[:REASONS_SHOWN])
    return text + (f", and {len(counts) - REASONS_SHOWN} more reasons" if len(counts) > REASONS_SHOWN else "")
