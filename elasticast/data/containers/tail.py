"""What may follow the samples of a file."""

import re
import struct
from collections.abc import Iterator

from elasticast.data.containers.extent import TAIL, FileBytes, UnusableAudioError, id3_length

_RECORDINGS = (
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"BW64",
    b"riff",
    b"FORM",
    b"caff",
    b".snd",
    b"dns.",
    b"fLaC",
    b"OggS",
    b"NIST",
    b"Creative Voi",
)
_HEADERS = (
    b"WAVEfmt ",
    b"\x8afmt \xf3\xac\xd3\x11",
    b"caff\0\1\0\0desc",
    b"AIFFCOMM",
    b"AIFCFVER",
    b"fLaC\0\0\0\x22",
    b"OggS\0\2\0\0\0\0\0\0\0\0",
    b".snd\0\0\0",
    b"dns.\x18\0\0\0",
    b"NIST_1A\n",
    b"MATLAB 5.0 MAT-file",
)
_SAMPLES = (b"data", b"SSND", b"BODY")  # names of chunks
_COMMON = re.compile(
    rb"LIST|id3 |ID3 |bext|iXML|axml|cue |smpl|PEAK|_PMX|afsp|JUNK|FLLR|APPL|ANNO|COMT|MARK|INST|MIDI|free|info|uuid"
)
_NAME = re.compile(rb"(?=[!-~][ -~]{3})")
_NEAR, _FAR = 1 << 12, 1 << 24
"""Bytes at the end of the file in which chunks of any name, and those in `_COMMON`, are looked for."""
_CONVERTED = 16  # line feeds; fewer may follow carriage returns by chance
JOINED = "several recordings in one file"


def check_tail(data: FileBytes, offset: int, order: str = "", size: int = 4, end: int = 0) -> None:
    """Refuse a file that holds more audio after its samples, or more bytes than can be explained.

    Parameters
    ----------
    offset : int
        First byte after the samples.
    order : str
        Byte order of the chunks that may follow; ``""`` if the container has none.
    size : int
        Bytes of the length of a chunk, 4 or 8.
    end : int
        Where the container ends by its header. If that is the end of the file, all bytes have to be chunks.
    """
    allowed = 0 if end in (data.size, data.size + 1) else TAIL
    while offset < data.size:
        offset = _after_padding(data, offset)
        head = data.at(offset, 12)
        if head.startswith(_RECORDINGS):
            raise UnusableAudioError(JOINED)
        step = tag_length(data, offset) or (_chunk_length(head, order, size) if order else 0)
        if head[:4] in _SAMPLES and step:
            raise UnusableAudioError(JOINED)
        if not step or offset + step > data.size + 1:
            break
        offset += step
    if data.size - offset > allowed:
        raise UnusableAudioError(f"data after the end of the samples ({data.size - offset} bytes)")
    if offset < data.size and _is_converted(data):
        raise UnusableAudioError("damaged (line ends were converted, as by a transfer in text mode)")


def _is_converted(data: FileBytes) -> bool:
    """Whether each of many line feeds follows a carriage return, by which the file has become longer."""
    text = data.at(0, _FAR)
    return text.count(b"\n") > _CONVERTED and text.count(b"\n") == text.count(b"\r\n")


def _after_padding(data: FileBytes, offset: int) -> int:
    """Skip zeros."""
    while block := data.at(offset, 1 << 16):
        rest = block.lstrip(b"\0")
        offset += len(block) - len(rest)
        if rest:
            break
    return offset


def tag_length(data: FileBytes, offset: int) -> int:
    """Length of the tag at `offset`, as players append them (ID3, APE, Lyrics3), 0 if there is none."""
    head = data.at(offset, 32)
    if head[:3] == b"TAG":
        return 227 if head[:4] == b"TAG+" else 128
    if head[:8] == b"APETAGEX":
        return 32 + int.from_bytes(head[12:16], "little")
    if head[:11] == b"LYRICSBEGIN":
        end = data.find(b"LYRICS200", offset, data.size)
        return end + 9 - offset if end >= 0 else 0
    return id3_length(head[:10])


def _chunk_length(head: bytes, order: str, size: int) -> int:
    """Length of a chunk with its header, 0 if its name cannot be one."""
    if len(head) < 4 + size or not all(32 <= byte < 127 for byte in head[:4]):
        return 0
    length = struct.unpack_from(order + ("I" if size == 4 else "Q"), head, 4)[0]
    return 4 + size + length + (length % 2 if size == 4 else 0)


def follows(data: FileBytes, offset: int, order: str, size: int = 4, stop: int = 0) -> bool:
    """Whether nothing but chunks follows, up to `stop`, or to the last byte of the file."""
    stop = stop or data.size
    while offset < stop:
        step = _chunk_length(data.at(offset, 12), order, size)
        if not step or offset + step > stop + 1:
            return False
        offset += step
    return True


def end_of_stream(data: FileBytes, start: int, order: str = "", size: int = 4) -> int:
    """Where samples end that reach to the end of the file, without the chunks and tags that were written after them.

    Parameters
    ----------
    order, size
        As for :func:`check_tail`.
    """
    if data.contains(_HEADERS, start, data.size):
        raise UnusableAudioError(JOINED)
    for stop in sorted({data.size, without_tags(data, start)}, reverse=True):  # a tag may be the content of a chunk
        places = _places(data, start, stop) if order else ()
        if ends := [place for place in places if follows(data, place, order, size, stop)]:
            return min(ends)
    return stop


def _places(data: FileBytes, start: int, stop: int) -> Iterator[int]:
    """Where chunks may begin in the bytes `start` to `stop`."""
    for name, searched in ((_COMMON, _FAR), (_NAME, _NEAR)):
        first = max(start, stop - searched)
        yield from (first + match.start() for match in name.finditer(data.at(first, stop - first)))


def without_tags(data: FileBytes, start: int) -> int:
    """The end of a file that holds samples from `start`, without the tags at its end (ID3, APE, Lyrics3)."""
    stop = data.size
    while (length := _last_tag(data, start, stop)) and start <= stop - length:
        stop -= length
    return stop


def _last_tag(data: FileBytes, start: int, stop: int) -> int:
    """Length of the tag that ends at `stop`, 0 if none does."""
    foot = data.at(max(start, stop - 128), min(128, stop - start))
    if foot[:3] == b"TAG" and len(foot) == 128:
        return 128
    if foot[-32:].startswith(b"APETAGEX") and len(foot) >= 32:
        length, flags = struct.unpack_from("<I4xI", foot, len(foot) - 20)
        return length + (32 if flags >> 31 else 0)
    if foot.endswith(b"LYRICS200") and foot[-15:-9].isdigit():
        return int(foot[-15:-9]) + 15
    first = max(start, stop - _FAR)
    places = (first + match.start() for match in re.finditer(b"ID3", data.at(first, stop - first)))
    return next((stop - place for place in places if id3_length(data.at(place, 10)) == stop - place), 0)
