"""Containers that only ffmpeg decodes. It says nothing of some cuts, and reads the first of several recordings.

Each function returns None if the sizes in the file fit together, and raises an error if they do not.
"""

import struct

from elasticast.data.containers.extent import FileBytes, UnusableAudioError, is_placeholder, resolve
from elasticast.data.containers.tail import JOINED, check_tail, tag_length

BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"styp", b"sidx", b"moof", b"mfra")
"""Boxes of MP4 and QuickTime files that are not inside of others."""
_MORE_BOXES = (*BOXES, b"meta", b"emsg", b"prft", b"ssix", b"udta", b"junk", b"PICT", b"pict")
EBML = b"\x1a\x45\xdf\xa3"
_OPENED = (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75")  # segment and cluster, which hold other elements
_ELEMENTS = (
    *(EBML, *_OPENED),
    *map(bytes.fromhex, ("114d9b74", "1549a966", "1654ae6b", "1c53bb6b", "1254c367", "1941a469", "1043a770")),
    *map(bytes.fromhex, ("ec", "bf", "e7", "a3", "a0", "a7", "ab", "af", "5854")),
)
"""Elements of Matroska files that are not inside of others, or directly in a segment or cluster."""
ASF_HEADER = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
_ASF_DATA = b"\x36\x26\xb2\x75\x8e\x66\xcf\x11"
_FLV_TAGS = (8, 9, 18)  # audio, video, metadata
_TS_PACKET = 188


def mp4(data: FileBytes, base: int) -> None:
    """MP4, M4A, MOV and 3GP (ISO 14496-12, 4.2): boxes, of which `moov` describes all samples."""
    offset, described, fragmented = base, False, False
    while (head := data.at(offset, 16))[4:8] in (_MORE_BOXES if fragmented else BOXES):
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if head[4:8] == b"moov":
            if described:
                raise UnusableAudioError(JOINED)
            described = True
        fragmented = fragmented or head[4:8] == b"moof"
        if length == 0:  # up to the end of the file
            return
        offset += max(8, length)
        if offset > data.size:
            raise UnusableAudioError("truncated")
    if fragmented:  # otherwise ffmpeg needs only `moov`, and cameras append boxes of their own
        check_tail(data, offset)


def matroska(data: FileBytes, base: int) -> None:
    """Matroska and WebM (RFC 9559): elements of a name and a length, which live streams leave out of segments."""
    offset = base
    while element := _element(data.at(offset, 12)):
        name, head, length = element
        if name not in _ELEMENTS or (length is None and name not in _OPENED):
            break
        if offset + head + (length or 0) > data.size:
            raise UnusableAudioError("truncated")
        offset += head if name in _OPENED else head + length
    check_tail(data, offset)


def _element(text: bytes) -> tuple[bytes, int, int | None] | None:
    """Name of an element, length of its head and of its body (None if it is not known); None if it is no element."""
    first = 9 - text[0].bit_length() if text else 9
    if first > 4 or len(text) <= first or not text[first]:
        return None
    second = 9 - text[first].bit_length()
    number = int.from_bytes(text[first : first + second], "big") & (1 << 7 * second) - 1
    return text[:first], first + second, None if number == (1 << 7 * second) - 1 else number


def asf(data: FileBytes, base: int) -> None:
    """WMA and WMV: objects with 64-bit sizes. That of the data may be missing in a broadcast."""
    offset = base
    while offset + 24 <= data.size:
        name, length = data.at(offset, 8), data.number(offset + 16, 8, "<")
        if name == ASF_HEADER and offset > base:
            raise UnusableAudioError(JOINED)
        if length < 24 or (name == _ASF_DATA and is_placeholder(length, bits=64)):
            return
        offset += length
        if offset > data.size and name in (ASF_HEADER, _ASF_DATA):
            raise UnusableAudioError("truncated")


def flv(data: FileBytes, base: int) -> None:
    """Flash video: tags, each followed by its length. Metadata may have the size of the file."""
    offset = base + data.number(base + 5, 4, ">") + 4
    while len(head := data.at(offset, 4)) == 4 and head[0] & 31 in _FLV_TAGS:
        offset += 11 + int.from_bytes(head[1:], "big")
        if offset > data.size:
            raise UnusableAudioError("truncated")
        offset += 4
    if data.at(offset, 3) == b"FLV":
        raise UnusableAudioError(JOINED)
    check_tail(data, offset)
    place = data.find(b"\0\x08filesize\0", base, min(data.size, base + 4096))
    if place >= 0 and struct.unpack(">d", data.at(place + 11, 8).ljust(8, b"\0"))[0] > data.size - base:
        raise UnusableAudioError("truncated")


def avi(data: FileBytes, base: int) -> None:
    """AVI: RIFF chunks, several in large files."""
    offset = base
    while data.at(offset, 4) == b"RIFF":
        length = data.number(offset + 4, 4, "<")
        if is_placeholder(length):
            return
        offset += 8 + length
        if offset > data.size:
            raise UnusableAudioError("truncated")
        offset += length % 2


def wavpack(data: FileBytes, base: int) -> None:
    """WavPack: blocks that give the number of their first sample, and that of all samples."""
    offset, end, total = base, 0, data.number(base + 12, 4, "<")
    while (head := data.at(offset, 32))[:4] == b"wvpk":
        if len(head) < 32:
            raise UnusableAudioError("truncated")
        length, index, samples = (int.from_bytes(head[i : i + 4], "little") for i in (4, 16, 20))
        if samples and index + samples < end:
            raise UnusableAudioError(JOINED)
        offset, end = offset + 8 + length, max(end, index + samples)
        if offset > data.size:
            raise UnusableAudioError("truncated")
    if total != 0xFFFFFFFF and end < total:
        raise UnusableAudioError("truncated")


def tta(data: FileBytes, base: int) -> None:
    """True Audio: a header, the length of each frame, the frames."""
    rate, samples = data.number(base + 10, 4, "<"), data.number(base + 14, 4, "<")
    if not rate:
        raise UnusableAudioError("damaged")
    frames = -(-samples * 245 // (256 * rate))
    if base + 22 + 4 * frames > data.size:
        raise UnusableAudioError("truncated")
    table = data.at(base + 22, 4 * frames)
    stop = base + 22 + len(table) + 4 + sum(struct.unpack(f"<{frames}I", table))
    if stop > data.size:
        raise UnusableAudioError("truncated")
    while step := tag_length(data, stop):
        stop += step
    if data.at(stop, 3) == b"TTA":
        raise UnusableAudioError(JOINED)


def sox(data: FileBytes, base: int) -> None:
    """SoX: a header with the number of 32-bit samples, 0 if it was not known."""
    order = "<" if data.at(base, 1) == b"." else ">"
    start = base + 4 + data.number(base + 4, 4, order)
    length = 4 * data.number(base + 8, 8, order)
    stop, trusted = resolve(data, start, length, is_placeholder(length, bits=64), base)
    if trusted:
        check_tail(data, stop)


def is_transport_stream(data: FileBytes, base: int) -> bool:
    """Whether a file holds packets of an MPEG transport stream."""
    return all(data.at(base + _TS_PACKET * i, 1) == b"\x47" for i in range(3))


def transport_stream(data: FileBytes, base: int) -> None:
    """MPEG transport stream: packets of the same length."""
    rest = (data.size - base) % _TS_PACKET
    if rest and data.at(data.size - rest, 1) == b"\x47":
        raise UnusableAudioError("truncated")
