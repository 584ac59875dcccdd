"""Ogg: every page is checked, because libsndfile leaves out damaged pages, and reads one stream of several."""

import struct
import zlib

from elasticast.data.containers.extent import Extent, FileBytes, NotReadableError, UnusableAudioError
from elasticast.data.containers.tail import JOINED, check_tail

_FIRST, _LAST = 2, 4  # flags of a page
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg(data: FileBytes, base: int) -> Extent:
    """Check the pages of an Ogg file with one stream (RFC 3533, 6)."""
    offset, streams, expected, flags, started = base, set(), 0, 0, False
    while (head := data.at(offset, 27 + 255))[:4] == b"OggS" and not (flags & _LAST and head[5:6] != b"\2"):
        length = _length(head)
        if offset + length > data.size or len(head) < 27:
            raise UnusableAudioError("truncated")
        flags, serial, number = head[5], *struct.unpack_from("<II", head, 14)
        if flags & _FIRST and started:
            raise UnusableAudioError(JOINED)
        started = started or not flags & _FIRST
        streams.add(serial)
        if (number != expected and len(streams) == 1) or not _is_intact(data.at(offset, length)):
            raise UnusableAudioError("damaged")
        offset, expected = offset + length, number + 1
    if len(streams) > 1:
        raise NotReadableError("needs ffmpeg (Ogg with several streams)")
    if not flags & _LAST:
        raise UnusableAudioError("truncated" if offset >= data.size else "damaged")
    check_tail(data, offset)
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
