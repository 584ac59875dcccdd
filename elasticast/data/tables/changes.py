"""Whether the annotations of your own recordings have changed since they were prepared."""

import hashlib
from pathlib import Path

from elasticast.checksums import file_sha256
from elasticast.config.dataset import DatasetSettings, Folders, Table
from elasticast.data.lookup import scan_audio
from elasticast.errors import DataError


def annotation_sums(config: DatasetSettings, data_root: Path) -> list[str]:
    """Checksums of the tables and lists of classes of a dataset, or of the names of files in folders of classes.

    Empty for published datasets, and if the files cannot be read, which `prepare` reports.
    """
    if not isinstance(config, Table | Folders):
        return []
    folder = data_root / config.folder
    try:
        if isinstance(config, Folders):
            names = sorted(path.removeprefix(f"{folder}/") for path, _ in scan_audio(folder, ""))
            text = "\n".join(names).encode(errors="surrogateescape")
            return [hashlib.sha256(text).hexdigest(), *_lists(folder, [config.classes])]
        return [*_tables(config, folder), *_lists(folder, [labels.classes for labels in config.labels.values()])]
    except (DataError, OSError):
        return []


def _tables(config: Table, folder: Path) -> list[str]:
    from elasticast.data.tables.read import find_table

    if config.table is None:
        return [file_sha256(find_table(folder))]
    names = config.table.values() if isinstance(config.table, dict) else [config.table]
    return [file_sha256(folder / name) for name in names]


def _lists(folder: Path, classes: list) -> list[str]:
    return [file_sha256(folder / name) for name in classes if isinstance(name, str)]
