"""What the twins have in common: random streams, clips that are unusable, scenes of sounds, and ways to write them.

The sounds are those of `soundscapes`, but of each there are only a few recordings, which come again in all splits, cut
to the length of the event: enough for small models to learn from some hundred clips.
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
"""What becomes of the clips without usable audio, in turns."""
OWN = 0.6  # share of the events of a clip with one label that are its label's
VARIANTS = (0, 0, 0, 1, 2, 3)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


# ---------------------------------------------------------------------------------------------
# Which clips there are
# ---------------------------------------------------------------------------------------------


def stream(twin: TwinSettings, split: str, *key: int) -> np.random.Generator:
    """A random stream of its own for everything that is drawn."""
    return np.random.default_rng([twin.seed, SPLITS.index(split), *key])


def defects(twin: TwinSettings, split: str, count: int, kinds: tuple[str, ...] = DEFECTS) -> list[str]:
    """What is wrong with each of `count` clips, or recordings, ``""`` where nothing is: exactly the share asked for."""
    found = [""] * count
    for turn, place in enumerate(stream(twin, split).permutation(count)[: round(twin.missing * count)]):
        found[place] = kinds[turn % len(kinds)]
    return found


def video_id(rng: np.random.Generator) -> str:
    """The 11 characters that name a video."""
    return "".join(rng.choice(list(LETTERS), 11))


def write_lines(lines: list[str], path: Path) -> None:
    """Write a list."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


# ---------------------------------------------------------------------------------------------
# What is heard
# ---------------------------------------------------------------------------------------------


@functools.cache
def _takes(kind: str) -> list[np.ndarray]:
    time = np.arange(round(TAKE_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    return [SOUNDS[kind](np.random.default_rng([CLASSES.index(kind), take]), time) for take in range(TAKES)]


def take(rng: np.random.Generator, kind: str, samples: int) -> np.ndarray:
    """One of the few recordings of a sound; float64 ``[samples]``."""
    return _takes(kind)[rng.integers(TAKES)][:samples].copy()


def scene(rng: np.random.Generator, label: int, seconds: float, twin: TwinSettings) -> tuple[Event, ...]:
    """Events of a clip with one label, a number below that of `CLASSES`.

    A share `OWN` of them is the sound of that label, the others are any sound: one event leaves the label open, and
    evidence adds up over the clip.
    """
    shares = np.full(len(CLASSES), (1 - OWN) / len(CLASSES))
    shares[label] += OWN
    return draw_events(rng, seconds, shares, twin.snr_db)


def render(key: tuple[TwinSettings, str, int, int], events: tuple[Event, ...], seconds: float) -> np.ndarray:
    """Events over noise at 16 kHz; int16 ``[samples]``."""
    return mix(stream(*key), events, round(seconds * SAMPLE_RATE), take)


# ---------------------------------------------------------------------------------------------
# How it is written
# ---------------------------------------------------------------------------------------------


def write_clip(make: Callable[[], np.ndarray], kind: str, variant: int, defect: str, path: Path) -> None:
    """Write a clip as an audio file.

    Parameters
    ----------
    make : callable
        Its samples, int16 at 16 kHz.
    kind : {"wav", "flac"}
        Format.
    variant : int
        One of `VARIANTS`; odd: two channels, 2 or more: 32 kHz.
    defect : str
        One of `DEFECTS`, or ``uncut``: it goes on for 2 s.
    """
    samples = make()
    if defect == "silent":
        samples = np.zeros_like(samples)
    if defect == "uncut":
        samples = np.resize(samples, len(samples) + 2 * SAMPLE_RATE)
    if variant >= 2:
        samples = _doubled(samples)
    rate = SAMPLE_RATE * (2 if variant >= 2 else 1)
    channels = np.stack([samples, samples], axis=1) if variant % 2 else samples
    sf.write(path, channels, rate, subtype="PCM_16", format=kind.upper())
    if defect == "truncated":
        os.truncate(path, path.stat().st_size // 2)


def _doubled(samples: np.ndarray) -> np.ndarray:
    """int16 samples at twice the rate."""
    wave = np.fft.irfft(np.fft.rfft(samples), 2 * len(samples)) * 2
    return np.round(wave).clip(-32768, 32767).astype(np.int16)
