"""MP3: the frames are counted. The count that an encoder leaves in the first frame is only compared.

The count is missing, 0 or wrong if the encoder wrote to a pipe, if files were joined, or if a file was cut.
"""

import re
import struct
from functools import cache
from typing import NamedTuple

from elasticast.data.containers.extent import TAIL, Extent, FileBytes, NotReadableError, UnusableAudioError
from elasticast.data.containers.tail import tag_length

SEARCHED = 4096
"""Bytes in which the first frame is looked for."""
DELAY = 4 * 1152
"""Samples that a decoder may leave out at the start and at the end."""
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version
_BITRATES = {  # kbit/s, by MPEG 1 or 2, and layer
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class Frame(NamedTuple):
    """What the header of a frame says: its bytes, samples per channel, and what all frames of a stream share."""

    length: int
    samples: int
    kind: tuple[int, int, int]


@cache
def frame(head: bytes) -> Frame | None:
    """Parse the first three bytes of the header of a frame (ISO 11172-3, 2.4.1.3). None if they are none."""
    if len(head) < 3 or head[0] != 0xFF or head[1] < 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or rate == 3 or bitrate in (0, 15):
        return None
    generation = 1 if version == 3 else 2
    samples = {1: 384, 2: 1152, 3: 1152 if generation == 1 else 576}[layer]
    bits = 1000 * _BITRATES[generation, layer][bitrate - 1]
    hertz = _RATES[version][rate]
    length = (12 * bits // hertz + padding) * 4 if layer == 1 else samples // 8 * bits // hertz + padding
    return Frame(length, samples, (version, layer, rate))


def first_frame(data: FileBytes, base: int) -> int | None:
    """Position of the first of three successive frames within the first bytes, None if there are none."""
    head = data.at(base, SEARCHED)
    place = head.find(b"\xff")
    while place >= 0:
        if _succession(data, base + place, 3):
            return base + place
        place = head.find(b"\xff", place + 1)
    return None


def _succession(data: FileBytes, offset: int, count: int, kind: tuple | None = None) -> bool:
    """Whether `count` frames of one kind follow each other, or fewer before the end of the file or a tag."""
    for number in range(count):
        found = frame(data.at(offset, 3))
        if not found or (kind and found.kind != kind):
            return number > 0 and (offset >= data.size or tag_length(data, offset) > 0)
        kind, offset = found.kind, offset + found.length
    return True


class Count(NamedTuple):
    """The frames of a stream.

    Attributes
    ----------
    frames : int
        Number of frames.
    second, stop : int
        Where the second one starts, and where the last one ends.
    junk : int
        Bytes around them that are neither tags nor zeros.
    gaps : bool
        Whether anything is between them.
    cut : bool
        Whether the file ends within a frame.
    """

    frames: int
    second: int
    stop: int
    junk: int
    gaps: bool
    cut: bool


def count_frames(data: FileBytes, offset: int) -> Count:
    """Count the frames from the first one to the end of the file. Tags and zeros between them are skipped."""
    first = frame(data.at(offset, 3))
    kind, size, frames, junk, stop, second, gaps = first.kind, data.size, 0, 0, offset, 0, False
    while offset < size:
        found = frame(data.at(offset, 3))
        if found and found.kind == kind:
            gaps = gaps or offset > stop
            second = offset if frames == 1 else second
            if offset + found.length > size:
                return Count(frames, second, stop, junk, gaps, True)
            frames, offset = frames + 1, offset + found.length
            stop = offset
            continue
        step = tag_length(data, offset) or _zeros(data, offset)
        if not step:
            step = _to_next_frame(data, offset, kind)
            junk += step
        offset += step
    return Count(frames, second, stop, junk, gaps, False)


def _zeros(data: FileBytes, offset: int) -> int:
    block = data.at(offset, SEARCHED)
    return len(block) - len(block.lstrip(b"\0"))


def _to_next_frame(data: FileBytes, offset: int, kind: tuple) -> int:
    """Bytes up to the next two frames of the same kind, or to the end of the file."""
    place = offset + 1
    while place < data.size:
        block = data.at(place, SEARCHED)
        found = block.find(b"\xff")
        if found < 0:
            place += len(block)
        elif _succession(data, place + found, 2, kind):
            return place + found - offset
        else:
            place += found + 1
    return data.size - offset


def _within_tag(data: FileBytes, base: int, first: int) -> int:
    """The first of the frames that begin in the tag before `base` and run on to the one at `first`, or `first`.

    If there are any, the tag gives too large a size.
    """
    same = data.at(first, 4)
    for match in re.finditer(re.escape(same[:2]), data.at(0, base)):
        place = match.start()
        while place < first and (head := data.at(place, 4))[:2] == same[:2] and (head[3] ^ same[3]) >> 6 == 0:
            found = frame(head[:3])
            place += found.length if found else data.size
        if place == first:
            return match.start()
    return first


def _is_free_format(data: FileBytes, base: int) -> bool:
    """Whether three frames that do not give their bit rate follow each other at the same distance."""
    head = data.at(base, 3)
    if len(head) < 3 or head[2] >> 4 or frame(head[:2] + bytes([head[2] | 0x10])) is None:
        return False
    text = data.at(base, SEARCHED)
    starts = [
        match.start()
        for match in re.finditer(re.escape(head[:2]), text)
        if text[match.start() + 2] & 0xFC == head[2] & 0xFC
    ]
    return any(abs(second - 2 * one) <= 1 for one in starts[1:] for second in starts if second > one)


def mp3(data: FileBytes, base: int) -> Extent | None:
    """The frames of an MP3 file; None if there are none."""
    first = first_frame(data, base)
    if first is None:
        if _is_free_format(data, base):
            raise UnusableAudioError("MP3 of a free format, whose frames cannot be counted")
        return None
    if first > base > 0:
        first = _within_tag(data, base, first)
    found, head = count_frames(data, first), frame(data.at(first, 3))
    if found.junk > TAIL:
        raise UnusableAudioError(f"damaged ({found.junk} bytes between the frames)")
    if found.cut:
        raise UnusableAudioError("truncated")
    if head.kind[1] != 3:
        if found.gaps or 0 < first < base:  # ffmpeg leaves out what is there
            raise UnusableAudioError("damaged (frames in a tag, or something else between frames)")
        raise NotReadableError("length unknown")
    return _compared(data, base, first, head, found)


def _compared(data: FileBytes, base: int, first: int, head: Frame, found: Count) -> Extent:
    """Compare the number of frames with the one in the first frame."""
    info = data.at(first, head.length)
    place, count, length = _tag(info)
    if place is None:
        patched = _info_frame(info, found.frames)
        return Extent(first, found.stop, patched, False, found.frames * head.samples, DELAY)
    frames = found.frames - 1  # the frame with the tag holds no sound
    if count is not None and count > frames and length != found.stop - first:
        raise UnusableAudioError("truncated")
    usable = count is not None and info[place : place + 4] != b"VBRI" and _is_intact(info, place)
    if count == frames and usable and first == base and not found.gaps and _is_last(data, found.stop):
        return Extent(first, found.stop, frames=frames * head.samples, delay=DELAY)
    if not usable:
        patched = _info_frame(info, frames)
    else:
        size = struct.pack(">I", found.stop - first)[: 4 if length is not None else 0]
        patched = info[: place + 8] + struct.pack(">I", frames) + size + info[place + 12 + len(size) :]
    return Extent(found.second or found.stop, found.stop, patched, False, frames * head.samples, DELAY)


def _is_last(data: FileBytes, stop: int) -> bool:
    """Whether nothing follows, or the tag that every program knows."""
    return stop == data.size or (stop == data.size - 128 and data.at(stop, 3) == b"TAG")


def _is_intact(info: bytes, place: int) -> bool:
    """Whether the checksum of a tag is right, which also says how many samples to leave out at both ends.

    LAME computes it of all that is before it. ffmpeg, which can keep the name of LAME, computes it of the first 190
    bytes of the frame, or of the frame and zeros, with a checksum of 0.
    """
    name, stored = info[place + 120 : place + 124], int.from_bytes(info[place + 154 : place + 156], "big")
    if name not in (b"LAME", *_FFMPEG) or (name in _FFMPEG and not stored):  # others may have no checksum
        return True
    before, after = info[: place + 154], info[place + 156 :]
    return stored in (_crc(before), _crc((before + b"\0\0" + after).ljust(_SUMMED, b"\0")[:_SUMMED]))


def _crc(text: bytes) -> int:
    """CRC-16 with the polynomial 0x8005 in reverse order."""
    crc = 0
    for byte in text:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 255]
    return crc


def _entry(byte: int) -> int:
    """CRC-16 of one byte, with the polynomial 0x8005 in reverse order."""
    for _ in range(8):
        byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
    return byte


_TABLE = [_entry(byte) for byte in range(256)]
_FFMPEG = (b"Lavf", b"Lavc")
_SUMMED = 190  # bytes


def _tag(info: bytes) -> tuple[int | None, int | None, int | None]:
    """Place of the tag of the encoder in the first frame, and the number of frames and bytes that it gives."""
    for name in (b"Xing", b"Info"):
        place = info.find(name, 4, 60)
        if place >= 0 and len(info) >= place + 16:
            flags, *values = struct.unpack_from(">III", info, place + 4)
            count = values.pop(0) if flags & 1 else None
            return place, count, values[0] if flags & 2 else None
    if info[36:40] == b"VBRI" and len(info) >= 54:
        length, count = struct.unpack_from(">II", info, 46)
        return 36, count, length
    return None, None, None


def _info_frame(head: bytes, frames: int) -> bytes:
    """A frame that gives the number of frames, for a stream whose frames have the header `head`."""
    mono, generation = head[3] >> 6 == 3, head[1] >> 3 & 1
    start = 4 + {(True, 1): 17, (False, 1): 32, (True, 0): 9, (False, 0): 17}[mono, generation]
    bare = bytes([0xFF, head[1] | 1, 0xE0 | head[2] & 0x0C, head[3]])  # without checksum, at the highest bit rate
    return (bare + bytes(start - 4) + struct.pack(">4sII", b"Xing", 1, frames)).ljust(frame(bare[:3]).length, b"\0")
