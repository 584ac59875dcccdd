"""The datasets: one module a source, each with the same two functions.

``fetch(config, data_root, out) -> None``
    Bring the audio into being: generate it below ``out/audio``, or download it below ``data_root``.
    Goes on where an interrupted call stopped; a second call does nothing.
``annotate(config, data_root, out) -> pandas.DataFrame``
    One row a clip: ``id``, ``split``, ``path``, ``start`` (s), ``duration`` (s, NaN: to the end of the
    file), ``reason`` (why it is already known to be unusable, else ``""``) and one column a task of
    ``config.tasks`` with a list of class names. Row order is the order of the stores.

A new dataset is a module with these two functions, a line in `SOURCES`, and its settings in
`elasticast.config.DatasetConfig`.
"""

from pathlib import Path
from typing import Protocol

import pandas as pd

from elasticast.config import DatasetConfig
from elasticast.data.datasets import fsdd, soundscapes


class Source(Protocol):
    """What a dataset module offers."""

    def fetch(self, config: DatasetConfig, data_root: Path, out: Path) -> None:
        """Bring the audio into being."""

    def annotate(self, config: DatasetConfig, data_root: Path, out: Path) -> pd.DataFrame:
        """One row a clip."""


SOURCES: dict[str, Source] = {"soundscapes": soundscapes, "fsdd_digits": fsdd, "fsdd_strings": fsdd}
