"""The waveform store: the decoded clips of each split as int16 mono.

A split consists of a small index, ``train.h5``, and of parts with some thousand clips each, ``parts/train-*.h5``. An
interrupted `prepare` resumes after the last finished part, and cluster jobs divide the parts among them.

Datasets of an index:

- ``offsets``: int64 ``[n + 1]``. Clip i has the samples ``offsets[i]`` to ``offsets[i + 1]`` of all parts concatenated.
- ``id``: UTF-8 ``[n]``.
- ``parts``: UTF-8, the paths of the parts, relative to the folder of the index.
- ``first``: int64, the first clip of each part.

Datasets of a part:

- ``audio``: int16 ``[S]``, its clips concatenated.
- ``offsets``: int64, as above.
- the outcome of each of its rows of the manifest, see :mod:`elasticast.data.parts`.

Both have the attribute ``sample_rate`` (Hz).
"""

import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from elasticast.errors import DataError
from elasticast.files import replacing
from elasticast.hdf5 import Disk, open_hdf5, writing

CHUNK = 1 << 16  # samples; about 4 s, so that most clips are in one or two chunks
REMEDY = "delete it and run `elasticast prepare` again to recreate it"
"""Remedy in error messages if a file of the store cannot be read."""


class PartWriter:
    """Append clips to a part, see :func:`writing_part`."""

    def __init__(self, file: h5py.File, disk: Disk):
        self._file, self._disk, self._offsets = file, disk, [0]
        self._audio = file.create_dataset("audio", (0,), np.int16, maxshape=(None,), chunks=(CHUNK,))

    def append(self, samples: np.ndarray) -> None:
        """Add one clip, int16 ``[samples]``."""
        begin, end = self._offsets[-1], self._offsets[-1] + len(samples)
        self._audio.resize((end,))
        self._audio[begin:end] = samples
        self._offsets.append(end)
        self._disk.check()

    def write(self, name: str, column: np.ndarray) -> None:
        """Add a column with one value per row of the manifest. Text must be an array of `str` objects."""
        text = column.dtype == object
        self._file.create_dataset(name, data=column, dtype=h5py.string_dtype() if text else column.dtype)

    def finish(self, rate: int) -> None:
        """Write the offsets and the sample rate (Hz) of the clips."""
        self._file["offsets"] = np.array(self._offsets, dtype=np.int64)
        self._file.attrs["sample_rate"] = rate


@contextmanager
def writing_part(path: Path, rate: int) -> Iterator[PartWriter]:
    """Write a part with sample rate `rate` (Hz). `path` is created only if the `with` block succeeds."""
    with replacing(path) as temporary, Disk(temporary) as disk, h5py.File(disk, "w") as file:
        writer = PartWriter(file, disk)
        yield writer
        writer.finish(rate)


def write_index(path: Path, parts: list[Path], ids: list[str], rate: int) -> None:
    """Write the index of a store.

    Parameters
    ----------
    path : Path
        File to write.
    parts : list of Path
        The parts, in order.
    ids : list of str
        Ids of the clips of all parts.
    rate : int
        Sample rate (Hz).
    """
    sizes, first = [], [0]
    for part in parts:
        with open_hdf5(part, REMEDY) as file:
            sizes.append(np.diff(file["offsets"][:]))
        first.append(first[-1] + len(sizes[-1]))
    assert first[-1] == len(ids), f"{path}: {first[-1]} clips in the parts, {len(ids)} ids"

    with writing(path) as file:
        file["offsets"] = np.concatenate([[0], *sizes]).cumsum().astype(np.int64)
        file["first"] = np.array(first[:-1], dtype=np.int64)
        names = [os.path.relpath(part, path.parent) for part in parts]
        for key, texts in (("id", ids), ("parts", names)):
            file.create_dataset(key, data=texts, dtype=h5py.string_dtype(), shape=(len(texts),))
        file.attrs["sample_rate"] = rate


class Store:
    """Read the clips of a split: ``store[i]`` is int16 ``[samples]``.

    Each process opens the files when it first reads a clip, so a store can be used in forked or spawned workers of a
    ``DataLoader``.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such waveform store; create it with `elasticast prepare`")
        with open_hdf5(self.path, REMEDY) as file:
            if "first" not in file:
                raise DataError(f"{self.path}: written by an earlier version; run `elasticast prepare` again")
            self.offsets: np.ndarray = file["offsets"][:]
            self.first: list[int] = file["first"][:].tolist()
            self.parts = [self.path.parent / name for name in _texts(file["parts"])]
            self.sample_rate = int(file.attrs["sample_rate"])
        missing = [part for part in self.parts if not part.is_file()]
        if missing:
            raise DataError(
                f"{self.path}: {len(missing)} of {len(self.parts)} parts are missing, such as {missing[0]}; "
                "recreate them with `elasticast prepare`"
            )
        self._files: dict[int, h5py.File] = {}
        self._process = -1

    @property
    def ids(self) -> list[str]:
        """Id of each clip."""
        with open_hdf5(self.path, REMEDY) as file:
            return _texts(file["id"])

    @property
    def lengths(self) -> np.ndarray:
        """Length of each clip in samples, int64 ``[n]``."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: no clip {index}; the store has {len(self)} clips")
        part = bisect_right(self.first, index) - 1
        before = self.offsets[self.first[part]]
        audio = self._opened(part)["audio"]
        try:
            return audio[self.offsets[index] - before : self.offsets[index + 1] - before]
        except OSError as error:  # h5py's errors do not name the file
            raise DataError(f"{self.parts[part]}: clip {index} cannot be read ({error}); {REMEDY}") from None

    def _opened(self, part: int) -> h5py.File:
        if self._process != os.getpid():
            self.close()  # handles opened before a fork share their position in the file with the parent
            self._process = os.getpid()
        if part not in self._files:
            self._files[part] = open_hdf5(self.parts[part], REMEDY)
        return self._files[part]

    def close(self) -> None:
        """Close the files of this process. The next read opens them again."""
        for file in self._files.values():
            file.close()
        self._files, self._process = {}, -1

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_files": {}, "_process": -1}


def _texts(column: h5py.Dataset) -> list[str]:
    return column.asstr()[:].tolist() if len(column) else []
