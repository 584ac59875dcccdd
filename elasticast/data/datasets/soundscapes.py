"""Synthetic soundscapes: clips of many lengths, each a sequence of sound events over noise.

Description
    Real 16 kHz mono 16-bit wav files made by numpy alone, no download. A clip is made in two steps.

    *Compose.* Its length is log-normal between the two ends of ``seconds`` (the ends lie two standard
    deviations from the geometric mean: for 0.5-8 s the median is 2 s, the mean 2.4 s, the tail long).
    It plays in one of six scenes. From the start to the end of the clip, events of 0.12-0.6 s follow
    each other with gaps of 0.05-0.5 s; the class of each event is drawn independently from the scene's
    distribution over the ten classes.

    *Render.* Every event has its own pitch, modulation and level, ``snr_db`` over a background of
    roughly pink noise, whose colour and level change from clip to clip.

Tasks
    ``events``, several labels: the classes of event in the clip. Half a clip holds about half of its events, so
    cropping loses labels.
    ``scene``, one label: the scenes share all their classes and differ only in how often each occurs. One event
    leaves several scenes open; evidence adds up over the clip. Even a perfect listener errs on
    short clips: `bayes_scene` gives its answer.

Splits
    Every clip has its own random stream, keyed by (seed, split, index): it depends neither on how many
    clips are made nor on their order, and the splits share nothing.

Source
    Generated here, from the settings and the seed alone.

Licence
    Made by this package, hence as the package.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from elasticast.config.dataset import Soundscapes
from elasticast.data.annotations import Annotations
from elasticast.data.synthesis import audio_folder, gain, pink_noise, to_int16, unit_rms, write_wav
from elasticast.progress import track

SAMPLE_RATE = 16000
EVENT_SECONDS = (0.12, 0.6)
GAP_SECONDS = (0.05, 0.5)
LEAD_SECONDS = (0.0, 0.15)
BACKGROUND_DBFS = (-45.0, -32.0)
NOISE_EXPONENT = (0.7, 1.3)
STREAMS = {"train": 0, "test": 1}
Sound = Callable[[np.random.Generator, str, int], np.ndarray]

CLASSES = (
    "am_tone",
    "band_noise",
    "bell",
    "chirp_down",
    "chirp_up",
    "click_train",
    "fm_warble",
    "harmonic",
    "noise_burst",
    "square_buzz",
)
# How often each class (in the order of CLASSES) occurs in a scene, in per cent.
SCENES = {
    "arcade": (24, 2, 3, 3, 27, 2, 26, 4, 2, 7),
    "factory": (2, 25, 2, 3, 2, 28, 3, 6, 3, 26),
    "forest": (2, 7, 3, 26, 25, 3, 26, 2, 4, 2),
    "harbour": (25, 27, 3, 2, 3, 2, 2, 26, 7, 3),
    "kitchen": (4, 2, 28, 3, 6, 25, 2, 3, 25, 2),
    "street": (2, 3, 6, 25, 3, 2, 3, 24, 6, 26),
}


class Event(NamedTuple):
    """One sound: class, start and length (s), level over the background (dB)."""

    kind: str
    start: float
    seconds: float
    snr_db: float


class Score(NamedTuple):
    """All that the labels of a clip depend on."""

    scene: str
    seconds: float
    events: tuple[Event, ...]


def _rng(config: Soundscapes, split: str, index: int, step: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, STREAMS[split], index, step])


def compose(config: Soundscapes, split: str, index: int) -> Score:
    """Scene, length and events of clip `index` of `split`."""
    rng = _rng(config, split, index, step=0)
    scene = str(rng.choice(list(SCENES)))
    seconds = draw_seconds(rng, *config.seconds)
    return Score(scene, seconds, draw_events(rng, seconds, np.array(SCENES[scene]) / 100, config.snr_db))


def draw_events(
    rng: np.random.Generator, seconds: float, shares: np.ndarray, snr_db: Sequence[float]
) -> tuple[Event, ...]:
    """Events that follow each other from begin to end of a clip.

    Parameters
    ----------
    shares : ndarray
        How often each of `CLASSES` occurs; the sum is 1.
    snr_db : sequence of float
        Least and largest level over the background (dB).
    """
    events: list[Event] = []
    start = rng.uniform(*LEAD_SECONDS) * min(1.0, seconds)
    while True:
        length = rng.uniform(*EVENT_SECONDS)
        if start + length > seconds:
            if events:
                break
            length = seconds - start  # a clip shorter than its first event: the event fills it
        kind = str(rng.choice(CLASSES, p=shares))
        events.append(Event(kind, start, length, rng.uniform(*snr_db)))
        start += length + rng.uniform(*GAP_SECONDS)
    return tuple(events)


def draw_seconds(rng: np.random.Generator, shortest: float, longest: float) -> float:
    """A length (s): log-normal, the two ends two standard deviations from the middle."""
    deviation = 3.0
    while abs(deviation) > 2:
        deviation = rng.standard_normal()
    return math.sqrt(shortest * longest) * (longest / shortest) ** (deviation / 4)


def render(config: Soundscapes, split: str, index: int) -> np.ndarray:
    """Samples of clip `index` of `split`; int16 ``[samples]`` at 16 kHz."""
    score, rng = compose(config, split, index), _rng(config, split, index, step=1)
    return mix(rng, score.events, round(score.seconds * SAMPLE_RATE), _new_sound)


def mix(
    rng: np.random.Generator, events: Iterable[Event], samples: int, sound: Sound, rate: int = SAMPLE_RATE
) -> np.ndarray:
    """Events over noise; int16 ``[samples]`` at `rate` (Hz).

    Parameters
    ----------
    sound : callable
        From random stream, class and number of samples to the wave of an event.
    """
    wave = pink_noise(rng, samples, rng.uniform(*NOISE_EXPONENT))
    for event in events:
        begin = round(event.start * rate)
        length = min(round(event.seconds * rate), len(wave) - begin)
        wave[begin : begin + length] += gain(event.snr_db) * unit_rms(_faded(sound(rng, event.kind, length)))
    return to_int16(gain(rng.uniform(*BACKGROUND_DBFS)) * wave)


def _new_sound(rng: np.random.Generator, kind: str, samples: int) -> np.ndarray:
    return SOUNDS[kind](rng, np.arange(samples) / SAMPLE_RATE)


def _faded(sound: np.ndarray, seconds: float = 0.004) -> np.ndarray:
    """`sound` with its ends faded in and out, so that no event is told by its clicks."""
    length = min(round(seconds * SAMPLE_RATE), len(sound) // 2)
    ramp = np.sin(0.5 * np.pi * (np.arange(length) + 0.5) / max(length, 1)) ** 2
    sound[:length] *= ramp
    sound[len(sound) - length :] *= ramp[::-1]
    return sound


# ---------------------------------------------------------------------------------------------
# The ten sounds: (random stream, time in s [samples]) -> wave [samples], any level
# ---------------------------------------------------------------------------------------------


def _pitch(rng: np.random.Generator, low: float, high: float) -> float:
    """A frequency (Hz), uniform in octaves."""
    return low * (high / low) ** rng.uniform()


def _tone(frequency: np.ndarray | float, time: np.ndarray) -> np.ndarray:
    """A sine of constant or moving frequency (Hz)."""
    return np.sin(2 * np.pi * np.cumsum(np.broadcast_to(frequency, time.shape)) / SAMPLE_RATE)


def _partials(rng: np.random.Generator, frequencies: np.ndarray, levels: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Sum of sines of random phase below 7.5 kHz; `levels` broadcasts to ``[partials, samples]``."""
    phases = rng.uniform(0, 2 * np.pi, (len(frequencies), 1))
    audible = (frequencies < 7500)[:, None]
    return (audible * levels * np.sin(2 * np.pi * frequencies[:, None] * time + phases)).sum(axis=0)


