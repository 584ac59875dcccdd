"""FSD50K: sounds of Freesound at their natural length, each with one or more of 200 kinds of sound.

Description
    Clips of 0.3-30 s; 44.1 kHz mono 16-bit wav. The task ``events`` has 200 classes of the AudioSet ontology, in the
    order of the vocabulary: 144 leaves and 56 that contain others. The lists already carry every ancestor of a label
    (``Electric_guitar,Guitar,Plucked_string_instrument,Musical_instrument,Music``), and are used as they are. Labels of
    the development set are correct, but may be incomplete; those of the evaluation set are complete. Scores are the
    mean of the average precisions of the 200 classes.

    The development set is divided into ``train`` and ``val``, which become the splits train and dev. The evaluation set
    is the test split. No uploader is in both sets.

Layout
    ``FSD50K.ground_truth/dev.csv``: the header ``fname,labels,mids,split``, and rows such as
    ``64760,"Electric_guitar,Guitar","/m/02sgy,/m/0342h",train`` (number on Freesound, labels, their AudioSet ids in the
    same order, ``train`` or ``val``). ``eval.csv``: the same without ``split``. ``vocabulary.csv``: index, label and
    AudioSet id, without a header; it must be the published one.

    ``FSD50K.dev_audio/64760.wav`` and ``FSD50K.eval_audio/...``. Other formats, such as ``.flac`` or ``.ogg``, are also
    read. ``FSD50K.metadata`` has the licence of each clip; nothing reads it.

Counts
    36,796 train, 4,170 dev and 10,231 test clips, 51,197 in all, 108.3 h (dev set 80.4 h, test 27.9 h).

Source
    https://zenodo.org/records/4060432, some 25 GB in 11 files. An existing folder is used without checks. Otherwise the
    archives are downloaded and compared with the MD5 sums that the package soundata publishes. The two archives of
    audio are split zip files (``.z01``, ...), which are unpacked as they are; they need no joining. The published lists
    are known by MD5 sums from soundata 0.1.2; others are used with a warning.
    E. Fonseca, X. Favory, J. Pons, F. Font, X. Serra: FSD50K: An Open Dataset of Human-Labeled Sound Events. IEEE/ACM
    Transactions on Audio, Speech, and Language Processing 30, 2022.

Licence
    The dataset: Creative Commons Attribution 4.0 (CC BY 4.0). Each clip has its own: CC0, CC BY, CC BY-NC or CC
    Sampling+, see ``FSD50K.metadata/dev_clips_info_FSD50K.json`` and ``eval_clips_info_FSD50K.json``.
"""

import csv
import hashlib
import logging
from pathlib import Path, PurePosixPath

import pandas as pd

