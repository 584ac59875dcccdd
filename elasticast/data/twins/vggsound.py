"""Twin of VGGSound: ten labels, one per clip. Some videos have two clips."""

from functools import partial

from elasticast.config.dataset import TwinSettings, VggSound
from elasticast.data.datasets.soundscapes import draw_seconds
from elasticast.data.twins import Files
from elasticast.data.twins.sounds import VARIANTS, defects, render, scene, stream, video_id, write_clip, write_lines

LABELS = (
    "tone pulsating",
    "wind noise",
    "church bell ringing",
    "whistling, falling",
    "bird chirping, tweeting",
    "typing, fast",
    "police car (siren)",
    "playing pipe organ",
    "popping popcorn",
    "electric buzz, mains",
)
TWO_CLIPS = 5  # every fifth clip is from the same video as the previous one


def files(config: VggSound) -> Files:
    """All files of the twin, see `elasticast.data.twins`."""
    writers: Files = {}
    if config.labels is not None:
        classes = [f'{number},/t/twin{number:02d},"{name}"' for number, name in enumerate(LABELS)]
        writers[config.labels] = partial(write_lines, ["index,mid,display_name", *classes])
    rows = []
    for split in ("train", "test"):
        for index, defect in enumerate(defects(config.twin, split, config.twin.clips[split])):
            row, name, write = _clip(config.twin, split, index, defect)
            rows.append(row)
            if defect != "missing":
                writers[f"{config.audio}/{name}"] = write
    return writers | {config.annotations: partial(write_lines, rows)}


def _clip(twin: TwinSettings, split: str, index: int, defect: str) -> tuple:
    """Row of the list, file name, and the function that writes the file."""
    rng, second = stream(twin, split, index, 0), index % TWO_CLIPS == TWO_CLIPS - 1
    label, seconds = index % len(LABELS), draw_seconds(rng, *twin.seconds)
    events = scene(rng, label, seconds, twin)
    video, start = video_id(stream(twin, split, index - second, 2)), rng.integers(100) + 200 * second
    text = f'"{LABELS[label]}"' if "," in LABELS[label] else LABELS[label]
    kind = ("wav", "flac")[rng.integers(2)]
    file = f"{('', split + '/')[rng.integers(2)]}{video}_{start:06d}.{kind}"
    make = partial(render, (twin, split, index, 1), events, seconds)
    return f"{video},{start},{text},{split}", file, partial(write_clip, make, kind, rng.choice(VARIANTS), defect)
