"""VGGSound: 10 s excerpts of YouTube videos in which the source of the sound is visible.

Description
    The task ``sound`` has 309 classes. The id of a clip consists of the id of its video and its start,
    ``zwUv7mdl0S4_000006``. Clips of the same video form a group, which ``dev_share`` does not divide.

Layout
    ``vggsound.csv``, without a header: ``zxPbEuAVEZU,0,playing gong,test`` (id of the video, start in s, label,
    split). Labels with commas are quoted.

    The clips, in one folder or in sub-folders, as ``ID_000006.wav``, ``.flac``, ``.mp4`` or in another format. The
    start has six digits.

    An optional list of classes: ``index,mid,display_name``, in the format of AudioSet's list, such as
    ``class_labels_indices_vgg.csv`` of released recipes. It is needed for weights trained elsewhere, because it defines
    the order of their classes. Some of these files use ``_`` instead of the commas in names. Without a list, the
    classes are in alphabetical order.

Counts
    183,730 training and 15,446 test clips of 309 classes. The vggsound.csv of the repository has 199,467 rows: 241
    training clips and 50 test clips more (https://github.com/hche11/VGGSound/issues/19). Presumably these are the clips
    of ``extending ladders``, which is not one of the published 309 classes. Clips of that class are rejected, unless
    the list of classes contains it.

Source
    https://www.robots.ox.ac.uk/~vgg/data/vggsound, https://github.com/hche11/VGGSound (the list). H. Chen, W. Xie,
    A. Vedaldi, A. Zisserman: VGGSound: A large-scale audio-visual dataset. ICASSP 2020.

Licence
    Creative Commons Attribution 4.0 (CC BY 4.0). The audio belongs to its authors.
"""

import re
from pathlib import Path

import pandas as pd

from elasticast.config.dataset import VggSound
from elasticast.data.annotations import MAX_QUOTED, Annotations, read_class_names, read_lines
from elasticast.data.lookup import index_audio
from elasticast.errors import DataError

PUBLISHED = {"train": 183730, "test": 15446}
SURPLUS = {"train": 241, "test": 50}
SURPLUS_CLASS = "extending ladders"
ROW = re.compile(r'([\w-]{11}),(\d+),(?:"([^"]+)"|([^",]+)),(train|test)\s*', re.ASCII)
EXPECTED = 'expected a row such as zwUv7mdl0S4,6,"bird chirping, tweeting",train (id, start in s, label, train or test)'


def fetch(config: VggSound, data_root: Path, out: Path) -> None:
    """Do nothing: the list and the clips cannot be downloaded automatically."""


def annotate(config: VggSound, data_root: Path, out: Path) -> Annotations:
    """Read the annotations: one row per clip.

    Raises
    ------
    DataError
        If the list of clips or of classes is malformed, or there is no audio.
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
    """Read the list of clips: ``id``, ``group`` (the video), ``label`` and ``split``.

    Parameters
    ----------
    path : Path
        The list.
    names : list of str or None
        Labels that may occur in addition to `SURPLUS_CLASS`. If None, all labels are allowed.

    Raises
    ------
    DataError
        If a row is malformed, or its label is not in `names`. The message contains the file and the line.
    """
    rows, known = [], None if names is None else {*names, SURPLUS_CLASS}
    for number, line in enumerate(read_lines(path, "annotations"), start=1):
        row = ROW.fullmatch(line)
        if row is None:
            if line.strip():
                raise DataError(f"{path}, line {number}: {line.strip()[:MAX_QUOTED]!r}; {EXPECTED}")
            continue
        video, start, quoted, plain, split = row.groups()
        label = quoted or plain
        if known is not None and label not in known:
            raise DataError(
                f"{path}, line {number}: label {label!r} is not in the list of classes, `labels` in the dataset's "
                f"settings"
            )
        rows.append((f"{video}_{int(start):06d}", video, label, split))
    if not rows:
        raise DataError(f"{path}: contains no clip; {EXPECTED}")
    return pd.DataFrame(rows, columns=["id", "group", "label", "split"])


def _class_names(path: Path) -> list[str]:
    """Read the class names in order. Underscores stand for commas; no published name contains an underscore."""
    return [name.replace("_", ",") for name in read_class_names(path).values()]
