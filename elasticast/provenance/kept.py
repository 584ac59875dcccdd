"""Digests of code, kept on disk: each start of Snakemake and each job needs some, and parsing the package is slow.

The file is ``$XDG_CACHE_HOME/elasticast/code-*.json`` (by default in ``~/.cache``), one for each checkout and version
of Python. It holds the SHA-256 of all modules of the package, including those that compute digests, and a checksum of
itself. It is used only if both fit; otherwise the digests are computed again. If it cannot be written, each process
computes its own digests.
"""

import contextlib
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from elasticast.checksums import read_record, write_record
from elasticast.errors import ElasticASTError
from elasticast.provenance.source import Source


def kept_digest(source: Source, parts: Iterable[str]) -> str:
    """Return the kept digest of parts of a package. A digest that is missing is computed and added.

    Parameters
    ----------
    source : Source
        The package.
    parts : iterable of str
        Folders, modules and definitions of the package, see :meth:`Source.select`.

    Returns
    -------
    str
        The same as :meth:`Source.digest`.
    """
    file, parts = kept_file(source.folder), sorted(parts)
    if file is None or not all(map(source.contains, parts)):  # a change of other files would go unnoticed
        return source.digest(parts)
    key = _sha256([source.declarations, *parts])
    if digest := _read(file, source).get(key):
        return digest
    digest = source.digest(parts)
    # reads again what other processes have added meanwhile; if one writes right now, its digest is computed once more
    digests = {**_read(file, source), key: digest}
    with contextlib.suppress(OSError, ElasticASTError):
        write_record(file, {"modules_sha256": source.sha256, "digests": digests})
    return digest


def kept_file(package: Path) -> Path | None:
    """File of the kept digests of a package; None if the user has no home folder."""
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not caches.is_absolute():  # unset, or not valid according to the XDG specification
        try:
            caches = Path.home() / ".cache"
        except RuntimeError:
            return None
    # digests are meant to be equal in all versions of Python, but `ast.unparse` may change
    owner = _sha256([str(package.absolute()), sys.implementation.name, platform.python_version()])
    return caches / "elasticast" / f"code-{owner[:16]}.json"


def _read(file: Path, source: Source) -> dict[str, str]:
    """The kept digests of this code; none if the file is missing, damaged, or of other code."""
    try:
        kept = read_record(file, "it is written again")
    except ElasticASTError:
        return {}
    return kept["digests"] if kept.get("modules_sha256") == source.sha256 else {}


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