from elasticast.config.dataset import Fsd50k
from elasticast.data.annotations import MAX_QUOTED, Annotations, read_lines
from elasticast.data.download import Archive, ArchiveFile, fetch_archive, is_filled
from elasticast.data.labels import UniqueIds, class_of, clean, damage
from elasticast.data.lookup import index_audio
from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
URL = "https://zenodo.org/records/4060432/files/{}?download=1"
MD5 = {
    "FSD50K.ground_truth.zip": "ca27382c195e37d2269c4c866dd73485",
    "FSD50K.dev_audio.z01": "faa7cf4cc076fc34a44a479a5ed862a3",
    "FSD50K.dev_audio.z02": "8f9b66153e68571164fb1315d00bc7bc",
    "FSD50K.dev_audio.z03": "1196ef47d267a993d30fa98af54b7159",
    "FSD50K.dev_audio.z04": "d088ac4e11ba53daf9f7574c11cccac9",
    "FSD50K.dev_audio.z05": "81356521aa159accd3c35de22da28c7f",
    "FSD50K.dev_audio.zip": "c480d119b8f7a7e32fdb58f3ea4d6c5a",
    "FSD50K.eval_audio.z01": "3090670eaeecc013ca1ff84fe4442aeb",
    "FSD50K.eval_audio.zip": "6fa47636c3a3ad5c7dfeba99f2637982",
    "FSD50K.metadata.zip": "b9ea0c829a411c1d42adb9da539ed237",
    "FSD50K.doc.zip": "3516162b82dc2945d3e7feba0904e800",
}
"""All archives, in the order of their download."""
FOLDERS = {  # unpacked to at most so many bytes, more than twice their size
    "FSD50K.ground_truth": 64 << 20,
    "FSD50K.dev_audio": 64 << 30,
    "FSD50K.eval_audio": 24 << 30,
    "FSD50K.metadata": 1 << 30,
    "FSD50K.doc": 64 << 20,
}
UNREAD = ("FSD50K.metadata", "FSD50K.doc")
VOCABULARY = Path(__file__).with_name("fsd50k_vocabulary.csv")
"""The published vocabulary."""
LISTS_MD5 = {"dev.csv": "e3abc04c55b4caedc75949b8af8df9ea", "eval.csv": "72d9c82f3ddd2c06c3cbd6e47e190558"}
PUBLISHED = {"train": 36796, "dev": 4170, "test": 10231}
SPLITS = {"train": "train", "val": "dev"}
COLUMNS = {"dev.csv": ["fname", "labels", "mids", "split"], "eval.csv": ["fname", "labels", "mids"]}
AUDIO = {"dev.csv": "FSD50K.dev_audio", "eval.csv": "FSD50K.eval_audio"}
TARGET = "the folder that contains FSD50K.ground_truth, FSD50K.dev_audio and FSD50K.eval_audio"
EXAMPLE = '64760,"Electric_guitar,Guitar","/m/02sgy,/m/0342h"'


def fetch(config: Fsd50k, data_root: Path, out: Path) -> None:
    """Download the folders that do not exist.

    The folders that nothing reads are downloaded only together with others, and may fail.
    """
    root = data_root / config.folder
    missing = [name for name in FOLDERS if name not in UNREAD and not is_filled(root / name)]
    for name in missing:
        root.mkdir(parents=True, exist_ok=True)
        fetch_archive(archive(name), root / name)
    for name in UNREAD if missing else ():
        try:
            fetch_archive(archive(name), root / name)
        except DataError as error:
            LOG.warning("%s: without the licences or the description of the dataset: %s", root, error)


def archive(folder: str) -> Archive:
    """The archive of one of `FOLDERS`."""
    files = [
        ArchiveFile(URL.format(name), name, f"md5:{md5}") for name, md5 in MD5.items() if name.startswith(f"{folder}.")
    ]

    def wanted(path: PurePosixPath) -> str | None:
        inside = len(path.parts) > 1 and path.parts[0] == folder
        return str(path.relative_to(folder)) if inside and not path.name.startswith(".") else None

    return Archive(tuple(files), wanted, f"FSD50K/{folder}", unpacked=FOLDERS[folder])


# ---------------------------------------------------------------------------------------------
# The lists
# ---------------------------------------------------------------------------------------------


def annotate(config: Fsd50k, data_root: Path, out: Path) -> Annotations:
    """Read the annotations: one row per clip. Clips without audio get the reason ``missing``.

    Raises
    ------
    DataError
        If the vocabulary is not the published one, a list is malformed, a clip occurs twice, or there is no audio.
    """
    root = data_root / config.folder
    classes = read_vocabulary(root / "FSD50K.ground_truth" / "vocabulary.csv")
    tables, ids = [], UniqueIds()
    for file, folder in AUDIO.items():
        clips = read_list(root / "FSD50K.ground_truth" / file, classes, ids)
        if config.twin is None:
            _check_published(root / "FSD50K.ground_truth" / file, len(clips))
        clips["path"] = index_audio(root / folder, setting="folder").paths(clips["id"])
        tables.append(clips)
    clips = pd.concat(tables, ignore_index=True)
    clips["reason"] = clips["path"].eq("").map({True: "missing", False: ""})
    return Annotations(clips, {"events": list(classes)}, PUBLISHED)


