"""What may follow the samples of a file."""

import struct

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
_HEADERS = (b"WAVEfmt ", b"\x8afmt \xf3\xac\xd3\x11", b"caff\0\1\0\0desc", b"AIFFCOMM", b"AIFCFVER", b"fLaC\0\0\0\x22")
_AFTER = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"cue ", b"smpl", b"PEAK", b"_PMX", b"afsp", b"JUNK", b"FLLR")
_SEARCHED = 1 << 16  # bytes at the end of the file in which trailing chunks are looked for
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
        if head[:4] == b"data" and step:
            raise UnusableAudioError(JOINED)
        if not step or offset + step > data.size + 1:
            break
        offset += step
    if data.size - offset > allowed:
        raise UnusableAudioError(f"data after the end of the samples ({data.size - offset} bytes)")


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


def follows(data: FileBytes, offset: int, order: str) -> bool:
    """Whether nothing but chunks follows, to the last byte of the file."""
    while offset < data.size:
        step = _chunk_length(data.at(offset, 12), order, 4)
        if not step or offset + step > data.size + 1:
            return False
        offset += step
    return True


def end_of_stream(data: FileBytes, start: int, order: str = "") -> int:
    """Where samples end that reach to the end of the file, without the chunks and tags that were written after them."""
    for text in _HEADERS:
        if data.find(text, start, data.size) >= 0:
            raise UnusableAudioError(JOINED)
    stop = data.size
    if data.at(max(start, stop - 128), 3) == b"TAG":
        stop = max(start, stop - 128)
    first = max(start, stop - _SEARCHED)
    last = data.at(first, stop - first)
    places = (place for name in _AFTER for place in _places(last, name)) if order else ()
    ends = [first + place for place in places if follows(data, first + place, order)]
    return min(ends, default=stop)


def _places(text: bytes, name: bytes) -> list[int]:
    places, place = [], text.find(name)
    while place >= 0:
        places.append(place)
        place = text.find(name, place + 1)
    return places
