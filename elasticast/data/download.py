"""Downloads that go on where they stopped."""

import contextlib
import http.client
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from elasticast.errors import DataError
from elasticast.progress import track

LOG = logging.getLogger(__name__)
TIMEOUT_SECONDS = 30
BLOCK = 1 << 20


def download(url: str, target: Path) -> None:
    """Fetch `url` to `target`, unless it is there; an interrupted call leaves ``target.part`` to go on from.

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
            _receive(url, part)
            break
        except (OSError, http.client.HTTPException) as error:  # URLError, HTTPError and timeouts are OSErrors
            got = part.stat().st_size if part.is_file() else 0
            if got <= max(have, 0) or isinstance(error, urllib.error.HTTPError):
                raise DataError(f"{url}: download failed: {error}") from None
            LOG.info("%s: broken off after %d bytes, going on from there", url, got)
            have = got
    os.replace(part, target)


def _receive(url: str, part: Path) -> None:
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
        blocks, length = _blocks(response), response.headers.get("Content-Length")
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
