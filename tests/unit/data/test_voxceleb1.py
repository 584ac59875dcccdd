import logging
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from elasticast.config.dataset import VoxCeleb1
from elasticast.config.resolving import load_dataset
from elasticast.data.audio import decode
from elasticast.data.datasets import voxceleb1
from elasticast.data.manifest import class_lists
from elasticast.data.prepare import prepare
from elasticast.data.store import Store
from elasticast.errors import DataError
from tests.complaints import complains, names

CONFIG = VoxCeleb1(source="voxceleb1")
# Names of files and of videos repeat; ids of videos may begin with - or _.
LIST = """\
1 id10001/1zcIwhmdeo4/00001.wav
1 id10001/1zcIwhmdeo4/00002.wav
2 id10001/-hYd5xzuE1E/00001.wav
3 id11251/_Pz8T1sg2tk/00001.wav
1 id11251/1zcIwhmdeo4/00001.wav
3 id10309/Ab__-12cdEF/00001.wav
"""
PATHS = [line.split()[1] for line in LIST.splitlines()]
LAYOUTS = {
    "plain": [""] * 6,
    "wav": ["wav/"] * 6,
    "dev and test": ["dev/wav/"] * 5 + ["test/wav/"],
    "mixed, one speaker in three": ["", "wav/", "dev/wav/", "test/wav/", "vox1_dev_wav/wav/", "wav/"],
}


def noise(path):
    """Different samples for every path."""
    seed = int.from_bytes(path.encode(), "little") % 2**32
    return (np.random.default_rng(seed).standard_normal(800) * 3000).astype(np.int16)


def write_audio(root, folders, paths=PATHS):
    for folder, path in zip(folders, paths, strict=True):
        file = root / "voxceleb1" / folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        sf.write(file, noise(path), 16000)


def write_list(root, text=LIST, name="voxceleb1/iden_split.txt"):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def annotated(root, config=CONFIG):
    return voxceleb1.annotate(config, root, root / "out").clips


# ---------------------------------------------------------------------------------------------
# Lists
# ---------------------------------------------------------------------------------------------


def test_class_is_the_number_of_the_speaker_whichever_the_list_names(tmp_path):
    write_list(tmp_path)
    write_audio(tmp_path, LAYOUTS["plain"])
    notes = voxceleb1.annotate(CONFIG, tmp_path, tmp_path / "out")
    classes = class_lists(notes.clips, CONFIG.tasks, notes.classes)["speaker"]["classes"]
    assert len(classes) == 1251
    assert all(int(name.removeprefix("id")) - 10001 == number for number, name in enumerate(classes))
    assert notes.clips["speaker"].tolist() == [[path.split("/")[0]] for path in PATHS]


def test_example_settings_are_those_of_the_download(request):
    committed = load_dataset(request.config.rootpath / "config/datasets/voxceleb1.yaml")
    assert committed.model_copy(update={"title": None}) == CONFIG


def test_published_counts_are_those_of_the_whole():
    assert sum(voxceleb1.PUBLISHED.values()) == 153516


def test_splits_ids_and_recordings(tmp_path):
    clips = voxceleb1.read_split(write_list(tmp_path))
    assert clips["split"].tolist() == ["train", "train", "dev", "test", "train", "test"]
    assert clips["id"].tolist() == [path.removesuffix(".wav") for path in PATHS]
    assert clips["group"].tolist() == [path.rpartition("/")[0] for path in PATHS]


@pytest.mark.parametrize(
    "written",
    [
        LIST.replace(" ", "\t"),
        LIST.replace(" ", "   ").replace("\n", "  \n\n"),
        LIST.replace("\n", "\r\n").replace("/", "\\"),
        "\ufeff" + LIST.rstrip("\n"),
        LIST.replace(" ", " ./"),
        LIST.replace(".wav", ".m4a"),
    ],
    ids=["tabs", "blanks and empty lines", "Windows", "byte order mark", "dot", "other extension"],
)
def test_alternative_list_formats_are_equivalent(tmp_path, written):
    as_published = voxceleb1.read_split(write_list(tmp_path))
    assert voxceleb1.read_split(write_list(tmp_path, written, "other.txt")).equals(as_published)


