"""FLAC: the number of samples in the header is compared with the last frame.

It is 0 if the encoder wrote to a pipe. A cut file is detected when it is decoded, unless the number is missing.
"""

import struct
from typing import NamedTuple

from elasticast.data.containers.extent import TAIL, Extent, FileBytes, UnusableAudioError
from elasticast.data.containers.tail import JOINED, end_of_stream, without_tags

_BLOCK_SIZES = {1: 192, **{i: 576 << i - 2 for i in range(2, 6)}, **{i: 256 << i - 8 for i in range(8, 16)}}
_RATES = dict(enumerate((88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000), 1))
_BITS = {1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}
_SEARCHED = 1 << 16  # bytes at the end in which the last frame is looked for; more if frames may be larger
CHECKED = 8  # headers to look at from the end; checksums of whole frames take time


class Last(NamedTuple):
    """Number of the sample after the last frame, and whether the frame ends with the file."""

    end: int
    complete: bool


def flac(data: FileBytes, base: int) -> Extent | None:
    """Frames of a FLAC file."""
    info = data.at(base + 8, 34)
    if len(info) < 34 or data.at(base + 4, 1)[0] & 127:
        raise UnusableAudioError("truncated" if data.size < base + 42 else "damaged")
    start = _first_frame(data, base)
    if data.contains((b'fLaC\0\0\0"', b'fLaC\x80\0\0"'), start, data.size):
        raise UnusableAudioError(JOINED)
    _check_description(info, data.at(start, 4))
    total = int.from_bytes(info[13:18], "big") & (1 << 36) - 1
    last = _last_frame(data, start, info, total)
    if not total and (last is None or not last.complete):
        raise UnusableAudioError("truncated")
    if last is None:
        end_of_stream(data, start)  # refuses another recording after this one
    if last is None or last.end <= total:
        return Extent(start, data.size, frames=total)
    head = data.at(base, start - base)
    number = int.from_bytes(head[21:26], "big") >> 36 << 36 | last.end
    return Extent(start, data.size, head[:21] + number.to_bytes(5, "big") + head[26:], False, last.end)


def _check_description(info: bytes, head: bytes) -> None:
    """Compare the rate, channels and bits of the file with those in the header of its first frame, if that has them."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xFC != 0xF8:
        return
    shared = int.from_bytes(info[10:14], "big")
    rate, channels, bits = shared >> 12, (shared >> 9 & 7) + 1, (shared >> 4 & 31) + 1
    several = head[3] >> 4
    found = _RATES.get(head[2] & 15, rate), min(several + 1, 8) if several < 8 else 2, _BITS.get(head[3] >> 1 & 7, bits)
    if found != (rate, channels, bits):
        raise UnusableAudioError("damaged (two descriptions of the samples)")


def _first_frame(data: FileBytes, base: int) -> int:
    offset, last = base + 4, False
    while not last:
        head = data.at(offset, 4)
        if len(head) < 4:
            raise UnusableAudioError("truncated")
        last, offset = bool(head[0] & 128), offset + 4 + int.from_bytes(head[1:], "big")
    return offset


def _last_frame(data: FileBytes, start: int, info: bytes, total: int) -> Last | None:
    """The last frame in the file, None if none is recognised.

    A number other than `total` is believed only if the checksum of the whole frame is right.
    """
    stop = without_tags(data, start)
    smallest, largest, _, longest = _sizes(info)
    first = max(start, stop - max(_SEARCHED, 2 * longest))
    text = data.at(first, stop - first)
    common = data.at(start, 4)
    place, tries, later = text.rfind(b"\xff"), CHECKED, {}
    while place >= 0 and tries:
        span = _samples_of_frame(text[place : place + 16], common, smallest if smallest == largest else 0)
        if span is not None:
            tries, (begin, end) = tries - 1, span
            complete = end != total and _crc16(text[place:]) == 0
            if end == total and 0 < longest < len(text[place:].rstrip(b"\0")) - TAIL:
                raise UnusableAudioError(f"data after the end of the samples ({stop - first - place - longest} bytes)")
            if end == total or complete:
                return Last(end, complete)
            if 0 < total < end and end in later and _crc16(text[place : later[end]]) == 0:
                raise UnusableAudioError("data after the end of the samples (more frames than the header says)")
            later[begin] = place
        place = text.rfind(b"\xff", 0, place)
    return None


def _sizes(info: bytes) -> tuple[int, int, int, int]:
    """Smallest and largest block (samples) and frame (bytes)."""
    return (*struct.unpack(">HH", info[:4]), int.from_bytes(info[4:7], "big"), int.from_bytes(info[7:10], "big"))


def _samples_of_frame(head: bytes, common: bytes, block: int) -> tuple[int, int] | None:
    """Numbers of the first sample of the frame with this header (RFC 9639, 9.1) and of the one after it, None if none.

    Parameters
    ----------
    common : bytes
        First bytes of the first frame.
    block : int
        Samples per frame, 0 if they differ; then frames give the number of their first sample.
    """
    if len(head) < 6 or head[:2] != common[:2] or head[2] & 15 != common[2] & 15 or (head[3] ^ common[3]) & 0x0F:
        return None
    ones = len(f"{head[4]:08b}") - len(f"{head[4]:08b}".lstrip("1"))
    if ones in (1, 8):
        return None
    more = max(0, ones - 1)
    number = head[4] & (0x7F if not ones else 0x7F >> ones)
    for byte in head[5 : 5 + more]:
        number = number << 6 | byte & 63
    offset, size = 5 + more, head[2] >> 4
    extra = {6: 1, 7: 2}.get(size, 0)
    samples = int.from_bytes(head[offset : offset + extra], "big") + 1 if extra else _BLOCK_SIZES.get(size, 0)
    offset += extra + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if not samples or len(head) <= offset or _crc8(head[:offset]) != head[offset]:
        return None
    begin = number if head[1] & 1 else number * (block or samples)
    return begin, begin + samples


def _crc8(text: bytes) -> int:
    crc = 0
    for byte in text:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 & 0xFF ^ (7 if crc & 0x80 else 0)
    return crc


def _crc16(text: bytes) -> int:
    """CRC-16 with the polynomial 0x8005; 0 for a frame with its checksum."""
    crc = 0
    for byte in text:
        crc = (crc << 8 & 0xFFFF) ^ _TABLE[crc >> 8 ^ byte]
    return crc


def _entry(byte: int) -> int:
    crc = byte << 8
    for _ in range(8):
        crc = crc << 1 & 0xFFFF ^ (0x8005 if crc & 0x8000 else 0)
    return crc


_TABLE = [_entry(byte) for byte in range(256)]
