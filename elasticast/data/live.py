"""Live audio: samples of a pipe or a microphone, in blocks, and the checks of a stream.

Nothing waits for ever: a source that gives no samples for `timeout` seconds is an error.
"""

import math
import os
import queue
import select
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from elasticast.data.audio import quantised, to_mono
from elasticast.data.containers.extent import is_placeholder
from elasticast.data.level import INT16_STEP, Level
from elasticast.data.recordings import UnusableAudioError
from elasticast.errors import DataError, ElasticASTError

FORMATS = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
"""Raw samples, by the names that ffmpeg has for them."""
_WAV = {(1, 16): "s16le", (3, 32): "f32le"}
_EXTENSIBLE = 0xFFFE
_MOST_BYTES = 1 << 16
_MOST_HEADER = 1 << 20  # bytes of a chunk before the samples
_LONGEST_TIMEOUT = 86_400  # s
_MIC_BLOCK = 0.02  # s
_MIC_BEHIND = 10.0  # s


@dataclass(frozen=True)
class LiveAudio:
    """Audio that is read while it comes in.

    Attributes
    ----------
    name : str
        Name of the source, for messages.
    sample_rate : int
        Sample rate (Hz).
    channels : int
        Number of channels, which are averaged.
    blocks : iterator of ndarray
        Blocks ``[samples]``, float32 with full scale 1, of any lengths. To be read once.
    """

    name: str
    sample_rate: int
    channels: int
    blocks: Iterator[np.ndarray]


