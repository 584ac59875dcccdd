"""Ceilings: the best score that can be reached with the first seconds of each clip, where it is known.

They are known of generated clips only. A perfect listener recognises every sound that has begun before the crop ends,
and answers what is most probable given these sounds, and given the length of clips that are not cut; evaluation crops
every clip from its start. The last window of a log-mel reaches a little beyond its hop, by 15 ms with a window of 25 ms
and a hop of 10 ms. What sounds only there does not count.
"""

from collections.abc import Sequence

import numpy as np

from elasticast.config import DatasetConfig
from elasticast.config.dataset import Controls, Scenes, Soundscapes
from elasticast.data.datasets.controls import LEAD_SECONDS, SLOT_SECONDS, TONES, Clip
from elasticast.data.datasets.controls import compose as compose_control
from elasticast.data.datasets.scenes import CLASSES, SCENES, shares
from elasticast.data.datasets.scenes import SLOT_SECONDS as SCENE_SLOT_SECONDS
from elasticast.data.datasets.scenes import compose as compose_scene
from elasticast.data.datasets.soundscapes import Score, bayes_scene
from elasticast.data.datasets.soundscapes import compose as compose_soundscape


def ceilings(dataset: DatasetConfig, task: str, split: str, seconds: Sequence[float]) -> list[float] | None:
    """Expected accuracy of a perfect listener, or for tasks of several labels its mAP.

    Parameters
    ----------
    dataset : DatasetConfig
        Settings of the dataset.
    task : str
        One of its tasks.
    split : str
        The split of which all clips count.
    seconds : sequence of float
        Lengths of the crops (s).

    Returns
    -------
    list of float or None
        One fraction per length; None if the ceiling is not known.
    """
    clips = range(dataset.clips.get(split, 0)) if isinstance(dataset, Controls | Scenes | Soundscapes) else ()
    if not clips:
        return None
    if isinstance(dataset, Controls):
        return _of_tones([compose_control(dataset, split, index) for index in clips], seconds)
    if isinstance(dataset, Scenes):
        heard = [Heard(dataset, split, length) for length in seconds]
        return [_scene_accuracy(crop) if task == "scene" else _events_map(crop) for crop in heard]
    if task == "scene":
        return _of_scenes([compose_soundscape(dataset, split, index) for index in clips], seconds)
    return None


def _of_tones(clips: list[Clip], seconds: Sequence[float]) -> list[float]:
    """Share of right answers if every tone in the input is named, and guessed where there is none."""
    begins = np.array([min(clip.sounding) * SLOT_SECONDS + LEAD_SECONDS for clip in clips])
    heard = [float((begins < length).mean()) for length in seconds]
    return [share + (1 - share) / len(TONES) for share in heard]


def _of_scenes(clips: list[Score], seconds: Sequence[float]) -> list[float]:
    """Share of right answers if the most probable scene is named, given the sounds in the input."""

    def right(clip: Score, length: float) -> bool:
        heard = tuple(event for event in clip.events if event.start < length)
        return bayes_scene(clip._replace(events=heard)) == clip.scene

    return [float(np.mean([right(clip, length) for clip in clips])) for length in seconds]


class Heard:
    """What a perfect listener knows after the first seconds of each clip of `Scenes`.

    Attributes
    ----------
    scene : ndarray
        `[N]` int64, the scene of each clip: its place in `SCENES`.
    occurs : ndarray
        `[N, C]` bool, the sounds that occur in the whole clip.
    scenes : ndarray
        `[N, K]`, the probability of each scene.
    sounds : ndarray
        `[N, C]`, the probability that each sound occurs in the whole clip.
    """

    def __init__(self, dataset: Scenes, split: str, seconds: float):
        clips = [compose_scene(dataset, split, index) for index in range(dataset.clips[split])]
        slots = np.array([len(clip.sounds) for clip in clips])
        most = int(np.ceil(round(seconds / SCENE_SLOT_SECONDS, 9)))  # 1.28 s are two slots, not a little more
        table = np.array([shares(scene) for scene in SCENES])
        counts = np.array([[clip.sounds[:most].count(name) for name in CLASSES] for clip in clips])
        likelihood = np.exp(counts @ np.log(table).T)
        self.scene = np.array([list(SCENES).index(clip.scene) for clip in clips])
        self.occurs = np.array([[name in clip.sounds for name in CLASSES] for clip in clips])
        self.scenes = likelihood / likelihood.sum(1, keepdims=True)
        later = 1 - self.scenes @ self._absent(dataset.slots, most, table)
        later[slots <= most] = 0  # the clip has ended
        self.sounds = np.where(counts > 0, 1, later)

    @staticmethod
    def _absent(slots: list[int], heard: int, table: np.ndarray) -> np.ndarray:
        """Probability `[K, C]` that a sound is in none of the slots after the first `heard`, of longer clips."""
        more = [n - heard for n in range(slots[0], slots[1] + 1) if n > heard]
        return np.mean([(1 - table) ** n for n in more], 0) if more else np.ones_like(table)


def _scene_accuracy(heard: Heard) -> float:
    """Expected share of right answers if the most probable scene is named, one of them if several are."""
    best = np.isclose(heard.scenes, heard.scenes.max(1, keepdims=True))
    return float((best / best.sum(1, keepdims=True))[np.arange(len(best)), heard.scene].mean())


def _events_map(heard: Heard) -> float:
    """Expected mAP if clips are ranked by the probability that a sound occurs in them.

    As in the scores of models, sounds that are in no clip or in all clips do not count; NaN if none is left.
    """
    scores = np.round(heard.sounds, 9)  # equal ones differ by rounding errors
    columns = zip(scores.T, heard.occurs.T, strict=True)
    found = [expected_precision(*column) for column in columns if 0 < column[1].sum() < len(scores)]
    return float(np.mean(found)) if found else float("nan")


def expected_precision(scores: np.ndarray, positives: np.ndarray) -> float:
    """Expected average precision if clips of equal scores are ranked in random order.

    Parameters
    ----------
    scores : ndarray
        `[N]`.
    positives : ndarray
        `[N]` bool.
    """
    total, found, ranked = 0.0, 0, 0
    for score in np.unique(scores)[::-1]:
        tied = positives[scores == score]
        right, places = int(tied.sum()), np.arange(len(tied))
        before = found + 1 + places * (right - 1) / max(len(tied) - 1, 1)  # expected positives up to a positive one
        total += right / len(tied) * (before / (ranked + 1 + places)).sum()
        found, ranked = found + right, ranked + len(tied)
    return total / found
