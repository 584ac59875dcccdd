"""What files hold, without times and places, so that two runs of the same code are alike."""

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

PART = re.compile("-[0-9a-f]{12}")
"""End of the name of a part, which depends on the times of audio files."""
TIMES = (
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
)


def set_speed(record: Path) -> None:
    """Replace how long a training took: tables of ablations show it."""
    about = json.loads(record.read_text())
    record.write_text(
        json.dumps({key: 1.0 if is_time(key) and type(value) is float else value for key, value in about.items()})
    )


def fingerprint(files: Iterable[Path]) -> str:
    """Digest of what files hold, but for times, versions and the folder that they are in."""
    total = hashlib.sha256()
    for file in files:
        total.update(file.suffix.encode() + _content(file))
    return total.hexdigest()[:12]


def _content(file: Path) -> bytes:
    if "audio" in file.parts:
        return file.read_bytes()
    match file.suffix:
        case ".json":
            return json.dumps(_timeless(json.loads(file.read_text())), sort_keys=True).replace(os.getcwd(), "").encode()
        case ".yaml":
            return json.dumps(yaml.safe_load(file.read_text()), sort_keys=True).encode()
        case ".csv":
            table = pd.read_csv(file, dtype=str)
            return table[[name for name in table if not is_time(name)]].to_csv().replace(os.getcwd(), "").encode()
        case ".parquet":
            return pd.read_parquet(file).to_csv().replace(os.getcwd(), "").encode()
        case ".h5":
            return _hdf5(file)
        case ".png":
            return np.ascontiguousarray(matplotlib.image.imread(file)).tobytes()
    return file.read_bytes()


def is_time(name: str) -> bool:
    """Whether a column or key is of what differs between two runs."""
    return any(time in name for time in TIMES)


def _timeless(value):
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if not is_time(key)}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _hdf5(file: Path) -> bytes:
    total = hashlib.sha256()

    def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
        total.update(f"{name} {sorted(item.attrs.items())}".replace(os.getcwd(), "").encode())
        if isinstance(item, h5py.Dataset):
            values = item[()]
            total.update(PART.sub("", repr(values.tolist())).encode() if values.dtype == object else values.tobytes())

    with h5py.File(file, "r") as opened:
        total.update(str(sorted(opened.attrs.items())).encode())
        opened.visititems(add)
    return total.digest()
