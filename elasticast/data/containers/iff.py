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
from elasticast.data.containers.riff import chunks, once
from elasticast.data.containers.tail import check_tail, end_of_stream, follows

_STEREO = 6
_SOX_ROUNDING = 1 << 16
_LINEAR = (b"NONE", b"sowt", b"twos", b"raw ", b"in24", b"42ni", b"in32", b"23ni", b"fl32", b"FL32", b"fl64", b"FL64")
_LOGARITHMIC = (b"ulaw", b"ULAW", b"alaw", b"ALAW")


def iff(data: FileBytes, base: int) -> Extent | None:
    """Samples of an AIFF, AIFC, 8SVX or 16SV file; None for other IFF files."""
    kind = data.at(base + 8, 4)
    if kind not in (b"AIFF", b"AIFC", b"8SVX", b"16SV"):
        return None
    body = b"SSND" if kind in (b"AIFF", b"AIFC") else b"BODY"
    common = b""
    for name, start, length in chunks(data, base + 12, ">"):
        if name in (b"COMM", b"VHDR"):
            common = once(common, data.at(start - 8, 8 + min(length + length % 2, 4096)))
            if name == b"VHDR" and data.number(start + 14, 1, ">") > 1:
                raise UnusableAudioError("several recordings in one file (a tone at several octaves)")
        elif name == b"CHAN" and body == b"BODY" and data.number(start, 4, ">") == _STEREO:
            raise UnusableAudioError("stereo in an Amiga file, whose channels follow each other")
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
        end = base + 8 + data.number(base + 4, 4, ">")
        check_tail(data, stop + (stop - base) % 2 * (data.at(stop, 1) == b"\0"), ">", end=end)
        _check_frames(kind, common, stop - start)
    else:
        stop = end_of_stream(data, start, ">")
    if common:
        head = _header(kind, common, stop - start)
    return Extent(start, stop, head, trusted)


def _frame_bytes(kind: bytes, common: bytes) -> int:
    """Bytes of a sample of all channels, 0 if they are compressed or not known."""
    coding = b"NONE" if kind == b"AIFF" else common[26:30] if kind == b"AIFC" else b""
    if coding not in _LINEAR + _LOGARITHMIC or len(common) < 16:
        return 0
    channels, bits = struct.unpack_from(">H4xH", common, 8)
    if not bits and coding in _LINEAR:
        raise UnusableAudioError("damaged (0 bits per sample)")
    return channels * (1 if coding in _LOGARITHMIC else -(-bits // 8))


def _check_frames(kind: bytes, common: bytes, length: int) -> None:
    """Compare the number of samples in the `COMM` chunk with the bytes of the `SSND` chunk."""
    width = _frame_bytes(kind, common)
    count = struct.unpack_from(">I", common, 10)[0] if width else 0
    expected = count * width
    unknown = is_placeholder(count) or is_placeholder(expected) or abs(expected - SOX_AIFF) < _SOX_ROUNDING
    if width and not unknown and not 0 <= length - expected < max(2, width):
        raise UnusableAudioError(f"damaged (COMM says {expected} bytes, SSND {length})")


def _header(kind: bytes, common: bytes, length: int) -> bytes:
    """Header with the chunk `common`, which describes the samples, and `length` bytes of samples."""
    aiff = kind in (b"AIFF", b"AIFC")
    if width := aiff and _frame_bytes(kind, common):
        common = common[:10] + struct.pack(">I", min(length // width, 0xFFFFFFFF)) + common[14:]
    version = struct.pack(">4sII", b"FVER", 4, 0xA2805140) if kind == b"AIFC" else b""
    body = struct.pack(">4sIII", b"SSND", 8 + length, 0, 0) if aiff else struct.pack(">4sI", b"BODY", length)
    inner = kind + version + common + body
    return struct.pack(">4sI", b"FORM", len(inner) + length) + inner


def caf(data: FileBytes, base: int) -> Extent | None:
    """Samples of a CAF file. Lengths have 64 bits; that of the last chunk may be -1."""
    offset, packets, samples, description = base + 8, None, None, b""
    while offset < data.size and (packets is None or samples is None):
        name, end = data.at(offset, 4), data.size - offset < 12
        if samples and (end or not name.isalnum()):
            break
        length = data.number(offset + 4, 8, ">")
        if name == b"data":
            samples = _caf_samples(data, base, offset, length)
            if not samples.trusted:
                break
        elif name == b"pakt":
            packets = data.at(offset + 12, length) if length <= data.size else b""
        elif name == b"desc":
            description = once(description, data.at(offset + 12, 32))
            _check_description(description)
        offset += 12 + length
    if samples is None:
        raise UnusableAudioError("truncated")
    if packets is not None and samples.trusted and sum(_packets(packets)) != samples.stop - samples.start:
        raise UnusableAudioError("damaged")
    return samples


def _check_description(text: bytes) -> None:
    """Refuse samples that take more or fewer bytes than their bits, which libsndfile reads as if they were packed."""
    if len(text) == 32 and text[8:12] == b"lpcm":
        block, _, channels, bits = struct.unpack_from(">4I", text, 16)
        width = -(-bits // 8) * channels
        if block not in (0, width):
            raise UnusableAudioError(f"damaged ({block} bytes per sample of all channels, {width} expected)")


def _packets(table: bytes) -> list[int]:
    """Bytes of each packet, from the packet table: the number of packets, and groups of 7 bits."""
    sizes, size = [], 0
    for byte in table[24:]:
        size = size << 7 | byte & 127
        if byte < 128:
            sizes.append(size)
            size = 0
    return sizes[: int.from_bytes(table[:8], "big")]


def _caf_samples(data: FileBytes, base: int, offset: int, raw: int) -> Extent:
    start, length = offset + 16, max(0, raw - 4)  # the samples follow the number of edits
    stop, trusted = resolve(data, start, length, is_placeholder(raw, bits=64), base)
    if trusted:
        check_tail(data, stop, ">", size=8)
    else:
        stop = end_of_stream(data, start, ">", size=8)
    head = data.at(base, offset + 4 - base) + struct.pack(">QI", stop - start + 4, 0)
    return Extent(start, stop, head, trusted)
