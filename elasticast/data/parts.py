"""Decode a dataset in parts, so that an interrupted `prepare` can resume and cluster jobs can share the work.

The clips of each split are divided, in order, into parts of :data:`PART_CLIPS` clips. The file name of a part ends with
a digest of everything that determines its content: ids, spans, sizes and modification times of the audio files,
settings, and code. A part whose file exists is therefore up to date. It is decoded again only if it cannot be read, or
if one of its rejected clips might be decoded now, for example because ffmpeg has been installed.
"""

import hashlib
import itertools
import json
import logging
import multiprocessing
import os
import shutil
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from elasticast.config.dataset import SPLITS, DatasetSettings
from elasticast.data.audio import decode
from elasticast.data.manifest import reason_kind
from elasticast.data.recordings import UnusableAudioError
from elasticast.data.store import PartWriter, read_part, writing_part
from elasticast.errors import DataError
from elasticast.progress import Progress
from elasticast.provenance import code_digest

LOG = logging.getLogger(__name__)
PART_CLIPS = 16384
"""Clips per part. For AudioSet, this is 5 GB and one or two minutes of work, which is lost if the process is killed."""
CHUNK = 8
"""Clips per task of a worker process."""
STATS_AT_ONCE = 16
"""Number of concurrent calls of `os.stat`, which are slow on network disks."""


class Job(NamedTuple):
    """A clip to decode. The fields are columns of the annotations."""

    path: str
    key: str
    start: float
    duration: float
    longest: float
    reason: str


class Outcome(NamedTuple):
    """The result of decoding a clip.

    Attributes
    ----------
    samples : ndarray or None
        int16 ``[samples]``, or None if the clip cannot be used.
    reason : str
        Why the clip cannot be used, ``""`` if it can.
    seconds : float
        Length of the clip (s).
    sample_rate, channels : int
        Sample rate (Hz) and number of channels of the audio file.
    sha256 : str
        SHA-256 of the samples.
    """

    samples: np.ndarray | None
    reason: str
    seconds: float
    sample_rate: int = 0
    channels: int = 0
    sha256: str = ""


class Part(NamedTuple):
    """Consecutive clips of one split (`rows` of the annotations), and the file they are decoded to."""

    rows: pd.DataFrame
    path: Path


def plan(clips: pd.DataFrame, config: DatasetSettings, data_root: Path, folder: Path) -> list[Part]:
    """Divide the clips of a dataset into parts, in the order of the stores."""
    parts = []
    with ThreadPoolExecutor(STATS_AT_ONCE) as pool:
        for split in (*SPLITS, "other"):
            rows = clips[~clips["split"].isin(SPLITS) if split == "other" else clips["split"] == split]
            for number, start in enumerate(range(0, len(rows), PART_CLIPS)):
                part_rows = rows.iloc[start : start + PART_CLIPS]
                name = f"{split}-{number:05d}-{_identity(part_rows, config, data_root, folder, pool)}.h5"
                parts.append(Part(part_rows, folder / name))
    return parts


def _identity(
    rows: pd.DataFrame, config: DatasetSettings, data_root: Path, folder: Path, pool: ThreadPoolExecutor
) -> str:
    """Digest of everything that determines the content of a part. Labels are only stored in the manifest."""
    files = list(dict.fromkeys(rows["path"]))
    stamps = dict(zip(files, pool.map(_stamp, files), strict=True))
    total = hashlib.sha256(json.dumps([config.store_rate, _trimmed(config), code_digest("decode")]).encode())
    for row in rows[["id", *Job._fields]].itertuples(index=False, name=None):
        path = row[1].removeprefix(f"{folder.parent}/").removeprefix(f"{data_root}/")
        total.update(json.dumps([row[0], path, *row[2:], stamps[row[1]]]).encode())
    return total.hexdigest()[:12]


