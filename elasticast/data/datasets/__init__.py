"""The datasets: one module a source, each with the same two functions.

``fetch(config, data_root, out) -> None``
    Bring the audio into being: generate it below ``out/audio``, or download it below ``data_root``.
    Goes on where an interrupted call stopped; a second call does nothing.
``annotate(config, data_root, out) -> Annotations``
    One row a clip, in the order of the stores, and what the publishers say of classes and counts; see
    :class:`~elasticast.data.annotations.Annotations`.

A new dataset is a module with these two functions, and its settings, which name the module, in
`elasticast.config.dataset`.
"""

from importlib import import_module

from elasticast.config.dataset import DatasetConfig, PaperDataset
from elasticast.data.annotations import DatasetReader
from elasticast.data.twins import Twin


def reader_of(config: DatasetConfig) -> DatasetReader:
    """The module that reads a dataset; of a synthetic twin, together with what writes its files."""
    module = import_module(f"{__name__}.{config.module}")
    if isinstance(config, PaperDataset) and config.twin:
        return Twin(module)
    return module
