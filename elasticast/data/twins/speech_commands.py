"""Twin of Speech Commands: ten of its 35 words, each twice by a speaker. Sounds stand for words; a clip has only one.

The training split has no list, so its clips cannot be missing: those without usable audio are truncated or silent.
"""

from functools import partial

import numpy as np

from elasticast.config.dataset import SPLITS, SpeechCommands, TwinSettings
from elasticast.data.datasets.soundscapes import CLASSES, draw_events, draw_seconds
from elasticast.data.datasets.speech_commands import LISTS, WORDS
from elasticast.data.twins import Files
from elasticast.data.twins.sounds import DEFECTS, defects, render, stream, write_clip, write_lines

LABELS = WORDS[::3][:10]  # the first is one of those that version 0.01 does not have
CLIPS_PER_WORD = 2  # of each speaker
NOISE_SECONDS = 10.0


def files(config: SpeechCommands) -> Files:
    """All files of the twin, see `elasticast.data.twins`."""
    lists: dict[str, list[str]] = {split: [] for split in SPLITS}
    background = partial(render, (config.twin, None, 0, 0), (), NOISE_SECONDS)
    noise = partial(write_clip, background, "wav", 0, "")
    writers: Files = {f"{config.folder}/_background_noise_/pink_noise.wav": noise}
    for split, names in lists.items():
        kinds = DEFECTS if split in LISTS else tuple(kind for kind in DEFECTS if kind != "missing")
        for index, defect in enumerate(defects(config.twin, split, config.twin.clips[split], kinds)):
            name, write = _clip(config.twin, split, index, defect)
            names.append(name)
            if defect != "missing":
                writers[f"{config.folder}/{name}"] = write
    return writers | {
        f"{config.folder}/{file}": partial(write_lines, sorted(lists[split])) for split, file in LISTS.items()
    }


def _clip(twin: TwinSettings, split: str, index: int, defect: str) -> tuple:
    """File of a clip, and the function that writes it."""
    rng, label = stream(twin, split, index, 0), index % len(LABELS)
    person, take = divmod(index // len(LABELS), CLIPS_PER_WORD)
    speaker = stream(twin, split, person, 2).integers(1 << 32)
    seconds = round(draw_seconds(rng, *twin.seconds), 3)
    events = draw_events(rng, seconds, np.eye(len(CLASSES))[label], twin.snr_db)
    make = partial(render, (twin, split, index, 1), events, seconds)
    return f"{LABELS[label]}/{speaker:08x}_nohash_{take}.wav", partial(write_clip, make, "wav", 0, defect)
