"""Decoding: any audio file, or a span of one, to 16 kHz mono int16, or the reason why not."""

import math
import struct
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf
import torch
import torchaudio

STORE_RATE = 16000
SHORTEST_SECONDS = 0.025  # one analysis window
SPAN_TOLERANCE_SECONDS = 0.001  # annotations are often rounded to milliseconds
MOST_FRAMES = 1 << 40  # libsndfile gives 2^63 - 1 where a header does not tell the length
STREAMED = 0xFFFFFFFF  # size in the header of a wav that was written to a pipe: not known


class UnusableAudioError(Exception):
    """A clip that cannot be used; its message is the reason in the manifest."""


class Clip(NamedTuple):
    """A decoded clip: int16 ``[samples]`` at 16 kHz, and rate (Hz) and channels of its file."""

    samples: np.ndarray
    sample_rate: int
    channels: int

    @property
    def seconds(self) -> float:
        """Length in s."""
        return len(self.samples) / STORE_RATE


def decode(path: Path, start: float = 0.0, duration: float = math.nan) -> Clip:
    """Decode a file or a span of it; channels are averaged.

    Parameters
    ----------
    start : float
        Begin of the span (s).
    duration : float
        Length of the span (s); NaN: to the end of the file.

    Raises
    ------
    UnusableAudioError
        With the reason: missing, unreadable, empty, not audio, truncated, length unknown, span outside the file,
        non-finite samples, too short, silent.
    """
    check_file(path)
    wave, sample_rate = _read(path, start, duration)
    if not len(wave):
        raise UnusableAudioError("empty")
    if not np.isfinite(wave).all():
        raise UnusableAudioError("non-finite samples")
    if len(wave) < SHORTEST_SECONDS * sample_rate:
        raise UnusableAudioError(f"too short (< {SHORTEST_SECONDS * 1000:.0f} ms)")
    mono = wave.mean(axis=1, dtype=np.float32)
    if np.ptp(mono) < 1 / 32768:
        raise UnusableAudioError("silent")
    return Clip(_to_int16(_resample(mono, sample_rate)), sample_rate, wave.shape[1])


def check_file(path: Path) -> None:
    """Raise `UnusableAudioError` for a file that is missing, empty, unreadable or truncated."""
    if not path.is_file():
        raise UnusableAudioError("missing")
    if path.stat().st_size == 0:
        raise UnusableAudioError("empty")
    try:
        truncated = _wav_is_truncated(path)
    except OSError:
        raise UnusableAudioError("unreadable") from None
    if truncated:
        raise UnusableAudioError("truncated")


def _wav_is_truncated(path: Path) -> bool:
    """Whether a RIFF/WAVE file ends before its header says so; libsndfile shortens such a file silently."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or not b"WAVE".startswith(head[8:]):
            return False
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", head)
            if name == b"data":
                return length != STREAMED and file.tell() + length > size
            file.seek(length + length % 2, 1)
    return True  # it ends before its samples begin


def _read(path: Path, start: float, duration: float) -> tuple[np.ndarray, int]:
    """Float32 ``[samples, channels]`` in [-1, 1], and the rate."""
    try:
        file = sf.SoundFile(path)
    except sf.LibsndfileError:
        raise UnusableAudioError("not audio") from None
    with file:
        rate, frames = file.samplerate, file.frames
        if frames > MOST_FRAMES:
            raise UnusableAudioError("length unknown")
        begin = round(start * rate)
        end = frames if math.isnan(duration) else round((start + duration) * rate)
        slack = SPAN_TOLERANCE_SECONDS * rate
        if begin < 0 or end > frames + slack or (begin >= end and frames):
            raise UnusableAudioError("span outside the file")
        try:
            file.seek(begin)
            wave = file.read(min(end, frames) - begin, dtype="float32", always_2d=True)
        except sf.LibsndfileError:
            raise UnusableAudioError("truncated") from None
    if len(wave) < min(end, frames) - begin:
        raise UnusableAudioError("truncated")
    return wave, rate


@cache
def _resampler(sample_rate: int) -> torchaudio.transforms.Resample:
    """One a rate: its filter is computed once."""
    return torchaudio.transforms.Resample(sample_rate, STORE_RATE)


def _resample(mono: np.ndarray, sample_rate: int) -> np.ndarray:
    if sample_rate == STORE_RATE:
        return mono
    return _resampler(sample_rate)(torch.from_numpy(mono)).numpy()


def _to_int16(mono: np.ndarray) -> np.ndarray:
    """Nearest int16; a 16-bit file at 16 kHz comes back bit by bit."""
    return np.clip(np.round(mono * 32768), -32768, 32767).astype(np.int16)
