"""Twin of AudioSet: ten classes, one to four per clip. The file names use all naming schemes of AudioSet clips."""

from functools import partial

from elasticast.config.dataset import AudioSet, TwinSettings
from elasticast.data.datasets.soundscapes import CLASSES, draw_seconds
from elasticast.data.twins import Files
from elasticast.data.twins.sounds import (
    DEFECTS,
    VARIANTS,
    defects,
    medley,
    render,
    stream,
    video_id,
    write_clip,
    write_lines,
)

# Label and name of each class, in the order of `soundscapes.CLASSES`.
NAMES = {
    "/t/twin00": "Tone, pulsating",
    "/t/twin01": "Wind",
    "/m/0twin2": "Bell",
    "/m/0twin3": "Falling whistle",
    "/m/0twin4": "Rising whistle",
    "/m/0twin5_": "Clicking",
    "/t/twin06": "Siren",
    "/g/1twin_07": "Organ, pipe organ",
    "/m/0twin8": "Burst, pop",
    "/t/twin09": "Buzz",
}
# Arguments: id, start and end in ms, start and end in s.
FILES = ("{0}.wav", "Y{0}.wav", "a/{0}_{1:.0f}_{2:.0f}.flac", "b/{0}_{3:.3f}.flac", "b/{0}_{3:.3f}_{4:.3f}.wav")


def files(config: AudioSet) -> Files:
    """All files of the twin, see `elasticast.data.twins`."""
    classes = [f'{number},{mid},"{name}"' for number, (mid, name) in enumerate(NAMES.items())]
    writers: Files = {config.labels: partial(write_lines, ["index,mid,display_name", *classes])}
    for split, lists in config.segments.items():
        rows = []
        for index, defect in enumerate(defects(config.twin, split, config.twin.clips[split], (*DEFECTS, "uncut"))):
            row, name, write = _clip(config.twin, split, index, defect)
            rows.append(row)
            if defect != "missing":
                writers[f"{config.audio}/{name}"] = write
        for number, name in enumerate(lists):
            writers[name] = partial(write_lines, _with_header(rows[number :: len(lists)]))
    return writers


def _with_header(rows: list[str]) -> list[str]:
    origin = "# Segments csv made up: a synthetic twin"
    counts = f"# num_ytids={len(rows)}, num_segs={len(rows)}, num_unique_labels={len(NAMES)}"
    return [origin, counts, "# YTID, start_seconds, end_seconds, positive_labels", *rows]


def _clip(twin: TwinSettings, split: str, index: int, defect: str) -> tuple:
    """Row of the list, file name, and the function that writes the file."""
    rng = stream(twin, split, index, 0)
    seconds = round(draw_seconds(rng, *twin.seconds), 3)
    events = medley(rng, seconds, twin)
    name, start = video_id(rng), 10.0 * rng.integers(60) + rng.choice([0.0, 0.5])
    labels = [list(NAMES)[number] for number in sorted({CLASSES.index(event.kind) for event in events})]
    row = f'{name}, {start:.3f}, {start + seconds:.3f}, "{",".join(labels)}"'
    file = FILES[rng.integers(len(FILES))]
    file = file.format(name, 1000 * start, 1000 * (start + seconds), start, start + seconds)
    make = partial(render, (twin, split, index, 1), events, seconds)
    return row, file, partial(write_clip, make, file.rpartition(".")[2], rng.choice(VARIANTS), defect)
