"""Prepare a dataset: audio and annotations to a manifest and one waveform store a split."""

import hashlib
import json
import logging
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from elasticast.data.audio import Clip, UnusableAudioError, decode
from elasticast.data.datasets import source_of
from elasticast.data.manifest import check_annotations, class_lists, write_csv, write_manifest
from elasticast.data.store import StoreWriter
from elasticast.dataset_config import DatasetConfig
from elasticast.errors import DataError
from elasticast.files import write_json
from elasticast.progress import track

LOG = logging.getLogger(__name__)
REASONS_SHOWN = 5
SPLITS = ("train", "test")


class _Job(NamedTuple):
    path: str
    start: float
    duration: float
    reason: str


def prepare(config: DatasetConfig, data_root: Path, out: Path, *, workers: int = 1) -> None:
    """Fetch, annotate and decode a dataset into `out`.

    Writes ``manifest.parquet``, ``train.h5``, ``test.h5``, ``classes.json``, ``rejected.csv``, ``summary.csv`` and,
    last of all, ``summary.json``. The same audio and annotations always give the same ``sha256`` there.

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
        usable clip. ``rejected.csv`` and ``summary.csv`` are written even then, the stores are not.
    """
    out.mkdir(parents=True, exist_ok=True)
    source = source_of(config)
    source.fetch(config, data_root, out)
    clips = source.annotate(config, data_root, out).clips
    if clips.empty:
        raise DataError(f"{out.name}: the annotations name no clip")
    clips = check_annotations(clips, config.tasks)
    with ExitStack() as stack:
        stores = {split: stack.enter_context(StoreWriter(out / f"{split}.h5")) for split in SPLITS}
        clips, digest = _decode_all(clips, list(config.tasks), stores, workers)
        _write_rejected(clips, out)
        _check_usable(clips, config.max_rejected, out)
    write_manifest(clips, config.tasks, out / "manifest.parquet")
    write_json(out / "classes.json", class_lists(clips, config.tasks))
    counts = {split: len(store) for split, store in stores.items()}
    rejected = len(clips) - sum(counts.values())
    write_json(out / "summary.json", {"sha256": digest, "clips": counts, "rejected": rejected})
    LOG.info("%s: %s", out, ", ".join(f"{n} {split} clips" for split, n in counts.items()))


def _decode_all(
    clips: pd.DataFrame, tasks: list[str], stores: dict[str, StoreWriter], workers: int
) -> tuple[pd.DataFrame, str]:
    """Decode every clip into its split's store; the completed manifest, and a digest of samples and labels."""
    jobs = [_Job(*row) for row in clips[list(_Job._fields)].itertuples(index=False)]
    digest, found = hashlib.sha256(), []
    with _decoder(jobs, workers) as results:
        rows = track(zip(clips.itertuples(index=False), results, strict=True), len(clips), "clips decoded")
        for row, result in rows:
            if isinstance(result, str):
                found.append((row.duration, 0, 0, "rejected", result))
                continue
            stores[row.split].append(row.id, result.samples)
            labels = {task: list(getattr(row, task)) for task in tasks}
            digest.update(json.dumps([row.split, row.id, labels, len(result.samples)], sort_keys=True).encode())
            digest.update(result.samples.astype("<i2").tobytes())
            found.append((result.seconds, result.sample_rate, result.channels, "ok", ""))
    columns = ["duration", "sample_rate", "channels", "status", "reason"]
    clips[columns] = pd.DataFrame(found, columns=columns)
    several = int((clips["channels"] > 1).sum())
    if several:
        LOG.info("%d clips with more than one channel: averaged to mono", several)
    return clips, digest.hexdigest()


@contextmanager
def _decoder(jobs: list[_Job], workers: int) -> Iterator[Iterator[Clip | str]]:
    """Results of `jobs` in their order, decoded here or by several processes."""
    if workers <= 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # several threads on one short clip cost more than they bring
        try:
            yield map(_decode, jobs)
        finally:
            torch.set_num_threads(threads)
        return
    # Spawned, for torch's threads do not survive a fork.
    with multiprocessing.get_context("spawn").Pool(workers, torch.set_num_threads, (1,)) as pool:
        yield pool.imap(_decode, jobs, chunksize=16)


def _decode(job: _Job) -> Clip | str:
    """The clip, or why it cannot be used."""
    if job.reason:
        return job.reason
    try:
        return decode(Path(job.path), job.start, job.duration)
    except UnusableAudioError as error:
        return str(error)


def _write_rejected(clips: pd.DataFrame, out: Path) -> None:
    """``rejected.csv`` and ``summary.csv``."""
    rejected = clips[clips["status"] == "rejected"]
    write_csv(rejected[["id", "split", "path", "reason"]], out / "rejected.csv")
    groups = clips.assign(hours=clips["duration"] / 3600).groupby(["split", "status", "reason"])
    summary = groups["hours"].agg(clips="size", hours=lambda hours: hours.sum(min_count=1))
    write_csv(summary.round({"hours": 4}).reset_index(), out / "summary.csv")


def _check_usable(clips: pd.DataFrame, allowed: float, out: Path) -> None:
    rejected = clips[clips["status"] == "rejected"]
    share = len(rejected) / len(clips)
    where = f"see {out / 'rejected.csv'}"
    key = f"`max_rejected` in config/datasets/{out.name}.yaml"
    if share > allowed:
        raise DataError(
            f"{out.name}: {len(rejected)} of {len(clips)} clips ({share:.2%}) are unusable, "
            f"{key} allows {allowed:.2%}: {_counted(rejected)}; {where}"
        )
    for split in SPLITS:
        of_split = clips[clips["split"] == split]
        if not (of_split["status"] == "ok").any():
            reasons = f": {_counted(of_split)}; {where}" if len(of_split) else "; the annotations name none"
            raise DataError(f"{out.name}: split {split!r} has no usable clip{reasons}")
    if len(rejected):
        LOG.warning("%d of %d clips rejected (%s); %s", len(rejected), len(clips), _counted(rejected), where)


def _counted(rejected: pd.DataFrame) -> str:
    """Reasons with their counts, the most frequent first."""
    counts = Counter(rejected["reason"]).most_common()
    text = ", ".join(f"{n} × {reason}" for reason, n in counts[:REASONS_SHOWN])
    return text + (f", and {len(counts) - REASONS_SHOWN} more reasons" if len(counts) > REASONS_SHOWN else "")
