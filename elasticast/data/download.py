"""Resumable downloads, checksums, and atomic unpacking of archives."""

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
    """Download `url` to `target`, unless `target` exists. An interrupted download resumes from ``target.part``.

    Parameters
    ----------
    size : int, optional
        Expected number of bytes, for the progress display if the server does not send it.

    Raises
    ------
    DataError
        If the server cannot be reached, refuses the request, or closes the connection without sending more data.
    """
    if target.is_file():
        return
    part = target.with_name(f"{target.name}.part")
    LOG.info("downloading %s", url)
    previous = -1
    while True:
        try:
            _receive(url, part, size)
            break
        except (OSError, http.client.HTTPException) as error:  # URLError, HTTPError and timeouts are OSErrors
            received = part.stat().st_size if part.is_file() else 0
            if received <= max(previous, 0) or isinstance(error, urllib.error.HTTPError):
                raise DataError(f"{url}: download failed: {error}") from None
            LOG.info("%s: interrupted after %d bytes, resuming", url, received)
            previous = received
    os.replace(part, target)


def _receive(url: str, part: Path, size: int | None) -> None:
    """Append the bytes that are missing to `part`."""
    received = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={received}-"} if received else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not received:
            raise
        part.unlink()  # the server has no more bytes: `part` is complete or of another file, so download it again
        response = urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS)
    with contextlib.closing(response), open(part, _mode(response, received)) as file:
        blocks, length = _blocks(response), response.headers.get("Content-Length", size)
        if length:
            blocks = track(blocks, -(-int(length) // BLOCK), "MiB received")
        for block in blocks:
            file.write(block)
    LOG.info("received %.1f MB", part.stat().st_size / 1e6)


def _mode(response: http.client.HTTPResponse, received: int) -> str:
    """Mode to open the file with: append if the server resumes after `received` bytes, otherwise start over."""
    resumes = response.status == http.client.PARTIAL_CONTENT
    resumes = resumes and response.headers.get("Content-Range", "").startswith(f"bytes {received}-")
    return "ab" if resumes else "wb"


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Read the body in blocks. Raise an error if it is shorter than announced, which `read` alone does not."""
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
    """Read a list of checksums, as written by ``md5sum`` and ``sha256sum``, as a dict from file name to checksum."""
    lines = path.read_text(encoding="ascii").splitlines()
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def compare_sums(folder: Path, sums: Path) -> dict[str, str]:
    """Compare the files of a folder with a list of checksums.

    Parameters
    ----------
    sums : Path
        The list. Its suffix is the kind of checksum, ``.md5`` or ``.sha256``.

    Returns
    -------
    dict
        For each file name in the list, what is wrong with the file, or ``""`` if its checksum matches.
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
    """A published archive, which of its files to unpack, and the checksums to compare.

    Attributes
    ----------
    url : str
        Address of the archive.
    name : str
        File name to download it to, ``.zip`` or ``.tar.gz``.
    wanted : callable
        Maps the path of a file in the archive to its path in the folder, or to None if the file is not needed.
    contents : str
        Description of the unpacked files, for error messages.
    sha256 : str
        SHA-256 of the archive. ``""`` if none is published, or if the server may repack the archive (as GitHub does).
    sums : Path, optional
        Checksums of all unpacked files.
    size : int, optional
        Expected number of bytes, see :func:`download`.
    """

    url: str
    name: str
    wanted: Callable[[PurePosixPath], str | None]
    contents: str
    sha256: str = ""
    sums: Path | None = None
    size: int | None = None


class _DamagedError(Exception):
    """The archive differs from the published one."""


DAMAGED = (_DamagedError, tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)


def fetch_archive(archive: Archive, folder: Path) -> None:
    """Download an archive and unpack it to `folder`, unless the folder contains files already.

    The archive is downloaded to the parent of `folder` and deleted after unpacking. An interrupted download resumes,
    and an archive that the user has put there is not downloaded again. `folder` is created only once all files are
    unpacked. If several processes need the same folder, one fetches it and the others wait.

    Raises
    ------
    DataError
        If the folder is missing or empty, and the archive cannot be downloaded or is damaged. The message lists the
        remedies.
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
            f"{folder}: no such folder, and it could not be downloaded ({error}). Either allow access to the network, "
            f"or download the archive elsewhere and save it as {packed}, or set `data_root` in config/config.yaml (or "
            f"`--config data_root=...`) to a folder that contains {archive.contents}"
        ) from None


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _unpack(archive: Archive, packed: Path, folder: Path) -> None:
    """Unpack to a temporary folder and rename it to `folder`. The archive is deleted, even if it is damaged."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left over from a killed process
    try:
        _check_archive(archive, packed)
        _extract(packed, part, archive.wanted)
        if archive.sums:
            _check_files(part, archive.sums)
        part.rename(folder)
    except DAMAGED as error:
        packed.unlink()  # otherwise the next call would use it again
        raise DataError(
            f"the archive from {archive.url} was damaged ({error}) and has been removed; run again"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    packed.unlink()


def _check_archive(archive: Archive, packed: Path) -> None:
    if archive.sha256:
        LOG.info("%s: comparing its checksum", packed)
        actual = _checksum(packed, "sha256")
        if actual != archive.sha256:
            raise _DamagedError(f"its SHA-256 is {actual}, expected {archive.sha256}")


def _check_files(folder: Path, sums: Path) -> None:
    wrong = {name: reason for name, reason in compare_sums(folder, sums).items() if reason}
    if wrong:
        name, reason = next(iter(wrong.items()))
        raise _DamagedError(f"{len(wrong)} of its files differ from the published ones, such as {name}: {reason}")


def _extract(packed: Path, folder: Path, wanted: Callable[[PurePosixPath], str | None]) -> None:
    """Write the wanted files to `folder`. Links, devices, absolute paths and paths with ``..`` are skipped."""
    folder.mkdir()
    total, files = -(-packed.stat().st_size // BLOCK), 0
    with open(packed, "rb") as file, Progress(f"MiB of {packed.name} unpacked", total) as progress:
        for name, content in (_zip_files if packed.suffix == ".zip" else _tar_files)(file):
            path = PurePosixPath(name)
            relative = None if path.is_absolute() or ".." in path.parts else wanted(path)
            if relative is not None:
                target = folder / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "wb") as out:
                    shutil.copyfileobj(content, out)
                files += 1
            progress.update(file.tell() // BLOCK)
    if not files:
        raise _DamagedError("it contains none of the expected files")
    LOG.info("%s: %d files unpacked", packed, files)


def _zip_files(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every regular file of a zip file. Reading a content to its end checks its CRC-32."""
    try:
        with zipfile.ZipFile(file) as packed:
            for member in packed.infolist():
                kind = stat.S_IFMT(member.external_attr >> 16)  # 0 if the archive was not created on Unix
                if not member.is_dir() and kind in (0, stat.S_IFREG):
                    with packed.open(member) as content:
                        yield member.filename, content
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise _DamagedError("its directory points outside the file") from None
    except Exception as error:  # zipfile raises many kinds of errors for a damaged directory
        raise _DamagedError(error) from None


def _tar_files(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every regular file of a gzipped tar file."""
    with gzip.open(file) as unzipped, tarfile.open(fileobj=unzipped, mode="r:") as packed:
        for member in packed:
            if member.isfile():
                yield member.name, packed.extractfile(member)
        while unzipped.read(BLOCK):  # read to the end, where gzip stores its checksum
            pass
