"""VoxCeleb1: speaker identification.

Description
    Speech of 1,251 celebrities, cut from interviews on YouTube; 16 kHz mono wav, 352 h. The task ``speaker`` has 1,251
    classes: class k is speaker number k + 10001, even if the list does not contain all speakers. Every speaker is in
    every split. Checkpoints are selected on the dev split.

Layout
    The list, ``iden_split.txt``, with one line per clip: ``1 id10001/1zcIwhmdeo4/00001.wav``, where 1 means train, 2
    dev and 3 test. The separator can be any white space. Windows line ends and backslashes are also accepted.

    The audio, as ``id10001/1zcIwhmdeo4/00001.wav`` anywhere below one folder: directly, in ``wav/``, in ``dev/wav/``
    and ``test/wav/`` (the folders of the two downloaded archives), or in several of these. If a clip has no wav file
    but one in another format, such as ``00001.m4a`` or ``00001.flac``, that file is used, and a warning counts these
    clips.

Counts
    138,361 train, 6,904 dev and 8,251 test clips, 153,516 in all.

Source
    https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html; the list is ``iden_split.txt`` there, in ``meta``.
    A. Nagrani, J. S. Chung, A. Zisserman: VoxCeleb: a large-scale speaker identification dataset. Interspeech 2017.

Licence
    Creative Commons Attribution 4.0 (CC BY 4.0); the rights to the videos stay with their owners.
"""

import logging
import re
from pathlib import Path

import pandas as pd

from elasticast.config.dataset import VoxCeleb1
from elasticast.data.annotations import Annotations, read_lines
from elasticast.data.labels import UniqueIds
from elasticast.data.lookup import index_audio
from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
SPEAKERS = [f"id{number}" for number in range(10001, 11252)]
SPLITS = {"1": "train", "2": "dev", "3": "test"}
PUBLISHED = {"train": 138361, "dev": 6904, "test": 8251}
LINE = re.compile(r"([123])\s+(?:\./)?((id1\d{4})/[\w-]{11})(/\d{5})\.\w+", re.ASCII)
CLIP = re.compile(r"(?:^|/)(id1\d{4}/[^/]+/[^/]+)$")
EXAMPLE = "id10001/1zcIwhmdeo4/00001.wav"


def fetch(config: VoxCeleb1, data_root: Path, out: Path) -> None:
    """Do nothing: the audio cannot be downloaded automatically."""


def annotate(config: VoxCeleb1, data_root: Path, out: Path) -> Annotations:
    """Read the annotations: one row per line of the list. Clips without audio get the reason ``missing``.

    Raises
    ------
    DataError
        If the list or the audio folder is missing or malformed.
    """
    clips = read_split(data_root / config.annotations)
    clips["path"] = _find(data_root / config.audio, clips["id"].tolist())
    clips["reason"] = clips["path"].map({"": "missing"}).fillna("")
    return Annotations(clips, {"speaker": SPEAKERS}, PUBLISHED)


def read_split(path: Path) -> pd.DataFrame:
    """Read ``iden_split.txt``: ``id`` (path without extension), ``split``, ``speaker`` and ``group`` (the video).

    Raises
    ------
    DataError
        If the file cannot be read, a line is malformed, or a clip occurs twice.
    """
    rows, wrong, speakers, number, ids = [], [], set(SPEAKERS), 0, UniqueIds()
    for number, line in enumerate(read_lines(path, "annotations"), start=1):
        match = LINE.fullmatch(line.strip().replace("\\", "/"))
        if match and match[3] in speakers:
            ids.add(match[2] + match[4], path, number, SPLITS[match[1]])
            rows.append((match[2] + match[4], SPLITS[match[1]], [match[3]], match[2]))
        elif line.strip():
            wrong.append((number, line.strip()))
    if wrong:
        first, line = wrong[0]
        raise DataError(
            f"{path}, line {first}: {line!r}; expected 1 (train), 2 (dev) or 3 (test) and a path such as {EXAMPLE} "
            f"with a speaker from {SPEAKERS[0]} to {SPEAKERS[-1]}; {len(wrong)} of {number} lines are malformed"
        )
    return pd.DataFrame(rows, columns=["id", "split", "speaker", "group"])


def _find(folder: Path, clips: list[str]) -> list[str]:
    """Path of the audio file of each clip, ``""`` if there is none."""
    index = index_audio(folder, clip_of=_clip_of)
    if not len(index):
        raise DataError(
            f"{folder}: contains no audio file in folders of a speaker and a video ({EXAMPLE}); set `audio` in the "
            f"dataset's settings to the folder that contains {SPEAKERS[0]}/, ... or wav/, dev/wav/, test/wav/"
        )
    paths = index.paths(clips)
    others = [path for path in paths if path and not path.lower().endswith(".wav")]
    if others:
        LOG.warning(
            "%s: %d clips have no wav file and are read from other formats, such as %s", folder, len(others), others[0]
        )
    return paths


def _clip_of(relative: str) -> str:
    """The clip as ``speaker/video/file``. File names alone are not unique: nearly every video has a ``00001``."""
    match = CLIP.search(relative)
    return match[1] if match else ""
