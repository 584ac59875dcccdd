"""Ceilings: the best score that can be reached with the first seconds of each clip, where it is known.

They are known of generated clips only. A perfect listener recognises every sound that has begun before the crop ends,
and answers what is most probable given these sounds; evaluation crops every clip from its start.
"""

from collections.abc import Sequence

import numpy as np

from elasticast.config import DatasetConfig
from elasticast.config.dataset import Controls, Soundscapes
from elasticast.data.datasets.controls import LEAD_SECONDS, SLOT_SECONDS, TONES, Clip
from elasticast.data.datasets.controls import compose as compose_control
from elasticast.data.datasets.soundscapes import Score, bayes_scene
from elasticast.data.datasets.soundscapes import compose as compose_soundscape


def ceilings(dataset: DatasetConfig, task: str, split: str, seconds: Sequence[float]) -> list[float] | None:
    """Expected accuracy of a perfect listener.

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
    clips = range(dataset.clips.get(split, 0)) if isinstance(dataset, Controls | Soundscapes) else ()
    if not clips:
        return None
    if isinstance(dataset, Controls):
        return _of_tones([compose_control(dataset, split, index) for index in clips], seconds)
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
