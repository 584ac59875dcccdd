"""Read audio from sound files and from datasets in HDF5 files; see also `elasticast.data.ffmpeg`.

If audio cannot be read, an `UnusableAudioError` with the reason is raised.
"""

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np
import soundfile as sf

BLOCK = 1 << 18
"""Samples per channel to read at once."""
MAX_FRAMES = 1 << 40  # libsndfile returns 2^63 - 1 if the header does not contain the length
UNKNOWN_SIZE = 0xFFFFFFFF  # size in the header of a wav file that was written to a pipe
OGG_PAGE = 65307  # maximum size of a page in bytes
OPEN_DATASETS = 8  # per process; consecutive clips are often spans of the same dataset


class UnusableAudioError(Exception):
    """A clip cannot be used. The message is written to the manifest as the reason."""


class NotReadableError(UnusableAudioError):
    """libsndfile cannot read a file, or may not read it to the end. ffmpeg may be able to."""


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
    """A file that libsndfile reads."""

    def __init__(self, path: Path, size: int):
        self._size = size
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
            self._open()
        except OSError:
            raise UnusableAudioError("unreadable") from None

    def _open(self) -> None:
        with ExitStack() as stack:
            stack.callback(os.close, self._descriptor)
            if _is_truncated(self._descriptor, self._size):
                raise UnusableAudioError("truncated")
            try:
                # Pass the descriptor, because soundfile requires more arguments for some file names (*.raw).
                self._file = stack.enter_context(sf.SoundFile(self._descriptor, closefd=False))
            except sf.LibsndfileError:
                raise NotReadableError("not audio") from None
            if self._file.frames > MAX_FRAMES or (
                self._file.format == "MP3" and not _has_frame_count(self._descriptor)
            ):
                raise NotReadableError("length unknown")
            self._opened = stack.pop_all()
        self.rate, self.channels, self.frames = self._file.samplerate, self._file.channels, self._file.frames

    def blocks(self, begin: int, end: float) -> Iterator[np.ndarray]:
        """See `Recording.blocks`."""
        # Reading 16-bit samples without conversion is five times faster.
        kind = "int16" if self._file.subtype == "PCM_16" else "float32"
        try:
            self._file.seek(begin)
            for first in range(begin, int(end), BLOCK):
                size = min(BLOCK, int(end) - first)
                block = self._file.read(size, dtype=kind, always_2d=True)
                if len(block) < size:
                    raise UnusableAudioError("truncated")
                yield block
        except sf.LibsndfileError:
            read_to_its_end = os.lseek(self._descriptor, 0, os.SEEK_CUR) >= self._size
            raise UnusableAudioError("truncated" if read_to_its_end else "damaged") from None

    def close(self) -> None:
        """Close the file."""
        self._opened.close()


def _is_truncated(file: int, size: int) -> bool:
    """Whether a wav or ogg file is truncated. libsndfile reads such a file without an error."""
    head = os.pread(file, 12, 0)
    if head[:4] == b"OggS":
        return _is_truncated_ogg(file, size)
    if head[:4] not in (b"RIFF", b"RF64") or not b"WAVE".startswith(head[8:]):
        return False
    offset, long_size = 12, UNKNOWN_SIZE
    while len(head := os.pread(file, 24, offset)) >= 8:
        name, length = struct.unpack_from("<4sI", head)
        if name == b"ds64":  # 64-bit sizes of the file and of the samples
            long_size = int.from_bytes(head[16:], "little")
        if name == b"data":
            length = long_size if length == UNKNOWN_SIZE else length
            return length != UNKNOWN_SIZE and offset + 8 + length > size
        offset += 8 + length + length % 2
    return True  # the file ends before its samples start


def _is_truncated_ogg(file: int, size: int) -> bool:
    """Whether the last page of an ogg file is incomplete."""
    tail = os.pread(file, OGG_PAGE, max(0, size - OGG_PAGE))
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27:
        return True
    segments = page[26]
    return len(page) < 27 + segments + sum(page[27 : 27 + segments])


def _has_frame_count(file: int) -> bool:
    """Whether the first frame of an mp3 file contains the number of frames. Without it, libsndfile guesses badly."""
    head = os.pread(file, 10, 0)
    offset = 0
    if head[:3] == b"ID3":
        offset = 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    return any(name in os.pread(file, 4096, offset) for name in (b"Xing", b"Info", b"VBRI"))


# ---------------------------------------------------------------------------------------------
# HDF5 files
# ---------------------------------------------------------------------------------------------


class Hdf5Dataset(Recording):
    """A dataset in an HDF5 file, int16 or float ``[samples]`` or ``[samples, 1]``. Only the requested span is read.

    The sample rate is the attribute ``sample_rate`` of the dataset or of the file, or `rate` (Hz) if both lack it.
    """

    channels = 1

    def __init__(self, path: Path, key: str, rate: int, status: os.stat_result):
        stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        try:
            self._samples, stored_rate = _dataset(path, key, stamp, os.getpid())
        except KeyError:
            raise UnusableAudioError("no such key") from None
        except PermissionError:
            raise UnusableAudioError("unreadable") from None
        except (OSError, RuntimeError) as error:
            raise UnusableAudioError("not HDF5" if "signature not found" in str(error) else "damaged") from None
        self.rate, self.frames = rate if stored_rate is None else stored_rate, len(self._samples)

    def blocks(self, begin: int, end: float) -> Iterator[np.ndarray]:
        """See `Recording.blocks`."""
        # Read everything at once: a compressed chunk larger than the cache is decompressed again for every block.
        try:
            block = self._samples[begin : int(end)]
        except (OSError, RuntimeError):
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
    return dataset, None if rate is None else int(np.ravel(rate)[0])
