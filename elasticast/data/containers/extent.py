"""The part of a file that holds the samples, and the rule by which it is found."""

import os
from collections.abc import Sequence
from typing import NamedTuple

HEAD, BLOCK = 1 << 12, 1 << 16  # bytes to read at first, and then
TAIL = 1024
"""Bytes after the samples that need no explanation."""
NEAR = 1 << 16
"""A size this close to 2^31 or 2^32 bytes is a placeholder."""
LARGEST = 1 << 48
"""A 64-bit size above this is a placeholder."""
SOX_AIFF = 0x7F000000
"""What sox writes into an AIFF if it does not know the length (the number of whole frames in so many bytes)."""


class UnusableAudioError(Exception):
    """A clip cannot be used. The message is written to the manifest as the reason."""


class NotReadableError(UnusableAudioError):
    """libsndfile cannot read a file, or may not read it to the end. ffmpeg may be able to."""


class Extent(NamedTuple):
    """The bytes of a file that hold the samples.

    Attributes
    ----------
    start, stop : int
        First byte, and the byte after the last one.
    head : bytes
        A header under which libsndfile reads these bytes and no others. ``b""`` if only the file's own header will do.
    trusted : bool
        Whether the header of the file may be used.
    frames : int
        Samples per channel, counted in a compressed stream. 0 if they are not known, or follow from the bytes.
    delay : int
        A decoder may leave out so many of them.
    """

    start: int
    stop: int
    head: bytes = b""
    trusted: bool = True
    frames: int = 0
    delay: int = 0


class FileBytes:
    """The bytes of an open file, read in blocks."""

    def __init__(self, descriptor: int, size: int):
        self.size, self._descriptor, self._first, self._block = size, descriptor, 0, b""

    def at(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`, fewer at the end of the file."""
        first = offset - self._first
        if not 0 <= first <= first + count <= len(self._block):
            self._block = os.pread(self._descriptor, max(count, BLOCK if self._block else HEAD), offset)
            self._first, first = offset, 0
        return self._block[first : first + count]

    def number(self, offset: int, count: int, order: str) -> int:
        """An unsigned integer of `count` bytes in the byte order `order` (``"<"`` or ``">"``)."""
        data = self.at(offset, count)
        if len(data) < count:
            raise UnusableAudioError("truncated")
        return int.from_bytes(data, "little" if order == "<" else "big")

    def find(self, text: bytes, start: int, stop: int) -> int:
        """Position of the first `text` in the bytes `start` to `stop`; -1 if there is none."""
        size = 1 << 20
        for offset in range(start, stop, size):
            block = os.pread(self._descriptor, min(size + len(text) - 1, stop - offset), offset)
            if (found := block.find(text)) >= 0:
                return offset + found
        return -1

    def contains(self, texts: Sequence[bytes], start: int, stop: int) -> bool:
        """Whether any of `texts` is in the bytes `start` to `stop`, which are read once."""
        size, longest = 1 << 20, max(map(len, texts))
        for offset in range(start, stop, size):
            block = os.pread(self._descriptor, min(size + longest - 1, stop - offset), offset)
            if any(text in block for text in texts):
                return True
        return False


def is_placeholder(length: int, bits: int = 32) -> bool:
    """Whether a size in a header says that the writer did not know it.

    Programs that write to a pipe, and recorders that are switched off, leave 0, -1 or the largest size that they allow:
    0xFFFFFFFF (ffmpeg), 0x7FFFF000 (sox), 0x7FFFFFFF, 0x80000000 (arecord), or these less a header or rounded to
    whole frames. A real recording of 2 or 4 GiB, to 64 KiB, that was cut cannot be told from them.
    """
    if bits == 64:
        return length == 0 or length > LARGEST
    return length == 0 or abs(length - (1 << 31)) <= NEAR or length >= (1 << 32) - NEAR


def resolve(data: FileBytes, start: int, length: int, unknown: bool, base: int = 0) -> tuple[int, bool]:
    """Where samples end that start at `start` and are `length` bytes long by the header.

    Parameters
    ----------
    unknown : bool
        Whether `length` is a placeholder.
    base : int
        First byte of the container.

    Returns
    -------
    stop : int
        The byte after the last sample.
    trusted : bool
        Whether that is what the header says.
    """
    available = data.size - start
    if available < 0:
        raise UnusableAudioError("truncated")
    if length <= available and (length or not available):
        return start + length, True
    # some writers count their own header, too
    if unknown or not length or length in (data.size - base, data.size - base - 8):
        return data.size, False
    raise UnusableAudioError("truncated")


def id3_length(head: bytes) -> int:
    """Length of the ID3v2 tag that starts with these 10 bytes, 0 if none does. A chunk may have the name ``"ID3 "``."""
    if head[:3] != b"ID3" or len(head) < 10 or max(head[6:10]) > 127 or head[3] >= 32 or head[4] == 255:
        return 0
    footer = 10 if head[5] & 0x10 else 0
    return 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)) + footer
