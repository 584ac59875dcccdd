"""The clips of an audit: a small built-in set, or clips of a prepared dataset."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from elasticast.data.bandwidth import resample
from elasticast.data.dataset import Clips
from elasticast.data.datasets.soundscapes import CLASSES, SAMPLE_RATE, SOUNDS, draw_events, mix
from elasticast.data.manifest import read_classes
from elasticast.errors import DataError

BUILT_IN_SECONDS = (4.0, 10.0)
BUILT_IN_SNR_DB = (12.0, 24.0)
FEWEST = 4


@dataclass(frozen=True)
class AuditClips:
    """Clips with labels, in the order of their classes.

    Attributes
    ----------
    name : str
        Name of the set in the report.
    sample_rate : int
        Sample rate of the waveforms (Hz).
    waves : tuple of Tensor
        Clips `[S]`, float32 in [-1, 1].
    targets : Tensor
        `[n, C]`, 1 for each class of a clip.
    classes : tuple of str
        Names of the classes.
    kind : {"single", "multi"}
        Whether a clip has one label or several.
    """

    name: str
    sample_rate: int
    waves: tuple[Tensor, ...]
    targets: Tensor
    classes: tuple[str, ...]
    kind: Literal["single", "multi"]

    def __len__(self) -> int:
        return len(self.waves)

    def at(self, rate: int) -> list[Tensor]:
        """The waveforms at another sample rate (Hz)."""
        return [resample(wave, self.sample_rate, rate) for wave in self.waves]

    def first(self, count: int) -> "AuditClips":
        """The first clips; because of their order they are of few classes, and several of each."""
        return AuditClips(
            self.name, self.sample_rate, self.waves[:count], self.targets[:count], self.classes, self.kind
        )

    def sha256(self) -> str:
        """Checksum of audio and labels."""
        head = json.dumps([self.name, self.sample_rate, self.classes, self.kind])
        content = hashlib.sha256(head.encode())
        for array in (*self.waves, self.targets):
            content.update(array.contiguous().numpy().tobytes())
        return content.hexdigest()


def built_in(count: int = 40) -> AuditClips:
    """Generate clips of ten classes of sounds, 4-10 s, 16 kHz; clips of a class differ in pitch, level and noise.

    A clip is a sequence of events of its class with pauses and background noise.
    """
    waves, targets = [], torch.zeros(count, len(CLASSES))
    per_class = -(-count // len(CLASSES))
    for index in range(count):
        label = min(index // max(per_class, FEWEST), len(CLASSES) - 1)
        rng = np.random.default_rng([2024, index])
        low, high = np.log(BUILT_IN_SECONDS)
        seconds = float(np.exp(rng.uniform(low, high)))
        events = draw_events(rng, seconds, np.eye(len(CLASSES))[label], BUILT_IN_SNR_DB)
        samples = mix(rng, events, round(seconds * SAMPLE_RATE), _sound)
        waves.append(torch.from_numpy(samples.astype(np.float32) / 32768))
        targets[index, label] = 1
    return AuditClips("built-in", SAMPLE_RATE, tuple(waves), targets, CLASSES, "single")


def _sound(rng: np.random.Generator, kind: str, samples: int) -> np.ndarray:
    return SOUNDS[kind](rng, np.arange(samples) / SAMPLE_RATE)


def from_prepared(folder: Path, split: str, task: str | None, count: int) -> AuditClips:
    """Choose clips of a prepared dataset, evenly spaced, and order them by their first class.

    Parameters
    ----------
    folder : Path
        Folder that `elasticast prepare` wrote.
    split : str
        Split of the clips.
    task : str or None
        Task that gives the labels. None for the first one.
    count : int
        Number of clips.

    Raises
    ------
    DataError
        If the folder, the split or the task does not exist, or if the split has fewer than four clips.
    """
    task = task or next(iter(read_classes(folder / "classes.json")))
    clips = Clips(folder, split, task)
    if len(clips) < FEWEST:
        raise DataError(f"{folder}: split {split!r} has {len(clips)} clips; an audit needs at least {FEWEST}")
    chosen = np.unique(np.linspace(0, len(clips) - 1, min(count, len(clips))).round().astype(int))
    chosen = sorted(chosen.tolist(), key=lambda i: (clips.target(i).argmax().item(), i))
    waves = tuple(clips.waveform(i) for i in chosen)
    targets = torch.stack([clips.target(i) for i in chosen])
    name = f"{folder.name}, {split}, {task}"
    return AuditClips(name, clips.store.sample_rate, waves, targets, tuple(clips.classes), clips.kind)
