"""Your own recordings in folders: classes, splits, files in no folder; and what makes `prepare` run again."""

import unicodedata

import numpy as np
import pytest
import soundfile as sf

from elasticast.config import FrontEnd
from elasticast.config.dataset import Esc50, Folders, Table
from elasticast.config.reading import validate
from elasticast.data.dataset import Clips
from elasticast.data.datasets import folders
from elasticast.data.manifest import read_classes, read_manifest
from elasticast.data.prepare import prepare
from elasticast.data.stats import write_stats
from elasticast.data.tables.changes import annotation_sums
from elasticast.errors import ConfigError, DataError
from tests.complaints import assert_names, complains


def config(**others) -> Folders:
    return Folders.model_validate({"source": "folders", "folder": "mine", "split_seed": 1} | others)


def make(root, *names):
    for i, name in enumerate(names):
        path = root / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, np.random.default_rng(i).uniform(-0.5, 0.5, 4000), 16000)
    return root


def clips_of(root, **others):
    return folders.annotate(config(**others), root, root / "out").clips.set_index("id")


def test_folders_are_classes(tmp_path):
    names = [f"{label}/{i}.wav" for label in ("dog", "Möwe, groß") for i in range(10)]
    clips = clips_of(make(tmp_path, *names, "dog/deep/er/x.flac"), task="animal")
    assert set(clips.index) == {*names, "dog/deep/er/x.flac"}
    assert all(labels == [name.split("/")[0]] for name, labels in clips["animal"].items())
    assert set(clips["split"]) == {"train", "test"}


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "Validation", "EVAL"), ("train", "valid", "test")])
def test_folders_of_splits(tmp_path, names):
    make(tmp_path, *(f"{split}/{label}/{i}.wav" for split in names for label in "ab" for i in range(2)))
    clips = clips_of(tmp_path)
    expected = dict(zip(names, ("train", "dev", "test") if len(names) == 3 else ("train", "test"), strict=True))
    assert all(split == expected[name.split("/")[0]] for name, split in clips["split"].items())
    assert all(labels == [name.split("/")[1]] for name, labels in clips["label"].items())


def test_splits_with_names_of_their_own(tmp_path):
    make(tmp_path, *(f"{split}/{label}/x.wav" for split in ("A", "B") for label in "ab"))
    clips = clips_of(tmp_path, split_values={"train": ["a"], "test": ["B"]})
    assert clips["split"].tolist() == ["train", "train", "test", "test"]


def test_a_single_class_may_have_the_name_of_a_split(tmp_path):
    make(tmp_path, *(f"{label}/{i}.wav" for label in ("train", "helicopter") for i in range(10)))
    assert {name for labels in clips_of(tmp_path)["label"] for name in labels} == {"train", "helicopter"}


@pytest.mark.parametrize("split", ["test", "Validation", "train"])
def test_a_lone_folder_of_a_split_is_no_class(tmp_path, split):
    make(tmp_path, f"{split}/dog/1.wav", f"{split}/cat/2.wav", "outside.wav")
    with complains(DataError, tmp_path / "mine" / split, "all_test: true", "--all-test"):
        clips_of(tmp_path)
    clips = clips_of(tmp_path, all_test=True)
    assert clips["label"].to_dict() == {f"{split}/dog/1.wav": ["dog"], f"{split}/cat/2.wav": ["cat"], "outside.wav": []}
    assert set(clips["split"]) == {"test"}


@pytest.mark.parametrize("prefix", [("",), ("train/", "test/")])
def test_all_clips_can_be_test_clips(tmp_path, prefix):
    make(tmp_path, *(f"{split}{label}/{i}.wav" for split in prefix for label in "ab" for i in range(2)))
    annotations = folders.annotate(config(all_test=True), tmp_path, tmp_path)
    assert set(annotations.clips["split"]) == {"test"}
    assert annotations.clips["label"].tolist() == [["a"], ["a"], ["b"], ["b"]] * len(prefix)
    assert not annotations.notes["drawn"]


def test_a_dataset_of_test_clips_is_prepared(tmp_path, caplog):
    make(tmp_path, "dog/1.wav", "cat/1.wav", "cat/2.wav")
    prepare(config(all_test=True), tmp_path, tmp_path / "out")
    assert set(read_manifest(tmp_path / "out/manifest.parquet")["split"]) == {"test"}
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(Clips(tmp_path / "out", "test", "label")) == 3
    with complains(DataError, tmp_path / "out", "train"):
        write_stats(tmp_path / "out", FrontEnd(), tmp_path / "norm.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [("split_values", {"train": ["a"], "test": ["b"]}), ("test_fold", 2), ("dev_fold", 2), ("dev_share", 0.1)],
)
def test_all_test_excludes_settings_of_splits(key, value):
    with complains(ConfigError, "all_test", key):
        validate(Folders, {"source": "folders", "folder": "mine", "all_test": True, key: value}, "mine.yaml")
    assert config(all_test=True).splits() == {"test"}


