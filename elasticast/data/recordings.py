"""Read audio from sound files and from datasets in HDF5 files; see also `elasticast.data.ffmpeg`.

Unusable audio raises an `UnusableAudioError` with the reason; faults of the machine are raised as they are.
"""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np
import soundfile as sf

from elasticast.data.containers import locate
from elasticast.data.containers.extent import Extent, FileBytes, NotReadableError, UnusableAudioError
from elasticast.data.level import MAX_CLIPPED, MAX_PEAK, MIN_INT32
from elasticast.faults import raise_if_passing
from elasticast.files import no_stderr

BLOCK = 1 << 18
"""Samples per channel to read at once."""
MAX_FRAMES = 1 << 40  # libsndfile returns 2^63 - 1 if the header does not contain the length
WIDTHS = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
    "ULAW": 1,
    "ALAW": 1,
}
"""Bytes per sample, where all have the same."""
LARGE = 1 << 22  # bytes; smaller files are looked at again, because one may be written twice in a tick of the clock
OPEN_DATASETS = 8  # per process; consecutive clips are often spans of the same dataset


class Recording(ABC):
    """Open audio with its original sample rate and channels. Use it in a `with` statement, which closes it.

    Attributes
    ----------
    rate : int
        Sample rate (Hz).
    channels : int
        Number of channels.
    frames : int or inf
        Samples per channel. inf if the length is only known after reading to the end.
    """

    rate: int
    channels: int
    frames: float

    @abstractmethod
    def blocks(self, begin: int, end: float) -> Iterator[np.ndarray]:
        """Read samples `begin` to `end` in blocks ``[samples, channels]``, int16 or float32 with full scale 1.

        If `frames` is inf, there may be fewer samples, and they can be read only once.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *error) -> None:
        self.close()


# ---------------------------------------------------------------------------------------------
# Sound files
# ---------------------------------------------------------------------------------------------


class SoundFile(Recording):
    """A file that libsndfile reads, once `elasticast.data.containers` has found where its samples are."""

    def __init__(self, path: Path, status: os.stat_result):
        self._path = path
        try:
            find = _extent if status.st_size > LARGE else _extent.__wrapped__
            extent = find(path, _stamp(status))
            self._descriptor, self._size = os.open(path, os.O_RDONLY), status.st_size
            with ExitStack() as stack:
                stack.callback(os.close, self._descriptor)
                self._open(stack, extent)
                self._opened = stack.pop_all()
        except OSError as error:
            raise_if_passing(error, path)
            raise UnusableAudioError("unreadable") from None

    def _open(self, stack: ExitStack, extent: Extent | None) -> None:
        if extent and extent.start >= extent.stop:
            raise UnusableAudioError("empty")
        file = self._agreed(stack, extent)
        if file.subtype == "PCM_32":
            _check_integers(file)
        self._file = file
        estimated = extent and extent.delay and not extent.trusted
        self._required = extent.frames - extent.delay if estimated else file.frames
        self.rate, self.channels = file.samplerate, file.channels
        self.frames = math.inf if estimated else file.frames

    def _agreed(self, stack: ExitStack, extent: Extent | None) -> sf.SoundFile:
        """Open the file so that libsndfile reads the samples in `extent`, and no others."""
        if extent is None or extent.trusted:
            try:
                file = self._libsndfile(stack, None)
                if _agree(file, extent):
                    return file
            except NotReadableError:
                if extent is None or not extent.head:
                    raise
        if extent.head or not extent.trusted:
            file = self._libsndfile(stack, extent)  # with a header that allows no other reading
            if _agree(file, extent):
                return file
        raise NotReadableError("length unknown")

    def _libsndfile(self, stack: ExitStack, extent: Extent | None) -> sf.SoundFile:
        """Open the file as it is, or the samples in `extent` with a corrected header."""
        # Pass the descriptor, because soundfile requires more arguments for some file names (*.raw).
        source = self._descriptor if not extent or not extent.head else Spliced(self._descriptor, extent)
        try:
            with no_stderr():  # a library for MP3 prints warnings of lengths that are corrected here
                file = stack.enter_context(sf.SoundFile(source, closefd=False))
        except (sf.LibsndfileError, TypeError) as error:  # TypeError: headerless formats
            self._check_machine(error)
            raise NotReadableError("not audio") from None
        if file.subtype.startswith("DWVW"):  # soundfile cannot read it in blocks
            raise NotReadableError("needs another program (DWVW)")
        if file.format == "XI":  # libsndfile assumes 44.1 kHz
            raise UnusableAudioError("no sample rate in the file (FastTracker instrument)")
        if file.frames > MAX_FRAMES:
            raise NotReadableError("length unknown")
        return file

    def blocks(self, begin: int, end: float) -> Iterator[np.ndarray]:
        """See `Recording.blocks`."""
        # Reading 16-bit samples without conversion is five times faster.
        kind = "int16" if self._file.subtype == "PCM_16" else "float32"
        last = int(min(end, self._file.frames))
        if begin >= last:
            return
        try:
            self._skip(begin, kind)
            for first in range(begin, last, BLOCK):
                size = min(BLOCK, last - first)
                block = self._file.read(size, dtype=kind, always_2d=True)
                if len(block) < size and first + len(block) < min(last, self._required):
                    raise UnusableAudioError("truncated")
                yield block
        except sf.LibsndfileError as error:
            read_to_its_end = os.lseek(self._descriptor, 0, os.SEEK_CUR) >= self._size
            self._check_machine(error)
            raise UnusableAudioError("truncated" if read_to_its_end else "damaged") from None

    def _check_machine(self, error: Exception) -> None:
        """Raise an error if the machine is at fault and not the file. libsndfile gives few of its errors."""
        raise_if_passing(error, self._path)
        try:
            for place in range(0, self._size, LARGE):
                os.pread(self._descriptor, LARGE, place)
        except OSError as failure:
            raise_if_passing(failure, self._path)

    def _skip(self, begin: int, kind: str) -> None:
        if self._file.seekable():
            if begin:  # not every coder can go back to 0
                self._file.seek(begin)
        else:
            for first in range(0, begin, BLOCK):
                self._file.read(min(BLOCK, begin - first), dtype=kind)

    def close(self) -> None:
        """Close the file."""
        self._opened.close()


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    """Part of the key of a cache: a file that changed is opened again."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(OPEN_DATASETS)
def _extent(path: Path, stamp: tuple) -> Extent | None:
    """Find the samples of a file. Clips are often spans of one large file, whose frames are then counted once."""
    with open(path, "rb") as file:
        return locate(FileBytes(file.fileno(), stamp[2]))