class _Pipe:
    """Bytes of a file descriptor."""

    def __init__(self, descriptor: int, name: str, timeout: float):
        self.descriptor, self.name, self.timeout = descriptor, name, timeout

    def some(self, most: int = _MOST_BYTES) -> bytes:
        """At least one byte, as soon as there is one; none at the end."""
        if not select.select([self.descriptor], [], [], self.timeout)[0]:
            raise DataError(
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
    _check_timeout(timeout)
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


def _check_timeout(timeout: float) -> None:
    if not 0 < timeout <= _LONGEST_TIMEOUT:
        raise ElasticASTError(f"timeout = {timeout} s: expected a length above 0, at most {_LONGEST_TIMEOUT} s")


def _wav_header(pipe: _Pipe) -> tuple[str, int, int, int | None]:
    """Format, sample rate, number of channels, and number of bytes of samples; None if the header does not say."""
    head, layout = pipe.exactly(12), None
    if not head:
        raise DataError(f"{pipe.name}: empty: it ended before the first byte")
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise DataError(
            f"{pipe.name}: begins with {head[:4]!r}, no WAV file; for raw samples give --format s16le or f32le"
        )
    while len(chunk := pipe.exactly(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"data" and layout:
            return *layout, None if is_placeholder(length) or head[:4] == b"RF64" else length
        if length > _MOST_HEADER:  # samples would be skipped, perhaps for hours
            raise DataError(f"{pipe.name}: damaged: a header of a WAV file with {length} bytes of {name!r}")
        content = pipe.exactly(length + length % 2)
        if name == b"fmt " and len(content) >= 16:
            layout = _wav_layout(pipe.name, content)
    raise DataError(f"{pipe.name}: truncated: it ended within the header of a WAV file")


def _wav_layout(name: str, form: bytes) -> tuple[str, int, int]:
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", form[:16])
    if tag == _EXTENSIBLE and len(form) >= 26:
        (tag,) = struct.unpack("<H", form[24:26])
    if (tag, bits) not in _WAV or not channels:
        raise DataError(
            f"{name}: a WAV file with {channels} channels, samples of {bits} bits and format {tag}: expected 16-bit "
            "integers or 32-bit floats (in ffmpeg: -c:a pcm_s16le)"
        )
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


def microphone(sample_rate: int, *, device: str | int | None = None, timeout: float) -> LiveAudio:
    """Listen to a microphone with the package `sounddevice`.

    Parameters
    ----------
    sample_rate : int
        Sample rate (Hz).
    device : str or int, optional
        Name or number of the device, as in ``python -m sounddevice``. None for the default.
    timeout : float
        Longest time without any samples (s).

    Raises
    ------
    DataError
        If there is no `sounddevice`, or no such microphone. While blocks are read: if no samples come for `timeout`, or
        if samples are lost because they are read too slowly.
    """
    _check_timeout(timeout)
    try:
        import sounddevice
    except ImportError:
        raise DataError("the microphone needs the package sounddevice: pip install 'elasticast[microphone]'") from None
    except OSError as error:  # the package is there, but not the library that it loads
        raise DataError(f"the microphone needs the library PortAudio (Debian: libportaudio2): {error}") from None
    name = "microphone" if device is None else f"microphone {device!r}"
    settings = {"samplerate": sample_rate, "device": device, "channels": 1, "dtype": "float32"}
    try:
        sounddevice.check_input_settings(**settings)
    except (sounddevice.PortAudioError, ValueError) as error:
        raise DataError(f"{name}: cannot record at {sample_rate} Hz: {error}; see python -m sounddevice") from None
    return LiveAudio(name, sample_rate, 1, _recorded(sounddevice, settings, name, timeout))


def _recorded(sounddevice, settings: dict, name: str, timeout: float) -> Iterator[np.ndarray]:
    blocks: queue.Queue[np.ndarray] = queue.Queue(round(_MIC_BEHIND / _MIC_BLOCK))
    lost = False

    def receive(data, frames, time, status) -> None:
        nonlocal lost
        try:
            blocks.put_nowait(data[:, 0].copy())
        except queue.Full:
            lost = True
        lost |= bool(status.input_overflow)

    try:
        stream = sounddevice.InputStream(
            **settings, blocksize=round(_MIC_BLOCK * settings["samplerate"]), callback=receive
        )
        with stream:
            while not lost:
                yield blocks.get(timeout=timeout)
    except queue.Empty:
        raise DataError(f"{name}: no samples for {timeout:g} s: is it still connected?") from None
    except sounddevice.PortAudioError as error:
        raise DataError(f"{name}: {error}") from None
    raise DataError(f"{name}: samples were lost: computing takes longer than the audio; use longer chunks or hops")


def checked(blocks: Iterable[np.ndarray | Tensor], sample_rate: int, longest_silence: float) -> Iterator[Tensor]:
    """Mono blocks `[samples]`, float32 with a resolution of 16 bit, as `elasticast prepare` stores samples.

    Parameters
    ----------
    blocks : iterable
        Blocks `[samples]` or `[channels, samples]`, int16 or floats with full scale 1. Channels are averaged.
    sample_rate : int
        Sample rate (Hz).
    longest_silence : float
        Longest time in which all samples are equal (s).

    Raises
    ------
    DataError
        If the blocks are no audio, or silent for longer. The message says when.
    """
    level, silence = Level(), _Silence()
    for block in blocks:
        try:
            mono = _mono(block)
            level.add(mono)
        except UnusableAudioError as error:
            raise DataError(f"stream, after {level.samples / sample_rate:.2f} s: {error}") from None
        if silence.after(mono) > longest_silence * sample_rate:
            raise DataError(
                f"stream, after {level.samples / sample_rate:.2f} s: silent: all samples of the last "
                f"{longest_silence:g} s are equal; is the source muted? (--silence allows more)"
            )
        yield quantised(torch.from_numpy(mono)) * INT16_STEP
    try:
        if not level.samples:
            raise UnusableAudioError("empty: it ended before the first sample")
        level.check()
    except UnusableAudioError as error:
        raise DataError(f"stream, after {level.samples / sample_rate:.2f} s: {error}") from None


def _mono(block: np.ndarray | Tensor) -> np.ndarray:
    if isinstance(block, Tensor):
        block = block.detach().cpu()
        block = (block.float() if block.is_floating_point() else block).numpy()
    if not isinstance(block, np.ndarray) or block.ndim not in (1, 2):
        shape = getattr(block, "shape", type(block).__name__)
        raise UnusableAudioError(f"expected blocks [samples] or [channels, samples], got {shape}")
    if block.dtype.kind != "f" and block.dtype != np.int16:
        raise UnusableAudioError(f"expected blocks of floats with full scale 1 or of int16, got {block.dtype}")
    return to_mono(np.atleast_2d(block).T)


class _Silence:
    """The length of the silence with which a stream ends so far."""

    def __init__(self):
        self.samples, self.low, self.high = 0, math.inf, -math.inf

    def after(self, mono: np.ndarray) -> int:
        """Number of equal samples at the end, after another block. It counts whole blocks."""
        if len(mono):
            self.low, self.high = min(self.low, float(mono.min())), max(self.high, float(mono.max()))
            self.samples += len(mono)
            if self.high - self.low >= INT16_STEP:
                self.samples, self.low, self.high = 0, math.inf, -math.inf
        return self.samples
