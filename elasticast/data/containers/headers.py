"""Formats with one header of fixed layout: AU, NIST Sphere, VOC, and rare ones that libsndfile reads."""

import re
import struct

from elasticast.data.containers.extent import (
    Extent,
    FileBytes,
    NotReadableError,
    UnusableAudioError,
    is_placeholder,
    resolve,
)
from elasticast.data.containers.tail import JOINED, check_tail, end_of_stream

UNSIZED = (
    b" paf",
    b"fap ",
    b"PVF1",
    *(b"\x64\xa3%c\0" % i for i in range(1, 5)),
    *(b"\0%c\xa3\x64" % i for i in range(1, 5)),
)
"""First bytes of PAF, PVF and IRCAM files, whose headers give no length."""


def au(data: FileBytes, base: int) -> Extent:
    """Sun and NeXT audio. 0xFFFFFFFF is the official value for an unknown length."""
    order = ">" if data.at(base, 1) == b"." else "<"
    start, length = base + data.number(base + 4, 4, order), data.number(base + 8, 4, order)
    stop, trusted = resolve(data, start, length, is_placeholder(length), base)
    if trusted:
        check_tail(data, stop)
    else:
        stop = end_of_stream(data, start)
    size = struct.pack(order + "I", min(stop - start, 0xFFFFFFFF))
    return Extent(start, stop, data.at(base, 8) + size + data.at(base + 12, start - base - 12), trusted)


def unsized(data: FileBytes, base: int) -> None:
    """PAF, PVF and IRCAM: refuse a second header, of a file that was joined, or as libsndfile writes it to a pipe."""
    if data.find(data.at(base, 8), base + 8, data.size) >= 0:
        raise UnusableAudioError(JOINED)


