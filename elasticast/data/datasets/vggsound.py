"""VGGSound: 10 s excerpts of YouTube videos whose sound comes from something in the picture.

Description
    Task ``sound``, one of 309 classes. A clip's id is its video's and its start, ``zwUv7mdl0S4_000006``. Some videos
    have several clips: ``dev_share`` never divides them.

Layout
    ``vggsound.csv``, without a header: ``zxPbEuAVEZU,0,playing gong,test`` (id of the video, start in s, label,
    split), labels quoted where they hold commas.

    The clips, flat or in sub-folders, as ``ID_000006.wav``, ``.flac``, ``.mp4`` or in another format: the start has six
    digits.

    The list of classes, if there is one: ``index,mid,display_name``, as AudioSet's, such as
    ``class_labels_indices_vgg.csv`` of released recipes. It matters to weights trained elsewhere, whose classes are in
    its order; some such files have ``_`` for the commas in names. Without it the classes are in the order of the
    alphabet.

Counts
    183,730 training and 15,446 test clips of 309 classes. The vggsound.csv of the repository has 199,467 rows, 241 and
    50 more (https://github.com/hche11/VGGSound/issues/19): presumably those of a class besides the published 309,
    ``extending ladders``. Clips of that class are rejected, unless the list of classes names it.

Source
    https://www.robots.ox.ac.uk/~vgg/data/vggsound, https://github.com/hche11/VGGSound (the list). H. Chen, W. Xie,
    A. Vedaldi, A. Zisserman: VGGSound: A large-scale audio-visual dataset. ICASSP 2020.

Licence
    Creative Commons Attribution 4.0 (CC BY 4.0); the audio is its authors'.
"""

import re
from pathlib import Path

import pandas as pd

from elasticast.config.dataset import VggSound
from elasticast.data.annotations import MAX_QUOTED, Annotations, read_class_names, text_lines
from elasticast.data.lookup import index_audio
from elasticast.errors import DataError

PUBLISHED = {"train": 183730, "test": 15446}
SURPLUS = {"train": 241, "test": 50}
SURPLUS_CLASS = "extending ladders"
ROW = re.compile(r'([\w-]{11}),(\d+),(?:"([^"]+)"|([^",]+)),(train|test)\s*', re.ASCII)
SHOULD_BE = 'a row should be like zwUv7mdl0S4,6,"bird chirping, tweeting",train (id, start in s, label, train or test)'


def fetch(config: VggSound, data_root: Path, out: Path) -> None:
    """Nothing: the list and the clips have to be there."""


def annotate(config: VggSound, data_root: Path, out: Path) -> Annotations:
    """One row a clip.

    Raises
    ------
    DataError
        If the list of clips or of classes is not as published, or there is no audio.
    """
    names = None if config.labels is None else _class_names(data_root / config.labels)
    clips = read_rows(data_root / config.annotations, names)
    surplus = clips["label"] == SURPLUS_CLASS
    published = {split: count + SURPLUS[split] * bool(surplus.any()) for split, count in PUBLISHED.items()}
    surplus &= names is None or SURPLUS_CLASS not in names
    names = names or sorted(set(clips["label"][~surplus]))
    clips["path"] = index_audio(data_root / config.audio).paths(clips["id"])
    clips["reason"] = clips["path"].eq("").map({True: "missing", False: ""})
    clips.loc[surplus, "reason"] = f"not one of the published classes ({SURPLUS_CLASS})"
    lists = {label: [label] for label in clips["label"].unique()}
    clips["sound"] = clips.pop("label").map(lists)
    return Annotations(clips, {"sound": names}, published)


def read_rows(path: Path, names: list[str] | None) -> pd.DataFrame:
    """Columns ``id``, ``group`` (the video), ``label`` and ``split`` of the list of clips.

    Parameters
    ----------
    names : list of str
        Labels that may occur, besides the surplus one; None: any.

    Raises
    ------
    DataError
        If a row is not as published, or its label not among `names`; names file and line.
    """
    rows, known = [], None if names is None else {*names, SURPLUS_CLASS}
    for number, line in enumerate(text_lines(path, "annotations"), start=1):
        row = ROW.fullmatch(line)
        if row is None:
            if line.strip():
                raise DataError(f"{path}, line {number}: {line.strip()[:MAX_QUOTED]!r}; {SHOULD_BE}")
            continue
        video, start, quoted, plain, split = row.groups()
        label = quoted or plain
        if known is not None and label not in known:
            raise DataError(f"{path}, line {number}: label {label!r} is not in the file that `labels` names")
        rows.append((f"{video}_{int(start):06d}", video, label, split))
    if not rows:
        raise DataError(f"{path}: no clip in it; {SHOULD_BE}")
    return pd.DataFrame(rows, columns=["id", "group", "label", "split"])


def _class_names(path: Path) -> list[str]:
    """Class names in their order; no published one has an underscore."""
    return [name.replace("_", ",") for name in read_class_names(path).values()]
