"""AIFF, AIFC, 8SVX, 16SV and CAF."""

import struct

from elasticast.data.containers.extent import (
    SOX_AIFF,
    Extent,
    FileBytes,
    UnusableAudioError,
    is_placeholder,
    resolve,
)
from elasticast.data.containers.riff import chunks
from elasticast.data.containers.tail import check_tail, end_of_stream, follows

_SOX_ROUNDING = 1 << 16


def iff(data: FileBytes, base: int) -> Extent | None:
    """Samples of an AIFF, AIFC, 8SVX or 16SV file; None for other IFF files."""
    kind = data.at(base + 8, 4)
    if kind not in (b"AIFF", b"AIFC", b"8SVX", b"16SV"):
        return None
    body = b"SSND" if kind in (b"AIFF", b"AIFC") else b"BODY"
    common = b""
    for name, start, length in chunks(data, base + 12, ">"):
        if name in (b"COMM", b"VHDR"):
            common = data.at(start - 8, 8 + min(length + length % 2, 4096))
        elif name == body:
            return _samples(data, base, start, length, common)
    raise UnusableAudioError("truncated")


def _samples(data: FileBytes, base: int, start: int, length: int, common: bytes) -> Extent:
    unknown = is_placeholder(length) or SOX_AIFF <= length < SOX_AIFF + _SOX_ROUNDING
    kind, head = data.at(base + 8, 4), b""
    if length == 0 and follows(data, start, ">"):
        return Extent(start, start)
    if kind in (b"AIFF", b"AIFC"):  # the samples follow an offset and the size of a block
        skipped = 8 + data.number(start, 4, ">")
        start, length, unknown = start + skipped, max(0, length - skipped), unknown or length < skipped
    stop, trusted = resolve(data, start, length, unknown, base)
    if trusted:
        check_tail(data, stop + (stop - base) % 2 * (data.at(stop, 1) == b"\0"), ">")
    else:
        stop = end_of_stream(data, start, ">")
    if common:
        head = _header(kind, common, stop - start)
    return Extent(start, stop, head, trusted)


def _header(kind: bytes, common: bytes, length: int) -> bytes:
    """Header with the chunk `common`, which describes the samples, and `length` bytes of samples."""
    aiff = kind in (b"AIFF", b"AIFC")
    if aiff and len(common) >= 16 and common[8:10] != b"\0\0":
        channels, bits = struct.unpack_from(">H4xH", common, 8)
        frames = length // max(1, channels * -(-bits // 8))
        common = common[:10] + struct.pack(">I", min(frames, 0xFFFFFFFF)) + common[14:]
    version = struct.pack(">4sII", b"FVER", 4, 0xA2805140) if kind == b"AIFC" else b""
    body = struct.pack(">4sIII", b"SSND", 8 + length, 0, 0) if aiff else struct.pack(">4sI", b"BODY", length)
    inner = kind + version + common + body
    return struct.pack(">4sI", b"FORM", len(inner) + length) + inner


def caf(data: FileBytes, base: int) -> Extent | None:
    """Samples of a CAF file. Lengths have 64 bits; that of the last chunk may be -1."""
    offset = base + 8
    while offset < data.size:
        name, length = data.at(offset, 4), data.number(offset + 4, 8, ">")
        if name == b"data":
            return _caf_samples(data, base, offset, length)
        offset += 12 + length
    raise UnusableAudioError("truncated")


def _caf_samples(data: FileBytes, base: int, offset: int, raw: int) -> Extent:
    start, length = offset + 16, max(0, raw - 4)  # the samples follow the number of edits
    stop, trusted = resolve(data, start, length, is_placeholder(raw, bits=64), base)
    if trusted:
        check_tail(data, stop, ">", size=8)
    else:
        stop = end_of_stream(data, start)
    head = data.at(base, offset + 4 - base) + struct.pack(">QI", stop - start + 4, 0)
    return Extent(start, stop, head, trusted)
