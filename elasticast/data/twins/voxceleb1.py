"""Twin of VoxCeleb1: 16 of its 1,251 speakers, several clips per video. Videos are in ``wav/`` or ``dev/wav/``."""

from functools import partial

import numpy as np

from elasticast.config.dataset import TwinSettings, VoxCeleb1
from elasticast.data.datasets.soundscapes import draw_seconds
from elasticast.data.datasets.voxceleb1 import SPEAKERS, SPLITS
from elasticast.data.twins import Files
from elasticast.data.twins.sounds import defects, stream, video_id, write_clip, write_lines
from elasticast.data.twins.voices import speech, voice

TWIN_SPEAKERS = SPEAKERS[::80]
CLIPS_PER_VIDEO = 3
FOLDERS = ("wav/", "dev/wav/")


def files(config: VoxCeleb1) -> Files:
    """All files of the twin, see `elasticast.data.twins`."""
    writers, rows = {}, []
    for number, split in SPLITS.items():
        for index, defect in enumerate(defects(config.twin, split, config.twin.clips[split])):
            speaker, clip_of_speaker = index % len(TWIN_SPEAKERS), index // len(TWIN_SPEAKERS)
            video, clip = divmod(clip_of_speaker, CLIPS_PER_VIDEO)
            rng = stream(config.twin, split, speaker, video, 2)
            name = f"{TWIN_SPEAKERS[speaker]}/{video_id(rng)}/{clip + 1:05d}.wav"
            rows.append(f"{number} {name}")
            if defect != "missing":
                make = partial(_speech, config.twin, split, index)
                path = f"{config.audio}/{FOLDERS[rng.integers(len(FOLDERS))]}{name}"
                writers[path] = partial(write_clip, make, "wav", 0, defect)
    return writers | {config.annotations: partial(write_lines, rows)}


def _speech(twin: TwinSettings, split: str, index: int) -> np.ndarray:
    rng = stream(twin, split, index, 0)
    seconds = draw_seconds(rng, *twin.seconds)
    return speech(rng, voice(index % len(TWIN_SPEAKERS), len(TWIN_SPEAKERS)), seconds, twin.snr_db)
