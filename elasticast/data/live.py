"""Live audio: samples of a microphone, in blocks, and the checks of every stream; pipes: `elasticast.data.pipes`.

Nothing waits for ever: a source that gives no samples for `timeout` seconds is an error.
"""

import math
import queue
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from elasticast.data.audio import MIN_SECONDS, quantised, to_mono
from elasticast.data.level import INT16_STEP, Level
from elasticast.data.recordings import UnusableAudioError
from elasticast.data.stream import MAX_CHANNELS
from elasticast.errors import DataError, ElasticASTError

_LEVEL_AFTER = 10.0  # s; a shorter stream may begin with a loud sound
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


def check_timeout(timeout: float) -> None:
    """Raise an `ElasticASTError` unless a time without samples (s) is above 0, and at most a day."""
    if not 0 < timeout <= _LONGEST_TIMEOUT:
        raise ElasticASTError(f"timeout = {timeout} s: expected a length above 0, at most {_LONGEST_TIMEOUT} s")


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
    check_timeout(timeout)
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
            if level.samples > _LEVEL_AFTER * sample_rate:
                level.check()
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
        if level.samples < MIN_SECONDS * sample_rate:
            raise UnusableAudioError(f"too short (< {MIN_SECONDS * 1000:.0f} ms)")
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
    rows = np.atleast_2d(block)
    if rows.size and len(rows) > min(MAX_CHANNELS, rows.shape[1]):
        raise UnusableAudioError(f"expected blocks [channels, samples], got {block.shape}: transpose them")
    return to_mono(rows.T)


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
