"""Twin of FSD50K: ten leaves of its 200 classes and all their ancestors. Files are 44.1 kHz mono wav."""

from functools import partial

from elasticast.config.dataset import SPLITS, Fsd50k, TwinSettings
from elasticast.data.datasets.fsd50k import AUDIO, COLUMNS, VOCABULARY
from elasticast.data.datasets.soundscapes import CLASSES, draw_seconds
from elasticast.data.twins import Files
from elasticast.data.twins.sounds import defects, medley, render, stream, write_clip, write_lines

RATE = 44100
# A leaf and its ancestors for each sound, in the order of `soundscapes.CLASSES`.
LABELS = (
    ("Ringtone", "Telephone", "Alarm"),
    ("Wind",),
    ("Glockenspiel", "Mallet_percussion", "Percussion", "Musical_instrument", "Music"),
    ("Whoosh_and_swoosh_and_swish",),
    ("Chirp_and_tweet", "Bird_vocalization_and_bird_call_and_bird_song", "Bird", "Wild_animals", "Animal"),
    ("Tick", "Clock", "Mechanisms"),
    ("Siren", "Alarm"),
    ("Organ", "Keyboard_(musical)", "Musical_instrument", "Music"),
    ("Boom", "Explosion"),
    ("Buzz",),
)
PARTS = {"train": "train", "dev": "val"}


def files(config: Fsd50k) -> Files:
    """All files of the twin, see `elasticast.data.twins`."""
    vocabulary = VOCABULARY.read_text(encoding="ascii").splitlines()
    mids = dict(line.split(",")[1:] for line in vocabulary)
    lists = {name: [",".join(columns)] for name, columns in COLUMNS.items()}
    writers: Files = {}
    for split in SPLITS:
        file = "dev.csv" if split in PARTS else "eval.csv"
        for index, defect in enumerate(defects(config.twin, split, config.twin.clips[split])):
            name, labels, write = _clip(config.twin, split, index, defect)
            row = [name, _quoted(labels), _quoted([mids[label] for label in labels])]
            lists[file].append(",".join([*row, PARTS[split]] if split in PARTS else row))
            if defect != "missing":
                writers[f"{config.folder}/{AUDIO[file]}/{name}.wav"] = write
    lists["vocabulary.csv"] = vocabulary
    folder = f"{config.folder}/FSD50K.ground_truth"
    return writers | {f"{folder}/{name}": partial(write_lines, lines) for name, lines in lists.items()}


def _quoted(values: list[str]) -> str:
    return f'"{",".join(values)}"' if len(values) > 1 else values[0]


def _clip(twin: TwinSettings, split: str, index: int, defect: str) -> tuple:
    """Number on Freesound, labels, and the function that writes the file."""
    rng = stream(twin, split, index, 0)
    seconds = round(draw_seconds(rng, *twin.seconds), 2)  # a whole number of samples at both rates
    events = medley(rng, seconds, twin)
    heard = sorted({CLASSES.index(event.kind) for event in events})
    leaves, ancestors = [LABELS[kind][0] for kind in heard], [name for kind in heard for name in LABELS[kind][1:]]
    name = str(1000 + 7 * (len(SPLITS) * index + SPLITS.index(split)))
    make = partial(render, (twin, split, index, 1), events, seconds)
    write = partial(write_clip, make, "wav", 0, defect, rate=RATE)
    return name, list(dict.fromkeys([*leaves, *ancestors])), write
