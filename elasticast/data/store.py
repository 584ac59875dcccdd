"""The waveform store: one HDF5 file a split, decoded once.

``audio`` int16 ``[S]``, all clips one after the other; ``offsets`` int64 ``[n + 1]``, clip i is
``audio[offsets[i]:offsets[i + 1]]``; ``id`` utf-8 ``[n]``; attribute ``sample_rate`` (Hz).
"""

import os
from pathlib import Path

import h5py
import numpy as np

from elasticast.data.audio import STORE_RATE
from elasticast.errors import DataError

CHUNK = 1 << 16  # samples: about 4 s, so that reading one clip touches one or two chunks


class StoreWriter:
    """Append clips; the store appears at `path` when the `with` block ends without an error, else not at all."""

    def __init__(self, path: Path):
        self.path = path
        self._temporary = path.with_name(f".{path.name}.part")
        self._ids: list[str] = []
        self._offsets = [0]

    def __enter__(self) -> "StoreWriter":
        self._file = h5py.File(self._temporary, "w")
        self._audio = self._file.create_dataset("audio", (0,), np.int16, maxshape=(None,), chunks=(CHUNK,))
        return self

    def append(self, name: str, samples: np.ndarray) -> None:
        """Add one clip, int16 ``[samples]``."""
        begin, end = self._offsets[-1], self._offsets[-1] + len(samples)
        self._audio.resize((end,))
        self._audio[begin:end] = samples
        self._offsets.append(end)
        self._ids.append(name)

    def __len__(self) -> int:
        return len(self._ids)

    def __exit__(self, error_type, error, traceback) -> None:
        if error_type is None:
            self._file["offsets"] = np.array(self._offsets, dtype=np.int64)
            self._file.create_dataset("id", data=self._ids, dtype=h5py.string_dtype(), shape=(len(self._ids),))
            self._file.attrs["sample_rate"] = STORE_RATE
        self._file.close()
        if error_type is None:
            os.replace(self._temporary, self.path)
        else:
            self._temporary.unlink()


class Store:
    """Read clips: ``store[i]`` is int16 ``[samples]``, ``store.lengths`` int64 ``[n]`` (samples).

    The file is opened at the first read of each process, so a store can be handed to the workers of a
    ``DataLoader``, forked or spawned.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such waveform store; `elasticast prepare` makes it")
        with h5py.File(self.path, "r") as file:
            self.offsets: np.ndarray = file["offsets"][:]
            self.ids: list[str] = file["id"].asstr()[:].tolist() if len(file["id"]) else []
            self.sample_rate = int(file.attrs["sample_rate"])
        self._file: h5py.File | None = None
        self._process = -1

    @property
    def lengths(self) -> np.ndarray:
        """Samples of each clip."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: clip {index} of {len(self)}")
        return self._opened()["audio"][self.offsets[index] : self.offsets[index + 1]]

    def _opened(self) -> h5py.File:
        if self._process != os.getpid():
            self.close()  # a handle from before a fork shares its place in the file with the parent
            self._file, self._process = h5py.File(self.path, "r"), os.getpid()
        return self._file

    def close(self) -> None:
        """Close this process' handle; the next read opens it again."""
        if self._file is not None:
            self._file.close()
        self._file, self._process = None, -1

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_file": None, "_process": -1}
