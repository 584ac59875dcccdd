"""Audio as a stream: a file or waveform of any rate, channels and length, in blocks of one channel at the model's rate.

The samples are those that `elasticast prepare` would store (channels averaged, the same resampling filter, 16 bit),
so that a model meets in use what it met in training, but never more than a block of them is held.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from elasticast.data.audio import SHORTEST_SECONDS, STEP, mixed, open_recording, quantised, ratio, resampled
from elasticast.data.recordings import BLOCK, UnusableAudioError
from elasticast.errors import ElasticASTError

Audio = str | Path | np.ndarray | Tensor
"""A file, or a waveform `[samples]` or `[channels, samples]`."""
MOST_CHANNELS = 256
"""More rows than this are no channels: the array lies the wrong way round."""


@dataclass(frozen=True)
class AudioSource:
    """Audio that can be read in blocks, as often as wanted.

    Attributes
    ----------
    sample_rate : int
        Hz.
    length : int
        Samples a channel.
    read : callable
        Gives blocks ``[samples, channels]``, int16 or float32 in [-1, 1], of at most `BLOCK` samples.
    """

    sample_rate: int
    length: int
    read: Callable[[], Iterator[np.ndarray]]

    def __post_init__(self):
        if self.length == 0:
            raise UnusableAudioError("empty")
        if self.length < SHORTEST_SECONDS * self.sample_rate:
            raise UnusableAudioError(f"too short (< {SHORTEST_SECONDS * 1000:.0f} ms)")

    @property
    def seconds(self) -> float:
        """Length in s."""
        return self.length / self.sample_rate

    def samples(self, rate: int) -> int:
        """Samples at another rate (Hz)."""
        old, new = ratio(self.sample_rate, rate)
        return -(-self.length * new // old)

    def blocks(self, rate: int) -> Iterator[Tensor]:
        """Blocks of float32 ``[samples]`` at `rate` (Hz), of 16 bit resolution.

        Raises
        ------
        UnusableAudioError
            If there are fewer samples than announced, or some are not finite.
        """
        for block in resampled(self._mono(), self.sample_rate, rate):
            yield quantised(block) * STEP

    def _mono(self) -> Iterator[Tensor]:
        read = 0
        for block in self.read():
            read += len(block)
            mono = mixed(block)
            if not np.isfinite(mono).all():
                raise UnusableAudioError("non-finite samples")
            yield torch.from_numpy(mono)
        if read < self.length:
            raise UnusableAudioError("truncated")


def open_source(audio: Audio, sample_rate: int | None) -> AudioSource:
    """A file, or a waveform of `sample_rate` (Hz), as a source; see :func:`file_source`, :func:`waveform_source`."""
    if isinstance(audio, str | Path):
        return file_source(Path(audio))
    if not isinstance(audio, Audio):
        raise UnusableAudioError(f"expected a path, an array or a tensor, got {type(audio).__name__}")
    if sample_rate is None:
        raise ElasticASTError("sample_rate: say which rate the waveforms have (Hz)")
    return waveform_source(audio, int(sample_rate))


def file_source(path: Path) -> AudioSource:
    """Open an audio file; only its header is read, unless it needs ffmpeg: then its samples are counted.

    Raises
    ------
    UnusableAudioError
        With the reason, see `elasticast.data.audio.open_recording`; truncated, damaged, too short.
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
    """A waveform in memory, ``[samples]`` or ``[channels, samples]``.

    Floats are taken as they are (full scale is 1), integers are divided by their full scale.

    Raises
    ------
    UnusableAudioError
        If the shape or the type is no waveform's, or it is too short.
    """
    if isinstance(waveform, Tensor):
        waveform = waveform.detach().cpu()
        waveform = (waveform.float() if waveform.dtype == torch.bfloat16 else waveform).numpy()
    if waveform.ndim not in (1, 2):
        raise UnusableAudioError(f"expected [samples] or [channels, samples], got the shape {waveform.shape}")
    rows = np.atleast_2d(waveform)
    if rows.shape[0] > min(MOST_CHANNELS, rows.shape[1]) and rows.size:
        raise UnusableAudioError(f"expected [channels, samples], got the shape {waveform.shape}: transpose it")
    if rows.dtype.kind not in "fiu":
        raise UnusableAudioError(f"expected floats or integers, got {rows.dtype}")
    starts = range(0, rows.shape[1], BLOCK)
    return AudioSource(sample_rate, rows.shape[1], lambda: (_scaled(rows[:, i : i + BLOCK]).T for i in starts))


def _scaled(block: np.ndarray) -> np.ndarray:
    """Float32 in [-1, 1]; of unsigned integers the middle of the range is zero, as in 8-bit wav files."""
    if block.dtype.kind == "f":
        return block.astype(np.float32)
    half = 2.0 ** (8 * block.dtype.itemsize - 1)
    return ((block.astype(np.float64) - (half if block.dtype.kind == "u" else 0.0)) / half).astype(np.float32)


def spans(blocks: Iterable[Tensor], starts: Sequence[int], length: int) -> Iterator[Tensor]:
    """Cut spans of `length` samples, which may overlap, out of a stream; holds one span and one block.

    Parameters
    ----------
    starts : sequence of int
        First sample of each span, ascending.
    """
    blocks, held, first = iter(blocks), torch.empty(0), 0
    for start in starts:
        while first + len(held) < start + length:
            block = next(blocks, None)
            if block is None:
                raise UnusableAudioError("truncated")
            held = torch.cat([held, block])
            passed = min(start - first, len(held))
            held, first = held[passed:], first + passed
        held, first = held[start - first :], start
        yield held[:length]
