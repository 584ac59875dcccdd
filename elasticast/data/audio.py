"""Decode an audio file, or a span of it, to mono int16 at a given sample rate."""

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

from elasticast.data.containers.content import Content, recognise
from elasticast.data.containers.extent import FileBytes
from elasticast.data.ffmpeg import FfmpegTrack
from elasticast.data.level import INT16_STEP, Level
from elasticast.data.recordings import BLOCK, Hdf5Dataset, NotReadableError, Recording, SoundFile, UnusableAudioError
from elasticast.faults import raise_if_passing

MIN_SECONDS = 0.025  # one analysis window
SPAN_TOLERANCE_SECONDS = 0.001  # annotations are often rounded to milliseconds
RATES = (100, 10_000_000)  # Hz; a rate outside this range means a damaged header
LARGEST_TERM = 1000
"""Largest numerator or denominator of a resampling ratio. The filter bank has about the square of it in values."""


class Clip(NamedTuple):
    """A decoded clip.

    Attributes
    ----------
    samples : ndarray
        int16 ``[samples]``.
    rate : int
        Sample rate of `samples` (Hz).
    sample_rate : int
        Sample rate of the file (Hz).
    channels : int
        Number of channels of the file.
    """

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
    """Decode a file or a span of it. Channels are averaged.

    Parameters
    ----------
    rate : int
        Sample rate of the clip (Hz).
    key : str
        Name of the dataset if `path` is an HDF5 file, ``""`` if it is an audio file.
    start : float
        Start of the span (s).
    duration : float
        Length of the span (s). NaN means up to the end of the file.
    longest : float
        Maximum length of the file or the span (s). NaN means no limit.
    trim : bool
        Remove digital silence (samples that are zero in 16 bit) from both ends.

    Raises
    ------
    UnusableAudioError
        The message is the reason: one of those of :func:`open_recording`, or truncated, damaged, ffmpeg hangs, span
        outside the file, longer than its segment, empty, non-finite samples, samples not scaled to [-1, 1], silent,
        too short.
    """
    with open_recording(path, key, rate) as recording:
        mono, sound = _read_span(recording, start, duration, longest)
        file_rate, channels = recording.rate, recording.channels
    _check_duration(mono, file_rate)
    _check_samples(mono, sound)
    if trim:
        nonzero = np.flatnonzero(np.abs(mono) > INT16_STEP / 2)
        mono = mono[nonzero[0] : nonzero[-1] + 1] if len(nonzero) else mono[:0]
        _check_duration(mono, file_rate)
    blocks = resampled(torch.from_numpy(mono).split(BLOCK), file_rate, rate)
    samples = torch.cat([quantised(block).to(torch.int16) for block in blocks])
    return Clip(samples.numpy(), rate, file_rate, channels)


def _read_span(recording: Recording, start: float, duration: float, longest: float) -> tuple[np.ndarray, bool]:
    """Read a span and average its channels. Returns float32 ``[samples]``, and whether any channel has sound."""
    rate, frames = recording.rate, recording.frames
    if not frames:
        raise UnusableAudioError("empty")
    stop = frames / rate if math.isnan(duration) else start + duration
    if not -SPAN_TOLERANCE_SECONDS <= start < stop <= frames / rate + SPAN_TOLERANCE_SECONDS:
        raise UnusableAudioError("span outside the file")
    begin, end = max(0, round(start * rate)), frames if math.isnan(duration) else min(round(stop * rate), frames)
    if end < math.inf:
        _check_length((end - begin) / rate, longest)
    parts, sound = [np.empty(0, np.float32)], False
    for block in recording.blocks(begin, end):
        parts.append(to_mono(block))
        sound = sound or (len(block) > 0 and _has_sound(block))
    mono = np.concatenate(parts)
    if frames == math.inf:  # the length is only known after decoding
        required = min(begin, 1) if end == math.inf else end - begin - SPAN_TOLERANCE_SECONDS * rate
        if len(mono) < required:
            raise UnusableAudioError("span outside the file")
        _check_length(len(mono) / rate, longest)
    return mono, sound


def _has_sound(block: np.ndarray) -> bool:
    """Whether the samples of a channel differ by more than a step of 16 bit."""
    with np.errstate(invalid="ignore"):  # samples that are not finite are refused later
        spans = block.max(axis=0).astype(np.float64) - block.min(axis=0)
    return bool(spans.max() > (INT16_STEP if block.dtype.kind == "f" else 1))


def _check_length(seconds: float, longest: float) -> None:
    if seconds > longest + SPAN_TOLERANCE_SECONDS:
        raise UnusableAudioError(f"longer than its segment ({round(seconds, 3)} s of {round(longest, 3)} s)")


def _check_duration(mono: np.ndarray, rate: int) -> None:
    if not len(mono):
        raise UnusableAudioError("empty")
    if len(mono) < MIN_SECONDS * rate:
        raise UnusableAudioError(f"too short (< {MIN_SECONDS * 1000:.0f} ms)")


def _check_samples(mono: np.ndarray, sound: bool) -> None:
    level = Level()
    level.add(mono)
    level.check()
    if level.silent:
        raise UnusableAudioError("silent (the channels cancel each other)" if sound else "silent")


