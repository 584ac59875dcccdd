"""The waveform store: the decoded clips of each split as int16 mono.

A split consists of a small index, ``train.h5``, and of parts with some thousand clips each, ``parts/train-*.h5``. An
interrupted `prepare` resumes after the last finished part, and cluster jobs divide the parts among them.

Datasets of an index:

- ``offsets``: int64 ``[n + 1]``. Clip i has the samples ``offsets[i]`` to ``offsets[i + 1]`` of all parts concatenated.
- ``id``: UTF-8 ``[n]``.
- ``parts``: UTF-8, the paths of the parts, relative to the folder of the index.
- ``first``: int64, the first clip of each part.
- ``sha256``: UTF-8, the attribute ``sha256`` of each part.

Datasets of a part:

- ``audio``: int16 ``[S]``, its clips concatenated.
- ``offsets``: int64, as above.
- the outcome of each of its rows of the manifest, see :mod:`elasticast.data.parts`.

Both have the attribute ``sample_rate`` (Hz). A part also has the attributes ``name``, which is the name of its file
without the suffix, and ``sha256``, the SHA-256 of its sample rate and of all datasets except ``audio``. One of these
datasets holds the SHA-256 of each clip. So a part that was exchanged for another one is recognised when it is opened. A
part that was damaged is recognised when it is read, because every chunk has a checksum.
"""

import hashlib
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from elasticast.errors import DataError
from elasticast.files import replacing
from elasticast.hdf5 import FORMAT, Disk, naming, open_hdf5, read_text, reading, write_column, writing

CHUNK = 1 << 15
"""Samples per chunk, about 2 s. A chunk is read as a whole to verify its checksum, so large ones are slower."""
REMEDY = "delete it and run `elasticast prepare` again to recreate it"
"""Remedy in error messages if a file of the store cannot be read."""


class PartWriter:
    """Append clips to a part, see :func:`writing_part`."""

    def __init__(self, file: h5py.File, disk: Disk):
        self._file, self._disk, self._offsets = file, disk, [0]
        self._columns: dict[str, np.ndarray] = {}
        shape = {"shape": (0,), "maxshape": (None,), "chunks": (CHUNK,)}
        self._audio = file.create_dataset("audio", dtype=np.int16, fletcher32=True, **shape)

    def append(self, samples: np.ndarray) -> None:
        """Add one clip, int16 ``[samples]``."""
        begin, end = self._offsets[-1], self._offsets[-1] + len(samples)
        self._audio.resize((end,))
        self._audio[begin:end] = samples
        self._offsets.append(end)
        self._disk.check()

    def write(self, name: str, column: np.ndarray | Sequence[str]) -> None:
        """Add a column with one value per row of the manifest: numbers, or texts."""
        self._columns[name] = write_column(self._file, name, column)

    def finish(self, name: str, rate: int) -> None:
        """Write the offsets of the clips, and the attributes of a part called `name` with the sample rate `rate`."""
        self.write("offsets", np.array(self._offsets, dtype=np.int64))
        self._file.attrs["sample_rate"] = rate
        for key, value in (("name", name), ("sha256", _sha256(rate, self._columns))):
            self._file.attrs[key] = np.bytes_(value.encode())  # a `str` would be stored without a checksum


@contextmanager
def writing_part(path: Path, rate: int) -> Iterator[PartWriter]:
    """Write a part with sample rate `rate` (Hz). `path` is created only if the `with` block succeeds."""
    with replacing(path) as temporary, Disk(temporary) as disk, h5py.File(disk, "w", libver=FORMAT) as file:
        writer = PartWriter(file, disk)
        yield writer
        writer.finish(path.stem, rate)


def read_part(path: Path) -> tuple[dict[str, np.ndarray | list[str]], str]:
    """Read and verify everything of a part except its audio.

    Returns
    -------
    columns : dict
        Datasets by name: numbers `[n]`, or lists of n texts.
    sha256 : str
        The attribute ``sha256``.

    Raises
    ------
    DataError
        If the part cannot be read, was damaged, or is another one.
    """
    with reading(path, REMEDY) as file:
        columns = {name: dataset[:] for name, dataset in file.items() if name != "audio"}
        texts = {name: read_text(file[name]) for name in columns if h5py.check_string_dtype(file[name].dtype)}
        name, sha256 = _attribute(file, "name"), _attribute(file, "sha256")
        rate, samples = int(file.attrs["sample_rate"]), len(file["audio"])
    if name != path.stem:
        raise DataError(f"{path}: is part {name or 'of an earlier version'}; {REMEDY}")
    if sha256 != _sha256(rate, columns) or columns["offsets"][-1] != samples:
        raise DataError(f"{path}: does not match its checksum; {REMEDY}")
    return {**columns, **texts}, sha256


def _attribute(file: h5py.File, name: str) -> str:
    """A text attribute of a part, an empty string if it has none, as parts of earlier versions."""
    return bytes(file.attrs.get(name, b"")).decode()


