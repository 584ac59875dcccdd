"""Voices of the VoxCeleb1 twin: pulses that are filtered by the resonances of a vocal tract.

A speaker has a mean pitch, a length of the vocal tract and a brightness. The pitch varies more between the syllables of
a speaker than between speakers with similar pitch, and the resonances depend on the vowel as well as on the speaker. A
single syllable does not determine the speaker, so longer clips give more evidence.
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
SYLLABLES_PER_BREATH = 8
CLIP_DEVIATION = 0.5  # standard deviation of the pitch between the clips of a speaker (semitones)
SYLLABLE_DEVIATION = 2.5  # standard deviation of the pitch between the syllables of a clip (semitones)
THROATS = (0.86, 1.0, 1.16, 0.93, 1.08)
TILTS = (0.7, 1.1)


class Voice(NamedTuple):
    """A speaker.

    Attributes
    ----------
    pitch : float
        Mean pitch (Hz).
    throat : float
        Factor of the frequencies of the resonances.
    tilt : float
        Exponent with which the spectrum falls with frequency.
    """

    pitch: float
    throat: float
    tilt: float


def voice(number: int, speakers: int) -> Voice:
    """The voice of a speaker. Speakers with similar pitch differ in throat and tilt."""
    relative = number / max(speakers - 1, 1)
    return Voice(95 * 2.2**relative, THROATS[number % len(THROATS)], TILTS[number % len(TILTS)])


def speech(rng: np.random.Generator, speaker: Voice, seconds: float, snr_db: list[float]) -> np.ndarray:
    """Generate syllables with background noise; int16 ``[samples]`` at 16 kHz."""
    wave = np.zeros(round(seconds * SAMPLE_RATE))
    clip_pitch = rng.normal(0, CLIP_DEVIATION)
    start, syllables = round(rng.uniform(0, 0.2) * SAMPLE_RATE), 0
    while start < len(wave):
        sound = _syllable(rng, speaker, clip_pitch + rng.normal(0, SYLLABLE_DEVIATION))[: len(wave) - start]
        wave[start : start + len(sound)] += sound * gain(rng.uniform(-6, 0))
        syllables += 1
        pause = BREATH_SECONDS if syllables % SYLLABLES_PER_BREATH == 0 else PAUSE_SECONDS
        start += len(sound) + round(rng.uniform(*pause) * SAMPLE_RATE)
    noise = gain(-rng.uniform(*snr_db)) * pink_noise(rng, len(wave), rng.uniform(0.5, 1.5))
    return to_int16(gain(rng.uniform(-32, -22)) * (unit_rms(wave) + noise))


def _syllable(rng: np.random.Generator, speaker: Voice, semitones: float) -> np.ndarray:
    """Generate a vowel with falling or rising pitch, `semitones` above the speaker's mean; float64 ``[samples]``."""
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