def _agree(file: sf.SoundFile, extent: Extent | None) -> bool:
    """Whether libsndfile reads as many samples as there are, if that follows from the number of bytes."""
    if extent is None:
        return True
    if extent.frames:
        return extent.frames - extent.delay <= file.frames <= extent.frames
    width = 0 if file.format == "OGG" else WIDTHS.get(file.subtype, 0)
    return not width or file.frames == (extent.stop - extent.start) // (width * file.channels)


def _check_integers(file: sf.SoundFile) -> None:
    """Refuse 32-bit integers that are floats, or that fit into 24 bits and may never have been scaled to 32 bit.

    Integers whose lowest 8 bits are zero were scaled. The file is read up to the first block with one of more bits.
    """
    if _holds_floats(file):
        raise UnusableAudioError("damaged (32-bit integers by the header, but the samples are floats)")
    peak = low = 0
    try:
        for block in file.blocks(BLOCK, dtype="int32"):
            peak = max(peak, -int(block.min()), int(block.max()))
            low |= int(np.bitwise_or.reduce(block, axis=None)) & 255
            if peak >= MIN_INT32:
                break
        file.seek(0)
    except sf.LibsndfileError:  # reading the samples will name the fault
        return
    if peak < MIN_INT32 and low:
        detail = f"32-bit integers with a peak of {peak}: 16- or 24-bit samples that were not scaled; if they were, "
        detail += "convert the file to 24 bit or float"
        raise UnusableAudioError(f"samples not scaled to [-1, 1] ({detail})")


def _holds_floats(file: sf.SoundFile) -> bool:
    """Whether the 32-bit integers at the start of a file are the bytes of floats within full scale.

    As integers, these are all near half of full scale. As floats, integers of a recording have any exponent.
    """
    try:
        samples = file.read(BLOCK, dtype="int32")
        file.seek(0)
    except sf.LibsndfileError:  # reading the samples will name the fault
        return False
    floats = np.abs(samples[samples != 0].view(np.float32))
    return len(floats) > 0 and float(np.mean((floats > 1e-7) & (floats < MAX_PEAK))) > 1 - MAX_CLIPPED


