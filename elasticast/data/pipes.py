"""Live audio of a pipe: raw samples, or a WAV file of known or unknown length."""

import contextlib
import math
import os
import select
import struct
from collections.abc import Iterator

import numpy as np

from elasticast.data.audio import to_mono
from elasticast.data.containers.extent import TAIL, is_placeholder
from elasticast.data.containers.riff import contradictions, format_tag
from elasticast.data.live import LiveAudio, check_timeout
from elasticast.errors import DataError

FORMATS = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
"""Raw samples, by the names that ffmpeg has for them."""
_WAV = {(1, 16): "s16le", (3, 32): "f32le"}
_MOST_BYTES = 1 << 16
_MOST_HEADER = 1 << 20  # bytes of a chunk before or after the samples
_REST_SECONDS = 1.0  # how long to wait for what may follow the samples


class _StalledError(DataError):
    """No bytes come."""


class _Pipe:
    """Bytes of a file descriptor."""

    def __init__(self, descriptor: int, name: str, timeout: float):
        self.descriptor, self.name, self.timeout = descriptor, name, timeout

    def some(self, most: int = _MOST_BYTES) -> bytes:
        """At least one byte, as soon as there is one; none at the end."""
        if not select.select([self.descriptor], [], [], self.timeout)[0]:
            raise _StalledError(
                f"{self.name}: no samples for {self.timeout:g} s: their source has stalled, or --timeout is too short"
            )
        return os.read(self.descriptor, most)

    def exactly(self, count: int) -> bytes:
        """Read `count` bytes, or fewer at the end."""
        data = b""
        while len(data) < count and (more := self.some(min(count - len(data), _MOST_BYTES))):
            data += more
        return data


def read_pipe(
    descriptor: int, *, form: str | None, sample_rate: int, channels: int = 1, timeout: float, name: str
) -> LiveAudio:
    """Read audio from a file descriptor.

    Parameters
    ----------
    descriptor : int
        The descriptor, 0 for standard input.
    form : {"s16le", "f32le"} or None
        Format of raw samples. None for a WAV file, whose header is read at once.
    sample_rate, channels : int
        Sample rate (Hz) and number of channels of raw samples. A WAV file has its own.
    timeout : float
        Longest time without any samples (s).
    name : str
        Name of the source, for messages.

    Raises
    ------
    DataError
        If the header is not that of a WAV file with 16-bit integers or 32-bit floats. While blocks are read: if no
        samples come for `timeout`, or if they end within a sample or before the header says so.
    ElasticASTError
        If `timeout` is not above 0, or longer than a day.
    """
    check_timeout(timeout)
    try:
        terminal = os.isatty(descriptor)
        os.fstat(descriptor)
    except OSError:
        raise DataError(f"{name}: is closed; pipe audio into it") from None
    if terminal:
        raise DataError(
            f"{name}: is a terminal; pipe audio into it, as in `ffmpeg -i FILE ... - | elasticast listen -`"
        )
    pipe, length = _Pipe(descriptor, name, timeout), None
    if form is None:
        form, sample_rate, channels, length = _wav_header(pipe)
    return LiveAudio(name, sample_rate, channels, _pipe_blocks(pipe, FORMATS[form], channels, length))


def _wav_header(pipe: _Pipe) -> tuple[str, int, int, int | None]:
    """Format, sample rate, number of channels, and number of bytes of samples; None if the header does not say."""
    head, layout = pipe.exactly(12), None
    if not head:
        raise DataError(f"{pipe.name}: empty: it ended before the first byte")
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise DataError(
            f"{pipe.name}: begins with {head[:4]!r}, no WAV file; for raw samples give --format s16le or f32le"
        )
    long = None
    while len(chunk := pipe.exactly(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"data" and layout:
            unknown = is_placeholder(length)
            if length == 0xFFFFFFFF and long is not None:
                length, unknown = long, is_placeholder(long, bits=64)
            return *layout, None if unknown else length
        if length > _MOST_HEADER:  # samples would be skipped, perhaps for hours
            raise DataError(f"{pipe.name}: damaged: a header of a WAV file with {length} bytes of {name!r}")
        content = pipe.exactly(length + length % 2)
        if name == b"fmt " and len(content) >= 16:
            layout = _wav_layout(pipe.name, content)
        elif name == b"ds64" and len(content) >= 16:
            (long,) = struct.unpack("<Q", content[8:16])
    raise DataError(f"{pipe.name}: truncated: it ended within the header of a WAV file")


def _wav_layout(name: str, form: bytes) -> tuple[str, int, int]:
    _, channels, rate, _, _, bits = struct.unpack("<HHIIHH", form[:16])
    tag = format_tag(form, "<")
    if (tag, bits) not in _WAV or not channels:
        raise DataError(
            f"{name}: a WAV file with {channels} channels, samples of {bits} bits and format {tag}: expected 16-bit "
            "integers or 32-bit floats (in ffmpeg: -c:a pcm_s16le)"
        )
    if contradiction := contradictions(form, "<"):
        raise DataError(f"{name}: {contradiction}")
    return _WAV[tag, bits], rate, channels


def _pipe_blocks(pipe: _Pipe, kind: np.dtype, channels: int, length: int | None) -> Iterator[np.ndarray]:
    """Blocks of mono samples; `length` is the number of bytes, None if the end of the pipe is that of the samples."""
    width, rest, left = kind.itemsize * channels, b"", math.inf if length is None else length
    while left and (data := pipe.some(int(min(left, _MOST_BYTES)))):
        left -= len(data)
        data = rest + data
        whole = len(data) // width * width
        rest = data[whole:]
        if whole:
            yield to_mono(np.frombuffer(data[:whole], kind).reshape(-1, channels))
    if rest or (left and left != math.inf):
        raise DataError(f"{pipe.name}: truncated: it ended {'within a sample' if rest else f'{left} bytes too early'}")
    if left == 0:
        _check_rest(pipe, length)


def _check_rest(pipe: _Pipe, length: int) -> None:
    """Refuse what follows the samples of a WAV file, such as another one, except chunks, zeros and a few bytes."""
    pipe.timeout = min(pipe.timeout, _REST_SECONDS)  # the samples are complete, even if the pipe stays open
    with contextlib.suppress(_StalledError):
        _read_rest(pipe, length)


def _read_rest(pipe: _Pipe, length: int) -> None:
    pipe.exactly(length % 2)
    while (head := pipe.exactly(8)).strip(b"\0"):
        name, size = struct.unpack("<4sI", head.ljust(8, b"\0"))
        named = all(32 <= byte < 127 for byte in name) and name not in (b"RIFF", b"RF64", b"data")
        if named and size <= _MOST_HEADER:
            pipe.exactly(size + size % 2)
        elif len(pipe.exactly(TAIL)) == TAIL:
            raise DataError(f"{pipe.name}: data after the end of its samples, of which the header says {length} bytes")
