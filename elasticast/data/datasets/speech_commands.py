"""Speech Commands, version 0.02: single spoken words.

Description
    Recordings of up to 1 s of 35 English words by 2,618 speakers; 16 kHz mono 16-bit wav. Task ``word``, one of 35, in
    the order of the alphabet (no other is published). The clips named in two lists are the splits dev and test, all
    others the split train. A speaker, the part of the file name before ``_nohash_``, is in one split only: a clip whose
    speaker is in a list it does not stand in itself, as where a list was cut off, is rejected.

    Version 0.01 has 30 of the words and other lists under the same names; it is refused.

Layout
    ``validation_list.txt`` and ``testing_list.txt``, a line a clip (``four/1b4c9b89_nohash_2.wav``), beside a folder a
    word. ``_background_noise_`` and others that begin with ``_`` are passed over. A clip that is there as ``.flac``,
    ``.ogg`` and so on instead is read from that file.

Counts
    84,843 train, 9,981 dev and 11,005 test clips, 105,829 in all, 29 h.

Source
    http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz, 2.4 GB. A folder that is there is taken as it is.
    Otherwise the archive is downloaded and compared with the SHA-256 that torchaudio publishes for it.
    P. Warden: Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition. arXiv:1804.03209, 2018.

Licence
    Creative Commons Attribution 4.0 (CC BY 4.0).
"""

import logging
import re
from pathlib import Path, PurePosixPath

import pandas as pd

from elasticast.config.dataset import SPLITS, SpeechCommands
from elasticast.data.annotations import Annotations
from elasticast.data.download import Archive, fetch_archive
from elasticast.data.lookup import AudioIndex, index_audio
from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
URL = "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
SHA256 = "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"
LISTS = {"dev": "validation_list.txt", "test": "testing_list.txt"}
PUBLISHED = {"train": 84843, "dev": 9981, "test": 11005}
NEW_WORDS = ("backward", "follow", "forward", "learn", "visual")
OLD_WORDS = (
    *("bed", "bird", "cat", "dog", "down", "eight", "five", "four", "go", "happy", "house", "left", "marvin", "nine"),
    *("no", "off", "on", "one", "right", "seven", "sheila", "six", "stop", "three", "tree", "two", "up", "wow", "yes"),
    "zero",
)
WORDS = sorted(NEW_WORDS + OLD_WORDS)
NAME = r"([^/]+)_nohash_\d+"
LINE = re.compile(rf"((\w+)/{NAME})\.wav")
CLIP = re.compile(rf"\w+/{NAME}")
EXAMPLE = "four/1b4c9b89_nohash_2.wav"


def fetch(config: SpeechCommands, data_root: Path, out: Path) -> None:
    """Download the dataset if it is not there."""
    contents = (
        f"{config.folder}/validation_list.txt, testing_list.txt and one folder per word (35 folders, 105,829 files)"
    )
    archive = Archive(URL, "speech_commands_v0.02.tar.gz", _wanted, contents, SHA256)
    fetch_archive(archive, data_root / config.folder)


def _wanted(path: PurePosixPath) -> str | None:
    return None if path.name.startswith(".") else str(path)


def annotate(config: SpeechCommands, data_root: Path, out: Path) -> Annotations:
    """One row a clip that is there or in a list; one that is in a list only has the reason ``missing``.

    Raises
    ------
    DataError
        If a list or the words are not there, or not what they should be, or those of version 0.01.
    """
    folder = data_root / config.folder
    listed = read_lists(folder)
    index = index_audio(folder, setting="folder", clip_of=_clip_of)
    names = sorted({*_of_words(index), *listed})
    clips = pd.DataFrame({"id": names, "split": [listed.get(name, "train") for name in names]})
    clips["word"] = [[name.partition("/")[0]] for name in names]
    clips["path"] = index.paths(names)
    clips["group"] = [name.partition("/")[2].partition("_nohash_")[0] for name in names]
    clips["reason"] = _reasons(clips)
    return Annotations(clips, {"word": WORDS}, PUBLISHED)


def read_lists(folder: Path) -> dict[str, str]:
    """Split of every clip that stands in one of the two lists, by ``word/file`` without extension.

    Raises
    ------
    DataError
        If a list cannot be read, a line of it is not as published, it is of version 0.01, or a clip is in both.
    """
    listed: dict[str, str] = {}
    for split, file in LISTS.items():
        names = _read_list(folder / file)
        double = sorted(name for name in names if name in listed)
        if double:
            raise DataError(
                f"{folder / file}: {double[0]}.wav, and {len(double) - 1} more, stand in {LISTS['dev']} too; a clip is "
                f"in one of the two lists"
            )
        listed |= dict.fromkeys(names, split)
    return listed


def _read_list(path: Path) -> list[str]:
    """Clips in the list, ``word/file`` without extension."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: the list of clips cannot be read ({error}); `folder` in the dataset's settings should name the "
            f"folder that holds {', '.join(LISTS.values())} and a folder a word"
        ) from None
    matches = {number: LINE.fullmatch(line.strip()) for number, line in enumerate(lines, start=1) if line.strip()}
    wrong = [number for number, match in matches.items() if not match or match[2] not in WORDS]
    if wrong:
        raise DataError(
            f"{path}, line {wrong[0]}: {lines[wrong[0] - 1].strip()!r}; expected one of the 35 words and a file, such "
            f"as {EXAMPLE}; {len(wrong)} of {len(lines)} lines are otherwise"
        )
    _refuse_old(path, {match[2] for match in matches.values()}, f"{len(matches):,} clips")
    return [match[1] for match in matches.values()]


def _refuse_old(path: Path, words: set[str], clips: str) -> None:
    if words.isdisjoint(NEW_WORDS):
        old = "the 30 words of version 0.01" if words.issuperset(OLD_WORDS) else f"{len(words)} words"
        raise DataError(
            f"{path}: {clips} of {old}, and none of {', '.join(NEW_WORDS)}; expected version 0.02 ({URL}), with 35 "
            f"words and {sum(PUBLISHED.values()):,} clips ({PUBLISHED['dev']:,} and {PUBLISHED['test']:,} in its lists)"
        )


def _clip_of(relative: str) -> str:
    """``word/file``; names of files alone repeat, a speaker has the same ones in every word."""
    return relative if relative.count("/") == 1 and not relative.startswith("_") else ""


def _of_words(index: AudioIndex) -> list[str]:
    """Clips in the folders of the words; folders of other words are left out with a warning."""
    words = {name.partition("/")[0] for name in index}
    _refuse_old(index.folder, words & set(WORDS), f"{len(index):,} clips")
    others = sorted(words.difference(WORDS))
    if others:
        LOG.warning("%s: %d folders are none of the 35 words and left out: %s", index.folder, len(others), others)
    return [name for name in index if name.partition("/")[0] in WORDS]


def _reasons(clips: pd.DataFrame) -> pd.Series:
    """Why a clip cannot be used, ``""`` for one that can."""
    reasons = clips["path"].eq("").map({True: "missing", False: ""})
    places = clips["split"].map(SPLITS.index)
    place = places.groupby(clips["group"]).transform("max")
    for split, file in LISTS.items():
        strays = (place == SPLITS.index(split)) & (places < place)
        reasons[strays] = f"its speaker is in {file}, the clip is not"
    named = clips["id"].map(lambda name: bool(CLIP.fullmatch(name)))
    return reasons.where(named, "not named SPEAKER_nohash_NUMBER")