def _chirp(rng: np.random.Generator, time: np.ndarray, direction: int) -> np.ndarray:
    low, octaves = _pitch(rng, 350, 2200), rng.uniform(0.6, 1.4)
    course = np.linspace(0, 1, len(time))[::direction]
    return _tone(low * 2 ** (octaves * course), time)


def _am_tone(rng, time):
    depth, rate = rng.uniform(0.7, 1.0), rng.uniform(10, 28)
    return _tone(_pitch(rng, 400, 3200), time) * (1 + depth * np.sin(2 * np.pi * rate * time + rng.uniform(0, 6)))


def _band_noise(rng, time):
    centre, octaves = _pitch(rng, 500, 4000), rng.uniform(0.15, 0.4)
    frequency = np.maximum(np.fft.rfftfreq(len(time), 1 / SAMPLE_RATE), 1)
    band = np.exp(-0.5 * (np.log2(frequency / centre) / octaves) ** 2)
    return np.fft.irfft(np.fft.rfft(rng.standard_normal(len(time))) * band, len(time))


def _bell(rng, time):
    ratios = np.array([1.0, 2.0, 2.4, 3.0, 4.5, 5.33]) * rng.uniform(0.98, 1.02, 6)
    decay = rng.uniform(0.06, 0.2) / np.sqrt(ratios)[:, None]
    return _partials(rng, _pitch(rng, 300, 1200) * ratios, np.exp(-time / decay) / np.sqrt(ratios)[:, None], time)


