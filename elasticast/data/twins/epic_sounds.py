"""Twin of EPIC-SOUNDS: ten of its 44 classes, spans of long videos, whose sound is in one HDF5 file; 24 kHz."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from elasticast.config.dataset import SPLITS, EpicSounds, TwinSettings
from elasticast.data.datasets.epic_sounds import CLASSES, SAMPLE_RATE
from elasticast.data.datasets.soundscapes import Event, draw_seconds, mix
from elasticast.data.twins import Files
from elasticast.data.twins.sounds import defects, scene, stream, take, write_lines

LABELS = CLASSES[2::4][:10]
CLIPS_A_VIDEO = 6
PAUSE_SECONDS = (0.2, 2.0)
HEADER = (
    "annotation_id,participant_id,video_id,start_timestamp,stop_timestamp,start_sample,stop_sample,description,"
    "class,class_id"
)


class Video(NamedTuple):
    """Name, length (s), rows of the list, and events."""

    name: str
    seconds: float
    rows: list[str]
    events: list[Event]


def files(config: EpicSounds) -> Files:
    """All files, see `elasticast.data.twins`."""
    found: Files = {}
    heard = []
    for split, lists in config.annotations.items():
        videos = [_video(config.twin, split, number) for number in range(-(-config.twin.clips[split] // CLIPS_A_VIDEO))]
        missing = defects(config.twin, split, len(videos), ("missing",))
        heard += [(split, number, video) for number, video in enumerate(videos) if not missing[number]]
        for place, name in enumerate(lists):
            rows = [row for video in videos[place :: len(lists)] for row in video.rows]
            found[name] = partial(write_lines, [HEADER, *rows])
    return found | {config.audio: partial(_write_videos, config.twin, heard)}


def _video(twin: TwinSettings, split: str, number: int) -> Video:
    """Video `number` of a split: its clips follow each other with pauses between."""
    rng = stream(twin, split, number, 0)
    person = f"P{rng.integers(1, 38):02d}"
    name = f"{person}_{10 * (number + 1) + SPLITS.index(split)}"
    rows, events, place = [], [], 0.0
    first = number * CLIPS_A_VIDEO
    for index in range(first, min(first + CLIPS_A_VIDEO, twin.clips[split])):
        start = round(place + rng.uniform(*PAUSE_SECONDS), 3)
        seconds, label = round(draw_seconds(rng, *twin.seconds), 3), index % len(LABELS)
        place = start + seconds
        events += [event._replace(start=start + event.start) for event in scene(rng, label, seconds, twin)]
        ends = f"{_stamp(start)},{_stamp(place)},{_sample(start)},{_sample(place)}"
        what = f"{LABELS[label]},{CLASSES.index(LABELS[label])}"
        rows.append(f'{name}_{index - first},{person},{name},{ends},"made up, a twin",{what}')
    return Video(name, place + rng.uniform(*PAUSE_SECONDS), rows, events)


def _stamp(seconds: float) -> str:
    minutes, rest = divmod(round(1000 * seconds), 60000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _sample(seconds: float) -> int:
    return round(1000 * seconds) * SAMPLE_RATE // 1000


def _write_videos(twin: TwinSettings, videos: list[tuple[str, int, Video]], path: Path) -> None:
    """One dataset a video, float32, as published."""
    with h5py.File(path, "w") as file:
        for split, number, video in videos:
            rng, samples = stream(twin, split, number, 1), _sample(video.seconds)
            file[video.name] = mix(rng, video.events, samples, take, SAMPLE_RATE).astype(np.float32) / 32768
