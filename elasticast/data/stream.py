"""Audio as a stream: a file or waveform of any rate, channels and length, in blocks of one channel at the model's rate.

The samples are those that `elasticast prepare` would store (channels averaged, the same resampling filter, 16 bit),
so that a model meets in use what it met in training, but never more than a block of them is held.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
import torchaudio
from torch import Tensor

from elasticast.data.audio import MOST_FRAMES, SHORTEST_SECONDS, UnusableAudioError, check_file
from elasticast.errors import ElasticASTError

Audio = str | Path | np.ndarray | Tensor
"""A file, or a waveform `[samples]` or `[channels, samples]`."""
BLOCK = 1 << 16
"""Samples a channel that are read at once."""
LARGEST_TERM = 1000
"""Largest number in a resampling ratio; its filter bank holds about that number squared."""
MOST_CHANNELS = 256
"""More rows than this are no channels: the array lies the wrong way round."""


@dataclass(frozen=True)
class Source:
    """Audio that can be read in blocks, as often as wanted.

    Attributes
    ----------
    sample_rate : int
        Hz.
    length : int
        Samples a channel.
    read : callable
        Gives blocks, float32 ``[samples, channels]`` in [-1, 1], of at most :data:`BLOCK` samples.
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
        for block in _resampled(self._mono(), *ratio(self.sample_rate, rate)):
            yield (block * 32768).round().clamp(-32768, 32767) / 32768

    def _mono(self) -> Iterator[Tensor]:
        read = 0
        for block in self.read():
            read += len(block)
            if not np.isfinite(block).all():
                raise UnusableAudioError("non-finite samples")
            yield torch.from_numpy(block.mean(axis=1, dtype=np.float32))
        if read < self.length:
            raise UnusableAudioError("truncated")


def open_source(audio: Audio, sample_rate: int | None) -> Source:
    """A file, or a waveform of `sample_rate` (Hz), as a source; see :func:`file_source`, :func:`waveform_source`."""
    if isinstance(audio, str | Path):
        return file_source(Path(audio))
    if not isinstance(audio, Audio):
        raise UnusableAudioError(f"expected a path, an array or a tensor, got {type(audio).__name__}")
    if sample_rate is None:
        raise ElasticASTError("sample_rate: say which rate the waveforms have (Hz)")
    return waveform_source(audio, int(sample_rate))


def file_source(path: Path) -> Source:
    """Open an audio file; only its header is read.

    Raises
    ------
    UnusableAudioError
        With the reason: missing, unreadable, empty, not audio, truncated, length unknown, too short.
    """
    check_file(path)
    try:
        about = sf.info(path)
    except sf.LibsndfileError:
        raise UnusableAudioError("not audio") from None
    if about.frames > MOST_FRAMES:
        raise UnusableAudioError("length unknown")
    return Source(about.samplerate, about.frames, lambda: _read_file(path))


def _read_file(path: Path) -> Iterator[np.ndarray]:
    try:
        with sf.SoundFile(path) as file:
            while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                yield block
    except sf.LibsndfileError:
        raise UnusableAudioError("truncated") from None


def waveform_source(waveform: np.ndarray | Tensor, sample_rate: int) -> Source:
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
    return Source(sample_rate, rows.shape[1], lambda: (_scaled(rows[:, i : i + BLOCK]).T for i in starts))


def _scaled(block: np.ndarray) -> np.ndarray:
    """Float32 in [-1, 1]; of unsigned integers the middle of the range is zero, as in 8-bit wav files."""
    if block.dtype.kind == "f":
        return block.astype(np.float32)
    half = 2.0 ** (8 * block.dtype.itemsize - 1)
    return ((block.astype(np.float64) - (half if block.dtype.kind == "u" else 0.0)) / half).astype(np.float32)


@cache
def ratio(old: int, new: int) -> tuple[int, int]:
    """Two rates (Hz) as a ratio of whole numbers.

    Common rates are exact. A filter bank for 11,127 to 16,000 Hz would take gigabytes; of such rates the nearest
    ratio of numbers up to :data:`LARGEST_TERM` is taken, which moves pitch and time by less than 0.01 %.
    """
    exact = Fraction(old, new)
    if max(exact.as_integer_ratio()) <= LARGEST_TERM:
        return exact.as_integer_ratio()
    if exact < 1:
        return exact.limit_denominator(LARGEST_TERM).as_integer_ratio()
    return (1 / (1 / exact).limit_denominator(LARGEST_TERM)).as_integer_ratio()


@cache
def _resampler(old: int, new: int) -> torchaudio.transforms.Resample:
    """The filter of `elasticast.data.audio`, one a ratio."""
    return torchaudio.transforms.Resample(old, new)


def _resampled(blocks: Iterable[Tensor], old: int, new: int) -> Iterator[Tensor]:
    """Resample a stream; the same as resampling it whole, because each block is filtered with its neighbours' edges.

    The filter makes `new` samples out of each group of `old` and looks at `width` samples on either side.
    """
    if old == new:
        yield from blocks
        return
    resample = _resampler(old, new)
    edge_groups = -(-resample.width // old)
    edge, skip = edge_groups * old, edge_groups * new
    held = torch.zeros(edge)  # before its begin a clip is silent
    for block in blocks:
        held = torch.cat([held, block])
        groups = (len(held) - 2 * edge) // old
        if groups > 0:
            yield resample(held[: groups * old + 2 * edge])[skip : skip + groups * new]
            held = held[groups * old :]
    left = -(-(len(held) - edge) * new // old)
    yield resample(torch.cat([held, torch.zeros(edge + old)]))[skip : skip + left]


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
