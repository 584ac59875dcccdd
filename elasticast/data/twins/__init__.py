"""Synthetic twins of published datasets: small, learnable datasets with the file layout of the published ones.

`fetch` writes lists and audio files to ``out/audio`` in the published layout. The reader of the real dataset then reads
them from there instead of from `data_root`. A twin has the tasks, splits, lengths and kinds of file names of the real
dataset, and some of its clips have no usable audio. The audio is generated with numpy (`sounds`, `voices`). The label
of a clip is independent of its length and of whether its audio is usable.

Each dataset has a module with one function, ``files(config) -> Files``, which returns all files of the twin and the
functions that write them.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from elasticast.config.dataset import TwinnedDataset
from elasticast.data.annotations import Annotations, DatasetReader
from elasticast.data.synthesis import audio_folder
from elasticast.files import write_atomic
from elasticast.progress import track

Files = dict[str, Callable[[Path], object]]
"""Maps the path of a file, relative to the folder of the twin, to a function that writes the file."""


class Twin(NamedTuple):
    """Reader of a synthetic twin: it generates the files that `reader`, the module of the real dataset, then reads.

    See `elasticast.data.datasets` for the two methods.
    """

    reader: DatasetReader

    def fetch(self, config: TwinnedDataset, data_root: Path, out: Path) -> None:
        """Write the files that do not exist yet to ``out/audio``."""
        folder = audio_folder(out, config)
        files: Files = import_module(f"{__name__}.{config.module}").files(config)
        todo = [(folder / name, write) for name, write in files.items() if not (folder / name).is_file()]
        for path, write in track(todo, len(todo), f"files of {config.module}'s twin written"):
            write_atomic(path, write)

    def annotate(self, config: TwinnedDataset, data_root: Path, out: Path) -> Annotations:
        """Read the annotations with the reader of the real dataset, without the published counts."""
        return self.reader.annotate(config, out / "audio", out)._replace(published={})