def _stamp(path: str) -> tuple[int, int]:
    """Size and modification time of a file, zeros if it does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _trimmed(config: DatasetSettings) -> bool:
    return getattr(config, "trim_silence", False)


def decode_parts(parts: list[Part], config: DatasetSettings, workers: int) -> None:
    """Decode the parts that do not exist yet.

    Raises
    ------
    DataError
        If a worker process dies. Finished parts are kept.
    """
    todo = [part for part in parts if not _is_final(part)]
    clips = sum(len(part.rows) for part in todo)
    if not todo:
        return
    done, seconds = 0, 0.0
    with _decoder(config, workers) as decoded, Progress("clips decoded", clips) as progress:
        for part in todo:
            part.path.parent.mkdir(parents=True, exist_ok=True)
            jobs = (Job(*row) for row in part.rows[list(Job._fields)].itertuples(index=False, name=None))
            with writing_part(part.path, config.store_rate) as writer:
                outcomes = []
                for outcome in decoded(jobs):
                    if outcome.samples is not None:
                        writer.append(outcome.samples)
                        seconds += outcome.seconds
                    outcomes.append(outcome._replace(samples=None))
                    done += 1
                    progress.update(done, **progress.rates(clips_per_s=done, times_real_time=seconds))
                _write_outcomes(writer, outcomes)


def _is_final(part: Part) -> bool:
    """Whether a part exists, can be read, and decoding it again would reject the same clips."""
    if not part.path.is_file():
        return False
    try:
        reasons = read_outcomes(part)["reason"]
    except DataError as error:
        LOG.warning("%s; its clips are decoded again", error)
        return False
    failed = part.rows["path"][(reasons != "") & (part.rows["reason"] == "")]
    return not any(_may_succeed_now(reasons[row], path) for row, path in failed.items())


def _may_succeed_now(reason: str, path: str) -> bool:
    """Whether a clip that was rejected for `reason` might be decoded now, although its file is unchanged."""
    if reason == "missing":
        return os.path.exists(path)
    if reason == "unreadable":
        return os.access(path, os.R_OK)
    if reason_kind(reason) in ("needs ffmpeg", "length unknown"):
        return shutil.which("ffmpeg") is not None
    return reason_kind(reason) == "ffmpeg hangs"


def _write_outcomes(writer: PartWriter, outcomes: list[Outcome]) -> None:
    table = pd.DataFrame(outcomes, columns=Outcome._fields)
    for name in ("reason", "sha256"):
        writer.write(name, table[name].tolist())
    for name, kind in (("seconds", np.float64), ("sample_rate", np.int32), ("channels", np.int16)):
        writer.write(name, table[name].to_numpy(dtype=kind))


def read_outcomes(part: Part) -> pd.DataFrame:
    """Read and verify the outcomes of a part.

    Returns
    -------
    DataFrame
        Columns ``reason``, ``seconds``, ``sample_rate``, ``channels`` and ``sha256``; one row per clip.

    Raises
    ------
    DataError
        If the part cannot be read, was damaged, or is the part of other clips.
    """
    columns, _ = read_part(part.path)
    names = [name for name in Outcome._fields if name != "samples"]
    return pd.DataFrame({name: columns[name] for name in names}, index=part.rows.index)


# ---------------------------------------------------------------------------------------------
# Decoding by several processes
# ---------------------------------------------------------------------------------------------

Decoded = Callable[[Iterable[Job]], Iterator[Outcome]]


@contextmanager
def _decoder(config: DatasetSettings, workers: int) -> Iterator[Decoded]:
    """A function that decodes jobs and yields their outcomes in order, with only a few in memory at a time."""
    options = {"rate": config.store_rate, "trim": _trimmed(config)}
    if workers <= 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # for short clips, several threads are slower than one
        try:
            yield lambda jobs: (_decode(job, options) for job in jobs)
        finally:
            torch.set_num_threads(threads)
        return
    # Spawn the processes, because torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_process)
    try:
        yield lambda jobs: _in_processes(pool, jobs, options, workers)
    except BrokenProcessPool:
        raise DataError(
            "a worker process died while decoding, perhaps because memory ran out; finished parts are kept: try again "
            "with fewer workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_processes(pool: ProcessPoolExecutor, jobs: Iterable[Job], options: dict, workers: int) -> Iterator[Outcome]:
    jobs = iter(jobs)
    chunks = iter(lambda: list(itertools.islice(jobs, CHUNK)), [])
    pending = deque(pool.submit(_decode_chunk, chunk, options) for chunk in itertools.islice(chunks, 3 * workers))
    while pending:
        yield from pending.popleft().result()
        pending.extend(pool.submit(_decode_chunk, chunk, options) for chunk in itertools.islice(chunks, 1))


def _start_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit when the parent dies. A killed parent cannot stop its workers, which would keep memory and open files."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _decode_chunk(jobs: list[Job], options: dict) -> list[Outcome]:
    return [_decode(job, options) for job in jobs]


def _decode(job: Job, options: dict) -> Outcome:
    """Decode a clip."""
    if job.reason:
        return Outcome(None, job.reason, job.duration)
    try:
        span = {"key": job.key, "start": job.start, "duration": job.duration, "longest": job.longest}
        clip = decode(Path(job.path), **span, **options)
    except UnusableAudioError as error:
        return Outcome(None, str(error), job.duration)
    digest = hashlib.sha256(clip.samples.astype("<i2").tobytes()).hexdigest()
    return Outcome(clip.samples, "", clip.seconds, clip.sample_rate, clip.channels, digest)
