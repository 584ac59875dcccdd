"""ESC-50, environmental sounds.

Description
    2,000 clips of 5 s, 40 per class, cut from recordings on Freesound; 44.1 kHz mono 16-bit wav. Shorter sounds are
    padded with digital silence, which ``trim_silence`` removes. The task ``sound`` has 50 classes, in the order of
    ``target``. All of them are used, even if the table does not contain them all.

    The clips are divided into five folds. ``test_fold`` is the test split, ``dev_fold`` the dev split, and the other
    folds are the training split. Published scores are the mean over five runs, each with a different test fold.

    Clips that were cut from the same recording (``src_file``) are in the same fold, except for four recordings (131943,
    134049, 209698, 234879): each was used for two classes, whose clips are in different folds. The published folds are
    used without changes.

Layout
    ``meta/esc50.csv`` with the columns ``filename,fold,target,category,esc10,src_file,take``, and audio files such as
    ``audio/1-100032-A-0.wav``, named by fold, src_file, take and target. Other formats, such as ``.flac`` or ``.ogg``,
    are also read.

Counts
    400 clips in each fold, 2,000 in all, 2.8 h.

Source
    https://github.com/karolpiczak/ESC-50. An existing folder is used without checks. Otherwise the archive of commit
    33c8ce9 is downloaded, 646 MB (882 MB unpacked), and each of its files is compared with ``esc50.md5``, the checksums
    that the package soundata 0.1.2 publishes for this dataset. There is no checksum of the archive itself, because
    GitHub may repack it.
    K. J. Piczak: ESC: Dataset for Environmental Sound Classification. ACM Multimedia 2015.

Licence
    Creative Commons Attribution-NonCommercial 3.0 (CC BY-NC 3.0); each clip has an author, see LICENSE in the archive.
"""

import csv
import re
from pathlib import Path, PurePosixPath

import pandas as pd

from elasticast.config.dataset import Esc50
from elasticast.data.annotations import Annotations, read_lines
from elasticast.data.download import Archive, ArchiveFile, fetch_archive, read_sums
from elasticast.data.labels import UniqueIds, clean, damage, meant
from elasticast.data.lookup import index_audio
from elasticast.errors import DataError

URL = "https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip"
BYTES = 645_832_161
UNPACKED = 2 << 30  # bytes; more than twice its size
SUMS = Path(__file__).with_name("esc50.md5")
FOLDS = ("1", "2", "3", "4", "5")
CLIPS_PER_FOLD = 400
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
    """Download the dataset if its folder does not exist."""
    published = read_sums(SUMS)

    def wanted(path: PurePosixPath) -> str | None:
        relative = "/".join(path.parts[1:])
        return relative if relative in published else None

    contents = f"{config.folder}/meta/esc50.csv and {config.folder}/audio/*.wav (2,000 files)"
    file = ArchiveFile(URL, "ESC-50.zip", size=BYTES)
    fetch_archive(Archive((file,), wanted, contents, SUMS, UNPACKED), data_root / config.folder)


def annotate(config: Esc50, data_root: Path, out: Path) -> Annotations:
    """Read the annotations: one row per line of the table. Clips without audio get the reason ``missing``.

    Raises
    ------
    DataError
        If the table or the audio folder is missing or malformed.
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
    published = {split: CLIPS_PER_FOLD * list(splits.values()).count(split) for split in splits.values()}
    return Annotations(clips, {"sound": list(CLASSES)}, published)


def read_table(path: Path) -> pd.DataFrame:
    """Read ``esc50.csv``: ``id`` (the file name without extension), ``fold``, ``sound`` and ``group``.

    Raises
    ------
    DataError
        If the file cannot be read, a line is malformed, or a clip occurs twice.
    """
    reader = csv.DictReader(read_lines(path, "folder", "the folder that contains meta/esc50.csv and audio/"))
    try:
        lines = [(reader.line_num, {key: clean(value or "") for key, value in row.items() if key}) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}; a quotation mark may be missing") from None
    _check_lines(path, reader.fieldnames or [], lines)
    ids = UniqueIds()
    for number, row in lines:
        ids.add(row["filename"][:-4], path, number, f"fold {row['fold']}", row["category"])
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
            f"{', '.join(COLUMNS)}; expected a line such as {EXAMPLE!r}, with a file named by fold, src_file, take and "
            f"target, and the category of the target{_cause(row)}; {len(wrong)} of {len(lines)} lines are malformed"
        )


def _cause(row: dict) -> str:
    """The probable cause of a malformed line, as the continuation of a sentence."""
    for value in row.values():
        if damage(value) and value not in ("True", "False"):
            return f"; {value!r}: {damage(value)}"
    probable = meant(row["category"], CLASSES)
    return f"; {probable!r} is probably meant" if probable not in ("", row["category"]) else ""


def _is_published(row: dict) -> bool:
    """Whether the fold, recording, take, class and file name of a line are consistent."""
    name, fold, target, category, recording, take = (row[column] or "" for column in COLUMNS)
    if name != f"{fold}-{recording}-{take}-{target}.wav" or not CLIP.fullmatch(name[:-4]):
        return False
    return int(target) < len(CLASSES) and category == CLASSES[int(target)]


def _find(folder: Path, clips: list[str]) -> list[str]:
    """Path of the audio file of each clip, ``""`` if there is none."""
    index, listed = index_audio(folder, setting="folder"), set(clips)
    unlisted = [clip for clip in index if CLIP.fullmatch(clip) and clip not in listed]
    if unlisted:
        raise DataError(
            f"{folder}: contains {len(unlisted)} clips that are not in meta/esc50.csv, such as {min(unlisted)}; the "
            f"table is truncated, expected {CLIPS_PER_FOLD} clips per fold"
        )
    return index.paths(clips)
