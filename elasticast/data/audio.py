"""Decoding: any audio, or a span of it, to mono int16 at the rate asked for, or the reason why not."""

import itertools
import math
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torchaudio
from torch import Tensor

from elasticast.data.ffmpeg import NEED_FFMPEG, FfmpegTrack
from elasticast.data.recordings import BLOCK, Hdf5Dataset, NotReadableError, Recording, SoundFile, UnusableAudioError

SHORTEST_SECONDS = 0.025  # one analysis window
SPAN_TOLERANCE_SECONDS = 0.001  # annotations are often rounded to milliseconds
RATES = (100, 10_000_000)  # Hz; another rate is a damaged header
STEP = 1 / 32768  # of 16-bit samples, whose full scale is 1
LOUDEST = 100.0  # floats beyond this were never scaled to [-1, 1]
LARGEST_TERM = 1000
"""Largest number in a resampling ratio; its filter bank holds about that number squared."""


class Clip(NamedTuple):
    """A decoded clip: int16 ``[samples]`` at `rate` (Hz), and rate (Hz) and channels of its file."""

    samples: np.ndarray
    rate: int
    sample_rate: int
    channels: int

    @property
    def seconds(self) -> float:
        """Length in s."""
        return len(self.samples) / self.rate


def decode(
    path: Path,
    *,
    rate: int,
    key: str = "",
    start: float = 0.0,
    duration: float = math.nan,
    longest: float = math.nan,
    trim: bool = False,
) -> Clip:
    """Decode a file or a span of it; channels are averaged.

    Parameters
    ----------
    rate : int
        Sample rate of the clip (Hz).
    key : str
        Name of the dataset in an HDF5 file; ``""``: `path` is an audio file.
    start : float
        Begin of the span (s).
    duration : float
        Length of the span (s); NaN: to the end of the file.
    longest : float
        The file, or the span, must not be longer (s); NaN: any length.
    trim : bool
        Cut digital silence (zeros in 16 bit) at begin and end.

    Raises
    ------
    UnusableAudioError
        With the reason: those of :func:`open_recording`; truncated, damaged, ffmpeg hangs, span outside the file,
        longer than its segment, empty, non-finite samples, samples not scaled to [-1, 1], silent, too short.
    """
    with open_recording(path, key, rate) as recording:
        mono = _read_span(recording, start, duration, longest)
        old, channels = recording.rate, recording.channels
    _check_samples(mono)
    if trim:
        heard = np.flatnonzero(np.abs(mono) > STEP / 2)
        mono = mono[heard[0] : heard[-1] + 1] if len(heard) else mono[:0]
    if len(mono) < SHORTEST_SECONDS * old:
        raise UnusableAudioError(f"too short (< {SHORTEST_SECONDS * 1000:.0f} ms)")
    blocks = resampled(torch.from_numpy(mono).split(BLOCK), old, rate)
    samples = torch.cat([quantised(block).to(torch.int16) for block in blocks])
    return Clip(samples.numpy(), rate, old, channels)


def _read_span(recording: Recording, start: float, duration: float, longest: float) -> np.ndarray:
    """One channel of a span, float32 ``[samples]``."""
    rate, frames = recording.rate, recording.frames
    if not frames:
        raise UnusableAudioError("empty")
    stop = frames / rate if math.isnan(duration) else start + duration
    if not -SPAN_TOLERANCE_SECONDS <= start < stop <= frames / rate + SPAN_TOLERANCE_SECONDS:
        raise UnusableAudioError("span outside the file")
    begin, end = max(0, round(start * rate)), frames if math.isnan(duration) else min(round(stop * rate), frames)
    if end < math.inf:
        _check_length((end - begin) / rate, longest)
    mono = np.concatenate([np.empty(0, np.float32), *map(mixed, recording.blocks(begin, end))])
    if frames == math.inf:  # only now its length is known
        fewest = min(begin, 1) if end == math.inf else end - begin - SPAN_TOLERANCE_SECONDS * rate
        if len(mono) < fewest:
            raise UnusableAudioError("span outside the file")
        _check_length(len(mono) / rate, longest)
    return mono