def test_splits_next_to_classes_are_an_error(tmp_path):
    make(tmp_path, "train/a/x.wav", "test/a/x.wav", "noise/x.wav")
    with complains(DataError, tmp_path / "mine", "train", "test", "noise", "split_values"):
        clips_of(tmp_path)


def test_files_in_no_folder_of_a_class_are_rejected(tmp_path):
    names = [f"{label}/{i}.wav" for label in "ab" for i in range(10)]
    assert clips_of(make(tmp_path, *names, "x.wav"))["reason"]["x.wav"] != ""
    make(tmp_path / "2", *(f"{split}/{name}" for split in ("train", "test") for name in names), "train/x.wav", "y.wav")
    rejected = clips_of(tmp_path / "2").query("reason != ''")
    assert rejected.index.tolist() == ["train/x.wav", "y.wav"]


def test_files_of_one_name_are_different_clips(tmp_path):
    clips = clips_of(
        make(tmp_path, *(f"{label}/1.{kind}" for label in "ab" for kind in ("wav", "flac"))), folds=2, split_seed=0
    )
    assert len(clips) == 4


@pytest.mark.parametrize("names", [(), ("x.wav", "y.wav"), None])
def test_a_folder_without_classes_is_an_error(tmp_path, names):
    if names is not None:
        (tmp_path / "mine").mkdir()
        make(tmp_path, *names)
    with complains(DataError, tmp_path / "mine", "folder"):
        clips_of(tmp_path)


def test_folders_that_differ_only_in_case_are_an_error(tmp_path):
    make(tmp_path, *(f"{label}/{i}.wav" for label in ("Dog", "dog ") for i in range(10)))
    with complains(DataError, "'Dog'", "'dog'", "classes"):
        clips_of(tmp_path)


def test_a_folder_in_no_class_is_an_error(tmp_path):
    make(tmp_path, *(f"{label}/{i}.wav" for label in ("cat", "birdd") for i in range(10)))
    with complains(DataError, tmp_path / "mine", "'birdd'", "'bird'", "classes"):
        clips_of(tmp_path, classes=["cat", "bird"])


def test_an_empty_split_is_an_error(tmp_path):
    make(tmp_path, "train/a/x.wav", "dev/a/x.wav")
    with complains(DataError, tmp_path / "mine", "test", "split_values"):
        clips_of(tmp_path)
    make(tmp_path / "2", "test/a/x.wav", "dev/a/x.wav")
    with complains(DataError, tmp_path / "2/mine", "train", "split_values", "all_test: true"):
        clips_of(tmp_path / "2")


def test_folders_are_prepared(tmp_path, caplog):
    decomposed = unicodedata.normalize("NFD", "Möwe")
    make(
        tmp_path,
        *(f"{split}/{label}/a {i}.wav" for split in ("train", "test") for label in (decomposed, "b, c") for i in (1,)),
    )
    for i, path in enumerate(sorted((tmp_path / "mine").rglob("*.wav"))):
        sf.write(path, np.random.default_rng(i).uniform(-0.5, 0.5, (4000, 2)), 22050)
    prepare(config(), tmp_path, tmp_path / "out")
    assert read_classes(tmp_path / "out/classes.json")["label"]["classes"] == ["Möwe", "b, c"]
    assert (read_manifest(tmp_path / "out/manifest.parquet")["status"] == "ok").all()


def test_the_drawn_split_is_stated(tmp_path, caplog):
    make(tmp_path, *(f"{label}/{i}.wav" for label in "ab" for i in range(10)))
    with caplog.at_level("INFO"):
        notes = folders.annotate(config(), tmp_path, tmp_path).notes
    assert_names(notes["split"], "hash", "path", 5, 1)
    assert notes["split"] in caplog.text


# ---------------------------------------------------------------------------------------------
# What makes `prepare` run again
# ---------------------------------------------------------------------------------------------


def test_another_file_changes_the_checksum_of_folders(tmp_path):
    make(tmp_path, "a/1.wav", "b/1.wav")
    (tmp_path / "mine/classes.txt").write_text("a\nb\n")
    settings = config(classes="classes.txt")
    before = annotation_sums(settings, tmp_path)
    assert annotation_sums(settings, tmp_path) == before
    make(tmp_path, "a/2.wav")
    after = annotation_sums(settings, tmp_path)
    assert after != before
    (tmp_path / "mine/classes.txt").write_text("b\na\n")
    assert annotation_sums(settings, tmp_path) != after


@pytest.mark.parametrize("table", [None, "t.csv", {"train": "t.csv", "test": "t.csv"}])
def test_an_edited_table_changes_its_checksum(tmp_path, table):
    make(tmp_path, "1.wav")
    settings = Table(source="table", folder="mine", table=table)
    assert annotation_sums(settings, tmp_path) == []
    (tmp_path / "mine/t.csv").write_text("file,label\n1.wav,a\n")
    before = annotation_sums(settings, tmp_path)
    (tmp_path / "mine/t.csv").write_text("file,label\n1.wav,b\n")
    assert annotation_sums(settings, tmp_path) not in (before, [])


def test_published_datasets_have_no_such_checksum(tmp_path):
    assert annotation_sums(Esc50(source="esc50"), tmp_path) == []