def nist(data: FileBytes, base: int) -> Extent | None:
    """NIST Sphere: a header of lines of text, ``sample_count -i 24000``."""
    size = data.at(base + 8, 8).strip()
    if not size.isdigit() or not 1024 <= int(size) <= 1 << 20:
        raise UnusableAudioError("truncated" if data.size < 1024 else "damaged")
    head = data.at(base, int(size))
    lines = re.findall(rb"(?m)^(\w+) -\w+ (-?\d+) *$", head)
    fields = {name: int(value) for name, value in lines}
    described = {line for line in lines if line[0].startswith(b"sample_") or line[0] == b"channel_count"}
    if len(dict(described)) < len(described):
        raise UnusableAudioError("damaged (two descriptions of the samples)")
    count, width = fields.get(b"sample_count", 0), fields.get(b"sample_n_bytes", 0)
    coding = re.search(rb"(?m)^sample_coding -s\d+ (\S+)", head)
    if coding and b"embedded" in coding[1]:
        raise NotReadableError("needs ffmpeg (compressed NIST Sphere)")
    if width < 1:
        raise UnusableAudioError("damaged")
    frame = width * max(1, fields.get(b"channel_count", 1))
    start, unknown = base + len(head), count <= 0 or is_placeholder(count) or is_placeholder(count * frame)
    stop, trusted = resolve(data, start, max(0, count) * frame, unknown, base)
    if not trusted:
        stop = end_of_stream(data, start)
        return Extent(start, stop, _with_count(head, (stop - start) // frame), trusted)
    check_tail(data, stop)
    return Extent(start, stop, _with_count(head, count), trusted)


def _with_count(head: bytes, count: int) -> bytes:
    lines = re.sub(rb"(?m)^sample_count -i -?\d+ *\n", b"", head)
    lines = lines.replace(b"end_head\n", b"sample_count -i %d\nend_head\n" % count, 1)
    return lines[: len(head)].ljust(len(head), b"\0")


def voc(data: FileBytes, base: int) -> Extent | None:
    """Creative Voice: blocks of a type and a length of 24 bits. libsndfile reads a file with one block of sound."""
    if data.at(base, 19) != b"Creative Voice File":
        return None
    offset, found = base + data.number(base + 20, 2, "<"), None
    several, forms = False, set()
    while offset < data.size and (kind := data.at(offset, 1)[0]):
        length = data.number(offset + 1, 3, "<")
        if kind in (1, 2, 9):
            several = several or found is not None
            if kind != 2:  # samples that go on
                forms.add(data.at(offset + 4, {1: 2, 9: 12}[kind]))
            start = offset + 4 + {1: 2, 2: 0, 9: 12}[kind]
            found = start, *resolve(data, start, offset + 4 + length - start, length == 0, base)
        elif kind in (3, 6):  # ffmpeg leaves these out
            raise UnusableAudioError("VOC with silence or repetitions, which are not samples")
        elif kind > 9:
            raise UnusableAudioError("damaged")
        offset += 4 + length
    if not found:
        raise UnusableAudioError("empty")
    check_tail(data, min(offset + 1, data.size))
    if len(forms) > 1:
        raise UnusableAudioError("the sample rate or the number of channels changes within the file")
    if several:
        raise NotReadableError("needs ffmpeg (VOC with several blocks)")
    start, stop, trusted = found
    return Extent(start, stop, data.at(base, start - base), trusted)


def _fixed(data: FileBytes, start: int, length: int) -> Extent:
    stop, trusted = resolve(data, start, length, unknown=False)
    if trusted:
        check_tail(data, stop)
    else:
        stop = end_of_stream(data, start)
    return Extent(start, stop, trusted=trusted)


def avr(data: FileBytes, base: int) -> Extent:
    """Audio Visual Research (Atari)."""
    channels = 2 if data.number(base + 12, 2, ">") else 1
    return _fixed(data, base + 128, data.number(base + 26, 4, ">") * channels * (data.number(base + 14, 2, ">") // 8))


def wve(data: FileBytes, base: int) -> Extent | None:
    """Psion Series 3."""
    if data.at(base, 15) != b"ALawSoundFile**":
        return None
    return _fixed(data, base + 32, data.number(base + 18, 4, ">"))


def sds(data: FileBytes, base: int) -> Extent | None:
    """MIDI Sample Dump: packets of 127 bytes, 120 of which hold samples in groups of 7 bits."""
    if data.at(base, 2) != b"\xf0\x7e" or data.size < base + 21:
        return None
    low, middle, high = data.at(base + 10, 3)
    frames, width = low + (middle << 7) + (high << 14), max(1, (data.at(base + 6, 1)[0] + 6) // 7)
    return _fixed(data, base + 21, -(-frames // (120 // width)) * 127)._replace(frames=frames)


def mpc2k(data: FileBytes, base: int) -> Extent | None:
    """Akai MPC 2000, 16 bit."""
    if data.at(base, 2) != b"\1\4" or data.size < base + 42:
        return None
    channels = 2 if data.at(base + 21, 1) != b"\0" else 1
    return _fixed(data, base + 42, data.number(base + 30, 4, "<") * 2 * channels)


def mat4(data: FileBytes, base: int) -> Extent | None:
    """MATLAB 4: matrices ``samplerate`` and ``wavedata``, each after its type and dimensions."""
    for order in "<>":
        if data.at(base + 20, 11) == b"samplerate\0" and data.number(base + 16, 4, order) == 11:
            offset = base + 39
            kind, rows, columns, _, name = (data.number(offset + 4 * i, 4, order) for i in range(5))
            width = {0: 8, 1: 4, 2: 4, 3: 2, 4: 2, 5: 1}.get(kind // 10 % 10, 0)
            return _fixed(data, offset + 20 + name, rows * columns * width)
    return None


def mat5(data: FileBytes, base: int) -> Extent | None:
    """MATLAB 5: elements of a type and a length. The name of the matrix precedes its samples."""
    order = ">" if data.at(base + 126, 2) == b"MI" else "<"
    name = data.find(b"wavedata", base + 128, min(data.size, base + 4096))
    return None if name < 0 else _fixed(data, name + 16, data.number(name + 12, 4, order))
