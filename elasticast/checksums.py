"""Checksums: a stage verifies every file that it reads from an earlier stage.

A *record* is a JSON file with the SHA-256 of itself (key :data:`OWN`), and of other files in its folder (key
:data:`FILES`). A YAML file that the suite writes begins with a comment that holds the SHA-256 of the rest.

A copy of a file has a fitting checksum wherever it is. So records and YAML files of a run also hold the folder that
they were written for (key :data:`FOLDER`).
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from elasticast.errors import DataError
from elasticast.files import is_file, read_json, write_json

OWN = "record_sha256"
"""Key of a record: SHA-256 of its other keys and values."""
FILES = "files"
"""Key of a record: SHA-256 by name of file."""
FOLDER = "folder"
"""Key of a record or YAML file of a run: its folder, see :func:`folder_of`."""
_FOLDER = re.compile(r"[^/]+(/ablations/[^/]+)?/(runs|released)/[^/]+(/seed\d+)?$")
YAML_HEAD = "# sha256 of the lines below: "
"""First line of a YAML file that the suite wrote, followed by the checksum."""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file.

    Raises
    ------
    DataError
        If the file does not exist or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def write_record(path: Path, value: dict[str, Any], files: Iterable[Path] = ()) -> None:
    """Write a record.

    Parameters
    ----------
    path : Path
        JSON file to write.
    value : dict
        Content.
    files : iterable of Path
        Existing files in the folder of `path` whose checksums are added.

    Raises
    ------
    DataError
        If a number is NaN or infinite, which JSON does not have.
    """
    record = dict(value)
    if sums := {file.relative_to(path.parent).as_posix(): file_sha256(file) for file in files}:
        record[FILES] = sums
    write_json(path, {**record, OWN: _own(record)})


def read_record(path: Path, remedy: str) -> dict[str, Any]:
    """Read a record and verify that it was not changed.

    Parameters
    ----------
    path : Path
        JSON file written by :func:`write_record`.
    remedy : str
        What the user can do if the record is missing or was changed; the end of the error message.

    Raises
    ------
    DataError
        If the file is missing, is not a record, or its content differs from its own checksum.
    """
    if not is_file(path):
        raise DataError(f"{path}: no such file; {remedy}")
    record = read_json(path)
    if OWN not in record:
        raise DataError(f"{path}: has no {OWN}, so it cannot be verified; {remedy}")
    if record[OWN] != _own(record):
        raise DataError(f"{path}: its content does not match its {OWN}: it was damaged or edited; {remedy}")
    return record


def verify(path: Path, record: dict[str, Any], source: Path, remedy: str) -> None:
    """Verify that a file is the one that a record names.

    Parameters
    ----------
    path : Path
        The file.
    record : dict
        Content of a record.
    source : Path
        File of the record; `path` is in the same folder or below.
    remedy : str
        What the user can do if the file differs; the end of the error message.

    Raises
    ------
    DataError
        If the file is missing, is not in the record, or has another checksum.
    """
    name = path.relative_to(source.parent).as_posix()
    expected = record.get(FILES, {}).get(name)
    if expected is None:
        raise DataError(f"{source}: has no checksum of {name}; {remedy}")
    if not is_file(path):
        raise DataError(f"{path}: no such file; {remedy}")
    actual = file_sha256(path)
    if actual != expected:
        raise DataError(
            f"{path}: SHA-256 {actual[:16]}..., but {source.name} records {expected[:16]}...: the file was damaged, "
            f"edited or exchanged; {remedy}"
        )


def verified(path: Path, source: Path, remedy: str) -> Path:
    """`path`, after verifying it with the record `source`; see :func:`verify`."""
    verify(path, read_record(source, remedy), source, remedy)
    return path


def folder_of(path: Path) -> str | None:
    """Folder of a run's file, from the name of the suite on.

    Parameters
    ----------
    path : Path
        A file.

    Returns
    -------
    str or None
        Such as ``tiny/runs/elastic/seed0`` or ``tiny/ablations/hop/runs/ms20/seed0``; without the seed for a file of
        all seeds. None if the file is not in such a folder.
    """
    found = _FOLDER.search(Path(os.path.abspath(path)).parent.as_posix())
    return found and found[0]


def check_folder(path: Path, value: dict[str, Any], remedy: str) -> None:
    """Verify that a file of a run is in the folder that it was written for.

    A file outside the folders of runs, and one that names no folder, are the user's own and are accepted.

    Parameters
    ----------
    path : Path
        Record or YAML file.
    value : dict
        Its content.
    remedy : str
        What the user can do; the end of the error message.

    Raises
    ------
    DataError
        If the file was written for another folder.
    """
    written, actual = value.get(FOLDER), folder_of(path)
    if written and actual and written != actual:
        raise DataError(f"{path}: was written for {written}, not for {actual}: it is a copy of another run; {remedy}")


def with_checksum(yaml: str) -> str:
    """`yaml` with a first line that holds the checksum of the rest."""
    return f"{YAML_HEAD}{_text(yaml)}\n{yaml}"


def check_yaml(path: Path, text: str) -> None:
    """Verify a YAML file that begins with a checksum. Other YAML files are the user's own and are not verified.

    Raises
    ------
    DataError
        If the text differs from the checksum.
    """
    head, _, rest = text.partition("\n")
    if head.startswith(YAML_HEAD) and head.removeprefix(YAML_HEAD).strip() != _text(rest):
        raise DataError(
            f"{path}: does not match the checksum in its first line: it was damaged or edited; delete the file to "
            "create it again, or delete the first line to use it as it is"
        )


def _own(record: dict[str, Any]) -> str:
    rest = {key: value for key, value in record.items() if key != OWN}
    return _text(json.dumps(rest, sort_keys=True))


def _text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
