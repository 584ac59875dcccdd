"""What audio is read from: sound files and datasets of HDF5 files; see also `elasticast.data.ffmpeg`.

What cannot be read raises `UnusableAudioError` with the reason.
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
"""Samples a channel that are read at once."""
MOST_FRAMES = 1 << 40  # libsndfile gives 2^63 - 1 where a header does not tell the length
STREAMED = 0xFFFFFFFF  # size in the header of a wav that was written to a pipe: not known
OGG_PAGE = 65307  # bytes of the largest one
OPEN_DATASETS = 8  # a process: consecutive clips are often spans of one


class UnusableAudioError(Exception):
    """A clip that cannot be used; its message is the reason in the manifest."""


class NotReadableError(UnusableAudioError):
    """What libsndfile cannot read, or perhaps not to its end; ffmpeg may."""


class Recording(ABC):
    """Audio at the rate and with the channels it was recorded with; a context that closes it.

    Attributes
    ----------
    rate : int
        Hz.
    channels : int
    frames : int or inf
        Samples a channel; inf where only reading to the end tells.
    """

    rate: int
    channels: int
    frames: float

    @abstractmethod
    def blocks(self, begin: int, end: float) -> Iterator[np.ndarray]:
        """Samples `begin` to `end`, int16 or float32 with full scale 1, in blocks ``[samples, channels]``.

        Where `frames` is inf there may be fewer, and they can be read only once.
        """

    @abstractmethod
    def close(self) -> None:
        """Close what is open."""

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
            if _is_cut_short(self._descriptor, self._size):
                raise UnusableAudioError("truncated")
            try:
                # By its descriptor, for of some names (*.raw) soundfile wants more than the name.
                self._file = stack.enter_context(sf.SoundFile(self._descriptor, closefd=False))
            except sf.LibsndfileError:
                raise NotReadableError("not audio") from None
            if self._file.frames > MOST_FRAMES or (self._file.format == "MP3" and not _tells_length(self._descriptor)):
                raise NotReadableError("length unknown")
            self._opened = stack.pop_all()
        self.rate, self.channels, self.frames = self._file.samplerate, self._file.channels, self._file.frames

    def blocks(self, begin: int, end: float) -> Iterator[np.ndarray]:
        """See `Recording.blocks`."""
        # Reading integers as they are is five times as fast.
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


def _is_cut_short(file: int, size: int) -> bool:
    """Whether a wav or ogg file ends before it should; libsndfile shortens such a file silently."""
    head = os.pread(file, 12, 0)
    if head[:4] == b"OggS":
        return _ogg_is_cut_short(file, size)
    if head[:4] not in (b"RIFF", b"RF64") or not b"WAVE".startswith(head[8:]):
        return False
    place, long_size = 12, STREAMED
    while len(head := os.pread(file, 24, place)) >= 8:
        name, length = struct.unpack_from("<4sI", head)
        if name == b"ds64":  # sizes that need 64 bits: of the file, of the samples
            long_size = int.from_bytes(head[16:], "little")
        if name == b"data":
            length = long_size if length == STREAMED else length
            return length != STREAMED and place + 8 + length > size
        place += 8 + length + length % 2
    return True  # it ends before its samples begin


def _ogg_is_cut_short(file: int, size: int) -> bool:
    """Whether the last page is not whole."""
    tail = os.pread(file, OGG_PAGE, max(0, size - OGG_PAGE))
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27:
        return True
    segments = page[26]
    return len(page) < 27 + segments + sum(page[27 : 27 + segments])


def _tells_length(file: int) -> bool:
    """Whether the first frame of an mp3 holds the number of frames; libsndfile's guess without it may be far off."""
    head = os.pread(file, 10, 0)
    place = 0
    if head[:3] == b"ID3":
        place = 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    return any(name in os.pread(file, 4096, place) for name in (b"Xing", b"Info", b"VBRI"))


# ---------------------------------------------------------------------------------------------
# HDF5 files
# ---------------------------------------------------------------------------------------------


class Hdf5Dataset(Recording):
    """A dataset of an HDF5 file, int16 or float ``[samples]`` or ``[samples, 1]``; only what is asked for is read.

    Its sample rate is the attribute ``sample_rate`` of the dataset or of the file.
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
        # In one go: where the file is compressed, a chunk that is larger than the cache is unpacked at every reading.
        try:
            block = self._samples[begin : int(end)]
        except (OSError, RuntimeError):
            raise UnusableAudioError("damaged") from None
        yield block.reshape(-1, 1).astype(np.float32 if block.dtype.kind == "f" else np.int16, copy=False)

    def close(self) -> None:
        """Nothing: it stays open for the next span of it."""


@lru_cache(OPEN_DATASETS)
def _dataset(path: Path, key: str, stamp: tuple, process: int) -> tuple[h5py.Dataset, int | None]:
    """A dataset, which keeps its file open, and the sample rate stored with it (Hz).

    A changed file (`stamp`) is opened anew, and a fork does not read through its parent's handle (`process`).
    """
    found = h5py.File(path, "r")[key]
    if not isinstance(found, h5py.Dataset):
        raise UnusableAudioError("not audio (a group)")
    if found.shape is None or found.ndim not in (1, 2) or found.shape[1:] not in ((), (1,)):
        raise UnusableAudioError(f"not audio (shape {found.shape})")
    if found.dtype.kind != "f" and found.dtype not in ("<i2", ">i2"):
        raise UnusableAudioError(f"not audio ({found.dtype})")
    rate = found.attrs.get("sample_rate", found.file.attrs.get("sample_rate"))
    return found, None if rate is None else int(np.ravel(rate)[0])
