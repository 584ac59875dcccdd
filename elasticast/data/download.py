"""Resumable downloads, checksums, and atomic unpacking of archives."""

import contextlib
import hashlib
import http.client
import logging
import os
import shutil
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from elasticast.data.unpack import BLOCK, DAMAGED, MOST_BYTES, DamagedArchiveError, RefusedArchiveError, extract
from elasticast.errors import DataError
from elasticast.faults import FULL
from elasticast.files import locked, to_disk
from elasticast.progress import track

LOG = logging.getLogger(__name__)
TIMEOUT_SECONDS = 30
LOCAL = ("localhost", "127.0.0.1", "::1")

# ---------------------------------------------------------------------------------------------
# Downloads
# ---------------------------------------------------------------------------------------------


def download(url: str, target: Path, size: int | None = None) -> None:
    """Download `url` to `target`, unless `target` exists. An interrupted download resumes from ``target.part``.

    The address must be ``https://`` or ``file://``, also after redirects. Plain ``http://`` is allowed from this
    machine only.

    Parameters
    ----------
    size : int, optional
        Expected number of bytes, for the progress display if the server does not send it.

    Raises
    ------
    DataError
        If the address is not secure, or the server cannot be reached, has no valid certificate, refuses the request, or
        closes the connection without sending more data.
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
            if getattr(error, "errno", None) in FULL:
                raise OSError(error.errno, os.strerror(error.errno), str(part)) from None
            received = part.stat().st_size if part.is_file() else 0
            if received <= max(previous, 0) or isinstance(error, urllib.error.HTTPError):
                raise DataError(f"{url}: download failed: {_cause(error)}") from None
            LOG.info("%s: interrupted after %d bytes, resuming", url, received)
            previous = received
    to_disk(part)
    os.replace(part, target)


def _receive(url: str, part: Path, size: int | None) -> None:
    """Append the bytes that are missing to `part`."""
    received = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={received}-"} if received else {})
    try:
        response = _open(request)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not received:
            raise
        part.unlink()  # the server has no more bytes: `part` is complete or of another file, so download it again
        response = _open(urllib.request.Request(url))
    with contextlib.closing(response), open(part, _mode(response, received)) as file:
        blocks, length = _blocks(response), response.headers.get("Content-Length", size)
        if length:
            blocks = track(blocks, -(-int(length) // BLOCK), "MiB received")
        for block in blocks:
            file.write(block)
    LOG.info("received %.1f MB", part.stat().st_size / 1e6)


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    _check_secure(request.full_url)
    return urllib.request.build_opener(_SecureRedirects).open(request, timeout=TIMEOUT_SECONDS)


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from ``https://`` to ``http://``."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        """See `urllib.request.HTTPRedirectHandler.redirect_request`."""
        _check_secure(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_secure(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("https", "file") and not (parts.scheme == "http" and parts.hostname in LOCAL):
        raise DataError(f"{url}: downloads must be over https:// or from file://, so that nobody can exchange the file")


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"the certificate of the server cannot be verified ({reason.verify_message}); check the clock of this "
            f"machine and its certificates (SSL_CERT_FILE)"
        )
    return str(error)


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


class ArchiveFile(NamedTuple):
    """A published archive, or one of the files of a split zip archive.

    Attributes
    ----------
    url : str
        Address.
    name : str
        File name to download it to.
    checksum : str
        ``md5:...`` or ``sha256:...``. ``""`` if none is published, or if the server may repack the archive (as GitHub
        does).
    size : int, optional
        Expected number of bytes, see :func:`download`.
    """

    url: str
    name: str
    checksum: str = ""
    size: int | None = None


class Archive(NamedTuple):
    """A published archive, which of its files to unpack, and the checksums to compare.

    Attributes
    ----------
    files : tuple of ArchiveFile
        The archive, ``.zip`` or ``.tar.gz``; of a split zip archive, all files in order, ``.zip`` at the end.
    wanted : callable
        Maps the path of a file in the archive to its path in the folder, or to None if the file is not needed.
    contents : str
        Description of the unpacked files, for error messages.
    sums : Path, optional
        Checksums of all unpacked files.
    unpacked : int
        Largest unpacked size of all its files (bytes); an archive that unpacks to more is refused.
    """

    files: tuple[ArchiveFile, ...]
    wanted: Callable[[PurePosixPath], str | None]
    contents: str
    sums: Path | None = None
    unpacked: int = MOST_BYTES


def fetch_archive(archive: Archive, folder: Path) -> None:
    """Download an archive and unpack it to `folder`, unless the folder contains files already.

    The archive is downloaded to the parent of `folder` and deleted after unpacking. An interrupted download resumes,
    and files of an archive that the user has put there are not downloaded again. `folder` is created only once all
    files are unpacked. If several processes need the same folder, one fetches it and the others wait.

    Raises
    ------
    DataError
        If the folder is missing or empty, and the archive cannot be downloaded, is damaged or is refused; see
        :func:`~elasticast.data.unpack.extract`. The message lists the remedies.
    OSError
        If the disk is full. The next call resumes the download.
    """
    packed = [folder.with_name(file.name) for file in archive.files]
    try:
        if is_filled(folder):
            return
        with locked(folder.with_name(f".{folder.name}.lock"), "another process is unpacking it", wait=True):
            if not is_filled(folder):
                for file, path in zip(archive.files, packed, strict=True):
                    download(file.url, path, file.size)
                    _check_file(file, path)
                _unpack(archive, packed, folder)
    except (OSError, DataError) as error:
        if getattr(error, "errno", None) in FULL:
            raise
        raise DataError(
            f"{folder}: no such folder, and it could not be downloaded ({error}). Either allow access to the network, "
            f"or download the archive elsewhere and save it as {', '.join(map(str, packed))}, or set `data_root` in "
            f"config/config.yaml (or `--config data_root=...`) to a folder that contains {archive.contents}"
        ) from None


def is_filled(folder: Path) -> bool:
    """Whether a folder exists and is not empty."""
    return folder.is_dir() and any(folder.iterdir())


def _check_file(file: ArchiveFile, path: Path) -> None:
    """Compare a downloaded file with its checksum, and delete it if it differs."""
    kind, _, expected = file.checksum.partition(":")
    if not expected:
        return
    LOG.info("%s: comparing its checksum", path)
    actual = _checksum(path, kind)
    if actual != expected:
        path.unlink()  # otherwise the next call would use it again
        raise DataError(
            f"{file.name} from {file.url} was damaged (its {kind.upper()} is {actual}, expected {expected}) and has "
            f"been removed; run again"
        )


def _unpack(archive: Archive, packed: list[Path], folder: Path) -> None:
    """Unpack to a temporary folder and rename it to `folder`. The archive is deleted, even if it is damaged."""
    part, url = folder.with_name(f".{folder.name}.part"), archive.files[-1].url
    shutil.rmtree(part, ignore_errors=True)  # left over from a killed process
    try:
        extract(packed, part, archive.wanted, archive.unpacked)
        if archive.sums:
            _check_files(part, archive.sums)
        os.sync()  # one call for up to a hundred thousand files
        part.rename(folder)
    except RefusedArchiveError as error:
        _delete(packed)
        raise DataError(f"{packed[-1].name} from {url} was refused and has been removed: {error}") from None
    except DAMAGED as error:
        _delete(packed)  # otherwise the next call would use it again
        raise DataError(f"the archive from {url} was damaged ({error}) and has been removed; run again") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _delete(packed)


def _delete(packed: list[Path]) -> None:
    for path in packed:
        path.unlink()


def _check_files(folder: Path, sums: Path) -> None:
    wrong = {name: reason for name, reason in compare_sums(folder, sums).items() if reason}
    if wrong:
        name, reason = next(iter(wrong.items()))
        raise DamagedArchiveError(f"{len(wrong)} of its files differ from the published ones, such as {name}: {reason}")
