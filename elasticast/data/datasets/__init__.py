"""The datasets: one module per source, each with the same two functions.

``fetch(config, data_root, out) -> None``
    Generate the audio in ``out/audio``, or download it to ``data_root``. Resumes an interrupted call, and does nothing
    if the audio exists.
``annotate(config, data_root, out) -> Annotations``
    Read the annotations: one row per clip, in the order of the stores, and the published classes and counts; see
    :class:`~elasticast.data.annotations.Annotations`.

To add a dataset, write a module with these two functions, and add its settings, which name the module, to
`elasticast.config.dataset`.
"""

from importlib import import_module

from elasticast.config.dataset import DatasetConfig, TwinnedDataset
from elasticast.data.annotations import DatasetReader
from elasticast.data.twins import Twin


def reader_of(config: DatasetConfig) -> DatasetReader:
    """The reader of a dataset: its module, or a :class:`~elasticast.data.twins.Twin` if the settings ask for one."""
    module = import_module(f"{__name__}.{config.module}")
    if isinstance(config, TwinnedDataset) and config.twin:
        return Twin(module)
    return module
