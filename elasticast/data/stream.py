"""Stream a file or waveform of any sample rate, channels and length as mono blocks at the model's sample rate.

The samples equal those that `elasticast prepare` stores (averaged channels, the same resampling filter, 16 bit), so a
model gets the same kind of input in training and in use. Only one block is in memory at a time.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from elasticast.data.audio import MIN_SECONDS, RATES, open_recording, quantised, ratio, resampled, to_mono
from elasticast.data.level import INT16_STEP, MIN_INT32, Level
from elasticast.data.recordings import BLOCK, UnusableAudioError
from elasticast.errors import ElasticASTError

Audio = str | Path | np.ndarray | Tensor
"""A file, or a waveform `[samples]` or `[channels, samples]`."""
MAX_CHANNELS = 256
"""Maximum number of channels. An array with more rows is taken to be transposed."""
FULL_SCALE = {"int8": 1 << 7, "uint8": 1 << 7, "int16": 1 << 15, "int32": 1 << 31}
"""Full scale of waveforms of integers. Other integers hold samples of another width, and nothing says of which."""


@dataclass(frozen=True)
class AudioSource:
    """Audio that can be read in blocks any number of times.

    Attributes
    ----------
    sample_rate : int
        Sample rate (Hz).
    length : int
        Samples per channel.
    read : callable
        Returns an iterator over blocks ``[samples, channels]`` of at most `BLOCK` samples, int16 or float32 in [-1, 1].
    """

    sample_rate: int
    length: int
    read: Callable[[], Iterator[np.ndarray]]

    def __post_init__(self):
        if self.length == 0:
            raise UnusableAudioError("empty")
        if self.length < MIN_SECONDS * self.sample_rate:
            raise UnusableAudioError(f"too short (< {MIN_SECONDS * 1000:.0f} ms)")

    @property
    def seconds(self) -> float:
        """Length in s."""
        return self.length / self.sample_rate

    def samples(self, rate: int) -> int:
        """Length in samples after resampling to `rate` (Hz)."""
        old, new = ratio(self.sample_rate, rate)
        return -(-self.length * new // old)

    def blocks(self, rate: int) -> Iterator[Tensor]:
        """Read mono blocks ``[samples]`` at `rate` (Hz), float32 with a resolution of 16 bit.

        Raises
        ------
        UnusableAudioError
            If the audio has fewer samples than expected, or its samples are refused by
            `elasticast.data.level.Level`, as `elasticast prepare` does.
        """
        for block in resampled(self._mono(), self.sample_rate, rate):
            yield quantised(block) * INT16_STEP

    def _mono(self) -> Iterator[Tensor]:
        level = Level()
        for block in self.read():
            mono = to_mono(block)
            level.add(mono)
            yield torch.from_numpy(mono)
        if level.samples < self.length:
            raise UnusableAudioError("truncated")
        level.check()


def open_source(audio: Audio, sample_rate: int | None) -> AudioSource:
    """Open a file, or a waveform with `sample_rate` (Hz); see :func:`file_source` and :func:`waveform_source`."""
    if isinstance(audio, str | Path):
        return file_source(Path(audio))
    if not isinstance(audio, Audio):
        raise UnusableAudioError(f"expected a path, an array or a tensor, got {type(audio).__name__}")
    if sample_rate is None:
        raise ElasticASTError("sample_rate: required for waveforms; pass their sample rate in Hz")
    return waveform_source(audio, int(sample_rate))


def file_source(path: Path) -> AudioSource:
    """Open an audio file. Only its header is read, except if the file needs ffmpeg: then all samples are counted.

    Raises
    ------
    UnusableAudioError
        The message is the reason: one of those of :func:`~elasticast.data.audio.open_recording`, or truncated, damaged,
        empty, too short.
    """
    with open_recording(path) as recording:
        length = recording.frames
        if length == math.inf:
            length = sum(map(len, recording.blocks(0, math.inf)))
        return AudioSource(recording.rate, int(length), lambda: _read_file(path, length))


def _read_file(path: Path, length: int) -> Iterator[np.ndarray]:
    with open_recording(path) as recording:
        yield from recording.blocks(0, length)


def waveform_source(waveform: np.ndarray | Tensor, sample_rate: int) -> AudioSource:
    """Use a waveform in memory, ``[samples]`` or ``[channels, samples]``.

    Float samples are used as they are (full scale is 1). Integers are divided by their full scale, see
    :data:`FULL_SCALE`.

    Raises
    ------
    UnusableAudioError
        If the shape, the type or the sample rate is not that of a waveform, if the full scale of integers is unclear,
        or if the waveform is too short.
    """
    rows = _rows(waveform)
    if not RATES[0] <= sample_rate <= RATES[1]:
        raise UnusableAudioError(f"unlikely sample rate ({sample_rate} Hz)")
    starts = range(0, rows.shape[1], BLOCK)
    return AudioSource(sample_rate, rows.shape[1], lambda: (_scaled(rows[:, i : i + BLOCK]).T for i in starts))


def _rows(waveform: np.ndarray | Tensor) -> np.ndarray:
    """The waveform as an array ``[channels, samples]``, if it is one."""
    if isinstance(waveform, Tensor):
        waveform = _array(waveform)
    if waveform.ndim not in (1, 2):
        raise UnusableAudioError(f"expected [samples] or [channels, samples], got the shape {waveform.shape}")
    rows, kind = np.atleast_2d(waveform), waveform.dtype
    if kind.kind != "f" and kind.name not in FULL_SCALE:
        raise UnusableAudioError(f"expected floats with full scale 1, or {', '.join(FULL_SCALE)}, got {kind}")
    if not rows.size:
        raise UnusableAudioError("empty")
    if rows.shape[0] > min(MAX_CHANNELS, rows.shape[1]):
        raise UnusableAudioError(f"expected [channels, samples], got the shape {waveform.shape}: transpose it")
    if kind.name == "int32" and 0 < (peak := max(-int(rows.min()), int(rows.max()))) < MIN_INT32:
        raise UnusableAudioError(
            f"int32 with a peak of {peak}: these may be 16- or 24-bit samples; divide by their full scale to get floats"
        )
    return rows


def _array(waveform: Tensor) -> np.ndarray:
    try:
        waveform = waveform.detach().cpu()
        return (waveform.float() if waveform.dtype == torch.bfloat16 else waveform).numpy()
    except (TypeError, RuntimeError):
        kind = f"{waveform.dtype}, {waveform.layout}"
        raise UnusableAudioError(f"expected a dense tensor of floats or integers, got {kind}") from None


def _scaled(block: np.ndarray) -> np.ndarray:
    """Convert to float32 with full scale 1. For uint8, zero is the middle of the range, as in 8-bit wav files."""
    if block.dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinite samples are refused later
            return block.astype(np.float32)
    full = FULL_SCALE[block.dtype.name]
    return ((block.astype(np.float64) - (full if block.dtype.kind == "u" else 0)) / full).astype(np.float32)


def spans(blocks: Iterable[Tensor], starts: Sequence[int], length: int) -> Iterator[Tensor]:
    """Cut spans, which may overlap, out of a stream. Only one span and one block are in memory at a time.

    The stream is read to its end, so that damage after the last span is detected, too.

    Parameters
    ----------
    blocks : iterable of Tensor
        The stream, ``[samples]`` in blocks.
    starts : sequence of int
        First sample of each span, ascending.
    length : int
        Samples per span.

    Raises
    ------
    UnusableAudioError
        If the stream ends before the last span does.
    """
    blocks, buffer, first = iter(blocks), torch.empty(0), 0
    for start in starts:
        while first + len(buffer) < start + length:
            block = next(blocks, None)
            if block is None:
                raise UnusableAudioError("truncated")
            buffer = torch.cat([buffer, block])
            discarded = min(start - first, len(buffer))
            buffer, first = buffer[discarded:], first + discarded
        buffer, first = buffer[start - first :], start
        yield buffer[:length]
    for _ in blocks:
        pass
