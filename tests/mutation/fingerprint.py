"""Digests of the contents of files, without times and paths, so that two runs of the same code have equal digests."""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

import h5py
import matplotlib.image
import numpy as np
import pandas as pd
import yaml

from tests.records import rewrite_record

PART = re.compile("-[0-9a-f]{12}")
"""End of the name of a part file, which depends on the modification times of audio files."""
VARIABLE = (
    "seconds",
    "per_s",
    "memory",
    "git_commit",
    "versions",
    "version_",
    "machine",
    "command",
    "code_digest",
    "restarts",
    "identity",
    "record_sha256",
    "files",
)
"""Parts of the names of columns and keys whose values differ between two runs of the same code."""


def fix_training_time(file: Path) -> None:
    """Replace the time and speed of a training by constants, because tables of ablations print them."""
    record = json.loads(file.read_text())
    rewrite_record(file, **{key: 1.0 for key, value in record.items() if is_variable(key) and type(value) is float})


def fingerprint(files: Iterable[Path]) -> str:
    """Digest of the contents of files, without times, versions and the path of the current folder."""
    total = hashlib.sha256()
    for file in files:
        total.update(file.suffix.encode() + _content(file))
    return total.hexdigest()[:12]


def _content(file: Path) -> bytes:
    if "audio" in file.parts:
        return file.read_bytes()
    match file.suffix:
        case ".json":
            content = _without_variable(json.loads(file.read_text()))
            return json.dumps(content, sort_keys=True).replace(os.getcwd(), "").encode()
        case ".yaml":
            return json.dumps(yaml.safe_load(file.read_text()), sort_keys=True).encode()
        case ".csv":
            table = pd.read_csv(file, dtype=str)
            return table[[name for name in table if not is_variable(name)]].to_csv().replace(os.getcwd(), "").encode()
        case ".parquet":
            return pd.read_parquet(file).to_csv().replace(os.getcwd(), "").encode()
        case ".h5":
            return _hdf5(file)
        case ".png":
            return np.ascontiguousarray(matplotlib.image.imread(file)).tobytes()
    return file.read_bytes()


def is_variable(name: str) -> bool:
    """Whether the values of a column or key differ between two runs of the same code."""
    return any(part in name for part in VARIABLE)


def _without_variable(value):
    if isinstance(value, dict):
        return {key: _without_variable(item) for key, item in value.items() if not is_variable(key)}
    return [_without_variable(item) for item in value] if isinstance(value, list) else value


def _hdf5(file: Path) -> bytes:
    total = hashlib.sha256()

    def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
        total.update(PART.sub("", f"{name} {sorted(item.attrs.items())}".replace(os.getcwd(), "")).encode())
        if isinstance(item, h5py.Dataset):
            values = item[()]
            total.update(
                PART.sub("", repr(values.tolist())).encode() if values.dtype.kind in "OS" else values.tobytes()
            )

    with h5py.File(file, "r") as opened:
        total.update(PART.sub("", str(sorted(opened.attrs.items()))).encode())
        opened.visititems(add)
    return total.digest()