def open_recording(path: Path, key: str = "", rate: int = 0) -> Recording:
    """Open an audio file, or the dataset `key` of an HDF5 file, without decoding it.

    Parameters
    ----------
    path : Path
        The file.
    key : str
        Name of the dataset if `path` is an HDF5 file, ``""`` if it is an audio file.
    rate : int
        Sample rate (Hz) to assume if an HDF5 file does not specify one.

    Raises
    ------
    UnusableAudioError
        The message is the reason: missing, not a file, unreadable, empty, not audio, truncated, length unknown, several
        recordings in one file, data after the end of the samples, no such key, not HDF5, damaged, unlikely sample rate.
        For files that only ffmpeg can read also: needs ffmpeg, no audio track.
    """
    status = _status(path)
    recording = Hdf5Dataset(path, key, rate, status) if key else _open_file(path, status)
    if not RATES[0] <= recording.rate <= RATES[1]:
        recording.close()
        raise UnusableAudioError(f"unlikely sample rate ({recording.rate} Hz)")
    return recording


def _status(path: Path) -> os.stat_result:
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UnusableAudioError("missing") from None
    except OSError as error:
        raise_if_passing(error, path)
        raise UnusableAudioError("unreadable") from None
    if not stat.S_ISREG(status.st_mode):
        raise UnusableAudioError("not a file")  # opening a pipe would block until something writes to it
    if status.st_size == 0:
        raise UnusableAudioError("empty")
    return status


def _open_file(path: Path, status: os.stat_result) -> Recording:
    try:
        return SoundFile(path, status)
    except NotReadableError as error:
        content = _content(path, status.st_size)
        if content is not None and not content.audio:
            raise UnusableAudioError(f"not audio ({content.name})") from None
        if shutil.which("ffmpeg") is not None:
            return _ffmpeg_track(path, content)
        if str(error) == "not audio":
            error = f"needs ffmpeg ({content.name})" if content else "not audio (unknown format)"
        raise UnusableAudioError(str(error)) from None


def _ffmpeg_track(path: Path, content: Content | None) -> FfmpegTrack:
    try:
        return FfmpegTrack(path)
    except UnusableAudioError as error:
        if content is None or str(error) != "not audio":
            raise
        raise UnusableAudioError(f"damaged, or of an unknown coding ({content.name})") from None


def _content(path: Path, size: int) -> Content | None:
    with open(path, "rb") as file:
        return recognise(FileBytes(file.fileno(), size))


def to_mono(block: np.ndarray) -> np.ndarray:
    """Average the channels of int16 or float ``[samples, channels]`` to float32 ``[samples]`` with full scale 1."""
    total = block[:, 0].astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):  # samples that are not finite are refused later
        for channel in block.T[1:]:  # ten times faster than `mean`, which adds row by row
            total += channel
        total /= block.shape[1] * (1.0 if block.dtype.kind == "f" else 1 / INT16_STEP)
    return total


def quantised(block: Tensor) -> Tensor:
    """Round samples with full scale 1 to 16-bit values, -32768 to 32767, as floats."""
    return (block / INT16_STEP).round_().clamp_(-32768, 32767)


# ---------------------------------------------------------------------------------------------
# Resampling
# ---------------------------------------------------------------------------------------------


@cache
def ratio(old: int, new: int) -> tuple[int, int]:
    """Two sample rates (Hz) as a ratio of whole numbers.

    The ratio of common rates is exact. For others, such as 11,127 to 16,000 Hz, an exact filter bank would take
    gigabytes. They use the nearest ratio of numbers up to :data:`LARGEST_TERM`, which changes pitch and time by less
    than 0.01 %.
    """
    exact = Fraction(old, new)
    if max(exact.as_integer_ratio()) <= LARGEST_TERM:
        return exact.as_integer_ratio()
    if exact < 1:
        return exact.limit_denominator(LARGEST_TERM).as_integer_ratio()
    return (1 / (1 / exact).limit_denominator(LARGEST_TERM)).as_integer_ratio()


@cache
def _resampler(old: int, new: int) -> torchaudio.transforms.Resample:
    """The resampler of a ratio. It is cached, so that its filter is computed only once."""
    return torchaudio.transforms.Resample(old, new)


def resampled(blocks: Iterable[Tensor], old_rate: int, new_rate: int) -> Iterator[Tensor]:
    """Resample a stream of blocks ``[samples]`` of any lengths.

    The result equals resampling the whole signal at once, because each block is filtered together with the edges of
    its neighbours. The filter turns each group of `old` samples into `new` samples and needs `width` samples on either
    side of the group.
    """
    old, new = ratio(old_rate, new_rate)
    if old == new:
        yield from blocks
        return
    resample = _resampler(old, new)
    edge_groups = -(-resample.width // old)
    edge, skip = edge_groups * old, edge_groups * new
    pending, read, written = torch.zeros(edge), 0, 0  # the signal is zero before its start and after its end
    for block, following in itertools.pairwise(itertools.chain(blocks, [None])):
        read += len(block)
        pending = torch.cat([pending, block] if following is not None else [pending, block, torch.zeros(edge + old)])
        groups = (len(pending) - 2 * edge) // old
        if groups > 0:
            output = resample(pending[: groups * old + 2 * edge])[skip : skip + groups * new]
            yield output[: -(-read * new // old) - written]
            pending, written = pending[groups * old :], written + groups * new
