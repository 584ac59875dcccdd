"""Ogg: every page is checked, because libsndfile leaves out damaged pages, and reads one stream of several."""

import struct
import zlib

from elasticast.data.containers.extent import Extent, FileBytes, NotReadableError, UnusableAudioError
from elasticast.data.containers.tail import JOINED, check_tail

_FIRST, _LAST = 2, 4  # flags of a page
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class _Stream:
    """What is known of a stream.

    Attributes
    ----------
    page : int
        Number of the next page.
    time : int
        Greatest time (granule position) of a page.
    ordered : bool
        Whether no page has a smaller time than one before it, and the last page has one.
    ended : bool
        Whether there was a last page.
    """

    def __init__(self):
        self.page, self.time, self.ordered, self.ended = 0, 0, True, False

    def add(self, flags: int, time: int, number: int, empty: bool) -> None:
        """Add a page. Its time is -1 if no packet ends on it, as on a last page that is empty."""
        if number != self.page or self.ended:
            raise UnusableAudioError("damaged")
        self.ended = bool(flags & _LAST)
        self.ordered = self.ordered and not (0 <= time < self.time or (self.ended and time < 0 and not empty))
        self.page, self.time = number + 1, max(self.time, time)


def ogg(data: FileBytes, base: int) -> Extent:
    """Check the pages of an Ogg file (RFC 3533, 6). ffmpeg reads those with several streams."""
    offset, streams, started = base, {}, False
    while (head := data.at(offset, 27 + 255))[:4] == b"OggS":
        length = _length(head)
        if offset + length > data.size or len(head) < 27:
            raise UnusableAudioError("truncated")
        flags, time, serial, number = struct.unpack_from("<BqII", head, 5)
        if flags & _FIRST and started:
            raise UnusableAudioError(JOINED)
        started = started or not flags & _FIRST
        if flags & _FIRST:
            streams[serial] = _Stream()
        if serial not in streams or not _is_intact(data.at(offset, length)):
            raise UnusableAudioError("damaged")
        streams[serial].add(flags, time, number, not head[26])
        offset += length
    if not all(stream.ended for stream in streams.values()):
        raise UnusableAudioError("truncated" if offset >= data.size else "damaged")
    check_tail(data, offset)
    if len(streams) > 1:
        raise NotReadableError("needs ffmpeg (Ogg with several streams)")
    if not all(stream.ordered for stream in streams.values()):  # libsndfile ends at the time of the last page
        raise UnusableAudioError("damaged")
    return Extent(base, offset)


def _length(head: bytes) -> int:
    """Length of a page with its header."""
    if len(head) < 27:
        return 27
    return 27 + head[26] + sum(head[27 : 27 + head[26]])


def _is_intact(page: bytes) -> bool:
    """Whether the checksum of a page is right: CRC-32 as in zlib, but with the bits of each byte in reverse order."""
    text = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED)
    crc = zlib.crc32(text, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc.to_bytes(4, "big").translate(_REVERSED) == page[22:26]