def _click_train(rng, time):
    clicks = np.zeros(len(time))
    period = SAMPLE_RATE / rng.uniform(12, 35)
    places = np.arange(rng.uniform(0, period / 2), len(time), period)
    clicks[np.minimum(places + rng.uniform(0, 0.1 * period, len(places)), len(time) - 1).astype(int)] = 1
    width = rng.uniform(0.001, 0.003) * SAMPLE_RATE
    click = rng.standard_normal(round(5 * width)) * np.exp(-np.arange(round(5 * width)) / width)
    return np.convolve(clicks, click)[: len(time)]


def _fm_warble(rng, time):
    rate, depth = rng.uniform(5, 13), rng.uniform(0.06, 0.18)
    return _tone(_pitch(rng, 400, 3200) * (1 + depth * np.sin(2 * np.pi * rate * time + rng.uniform(0, 6))), time)


def _harmonic(rng, time):
    order = np.arange(1, 13)
    return _partials(rng, _pitch(rng, 150, 550) * order, (order ** -rng.uniform(0.3, 1.0))[:, None], time)


def _noise_burst(rng, time):
    return pink_noise(rng, len(time), rng.uniform(-0.2, 0.4)) * np.exp(-time / rng.uniform(0.1, 1.0))


def _square_buzz(rng, time):
    order = np.arange(1, 60, 2)
    mains = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(35, 60) * time)
    return _partials(rng, _pitch(rng, 90, 300) * order, (order**-0.7)[:, None], time) * mains


SOUNDS: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "am_tone": _am_tone,
    "band_noise": _band_noise,
    "bell": _bell,
    "chirp_down": lambda rng, time: _chirp(rng, time, -1),
    "chirp_up": lambda rng, time: _chirp(rng, time, 1),
    "click_train": _click_train,
    "fm_warble": _fm_warble,
    "harmonic": _harmonic,
    "noise_burst": _noise_burst,
    "square_buzz": _square_buzz,
}


# ---------------------------------------------------------------------------------------------
# The two functions of every dataset module
# ---------------------------------------------------------------------------------------------


def _clips(config: Soundscapes) -> list[tuple[str, int, str]]:
    return [(split, i, f"{split}_{i:06d}") for split in STREAMS for i in range(config.clips.get(split, 0))]


def fetch(config: Soundscapes, data_root: Path, out: Path) -> None:
    """Write the wavs that are not there yet to ``out/audio``."""
    folder = audio_folder(out, config)
    todo = [clip for clip in _clips(config) if not (folder / f"{clip[2]}.wav").is_file()]
    for split, index, name in track(todo, len(todo), "soundscapes generated"):
        write_wav(folder / f"{name}.wav", render(config, split, index), SAMPLE_RATE)


def annotate(config: Soundscapes, data_root: Path, out: Path) -> Annotations:
    """One row a soundscape."""
    rows = []
    for split, index, name in _clips(config):
        score = compose(config, split, index)
        row = {"id": name, "split": split, "path": str(out / "audio" / f"{name}.wav"), "start": 0.0}
        row |= {"duration": math.nan, "reason": "", "scene": [score.scene]}
        rows.append(row | {"events": sorted({event.kind for event in score.events})})
    return Annotations(pd.DataFrame(rows))


def bayes_scene(score: Score) -> str:
    """The scene a perfect listener would name, who knows every event and the table of scenes."""
    places = [CLASSES.index(event.kind) for event in score.events]
    return max(SCENES, key=lambda scene: sum(math.log(SCENES[scene][place]) for place in places))
