"""Synthetic twins of the paper's datasets: small and learnable, in the files of the published ones.

`fetch` writes lists and audio below ``out/audio`` as the publishers lay them out, and the dataset's own reader finds
them there, as it finds the real ones below `data_root`. A twin has the real one's tasks, splits, lengths and variety of
file names, and some clips without usable audio; what is heard is made by numpy (`sounds`, `voices`). A clip's label
says nothing about its length, nor whether its audio is there.

A module for each dataset has one function, ``files(config) -> Files``: all files of the twin, each with what writes it.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from elasticast.config.dataset import PaperDataset
from elasticast.data.annotations import Annotations, DatasetReader
from elasticast.data.synthesis import audio_folder
from elasticast.files import write_atomic
from elasticast.progress import track

Files = dict[str, Callable[[Path], object]]
"""Path below the folder of the twin to a function that writes the file."""


class Twin(NamedTuple):
    """A dataset module to whom the files are handed that it reads: see `elasticast.data.datasets`."""

    reader: DatasetReader

    def fetch(self, config: PaperDataset, data_root: Path, out: Path) -> None:
        """Write the files that are not there yet to ``out/audio``."""
        folder = audio_folder(out, config)
        files: Files = import_module(f"{__name__}.{config.module}").files(config)
        todo = [(folder / name, write) for name, write in files.items() if not (folder / name).is_file()]
        for path, write in track(todo, len(todo), f"files of {config.module}'s twin written"):
            write_atomic(path, write)

    def annotate(self, config: PaperDataset, data_root: Path, out: Path) -> Annotations:
        """What the dataset's reader finds; nothing is published of a twin."""
        return self.reader.annotate(config, out / "audio", out)._replace(published={})
