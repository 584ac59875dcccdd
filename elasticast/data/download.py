"""Downloads that go on where they stopped, and archives unpacked whole or not at all."""

import contextlib
import errno
import gzip
import hashlib
import http.client
import logging
import os
import shutil
import stat
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from elasticast.errors import DataError
from elasticast.files import locked
from elasticast.progress import Progress, track

LOG = logging.getLogger(__name__)
TIMEOUT_SECONDS = 30
BLOCK = 1 << 20

# ---------------------------------------------------------------------------------------------
# Downloads
# ---------------------------------------------------------------------------------------------


def download(url: str, target: Path, size: int | None = None) -> None:
    """Fetch `url` to `target`, unless it is there; an interrupted call leaves ``target.part`` to go on from.

    Parameters
    ----------
    size : int, optional
        Bytes to expect, for the progress shown where the server does not tell.

    Raises
    ------
    DataError
        If the server cannot be reached, refuses, or keeps breaking off without sending anything.
    """
    if target.is_file():
        return
    part = target.with_name(f"{target.name}.part")
    LOG.info("downloading %s", url)
    have = -1
    while True:
        try:
            _receive(url, part, size)
            break
        except (OSError, http.client.HTTPException) as error:  # URLError, HTTPError and timeouts are OSErrors
            got = part.stat().st_size if part.is_file() else 0
            if got <= max(have, 0) or isinstance(error, urllib.error.HTTPError):
                raise DataError(f"{url}: download failed: {error}") from None
            LOG.info("%s: broken off after %d bytes, going on from there", url, got)
            have = got
    os.replace(part, target)


def _receive(url: str, part: Path, size: int | None) -> None:
    """Append what is missing to `part`."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
            raise
        part.unlink()  # nothing lies beyond what we have: complete, or of another file; one fresh start tells
        response = urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS)
    with contextlib.closing(response), open(part, _mode(response, have)) as file:
        blocks, length = _blocks(response), response.headers.get("Content-Length", size)
        if length:
            blocks = track(blocks, -(-int(length) // BLOCK), "MiB received")
        for block in blocks:
            file.write(block)
    LOG.info("received %.1f MB", part.stat().st_size / 1e6)


def _mode(response: http.client.HTTPResponse, have: int) -> str:
    """Append only to what the server agreed to go on from; a plain answer starts at the beginning."""
    agreed = response.status == http.client.PARTIAL_CONTENT
    agreed = agreed and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    return "ab" if agreed else "wb"


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Blocks of the body; a body shorter than announced is an error, which `read` alone keeps quiet."""
    announced, received = response.headers.get("Content-Length"), 0
    while block := response.read(BLOCK):
        received += len(block)
        yield block
    if announced and received < int(announced):
        raise http.client.IncompleteRead(b"", int(announced) - received)


# ---------------------------------------------------------------------------------------------
# Checksums of files
# ---------------------------------------------------------------------------------------------


def read_sums(path: Path) -> dict[str, str]:
    """File name to checksum, of a list as ``md5sum`` and ``sha256sum`` write it."""
    lines = path.read_text(encoding="ascii").splitlines()
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def compare_sums(folder: Path, sums: Path) -> dict[str, str]:
    """File name to what is wrong with it, for every file listed in `sums`; ``""`` for one that is as listed.

    Parameters
    ----------
    sums : Path
        The list; its suffix is the kind of checksum, ``.md5`` or ``.sha256``.
    """
    reasons = {}
    for name, digest in read_sums(sums).items():
        path = folder / name
        if not path.is_file():
            reasons[name] = "missing"
        elif _checksum(path, sums.suffix[1:]) != digest:
            reasons[name] = f"checksum differs from {sums.name}"
        else:
            reasons[name] = ""
    return reasons


