"""Voices of the VoxCeleb1 twin: a source of pulses through the resonances of a throat.

A speaker is a pitch, a length of the throat and a brightness. Pitch wanders from syllable to syllable by more than
lies between two speakers, and what the resonances say of the throat depends on the vowel: a syllable leaves the speaker
open, and evidence adds up.
"""

from typing import NamedTuple

import numpy as np

from elasticast.data.synthesis import gain, pink_noise, to_int16, unit_rms

SAMPLE_RATE = 16000
VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))  # Hz
BANDWIDTHS = (80, 110, 160)  # Hz
SYLLABLE_SECONDS = (0.12, 0.35)
PAUSE_SECONDS = (0.03, 0.12)
BREATH_SECONDS = (0.3, 0.8)
SYLLABLES_A_BREATH = 8
MOOD, JITTER = 0.5, 2.5  # deviation of the pitch (semitones), from clip to clip, and from syllable to syllable
THROATS = (0.86, 1.0, 1.16, 0.93, 1.08)
TILTS = (0.7, 1.1)


class Voice(NamedTuple):
    """A speaker: mean pitch (Hz), frequencies of the resonances against the average, fall of the spectrum."""

    pitch: float
    throat: float
    tilt: float


def voice(number: int, speakers: int) -> Voice:
    """Speaker `number` of several; neighbours in pitch are far apart in the others."""
    place = number / max(speakers - 1, 1)
    return Voice(95 * 2.2**place, THROATS[number % len(THROATS)], TILTS[number % len(TILTS)])


def speech(rng: np.random.Generator, speaker: Voice, seconds: float, snr_db: list[float]) -> np.ndarray:
    """Syllables over noise; int16 ``[samples]`` at 16 kHz."""
    wave = np.zeros(round(seconds * SAMPLE_RATE))
    mood = rng.normal(0, MOOD)
    place, syllables = round(rng.uniform(0, 0.2) * SAMPLE_RATE), 0
    while place < len(wave):
        sound = _syllable(rng, speaker, mood + rng.normal(0, JITTER))[: len(wave) - place]
        wave[place : place + len(sound)] += sound * gain(rng.uniform(-6, 0))
        syllables += 1
        pause = BREATH_SECONDS if syllables % SYLLABLES_A_BREATH == 0 else PAUSE_SECONDS
        place += len(sound) + round(rng.uniform(*pause) * SAMPLE_RATE)
    noise = gain(-rng.uniform(*snr_db)) * pink_noise(rng, len(wave), rng.uniform(0.5, 1.5))
    return to_int16(gain(rng.uniform(-32, -22)) * (unit_rms(wave) + noise))


def _syllable(rng: np.random.Generator, speaker: Voice, semitones: float) -> np.ndarray:
    """One vowel with a falling or rising pitch; float64 ``[samples]``."""
    samples = round(rng.uniform(*SYLLABLE_SECONDS) * SAMPLE_RATE)
    glide = np.linspace(-1, 1, samples) * rng.normal(0, 1)
    pitch = speaker.pitch * 2 ** ((semitones + glide) / 12)
    turns = np.floor(np.cumsum(pitch) / SAMPLE_RATE)
    pulses = np.diff(turns, prepend=0.0) + 0.02 * rng.standard_normal(samples)
    size = 1 << (samples - 1).bit_length()
    frequency = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    shaped = np.fft.rfft(pulses, size) * _resonance(frequency, speaker, VOWELS[rng.integers(len(VOWELS))])
    return np.fft.irfft(shaped, size)[:samples] * np.hanning(samples) ** 0.5


def _resonance(frequency: np.ndarray, speaker: Voice, vowel: tuple[int, ...]) -> np.ndarray:
    peaks = sum(
        1 / (1 + ((frequency - speaker.throat * centre) / width) ** 2)
        for centre, width in zip(vowel, BANDWIDTHS, strict=True)
    )
    return (peaks + 0.02) * np.maximum(frequency, 50) ** -speaker.tilt
