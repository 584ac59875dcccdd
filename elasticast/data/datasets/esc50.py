"""ESC-50, environmental sounds.

Description
    2,000 clips of 5 s, 40 of each of 50 classes, cut from recordings of Freesound; 44.1 kHz mono 16-bit wav. A shorter
    sound is filled up with digital silence, which ``trim_silence`` cuts off again. Task ``sound``, one of 50; the
    classes are in the order of ``target``, whether or not the table at hand names them all.

    The clips come in five folds. ``test_fold`` is the split test, ``dev_fold`` the split dev, the others are the split
    train. Published scores are the mean over five runs in which each fold is the test fold once.

    Clips cut from one recording (``src_file``) lie in one fold, but for four recordings (131943, 134049, 209698,
    234879) that were used for two classes, each in a fold of its own. The published folds are kept as they are.

Layout
    ``meta/esc50.csv`` with the columns ``filename,fold,target,category,esc10,src_file,take``, and
    ``audio/1-100032-A-0.wav``, named by fold, src_file, take and target. A clip that is there as ``.flac``, ``.ogg``
    and so on instead is read from that file.

Counts
    400 clips in each fold, 2,000 in all, 2.8 h.

Source
    https://github.com/karolpiczak/ESC-50. A folder that is there is taken as it is. Otherwise the archive of commit
    33c8ce9 is downloaded, 646 MB (882 MB unpacked), and each of its files is compared with ``esc50.md5``, the checksums
    that the package soundata 0.1.2 publishes for this dataset: GitHub may pack an archive anew, so that a checksum of
    the archive itself would not last.
    K. J. Piczak: ESC: Dataset for Environmental Sound Classification. ACM Multimedia 2015.

Licence
    Creative Commons Attribution-NonCommercial 3.0 (CC BY-NC 3.0); each clip has an author, see LICENSE in the archive.
"""

import csv
import re
from pathlib import Path, PurePosixPath

import pandas as pd

from elasticast.config.dataset import Esc50
from elasticast.data.annotations import Annotations
from elasticast.data.download import Archive, fetch_archive, read_sums
from elasticast.data.lookup import index_audio
from elasticast.errors import DataError

URL = "https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip"
BYTES = 645_832_161
SUMS = Path(__file__).with_name("esc50.md5")
FOLDS = ("1", "2", "3", "4", "5")
CLIPS_A_FOLD = 400
COLUMNS = ("filename", "fold", "target", "category", "src_file", "take")
EXAMPLE = "1-100032-A-0.wav,1,0,dog,True,100032,A"
CLIP = re.compile(r"[1-5]-\d+-[A-Z]-\d+")
CLASSES = (
    *("dog", "rooster", "pig", "cow", "frog", "cat", "hen", "insects", "sheep", "crow"),
    *("rain", "sea_waves", "crackling_fire", "crickets", "chirping_birds"),
    *("water_drops", "wind", "pouring_water", "toilet_flush", "thunderstorm"),
    *("crying_baby", "sneezing", "clapping", "breathing", "coughing"),
    *("footsteps", "laughing", "brushing_teeth", "snoring", "drinking_sipping"),
    *("door_wood_knock", "mouse_click", "keyboard_typing", "door_wood_creaks", "can_opening"),
    *("washing_machine", "vacuum_cleaner", "clock_alarm", "clock_tick", "glass_breaking"),
    *("helicopter", "chainsaw", "siren", "car_horn", "engine"),
    *("train", "church_bells", "airplane", "fireworks", "hand_saw"),
)


def fetch(config: Esc50, data_root: Path, out: Path) -> None:
    """Download the dataset if it is not there."""
    published = read_sums(SUMS)

    def wanted(path: PurePosixPath) -> str | None:
        place = "/".join(path.parts[1:])
        return place if place in published else None

    contents = f"{config.folder}/meta/esc50.csv and {config.folder}/audio/*.wav (2,000 files)"
    fetch_archive(Archive(URL, "ESC-50.zip", wanted, contents, sums=SUMS, size=BYTES), data_root / config.folder)


def annotate(config: Esc50, data_root: Path, out: Path) -> Annotations:
    """One row a line of the table; a clip without audio has the reason ``missing``.

    Raises
    ------
    DataError
        If the table or the folder of audio is not there, or not what it should be.
    """
    folder = data_root / config.folder
    clips = read_table(folder / "meta" / "esc50.csv")
    clips["path"] = _find(folder / "audio", clips["id"].tolist())
    clips["reason"] = clips["path"].eq("").map({True: "missing", False: ""})
    splits = {fold: "train" for fold in FOLDS}
    if config.dev_fold is not None:
        splits[str(config.dev_fold)] = "dev"
    splits[str(config.test_fold)] = "test"
    clips["split"] = clips.pop("fold").map(splits)
    published = {split: CLIPS_A_FOLD * list(splits.values()).count(split) for split in splits.values()}
    return Annotations(clips, {"sound": list(CLASSES)}, published)


def read_table(path: Path) -> pd.DataFrame:
    """The clips of ``esc50.csv``: ``id`` (the file name without extension), ``fold``, ``sound``, ``group``.

    Raises
    ------
    DataError
        If there is no such file, or a line of it is not as published.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            lines = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: the table of clips cannot be read ({error}); `folder` in the dataset's settings should name the "
            f"folder that holds meta/esc50.csv and audio/"
        ) from None
    _check_lines(path, reader.fieldnames or [], lines)
    rows = [(row["filename"][:-4], row["fold"], [row["category"]], row["src_file"]) for _, row in lines]
    return pd.DataFrame(rows, columns=["id", "fold", "sound", "group"])


def _check_lines(path: Path, header: list[str], lines: list[tuple[int, dict]]) -> None:
    if not set(COLUMNS) <= set(header):
        raise DataError(f"{path}, line 1: {','.join(header)!r}; expected the columns {', '.join(COLUMNS)}")
    wrong = [(number, row) for number, row in lines if not _is_published(row)]
    if wrong:
        number, row = wrong[0]
        raise DataError(
            f"{path}, line {number}: {','.join(str(row[column]) for column in COLUMNS)!r} in the columns "
            f"{', '.join(COLUMNS)}; expected a line such as {EXAMPLE!r}, the file named by fold, src_file, take and "
            f"target, and the category that of the target; {len(wrong)} of {len(lines)} lines are otherwise"
        )


def _is_published(row: dict) -> bool:
    """Whether fold, recording, take, class and file name of a line agree."""
    name, fold, target, category, recording, take = (row[column] or "" for column in COLUMNS)
    if name != f"{fold}-{recording}-{take}-{target}.wav" or not CLIP.fullmatch(name[:-4]):
        return False
    return int(target) < len(CLASSES) and category == CLASSES[int(target)]


def _find(folder: Path, clips: list[str]) -> list[str]:
    """Path of each clip's audio file, ``""`` where there is none."""
    index, named = index_audio(folder, setting="folder"), set(clips)
    others = [clip for clip in index if CLIP.fullmatch(clip) and clip not in named]
    if others:
        raise DataError(
            f"{folder}: holds {len(others)} clips that meta/esc50.csv does not name, such as {min(others)}; the table "
            f"is cut off, expected {CLIPS_A_FOLD} clips of each fold"
        )
    return index.paths(clips)
