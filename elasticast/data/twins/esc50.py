"""Twin of ESC-50: ten of its 50 classes, clips of 5 s of which the end is digital silence, two per recording.

The clips of a fold do not depend on which fold is the test split: the twins of all five choices have the same files.
"""

from functools import partial

from elasticast.config.dataset import Esc50, TwinSettings
from elasticast.data.datasets.esc50 import CLASSES, COLUMNS, FOLDS
from elasticast.data.datasets.soundscapes import draw_seconds
from elasticast.data.twins import Files
from elasticast.data.twins.sounds import defects, render, scene, stream, write_clip, write_lines

RATE = 44100
PADDED = RATE * round(Esc50.longest)
# A class for each sound, in the order of `soundscapes.CLASSES`.
LABELS = (
    *("clock_alarm", "wind", "church_bells", "airplane", "chirping_birds"),
    *("clock_tick", "siren", "car_horn", "fireworks", "chainsaw"),
)
ESC10 = ("clock_tick", "chainsaw")  # those of LABELS that are in ESC-10
TAKES = "AB"
HEADER = [*COLUMNS[:4], "esc10", *COLUMNS[4:]]


def files(config: Esc50) -> Files:
    """All files of the twin, see `elasticast.data.twins`."""
    size = config.twin.clips["test"]
    unusable, rows, writers = defects(config.twin, None, size * len(FOLDS)), [], {}
    for index, defect in enumerate(unusable):
        row, write = _clip(config.twin, *divmod(index, size), index, defect)
        rows.append(row)
        if defect != "missing":
            writers[f"{config.folder}/audio/{row.partition(',')[0]}"] = write
    return writers | {f"{config.folder}/meta/esc50.csv": partial(write_lines, [",".join(HEADER), *sorted(rows)])}


def _clip(twin: TwinSettings, fold: int, number: int, index: int, defect: str) -> tuple:
    """Row of the table, and the function that writes the file of clip `number` of a fold, counted from 0."""
    rng, label = stream(twin, None, index, 0), number % len(LABELS)
    recording, take = divmod(number // len(LABELS), len(TAKES))
    unique = (recording * len(FOLDS) + fold) * len(LABELS) + label + 1
    source = 1000 * unique + stream(twin, None, unique, 2).integers(1000)
    target, name = CLASSES.index(LABELS[label]), LABELS[label]
    file = f"{FOLDS[fold]}-{source}-{TAKES[take]}-{target}.wav"
    row = f"{file},{FOLDS[fold]},{target},{name},{name in ESC10},{source},{TAKES[take]}"
    seconds = round(draw_seconds(rng, *twin.seconds), 2)  # a whole number of samples at both rates
    make = partial(render, (twin, None, index, 1), scene(rng, label, seconds, twin), seconds)
    return row, partial(write_clip, make, "wav", 0, defect, rate=RATE, padded=PADDED)
