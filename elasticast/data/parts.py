"""Decoding in parts: what an interrupted `prepare` goes on from, and what cluster jobs share.

The clips of each split are cut, in their order, into parts of :data:`PART_CLIPS`. The file name of a part ends with a
digest of all that decides its content (ids, spans, sizes and times of the audio files, settings, code), so that a part
that is there is a part that is right: it is kept, whatever happened to the rest.
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
from elasticast.data.store import REMEDY, PartWriter, writing_part
from elasticast.errors import DataError
from elasticast.hdf5 import open_hdf5
from elasticast.progress import Progress
from elasticast.provenance import code_digest

LOG = logging.getLogger(__name__)
PART_CLIPS = 16384
"""Clips a part: 5 GB of AudioSet, a minute or two of work that a kill can lose."""
CHUNK = 8
"""Clips that are handed to a process at once."""
STATS_AT_ONCE = 16
"""Files asked for size and time at once; on a network disk each answer takes a while."""


class Job(NamedTuple):
    """One clip to decode; the fields are columns of the annotations."""

    path: str
    key: str
    start: float
    duration: float
    longest: float
    reason: str


class Outcome(NamedTuple):
    """What became of a clip: `samples` int16, none when there is a `reason` why not."""

    samples: np.ndarray | None
    reason: str
    seconds: float
    sample_rate: int = 0
    channels: int = 0
    sha256: str = ""


class Part(NamedTuple):
    """Some clips of one split, `rows` of the annotations, and the file they are decoded to."""

    rows: pd.DataFrame
    path: Path


def plan(clips: pd.DataFrame, config: DatasetSettings, data_root: Path, folder: Path) -> list[Part]:
    """The parts of a dataset, in the order of the stores."""
    found = []
    with ThreadPoolExecutor(STATS_AT_ONCE) as pool:
        for split in (*SPLITS, "other"):
            rows = clips[~clips["split"].isin(SPLITS) if split == "other" else clips["split"] == split]
            for number, start in enumerate(range(0, len(rows), PART_CLIPS)):
                some = rows.iloc[start : start + PART_CLIPS]
                name = f"{split}-{number:05d}-{_identity(some, config, data_root, folder, pool)}.h5"
                found.append(Part(some, folder / name))
    return found


def _identity(
    rows: pd.DataFrame, config: DatasetSettings, data_root: Path, folder: Path, pool: ThreadPoolExecutor
) -> str:
    """Digest of what decides a part's content; labels are not in it, they stand in the manifest."""
    files = list(dict.fromkeys(rows["path"]))
    stamps = dict(zip(files, pool.map(_stamp, files), strict=True))
    total = hashlib.sha256(json.dumps([config.store_rate, _trimmed(config), code_digest("decode")]).encode())
    for row in rows[["id", *Job._fields]].itertuples(index=False, name=None):
        path = row[1].removeprefix(f"{folder.parent}/").removeprefix(f"{data_root}/")
        total.update(json.dumps([row[0], path, *row[2:], stamps[row[1]]]).encode())
    return total.hexdigest()[:12]


def _stamp(path: str) -> tuple[int, int]:
    """Size and time of a file; of one that is not there, zeros."""
    try:
        about = os.stat(path)
    except OSError:
        return 0, 0
    return about.st_size, about.st_mtime_ns


def _trimmed(config: DatasetSettings) -> bool:
    return getattr(config, "trim_silence", False)


def decode_parts(parts: list[Part], config: DatasetSettings, workers: int) -> None:
    """Decode the parts that are not there yet.

    Raises
    ------
    DataError
        If a decoding process dies; the parts finished before stay.
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
    """Whether a part is there, can be read, and every clip left out of it would be left out again."""
    if not part.path.is_file():
        return False
    try:
        reasons = read_outcomes(part)["reason"]
    except (DataError, OSError, KeyError) as error:
        LOG.warning("%s: cannot be read, so its clips are decoded again: %s", part.path, error)
        return False
    met = part.rows["path"][(reasons != "") & (part.rows["reason"] == "")]
    return not any(_is_over(reasons[row], path) for row, path in met.items())


def _is_over(reason: str, path: str) -> bool:
    """Whether what was met when a clip was decoded may have passed, though its file has not changed since."""
    if reason == "missing":
        return os.path.exists(path)
    if reason == "unreadable":
        return os.access(path, os.R_OK)
    if reason in ("needs ffmpeg", "length unknown"):
        return shutil.which("ffmpeg") is not None
    return reason_kind(reason) == "ffmpeg hangs"


def _write_outcomes(writer: PartWriter, outcomes: list[Outcome]) -> None:
    table = pd.DataFrame(outcomes, columns=Outcome._fields)
    for name in ("reason", "sha256"):
        writer.write(name, table[name].to_numpy(dtype=object))
    for name, kind in (("seconds", np.float64), ("sample_rate", np.int32), ("channels", np.int16)):
        writer.write(name, table[name].to_numpy(dtype=kind))


def read_outcomes(part: Part) -> pd.DataFrame:
    """What became of the rows of a part: ``reason``, ``seconds``, ``sample_rate``, ``channels``, ``sha256``."""
    with open_hdf5(part.path, REMEDY) as file:
        columns = {name: file[name].asstr()[:] for name in ("reason", "sha256")}
        columns |= {name: file[name][:] for name in ("seconds", "sample_rate", "channels")}
    return pd.DataFrame(columns, index=part.rows.index)


# ---------------------------------------------------------------------------------------------
# Decoding by several processes
# ---------------------------------------------------------------------------------------------

Decoded = Callable[[Iterable[Job]], Iterator[Outcome]]


@contextmanager
def _decoder(config: DatasetSettings, workers: int) -> Iterator[Decoded]:
    """A function that gives the outcomes of jobs in their order, holding only some of them at a time."""
    options = {"rate": config.store_rate, "trim": _trimmed(config)}
    if workers <= 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # several threads on one short clip cost more than they bring
        try:
            yield lambda jobs: (_decode(job, options) for job in jobs)
        finally:
            torch.set_num_threads(threads)
        return
    # Spawned, for torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_process)
    try:
        yield lambda jobs: _in_processes(pool, jobs, options, workers)
    except BrokenProcessPool:
        raise DataError(
            "a decoding process died, for want of memory perhaps; finished parts are kept: try again with fewer workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_processes(pool: ProcessPoolExecutor, jobs: Iterable[Job], options: dict, workers: int) -> Iterator[Outcome]:
    jobs = iter(jobs)
    chunks = iter(lambda: list(itertools.islice(jobs, CHUNK)), [])
    ahead = deque(pool.submit(_decode_some, chunk, options) for chunk in itertools.islice(chunks, 3 * workers))
    while ahead:
        yield from ahead.popleft().result()
        ahead.extend(pool.submit(_decode_some, chunk, options) for chunk in itertools.islice(chunks, 1))


def _start_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot end its processes, which would keep its memory and its log open for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _decode_some(jobs: list[Job], options: dict) -> list[Outcome]:
    return [_decode(job, options) for job in jobs]


def _decode(job: Job, options: dict) -> Outcome:
    """The clip, or why it cannot be used."""
    if job.reason:
        return Outcome(None, job.reason, job.duration)
    try:
        span = {"key": job.key, "start": job.start, "duration": job.duration, "longest": job.longest}
        clip = decode(Path(job.path), **span, **options)
    except UnusableAudioError as error:
        return Outcome(None, str(error), job.duration)
    digest = hashlib.sha256(clip.samples.astype("<i2").tobytes()).hexdigest()
    return Outcome(clip.samples, "", clip.seconds, clip.sample_rate, clip.channels, digest)