@pytest.mark.parametrize(
    "line",
    [
        "4 id10001/1zcIwhmdeo4/00003.wav",
        "0 id10001/1zcIwhmdeo4/00003.wav",
        "train id10001/1zcIwhmdeo4/00003.wav",
        "id10001/1zcIwhmdeo4/00003.wav",
        "1",
        "1 1zcIwhmdeo4/00003.wav",
        "1 id10001/00003.wav",
        "1 id10000/1zcIwhmdeo4/00003.wav",
        "1 id11252/1zcIwhmdeo4/00003.wav",
        "1 id00012/1zcIwhmdeo4/00003.wav",
        "1 A.J._Buckley/1zcIwhmdeo4/0000003.wav",
        "1 id10270/x6uYqmx31kE/00001.wav id10300/ize_eiCFEg0/00003.wav",
        "1 id10001/1zcIwhmdeo4/00003.wav 1",
        "1,id10001/1zcIwhmdeo4/00003.wav",
    ],
)
def test_a_damaged_line_is_named(tmp_path, line):
    path = write_list(tmp_path, f"{LIST}\n{line}\n")
    with complains(DataError, path, "line 8", repr(line), "id10001", "id11251", 1, 8):
        voxceleb1.read_split(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe1\x00 \x00"], ids=["not there", "UTF-16"])
def test_a_list_that_cannot_be_read_is_named(tmp_path, content):
    if content:
        write_list(tmp_path, content)
    with complains(DataError, "iden_split.txt", "annotations"):
        annotated(tmp_path)


@pytest.mark.parametrize(("split", "named"), [("1", []), ("3", ["train", "test"])], ids=["same", "other split"])
def test_a_clip_listed_twice_is_refused(tmp_path, split, named):
    path = write_list(tmp_path, LIST + f"{split} id10001/1zcIwhmdeo4/00001.wav\n")
    with complains(DataError, path, "line 7", "line 1", "id10001/1zcIwhmdeo4/00001", *named):
        voxceleb1.read_split(path)


# ---------------------------------------------------------------------------------------------
# Audio
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_every_clip_its_own_samples(tmp_path, layout):
    write_list(tmp_path)
    write_audio(tmp_path, LAYOUTS[layout])
    clips = annotated(tmp_path)
    assert clips["reason"].eq("").all()
    for row, path in zip(clips.itertuples(), PATHS, strict=True):
        np.testing.assert_array_equal(decode(Path(row.path), rate=16000).samples, noise(path))


def test_list_and_audio_may_be_anywhere(tmp_path):
    write_list(tmp_path, name="lists/iden.txt")
    write_audio(tmp_path / "elsewhere", LAYOUTS["wav"])
    config = CONFIG.model_copy(
        update={"annotations": "lists/iden.txt", "audio": str(tmp_path / "elsewhere/voxceleb1/wav")}
    )
    assert annotated(tmp_path, config)["reason"].eq("").all()


def test_missing_clips_stay_in_their_place_with_a_reason(tmp_path):
    write_list(tmp_path)
    write_audio(tmp_path, ["wav/"] * 4, PATHS[2:])
    # the same speaker and name in another video is another clip
    clips = annotated(tmp_path)
    assert clips["reason"].tolist() == ["missing"] * 2 + [""] * 4
    assert clips["path"].tolist()[:2] == [""] * 2
    assert clips["id"].tolist() == [path.removesuffix(".wav") for path in PATHS]


def test_another_format_is_read_where_the_wav_is_not_there(tmp_path, caplog):
    write_list(tmp_path)
    write_audio(tmp_path, [""] * 6, [PATHS[0].replace(".wav", ".flac"), *PATHS[1:]])
    write_audio(tmp_path, [""], [PATHS[1].replace(".wav", ".flac")])
    clips = annotated(tmp_path)
    assert clips["path"].map(lambda path: Path(path).suffix).tolist() == [".flac"] + [".wav"] * 5
    np.testing.assert_array_equal(
        decode(Path(clips["path"].iloc[0]), rate=16000).samples, noise(PATHS[0].replace(".wav", ".flac"))
    )
    assert any(names(record.message, 1) and names(record.message, "wav") for record in caplog.records)


def test_as_published_nothing_is_warned_of(tmp_path, caplog):
    write_list(tmp_path)
    write_audio(tmp_path, LAYOUTS["dev and test"])
    annotated(tmp_path)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_folder_of_other_audio_is_refused(tmp_path):
    write_list(tmp_path)
    write_audio(tmp_path, [""] * 6)
    config = CONFIG.model_copy(update={"audio": "voxceleb1/id10001"})
    with complains(DataError, "voxceleb1/id10001", "audio"):
        annotated(tmp_path, config)


def test_no_folder_is_refused(tmp_path):
    write_list(tmp_path)
    with complains(DataError, tmp_path / "nowhere", "audio"):
        annotated(tmp_path, CONFIG.model_copy(update={"audio": "nowhere"}))


def test_prepared(tmp_path):
    write_list(tmp_path)
    write_audio(tmp_path, LAYOUTS["dev and test"][1:], PATHS[1:])
    prepare(CONFIG.model_copy(update={"max_rejected": math.ceil(100 / 6) / 100}), tmp_path, tmp_path / "out")
    stores = {split: Store(tmp_path / "out" / f"{split}.h5") for split in ("train", "dev", "test")}
    assert {split: len(store) for split, store in stores.items()} == {"train": 2, "dev": 1, "test": 2}
    np.testing.assert_array_equal(stores["dev"][0], noise(PATHS[2]))
    assert "id10001/1zcIwhmdeo4/00001,train,,missing" in (tmp_path / "out" / "rejected.csv").read_text()