def read_vocabulary(path: Path) -> dict[str, str]:
    """Read the vocabulary as a dict from label to AudioSet id, in the order of the indices.

    Raises
    ------
    DataError
        If it differs from the published one. The message contains the first line that differs.
    """
    published = VOCABULARY.read_text(encoding="ascii").splitlines()
    lines = [clean(line) for line in read_lines(path, "folder", TARGET)]
    lines = [line for line in lines if line]
    for number, (line, expected) in enumerate(zip(lines, published, strict=False), start=1):
        if line != expected:
            raise DataError(f"{path}, line {number}: {line[:MAX_QUOTED]!r}, expected {expected!r}, as published")
    if len(lines) != len(published):
        raise DataError(f"{path}: {len(lines)} lines, expected the {len(published)} of the published file")
    return dict(line.split(",")[1:] for line in published)


def read_list(path: Path, classes: dict[str, str], ids: UniqueIds) -> pd.DataFrame:
    """Read ``dev.csv`` or ``eval.csv``: ``id``, ``split`` and ``events``.

    Parameters
    ----------
    path : Path
        The list.
    classes : dict
        See :func:`read_vocabulary`.
    ids : UniqueIds
        The clips of the lists read before.

    Raises
    ------
    DataError
        If a row is malformed, or its clip occurs twice. The message contains the file and the line.
    """
    reader, columns, rows = csv.reader(read_lines(path, "folder", TARGET)), COLUMNS[path.name], []
    try:
        header = [clean(name) for name in next(reader, [])]
        if header != columns:
            raise DataError(f"{path}, line 1: {','.join(header)[:MAX_QUOTED]!r}, expected {','.join(columns)!r}")
        for row in reader:
            if any(map(str.strip, row)):
                rows.append(_row(row, columns, classes))
                ids.add(rows[-1][0], path, reader.line_num, rows[-1][1])
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}; a quotation mark may be missing") from None
    except ValueError as error:
        text, expected = ",".join(row)[:MAX_QUOTED], EXAMPLE + ",train" * ("split" in columns)
        raise DataError(
            f"{path}, line {reader.line_num}: {text!r}: {error}; expected a row such as {expected}"
        ) from None
    if not rows:
        raise DataError(f"{path}: contains no clip; expected rows such as {EXAMPLE}")
    return pd.DataFrame(rows, columns=["id", "split", "events"])


def _row(row: list[str], columns: list[str], classes: dict[str, str]) -> tuple[str, str, list[str]]:
    """Id, split and labels of a row. Raises ValueError with the cause if the row is malformed."""
    if len(row) != len(columns):
        raise ValueError(f"{len(row)} values, expected {len(columns)} (lists of labels must be quoted)")
    name, labels, mids, *split = map(clean, row)
    if not (name.isascii() and name.isdecimal()) or name.startswith("0"):
        raise ValueError(damage(name) or f"fname {name!r} is not a number")
    if split and split[0] not in SPLITS:
        raise ValueError(f"split {split[0]!r} is neither train nor val")
    events = [class_of(label, classes) for label in labels.split(",")]
    expected = [classes[label] for label in events]
    if mids.replace(" ", "").split(",") != expected:
        raise ValueError(f"mids {mids!r} are not those of the labels, {','.join(expected)!r}")
    if len(set(events)) < len(events):
        raise ValueError("a label is repeated")
    return name, SPLITS[split[0]] if split else "test", events


def _check_published(path: Path, rows: int) -> None:
    """Warn if a list is not the published file."""
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if md5 != LISTS_MD5[path.name]:
        text = "%s: not the published file (MD5 %s, expected %s); labels or splits of its %d clips may differ"
        LOG.warning(text, path, md5, LISTS_MD5[path.name], rows)
