"""Speech Commands, version 0.02: single spoken words.

Description
    Recordings of up to 1 s of 35 English words by 2,618 speakers; 16 kHz mono 16-bit wav. The task ``word`` has 35
    classes in alphabetical order (no other order is published). Two lists contain the clips of the dev split and of the
    test split; all other clips are the training split. The part of a file name before ``_nohash_`` is the speaker. Each
    speaker is in one split only. If a list contains a speaker but not one of the speaker's clips, for example because
    the list is truncated, that clip is rejected.

    Version 0.01 has only 30 of the words, and different lists with the same file names. It is rejected.

Layout
    ``validation_list.txt`` and ``testing_list.txt`` with one line per clip (``four/1b4c9b89_nohash_2.wav``), and one
    folder per word. Folders that start with ``_``, such as ``_background_noise_``, are ignored. Other formats, such as
    ``.flac`` or ``.ogg``, are also read.

Counts
    84,843 train, 9,981 dev and 11,005 test clips, 105,829 in all, 29 h.

Source
    https://download.tensorflow.org/data/speech_commands_v0.02.tar.gz, 2.4 GB. An existing folder is used without
    checks. Otherwise the archive is downloaded and compared with the SHA-256 that torchaudio publishes for it.
    P. Warden: Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition. arXiv:1804.03209, 2018.

Licence
    Creative Commons Attribution 4.0 (CC BY 4.0).
"""

import logging
import re
from pathlib import Path, PurePosixPath

import pandas as pd

from elasticast.config.dataset import SPLITS, SpeechCommands
from elasticast.data.annotations import Annotations, read_lines
from elasticast.data.download import Archive, ArchiveFile, fetch_archive
from elasticast.data.labels import UniqueIds, clean, meant, near_duplicates
from elasticast.data.lookup import AudioIndex, index_audio
from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
URL = "https://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
SHA256 = "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"
UNPACKED = 8 << 30  # bytes; more than twice its size
LISTS = {"dev": "validation_list.txt", "test": "testing_list.txt"}
PUBLISHED = {"train": 84843, "dev": 9981, "test": 11005}
NEW_WORDS = ("backward", "follow", "forward", "learn", "visual")
OLD_WORDS = (
    *("bed", "bird", "cat", "dog", "down", "eight", "five", "four", "go", "happy", "house", "left", "marvin", "nine"),
    *("no", "off", "on", "one", "right", "seven", "sheila", "six", "stop", "three", "tree", "two", "up", "wow", "yes"),
    "zero",
)
WORDS = sorted(NEW_WORDS + OLD_WORDS)
NAME = r"([^/\\]+)_nohash_\d+"
LINE = re.compile(rf"((\w+)/{NAME})\.wav")
CLIP = re.compile(rf"\w+/{NAME}")
EXAMPLE = "four/1b4c9b89_nohash_2.wav"


def fetch(config: SpeechCommands, data_root: Path, out: Path) -> None:
    """Download the dataset if its folder does not exist."""
    contents = (
        f"{config.folder}/validation_list.txt, testing_list.txt and one folder per word (35 folders, 105,829 files)"
    )
    file = ArchiveFile(URL, "speech_commands_v0.02.tar.gz", f"sha256:{SHA256}")
    fetch_archive(Archive((file,), _wanted, contents, unpacked=UNPACKED), data_root / config.folder)


def _wanted(path: PurePosixPath) -> str | None:
    return None if path.name.startswith(".") else str(path)


def annotate(config: SpeechCommands, data_root: Path, out: Path) -> Annotations:
    """Read the annotations: one row per clip that exists or is in a list.

    Clips without audio get the reason ``missing``.

    Raises
    ------
    DataError
        If a list or the folders of the words are missing or malformed, or belong to version 0.01.
    """
    folder = data_root / config.folder
    listed = read_lists(folder)
    index = index_audio(folder, setting="folder", clip_of=_clip_of)
    names = sorted({*_clips_of_words(index), *listed})
    clips = pd.DataFrame({"id": names, "split": [listed.get(name, "train") for name in names]})
    clips["word"] = [[name.partition("/")[0]] for name in names]
    clips["path"] = index.paths(names)
    clips["group"] = [name.partition("/")[2].partition("_nohash_")[0] for name in names]
    clips["reason"] = _reasons(clips)
    return Annotations(clips, {"word": WORDS}, PUBLISHED)