def _check_length(seconds: float, longest: float) -> None:
    if seconds > longest + SPAN_TOLERANCE_SECONDS:
        raise UnusableAudioError(f"longer than its segment ({round(seconds, 3)} s of {round(longest, 3)} s)")


def _check_samples(mono: np.ndarray) -> None:
    if not len(mono):
        raise UnusableAudioError("empty")
    low, high = mono.min(), mono.max()  # NaN if there is one
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UnusableAudioError("non-finite samples")
    if max(-low, high) > LOUDEST:
        raise UnusableAudioError("samples not scaled to [-1, 1]")
    if high - low < STEP:
        raise UnusableAudioError("silent")


def open_recording(path: Path, key: str = "", rate: int = 0) -> Recording:
    """Open an audio file, or the dataset `key` of an HDF5 file; nothing is decoded yet.

    Parameters
    ----------
    rate : int
        Sample rate (Hz) of an HDF5 file that does not tell it.

    Raises
    ------
    UnusableAudioError
        With the reason: missing, not a file, unreadable, empty, not audio, truncated, length unknown, no such key, not
        HDF5, unlikely sample rate; of what only ffmpeg can read: needs ffmpeg, no audio track.
    """
    status = _status(path)
    recording = Hdf5Dataset(path, key, rate, status) if key else _open_file(path, status.st_size)
    if not RATES[0] <= recording.rate <= RATES[1]:
        recording.close()
        raise UnusableAudioError(f"unlikely sample rate ({recording.rate} Hz)")
    return recording


def _status(path: Path) -> os.stat_result:
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UnusableAudioError("missing") from None
    except OSError:
        raise UnusableAudioError("unreadable") from None
    if not stat.S_ISREG(status.st_mode):
        raise UnusableAudioError("not a file")  # to open a pipe would wait for its writer
    if status.st_size == 0:
        raise UnusableAudioError("empty")
    return status


def _open_file(path: Path, size: int) -> Recording:
    try:
        return SoundFile(path, size)
    except NotReadableError as error:
        if shutil.which("ffmpeg") is not None:
            return FfmpegTrack(path)
        raise UnusableAudioError("needs ffmpeg" if path.suffix.lower() in NEED_FFMPEG else str(error)) from None


def mixed(block: np.ndarray) -> np.ndarray:
    """The mean of the channels of int16 or float ``[samples, channels]``, float32 ``[samples]`` with full scale 1."""
    total = block[:, 0].astype(np.float32)
    for channel in block.T[1:]:  # ten times as fast as `mean`, which adds row by row
        total += channel
    total /= block.shape[1] * (1.0 if block.dtype.kind == "f" else 1 / STEP)
    return total


def quantised(block: Tensor) -> Tensor:
    """The nearest 16-bit values, -32768 to 32767, as floats."""
    return (block / STEP).round_().clamp_(-32768, 32767)


# ---------------------------------------------------------------------------------------------
# Resampling
# ---------------------------------------------------------------------------------------------


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
    """One a ratio: its filter is computed once."""
    return torchaudio.transforms.Resample(old, new)


def resampled(blocks: Iterable[Tensor], old_rate: int, new_rate: int) -> Iterator[Tensor]:
    """Resample a stream, ``[samples]`` in blocks of any lengths.

    The same as resampling it whole, because each block is filtered with its neighbours' edges: the filter makes `new`
    samples out of each group of `old` and looks at `width` samples on either side.
    """
    old, new = ratio(old_rate, new_rate)
    if old == new:
        yield from blocks
        return
    resample = _resampler(old, new)
    edge_groups = -(-resample.width // old)
    edge, skip = edge_groups * old, edge_groups * new
    held, length, given = torch.zeros(edge), 0, 0  # before its begin a clip is silent
    for block, following in itertools.pairwise(itertools.chain(blocks, [None])):
        length += len(block)
        held = torch.cat([held, block] if following is not None else [held, block, torch.zeros(edge + old)])
        groups = (len(held) - 2 * edge) // old
        if groups > 0:
            made = resample(held[: groups * old + 2 * edge])[skip : skip + groups * new]
            yield made[: -(-length * new // old) - given]
            held, given = held[groups * old :], given + groups * new