class Spliced:
    """The samples in an extent of a file, as a file with another header. Used like a file by soundfile."""

    def __init__(self, descriptor: int, extent: Extent):
        self._descriptor, self._extent, self._place = descriptor, extent, 0
        self._length = len(extent.head) + extent.stop - extent.start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset from the start (0), the place reached (1) or the end (2)."""
        self._place = offset + (0, self._place, self._length)[whence]
        return self._place

    def tell(self) -> int:
        """Place reached."""
        return self._place

    def read(self, count: int = -1) -> bytes:
        """Read up to `count` bytes."""
        rest = max(0, self._length - self._place)
        count = rest if count < 0 else min(count, rest)
        head = self._extent.head[self._place : self._place + count]
        offset = self._extent.start + self._place + len(head) - len(self._extent.head)
        data = head + (os.pread(self._descriptor, count - len(head), offset) if count > len(head) else b"")
        self._place += len(data)
        return data

    def write(self, data: bytes) -> int:
        """Refuse; soundfile asks for this method."""
        raise OSError("read only")


# ---------------------------------------------------------------------------------------------
# HDF5 files
# ---------------------------------------------------------------------------------------------


class Hdf5Dataset(Recording):
    """A dataset in an HDF5 file, int16 or float ``[samples]`` or ``[samples, 1]``. Only the requested span is read.

    The sample rate is the attribute ``sample_rate`` of the dataset or of the file, or `rate` (Hz) if both lack it.
    """

    channels = 1

    def __init__(self, path: Path, key: str, rate: int, status: os.stat_result):
        try:
            self._samples, stored_rate = _dataset(path, key, _stamp(status), os.getpid())
        except KeyError:
            raise UnusableAudioError("no such key") from None
        except PermissionError:
            raise UnusableAudioError("unreadable") from None
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise_if_passing(error, path)
            kinds = {"signature not found": "not HDF5", "truncated file": "truncated"}
            reason = next((kind for text, kind in kinds.items() if text in str(error)), "damaged")
            raise UnusableAudioError(reason) from None
        self._path = path
        self.rate, self.frames = rate if stored_rate is None else stored_rate, len(self._samples)

    def blocks(self, begin: int, end: float) -> Iterator[np.ndarray]:
        """See `Recording.blocks`."""
        # Read everything at once: a compressed chunk larger than the cache is decompressed again for every block.
        try:
            block = self._samples[begin : int(end)]
        except (OSError, RuntimeError) as error:
            raise_if_passing(error, self._path)
            raise UnusableAudioError("damaged") from None
        yield block.reshape(-1, 1).astype(np.float32 if block.dtype.kind == "f" else np.int16, copy=False)

    def close(self) -> None:
        """Do nothing: the file stays open, because the next clip is often a span of the same dataset."""


@lru_cache(OPEN_DATASETS)
def _dataset(path: Path, key: str, stamp: tuple, process: int) -> tuple[h5py.Dataset, int | None]:
    """Open a dataset, which keeps its file open. Returns it with its sample rate (Hz), or None if none is stored.

    `stamp` and `process` are part of the cache key: a file that changed is opened again, and a forked process does not
    read through the handle of its parent.
    """
    dataset = h5py.File(path, "r")[key]
    if not isinstance(dataset, h5py.Dataset):
        raise UnusableAudioError("not audio (a group)")
    if dataset.shape is None or dataset.ndim not in (1, 2) or dataset.shape[1:] not in ((), (1,)):
        raise UnusableAudioError(f"not audio (shape {dataset.shape})")
    if dataset.dtype.kind != "f" and dataset.dtype not in ("<i2", ">i2"):
        raise UnusableAudioError(f"not audio ({dataset.dtype})")
    rate = dataset.attrs.get("sample_rate", dataset.file.attrs.get("sample_rate"))
    return dataset, None if rate is None else _rate(rate)


def _rate(stored: object) -> int:
    values = np.ravel(stored)
    if len(values) != 1 or values.dtype.kind not in "fiu" or not np.isfinite(values[0]):
        raise UnusableAudioError(f"unlikely sample rate ({stored})")
    return int(values[0])
