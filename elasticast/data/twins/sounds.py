"""Helpers of the twins: random streams, unusable clips, sequences of sounds, and writing audio files.

The sounds are those of `soundscapes`. Each sound has only a few recordings, which are used in all splits, cut to the
length of the event. Small models can therefore learn from some hundred clips.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf

from elasticast.config.dataset import SPLITS, TwinSettings
from elasticast.data.datasets.soundscapes import CLASSES, SAMPLE_RATE, SOUNDS, Event, draw_events, mix

TAKES = 3
TAKE_SECONDS = 0.9  # the longest event, at 24 kHz
DEFECTS = ("missing", "missing", "truncated", "missing", "silent")
"""Kinds of unusable clips, in turn."""
LABEL_SHARE = 0.6  # share of events that belong to the label of a single-label clip
MAX_CLASSES = 4  # of a clip with several labels
VARIANTS = (0, 0, 0, 1, 2, 3)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


# ---------------------------------------------------------------------------------------------
# Lists
# ---------------------------------------------------------------------------------------------


def stream(twin: TwinSettings, split: str | None, *key: int) -> np.random.Generator:
    """A separate random generator for each `key`, such as the index of a clip.

    The split is None in a dataset of folds, whose clips are the same whichever fold is which split.
    """
    return np.random.default_rng([twin.seed, len(SPLITS) if split is None else SPLITS.index(split), *key])


def defects(twin: TwinSettings, split: str | None, count: int, kinds: tuple[str, ...] = DEFECTS) -> list[str]:
    """The defect of each of `count` clips or recordings, ``""`` if it has none.

    The share of clips with a defect is exactly ``twin.missing``, up to rounding.
    """
    result = [""] * count
    for turn, index in enumerate(stream(twin, split).permutation(count)[: round(twin.missing * count)]):
        result[index] = kinds[turn % len(kinds)]
    return result


def video_id(rng: np.random.Generator) -> str:
    """Draw the id of a video, 11 characters."""
    return "".join(rng.choice(list(LETTERS), 11))


def write_lines(lines: list[str], path: Path) -> None:
    """Write a text file."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


# ---------------------------------------------------------------------------------------------
# Sounds
# ---------------------------------------------------------------------------------------------


@functools.cache
def _takes(kind: str) -> list[np.ndarray]:
    time = np.arange(round(TAKE_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    return [SOUNDS[kind](np.random.default_rng([CLASSES.index(kind), take]), time) for take in range(TAKES)]


def take(rng: np.random.Generator, kind: str, samples: int) -> np.ndarray:
    """Choose one of the recordings of a sound; float64 ``[samples]``."""
    return _takes(kind)[rng.integers(TAKES)][:samples].copy()


def scene(rng: np.random.Generator, label: int, seconds: float, twin: TwinSettings) -> tuple[Event, ...]:
    """Draw the events of a clip with a single label, an index of `CLASSES`.

    A share `LABEL_SHARE` of the events is of that class, the others are of any class. A single event does not determine
    the label, so longer clips give more evidence.
    """
    shares = np.full(len(CLASSES), (1 - LABEL_SHARE) / len(CLASSES))
    shares[label] += LABEL_SHARE
    return draw_events(rng, seconds, shares, twin.snr_db)


def medley(rng: np.random.Generator, seconds: float, twin: TwinSettings) -> tuple[Event, ...]:
    """Draw the events of a clip with several labels: events of one to `MAX_CLASSES` classes.

    Each class is twice as frequent as the next, so parts of a clip may miss classes.
    """
    shares = np.zeros(len(CLASSES))
    chosen = rng.permutation(len(CLASSES))[: rng.integers(1, MAX_CLASSES + 1)]
    shares[chosen] = 0.5 ** np.arange(len(chosen))
    return draw_events(rng, seconds, shares / shares.sum(), twin.snr_db)


def render(key: tuple[TwinSettings, str | None, int, int], events: tuple[Event, ...], seconds: float) -> np.ndarray:
    """Mix events with background noise at 16 kHz; int16 ``[samples]``."""
    return mix(stream(*key), events, round(seconds * SAMPLE_RATE), take)


# ---------------------------------------------------------------------------------------------
# Audio files
# ---------------------------------------------------------------------------------------------


def write_clip(
    make: Callable[[], np.ndarray],
    kind: str,
    variant: int,
    defect: str,
    path: Path,
    *,
    rate: int = SAMPLE_RATE,
    padded: int = 0,
) -> None:
    """Write a clip as an audio file.

    Parameters
    ----------
    make : callable
        Returns the samples, int16 at 16 kHz.
    kind : {"wav", "flac"}
        File format.
    variant : int
        One of `VARIANTS`. If odd, the file has two channels; if 2 or more, its sample rate is twice `rate`.
    defect : str
        One of `DEFECTS`, ``""`` for none, or ``uncut`` to append 2 s.
    path : Path
        File to write.
    rate : int
        Sample rate of the file (Hz).
    padded : int
        Samples of the file; a shorter clip is followed by digital silence.
    """
    samples = make()
    if defect == "silent":
        samples = np.zeros_like(samples)
    if defect == "uncut":
        samples = np.resize(samples, len(samples) + 2 * SAMPLE_RATE)
    rate *= 2 if variant >= 2 else 1
    if rate != SAMPLE_RATE:
        samples = _resampled(samples, rate)
    samples = np.pad(samples, (0, max(0, padded - len(samples))))
    channels = np.stack([samples, samples], axis=1) if variant % 2 else samples
    sf.write(path, channels, rate, subtype="PCM_16", format=kind.upper())
    if defect == "truncated":
        os.truncate(path, path.stat().st_size // 2)


def _resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    """Resample int16 samples to a higher sample rate (Hz)."""
    count = round(len(samples) * rate / SAMPLE_RATE)
    wave = np.fft.irfft(np.fft.rfft(samples), count) * (count / len(samples))
    return np.round(wave).clip(-32768, 32767).astype(np.int16)