def _checksum(path: Path, kind: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


# ---------------------------------------------------------------------------------------------
# Archives
# ---------------------------------------------------------------------------------------------


class Archive(NamedTuple):
    """A published archive, what is wanted of it, and how to tell that it is whole.

    Attributes
    ----------
    url : str
        Where it lies.
    name : str
        Its file name while it is here, ``.zip`` or ``.tar.gz``.
    wanted : callable
        Where a file goes in the folder, by its path in the archive; None: it is not wanted.
    holds : str
        What the folder holds in the end, for messages.
    sha256 : str
        SHA-256 of the archive; ``""`` where it is not published, or where the server packs it anew (as GitHub may).
    sums : Path, optional
        Checksums of all files wanted, to be compared after unpacking.
    size : int, optional
        Bytes, see `download`.
    """

    url: str
    name: str
    wanted: Callable[[PurePosixPath], str | None]
    holds: str
    sha256: str = ""
    sums: Path | None = None
    size: int | None = None


class _DamagedError(Exception):
    """The archive is not what was published."""


DAMAGED = (_DamagedError, tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)


def fetch_archive(archive: Archive, folder: Path) -> None:
    """Fill `folder` with the wanted files of an archive, unless there is something in it already.

    The archive lies beside `folder` until it is unpacked: an interrupted download goes on, and an archive that was put
    there by hand is not downloaded. `folder` appears whole or not at all; processes that want the same one wait for the
    first, and find it there.

    Raises
    ------
    DataError
        If the folder is not there and the archive cannot be fetched or is damaged; says what to set.
    """
    packed = folder.with_name(archive.name)
    try:
        if _is_filled(folder):
            return
        with locked(folder.with_name(f".{folder.name}.lock"), "another process is unpacking it", wait=True):
            if not _is_filled(folder):
                download(archive.url, packed, archive.size)
                _unpack(archive, packed, folder)
    except (OSError, DataError) as error:
        raise DataError(
            f"{folder}: no such folder, and it could not be fetched ({error}). Either allow access to the network, or "
            f"download it elsewhere and put it at {packed}, or set `data_root` in config/config.yaml (or "
            f"`--config data_root=...`) to a folder that holds {archive.holds}"
        ) from None


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _unpack(archive: Archive, packed: Path, folder: Path) -> None:
    """Unpack beside `folder` and put it in place; the archive is removed, damaged or not."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a call that was killed
    try:
        _check_archive(archive, packed)
        _extract(packed, part, archive.wanted)
        if archive.sums:
            _check_files(part, archive.sums)
        part.rename(folder)
    except DAMAGED as error:
        packed.unlink()  # else the next call would find it again
        raise DataError(
            f"the archive from {archive.url} was damaged ({error}) and has been removed; run again"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    packed.unlink()


def _check_archive(archive: Archive, packed: Path) -> None:
    if archive.sha256:
        LOG.info("%s: comparing its checksum", packed)
        found = _checksum(packed, "sha256")
        if found != archive.sha256:
            raise _DamagedError(f"its SHA-256 is {found}, that of the published one {archive.sha256}")


def _check_files(folder: Path, sums: Path) -> None:
    wrong = {name: reason for name, reason in compare_sums(folder, sums).items() if reason}
    if wrong:
        name, reason = next(iter(wrong.items()))
        raise _DamagedError(f"{len(wrong)} of its files are not as published, such as {name}: {reason}")


def _extract(packed: Path, folder: Path, wanted: Callable[[PurePosixPath], str | None]) -> None:
    """Write the wanted files below `folder`; links, devices and paths that lead out of the archive never are."""
    folder.mkdir()
    total, files = -(-packed.stat().st_size // BLOCK), 0
    with open(packed, "rb") as file, Progress(f"MiB of {packed.name} unpacked", total) as progress:
        for name, content in (_zip_files if packed.suffix == ".zip" else _tar_files)(file):
            path = PurePosixPath(name)
            place = None if path.is_absolute() or ".." in path.parts else wanted(path)
            if place is not None:
                target = folder / place
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "wb") as out:
                    shutil.copyfileobj(content, out)
                files += 1
            progress.update(file.tell() // BLOCK)
    if not files:
        raise _DamagedError("it holds none of the files wanted")
    LOG.info("%s: %d files unpacked", packed, files)


def _zip_files(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every plain file; a content read to its end has been compared with its CRC-32."""
    try:
        with zipfile.ZipFile(file) as packed:
            for member in packed.infolist():
                kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where it was packed elsewhere than on Unix
                if not member.is_dir() and kind in (0, stat.S_IFREG):
                    with packed.open(member) as content:
                        yield member.filename, content
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise _DamagedError("its directory points outside of it") from None
    except Exception as error:  # zipfile meets a damaged directory with errors of every kind
        raise _DamagedError(error) from None


def _tar_files(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every plain file of a gzipped tar file."""
    with gzip.open(file) as unzipped, tarfile.open(fileobj=unzipped, mode="r:") as packed:
        for member in packed:
            if member.isfile():
                yield member.name, packed.extractfile(member)
        while unzipped.read(BLOCK):  # to the end, where gzip keeps its checksum
            pass