def read_lists(folder: Path) -> dict[str, str]:
    """Read the two lists as a dict from clip (``word/file`` without extension) to split.

    Raises
    ------
    DataError
        If a list cannot be read, a line is malformed, a list belongs to version 0.01, or a clip occurs twice.
    """
    listed: dict[str, str] = {}
    ids = UniqueIds()
    for split, file in LISTS.items():
        for number, name in _read_list(folder / file):
            ids.add(name, folder / file, number, split)
            listed[name] = split
    return listed


def _read_list(path: Path) -> list[tuple[int, str]]:
    """Read the clips in a list: line, and ``word/file`` without extension."""
    target = f"the folder that contains {', '.join(LISTS.values())} and one folder per word"
    lines = {number: clean(line) for number, line in enumerate(read_lines(path, "folder", target), start=1)}
    matches = {number: LINE.fullmatch(line) for number, line in lines.items() if line}
    wrong = [number for number, match in matches.items() if not match or match[2] not in WORDS]
    if wrong:
        word = lines[wrong[0]].partition("/")[0]
        hint = f" ({meant(word, WORDS)!r} is probably meant)" if word not in WORDS and meant(word, WORDS) else ""
        raise DataError(
            f"{path}, line {wrong[0]}: {lines[wrong[0]]!r}; expected one of the 35 words{hint} and a file, such "
            f"as {EXAMPLE}; {len(wrong)} of {len(lines)} lines are malformed"
        )
    _check_version(path, {match[2] for match in matches.values()}, f"{len(matches):,} clips")
    return [(number, match[1]) for number, match in matches.items()]


def _check_version(path: Path, words: set[str], clips: str) -> None:
    """Raise an error if the words are not those of version 0.02."""
    if words.isdisjoint(NEW_WORDS):
        actual = "the 30 words of version 0.01" if words.issuperset(OLD_WORDS) else f"{len(words)} words"
        raise DataError(
            f"{path}: contains {clips} of {actual}, but none of {', '.join(NEW_WORDS)}; expected version 0.02 ({URL}) "
            f"with 35 words and {sum(PUBLISHED.values()):,} clips ({PUBLISHED['dev']:,} and {PUBLISHED['test']:,} in "
            f"its lists)"
        )


def _clip_of(relative: str) -> str:
    """The clip as ``word/file``. File names alone are not unique: a speaker has the same ones for every word."""
    return relative if relative.count("/") == 1 and not relative.startswith("_") else ""


def _clips_of_words(index: AudioIndex) -> list[str]:
    """The clips in the folders of the 35 words. Other folders are ignored with a warning."""
    words = {name.partition("/")[0] for name in index}
    _check_version(index.folder, words & set(WORDS), f"{len(index):,} clips")
    others = sorted(words.difference(WORDS))
    for first, *alike in near_duplicates([*WORDS, *others]):
        raise DataError(f"{index.folder}: folder {alike[0]!r} is none of the 35 words; {first!r} is probably meant")
    if others:
        LOG.warning("%s: ignoring %d folders that are none of the 35 words: %s", index.folder, len(others), others)
    return [name for name in index if name.partition("/")[0] in WORDS]


def _reasons(clips: pd.DataFrame) -> pd.Series:
    """Why each clip cannot be used, ``""`` if it can."""
    reasons = clips["path"].eq("").map({True: "missing", False: ""})
    clip_split = clips["split"].map(SPLITS.index)
    speaker_split = clip_split.groupby(clips["group"]).transform("max")
    for split, file in LISTS.items():
        unlisted = (speaker_split == SPLITS.index(split)) & (clip_split < speaker_split)
        reasons[unlisted] = f"its speaker is in {file}, the clip is not"
    well_named = clips["id"].map(lambda name: bool(CLIP.fullmatch(name)))
    return reasons.where(well_named, "not named SPEAKER_nohash_NUMBER")
