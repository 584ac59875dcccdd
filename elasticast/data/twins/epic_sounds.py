"""Twin of EPIC-SOUNDS: ten of its 44 classes; spans of videos, whose sound is in one HDF5 file at 24 kHz."""

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
CLIPS_PER_VIDEO = 6
PAUSE_SECONDS = (0.2, 2.0)
HEADER = (
    "annotation_id,participant_id,video_id,start_timestamp,stop_timestamp,start_sample,stop_sample,description,"
    "class,class_id"
)


class Video(NamedTuple):
    """A video: name, length (s), rows of the list, and events."""

    name: str
    seconds: float
    rows: list[str]
    events: list[Event]


def files(config: EpicSounds) -> Files:
    """All files of the twin, see `elasticast.data.twins`."""
    writers: Files = {}
    available = []
    for split, lists in config.annotations.items():
        videos = [
            _video(config.twin, split, number) for number in range(-(-config.twin.clips[split] // CLIPS_PER_VIDEO))
        ]
        missing = defects(config.twin, split, len(videos), ("missing",))
        available += [(split, number, video) for number, video in enumerate(videos) if not missing[number]]
        for index, name in enumerate(lists):
            rows = [row for video in videos[index :: len(lists)] for row in video.rows]
            writers[name] = partial(write_lines, [HEADER, *rows])
    return writers | {config.audio: partial(_write_videos, config.twin, available)}


def _video(twin: TwinSettings, split: str, number: int) -> Video:
    """Video `number` of a split, with clips separated by pauses."""
    rng = stream(twin, split, number, 0)
    person = f"P{rng.integers(1, 38):02d}"
    name = f"{person}_{10 * (number + 1) + SPLITS.index(split)}"
    rows, events, end = [], [], 0.0
    first = number * CLIPS_PER_VIDEO
    for index in range(first, min(first + CLIPS_PER_VIDEO, twin.clips[split])):
        start = round(end + rng.uniform(*PAUSE_SECONDS), 3)
        seconds, label = round(draw_seconds(rng, *twin.seconds), 3), index % len(LABELS)
        end = start + seconds
        events += [event._replace(start=start + event.start) for event in scene(rng, label, seconds, twin)]
        span = f"{_stamp(start)},{_stamp(end)},{_sample(start)},{_sample(end)}"
        labels = f"{LABELS[label]},{CLASSES.index(LABELS[label])}"
        rows.append(f'{name}_{index - first},{person},{name},{span},"made up, a twin",{labels}')
    return Video(name, end + rng.uniform(*PAUSE_SECONDS), rows, events)


def _stamp(seconds: float) -> str:
    minutes, rest = divmod(round(1000 * seconds), 60000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _sample(seconds: float) -> int:
    return round(1000 * seconds) * SAMPLE_RATE // 1000


def _write_videos(twin: TwinSettings, videos: list[tuple[str, int, Video]], path: Path) -> None:
    """Write one dataset per video, float32, in the published layout."""
    with h5py.File(path, "w") as file:
        for split, number, video in videos:
            rng, samples = stream(twin, split, number, 1), _sample(video.seconds)
            file[video.name] = mix(rng, video.events, samples, take, SAMPLE_RATE).astype(np.float32) / 32768
