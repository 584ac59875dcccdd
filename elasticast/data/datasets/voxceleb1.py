"""VoxCeleb1, speaker identification.

Description
    Speech of 1,251 celebrities cut from interviews on YouTube; 16 kHz mono wav, 352 h. Task ``speaker``, one of 1,251:
    class k is the speaker of number k + 10001, whether or not the list at hand names them all. Every speaker is in
    every split; the split dev is the one that checkpoints are chosen on.

Layout
    The list, ``iden_split.txt``: a line a clip, ``1 id10001/1zcIwhmdeo4/00001.wav``, where 1 is train, 2 dev and
    3 test. Any white space parts the two; Windows' line ends and backslashes are read as well.

    The audio, anywhere below one folder as ``id10001/1zcIwhmdeo4/00001.wav``: directly, in ``wav/``, in ``dev/wav/``
    and ``test/wav/`` (where the two archives of the download unpack to), or in a mixture of them. A clip whose wav is
    not there but whose ``00001.m4a``, ``.flac`` and so on is, is read from that one; a warning says of how many clips.

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
from elasticast.data.annotations import Annotations, text_lines
from elasticast.data.lookup import index_audio
from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
SPEAKERS = [f"id{number}" for number in range(10001, 11252)]
SPLITS = {"1": "train", "2": "dev", "3": "test"}
PUBLISHED = {"train": 138361, "dev": 6904, "test": 8251}
LINE = re.compile(r"([123])\s+(?:\./)?((id1\d{4})/[^/\s]+)(/[^/\s]+)\.\w+")
CLIP = re.compile(r"(?:^|/)(id1\d{4}/[^/]+/[^/]+)$")
EXAMPLE = "id10001/1zcIwhmdeo4/00001.wav"


def fetch(config: VoxCeleb1, data_root: Path, out: Path) -> None:
    """Nothing: the audio has to be there."""


def annotate(config: VoxCeleb1, data_root: Path, out: Path) -> Annotations:
    """One row a line of the list; a clip without audio has the reason ``missing``.

    Raises
    ------
    DataError
        If the list or the folder of audio is not there, or not what it should be.
    """
    clips = read_split(data_root / config.annotations)
    clips["path"] = _find(data_root / config.audio, clips["id"].tolist())
    clips["reason"] = clips["path"].map({"": "missing"}).fillna("")
    return Annotations(clips, {"speaker": SPEAKERS}, PUBLISHED)


def read_split(path: Path) -> pd.DataFrame:
    """The clips of ``iden_split.txt``: ``id`` (path without extension), ``split``, ``speaker``, ``group`` (its video).

    Raises
    ------
    DataError
        If there is no such file, or a line of it is not as published.
    """
    rows, wrong, speakers, number = [], [], set(SPEAKERS), 0
    for number, line in enumerate(text_lines(path, "annotations"), start=1):
        match = LINE.fullmatch(line.strip().replace("\\", "/"))
        if match and match[3] in speakers:
            rows.append((match[2] + match[4], SPLITS[match[1]], [match[3]], match[2]))
        elif line.strip():
            wrong.append((number, line.strip()))
    if wrong:
        first, line = wrong[0]
        raise DataError(
            f"{path}, line {first}: {line!r}; expected 1 (train), 2 (dev) or 3 (test) and a path such as {EXAMPLE}, "
            f"its speaker one of {SPEAKERS[0]} to {SPEAKERS[-1]}; {len(wrong)} of {number} lines are otherwise"
        )
    return pd.DataFrame(rows, columns=["id", "split", "speaker", "group"])


def _find(folder: Path, clips: list[str]) -> list[str]:
    """Path of each clip's audio file, ``""`` where there is none."""
    index = index_audio(folder, clip_of=_clip_of)
    if not len(index):
        raise DataError(
            f"{folder}: no audio file below it lies in folders of a speaker and a video ({EXAMPLE}); `audio` in the "
            f"dataset's settings should name the folder that holds {SPEAKERS[0]}/, ... or wav/, dev/wav/, test/wav/"
        )
    paths = index.paths(clips)
    others = [path for path in paths if path and not path.lower().endswith(".wav")]
    if others:
        LOG.warning("%s: %d clips are not there as wav; read, for example, from %s", folder, len(others), others[0])
    return paths


def _clip_of(relative: str) -> str:
    """Speaker, video and clip: names of files alone repeat, nearly every video has a ``00001``."""
    match = CLIP.search(relative)
    return match[1] if match else ""
