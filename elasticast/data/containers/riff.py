"""WAV in its forms (RIFF, RIFX, RF64, BW64, Wave64)."""

import struct
from collections.abc import Iterator

from elasticast.data.containers import ffmpeg_only
from elasticast.data.containers.extent import (
    HEAD,
    Extent,
    FileBytes,
    NotReadableError,
    UnusableAudioError,
    is_placeholder,
    resolve,
)
from elasticast.data.containers.tail import check_tail, end_of_stream, follows

MAX_FORMAT = 4096  # bytes of a `fmt ` chunk
_MAX_SIZE = (1 << 32) - (1 << 16)
_LINEAR, _EIGHT_BITS, _MPEG, _EXTENSIBLE = (1, 3), (6, 7), (0x50, 0x55), 0xFFFE
_SYNCS = (b"\x72\xf8\x1f\x4e", b"\xfe\x7f\x01\x80", b"\xff\x1f\x00\xe8", b"\x7f\xfe\x80\x01")
"""First bytes of frames of IEC 61937 (AC-3 for a digital output) and of DTS, as copies of discs hold them."""
_CODED = 1 << 15  # bytes; longer than two frames
_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000, 176400, 192000)
_GUID = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"  # of the chunks of a Wave64 file, after their names


def chunks(data: FileBytes, offset: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and length of each chunk. The last one may be longer than the file."""
    while offset < data.size:
        head = data.at(offset, 8)
        if len(head) < 8:
            return
        name, length = struct.unpack(order + "4sI", head)
        yield name, offset + 8, length
        offset += 8 + length
        if length % 2 and not (_is_name(data.at(offset, 4)) and not _is_name(data.at(offset + 1, 4))):
            offset += 1  # a chunk of odd length is padded, but not by every program


def _is_name(text: bytes) -> bool:
    return len(text) == 4 and all(32 <= byte < 127 for byte in text)


def wav(data: FileBytes, base: int) -> Extent | None:
    """Samples of a WAV file; None for other RIFF files, such as AVI."""
    magic, kind = data.at(base, 4), data.at(base + 8, 4)
    if kind == b"AVI ":
        return ffmpeg_only.avi(data, base)
    if not b"WAVE".startswith(kind):
        return None
    order, long, form = ">" if magic == b"RIFX" else "<", None, b""
    whole = data.number(base + 4, 4, order)
    for name, start, length in chunks(data, base + 12, order):
        if name == b"fmt ":
            form = once(form, data.at(start, min(length, MAX_FORMAT)))
        elif name == b"ds64":
            whole, long = data.number(start, 8, "<"), data.number(start + 8, 8, "<")
        elif name == b"data":
            if magic in (b"RF64", b"BW64") and length == 0xFFFFFFFF and long is not None:
                length, unknown = long, is_placeholder(long, bits=64)
            else:
                unknown = is_placeholder(length)
            return _samples(data, base, (start, length, unknown), base + 8 + whole, form, order)
    raise UnusableAudioError("truncated")


def once(known: bytes, found: bytes) -> bytes:
    """The description of the samples that was found, if it is the first one or the same as the one known before."""
    if known and known != found:
        raise UnusableAudioError("damaged (two descriptions of the samples)")
    return found


def _samples(data: FileBytes, base: int, chunk: tuple[int, int, bool], end: int, form: bytes, order: str) -> Extent:
    """Samples of the `data` chunk (first byte, length, whether that is unknown) of a file that ends at `end`."""
    start, length, unknown = chunk
    if length == 0 and follows(data, start, order):
        return Extent(start, start)
    stop, trusted = resolve(data, start, length, unknown, base)
    if trusted:
        check_tail(data, stop + length % 2 * (data.at(stop, 1) == b"\0"), order, end=end)
    else:
        stop = end_of_stream(data, start, order)
    whole = _checked_format(data, start, form, order)
    trusted = trusted and data.at(base, 4) != b"BW64" and whole == form
    return Extent(start, stop, header(whole, stop - start, order), trusted)


def _checked_format(data: FileBytes, start: int, form: bytes, order: str) -> bytes:
    """The `fmt ` chunk of the samples at `start`, in a form that libsndfile reads as it is meant.

    Raises
    ------
    UnusableAudioError
        If it contradicts itself, or the samples.
    """
    if not form:
        return form
    if len(form) < 16:
        raise UnusableAudioError(f"damaged (format of {len(form)} bytes)")
    kind, (bits,) = format_tag(form, order), struct.unpack_from(order + "H", form, 14)
    if kind in _MPEG:  # libsndfile guesses the number of samples
        raise NotReadableError("needs ffmpeg (MP3 in WAV)")
    if contradiction := contradictions(form, order):
        raise UnusableAudioError(contradiction)
    if kind == 1 and bits > 32:
        raise UnusableAudioError(f"damaged ({bits} bits per sample, at most 32 expected)")
    if kind == 1 and _is_coded(data, start):
        raise UnusableAudioError("not audio samples (AC-3 or DTS in a WAV of PCM)")
    if kind == 1 and _in_32_bits(form, order):
        return form[:14] + struct.pack(order + "H", 32) + form[16:]
    return form


def _in_32_bits(form: bytes, order: str) -> bool:
    """Whether samples of 24 bit take 32 bits each, of which they are the upper ones."""
    _, channels, _, _, block, bits = struct.unpack_from(order + "HHIIHH", form)
    return (bits, block) == (24, 4 * channels)


def _is_coded(data: FileBytes, start: int) -> bool:
    """Whether the samples, after a few zeros, are frames of coded audio."""
    sync = data.at(start, HEAD).lstrip(b"\0")[:4]
    return sync in _SYNCS and data.at(start, _CODED).count(sync) > 1


def format_tag(form: bytes, order: str) -> int:
    """The coding that a `fmt ` chunk of at least 16 bytes gives."""
    (kind,) = struct.unpack_from(order + "H", form)
    if kind == _EXTENSIBLE and len(form) >= 26:
        (kind,) = struct.unpack_from(order + "H", form, 24)
    return kind


def contradictions(form: bytes, order: str) -> str:
    """A reason if a `fmt ` chunk contradicts itself in the number of channels and bits, or in the sample rate, or "".

    Samples of PCM are described twice: by these, and by the bytes per sample and per second. Programs write wrong bytes
    now and then. So they count only where they agree with each other, and a sample rate only if it is unusual itself.
    """
    _, channels, rate, per_second, block, bits = struct.unpack_from(order + "HHIIHH", form)
    kind = format_tag(form, order)
    width = channels if kind in _EIGHT_BITS else -(-bits // 8) * channels
    if kind not in (*_LINEAR, *_EIGHT_BITS) or not (width and block) or _in_32_bits(form, order):
        return ""
    if block != width and per_second == rate * block:
        return f"damaged ({block} bytes per sample of all channels, {width} expected)"
    if block == width and rate not in _RATES and per_second in [width * usual for usual in _RATES]:
        return f"unlikely sample rate ({rate} Hz)"
    return ""


def header(form: bytes, length: int, order: str = "<") -> bytes:
    """Header of a WAV file with the `fmt ` chunk `form` and `length` bytes of samples."""
    if not form:
        return b""
    form = struct.pack(order + "4sI", b"fmt ", len(form)) + form + bytes(len(form) % 2)
    if length < _MAX_SIZE:
        riff, data = (b"RIFX" if order == ">" else b"RIFF"), struct.pack(order + "4sI", b"data", length)
        return riff + struct.pack(order + "I", 4 + len(form) + 8 + length) + b"WAVE" + form + data
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, 48 + len(form) + length, length, 0, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + sizes + form + b"data\xff\xff\xff\xff"


def w64(data: FileBytes, base: int) -> Extent | None:
    """Samples of a Sony Wave64 file. Names of chunks have 16 bytes; a length has 8 and includes the header."""
    offset, form = base + 40, b""
    while offset < data.size:
        name, length = data.at(offset, 4), data.number(offset + 16, 8, "<")
        if data.at(offset + 4, 12) != _GUID:
            raise UnusableAudioError("damaged")
        start = offset + 24
        if name == b"data":
            return _w64_samples(data, base, start, max(0, length - 24), length, form)
        if name == b"fmt ":
            form = once(form, data.at(start, min(length - 24, MAX_FORMAT)))
        offset += max(24, length + -length % 8)
    raise UnusableAudioError("truncated")


def _w64_samples(data: FileBytes, base: int, start: int, length: int, raw: int, form: bytes) -> Extent:
    stop, trusted = resolve(data, start, length, raw < 24 or is_placeholder(raw, bits=64), base)
    if trusted:
        offset = stop + -(stop - base) % 8
        while data.at(offset + 4, 12) == _GUID and data.at(offset, 4) != b"data":
            offset += max(24, data.number(offset + 16, 8, "<"))
            offset += -(offset - base) % 8
        check_tail(data, min(offset, data.size), end=base + data.number(base + 16, 8, "<"))
    else:
        stop = end_of_stream(data, start)
        place = data.find(_GUID, start, stop)
        stop = place - 4 if place >= 0 else stop  # the name of the next chunk
    whole = _checked_format(data, start, form, "<")
    return Extent(start, stop, header(whole, stop - start), trusted and whole == form)