def _sha256(rate: int, columns: dict[str, np.ndarray]) -> str:
    """Checksum of a part without its name and audio."""
    total = hashlib.sha256(f"{rate}\n".encode())
    for column, values in sorted(columns.items()):
        total.update(f"{column} {values.dtype.str} {len(values)}\n".encode())
        total.update(values.tobytes())
    return total.hexdigest()


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
    sizes, first, sums = [], [0], []
    for part in parts:
        columns, sha256 = read_part(part)
        sizes.append(np.diff(columns["offsets"]))
        first.append(first[-1] + len(sizes[-1]))
        sums.append(sha256)
    assert first[-1] == len(ids), f"{path}: {first[-1]} clips in the parts, {len(ids)} ids"

    with writing(path) as file:
        write_column(file, "offsets", np.concatenate([[0], *sizes]).cumsum().astype(np.int64))
        write_column(file, "first", np.array(first[:-1], dtype=np.int64))
        names = [os.path.relpath(part, path.parent) for part in parts]
        for key, texts in (("id", ids), ("parts", names), ("sha256", sums)):
            write_column(file, key, texts)
        file.attrs["sample_rate"] = rate


class Store:
    """Read the clips of a split: ``store[i]`` is int16 ``[samples]``.

    Each process opens the files when it first reads a clip, so a store can be used in forked or spawned workers of a
    ``DataLoader``.

    Parameters
    ----------
    path : Path
        The index. :func:`~elasticast.data.prepared.verified_file` verifies that it belongs to the prepared dataset.

    Raises
    ------
    DataError
        If the index cannot be read, contradicts itself, or a part is missing. Reading a clip raises it if its part
        cannot be read or is not the one that the index names.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such waveform store; create it with `elasticast prepare`")
        with reading(self.path, REMEDY) as file:
            if "sha256" not in file:
                raise DataError(f"{self.path}: written by an earlier version; run `elasticast prepare` again")
            self.offsets: np.ndarray = file["offsets"][:]
            self.first: list[int] = file["first"][:].tolist()
            self.parts = [self.path.parent / name for name in read_text(file["parts"])]
            self.sha256 = read_text(file["sha256"])
            self.sample_rate = int(file.attrs["sample_rate"])
        self._check()
        self._audio: dict[int, h5py.Dataset] = {}  # looking it up in its file takes half of the time of a read
        self._process = -1

    def _check(self) -> None:
        """Check that the datasets of the index fit together, and that all parts exist."""
        first, parts = [*self.first, len(self)], len(self.parts)
        if (
            self.offsets[:1].tolist() != [0]
            or (np.diff(self.offsets) < 0).any()
            or first != sorted(first)
            or not len(self.first) == len(self.sha256) == parts
            or first[0] != 0
        ):
            raise DataError(f"{self.path}: its clips and parts do not fit together; {REMEDY}")
        missing = [part for part in self.parts if not part.is_file()]
        if missing:
            raise DataError(
                f"{self.path}: {len(missing)} of {len(self.parts)} parts are missing, such as {missing[0]}; "
                "recreate them with `elasticast prepare`"
            )

    @property
    def ids(self) -> list[str]:
        """Id of each clip."""
        with reading(self.path, REMEDY) as file:
            return read_text(file["id"])

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
        audio = self._opened(part)
        with naming(self.parts[part], REMEDY):
            return audio[self.offsets[index] - before : self.offsets[index + 1] - before]

    def _opened(self, part: int) -> h5py.Dataset:
        if self._process != os.getpid():
            self.close()  # handles opened before a fork share their position in the file with the parent
            self._process = os.getpid()
        if part not in self._audio:
            file = open_hdf5(self.parts[part], REMEDY)
            self._check_part(part, file)
            self._audio[part] = file["audio"]
        return self._audio[part]

    def _check_part(self, part: int, file: h5py.File) -> None:
        """Check that an open part is the one that the index names."""
        path, bounds = self.parts[part], [*self.first, len(self)][part : part + 2]
        offsets = self.offsets[bounds[0] : bounds[1] + 1]
        with naming(path, REMEDY):
            found = _attribute(file, "name"), _attribute(file, "sha256"), int(file.attrs["sample_rate"])
            same_clips = np.array_equal(file["offsets"][:], offsets - offsets[0])
            samples = len(file["audio"])
        expected = path.stem, self.sha256[part], self.sample_rate
        if found != expected or not same_clips or samples != offsets[-1] - offsets[0]:
            name, sha256, rate = found
            raise DataError(
                f"{path}: is not the part that {self.path} names: it is {name or 'of an earlier version'} with "
                f"{samples} samples at {rate} Hz and SHA-256 {sha256[:16]}..., expected {offsets[-1] - offsets[0]} "
                f"samples at {expected[2]} Hz and SHA-256 {expected[1][:16]}...; {REMEDY}"
            )

    def close(self) -> None:
        """Close the files of this process. The next read opens them again."""
        for audio in self._audio.values():
            audio.file.close()
        self._audio, self._process = {}, -1

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_audio": {}, "_process": -1}
