"""Every published dataset compares the numbers of its clips with the published ones, and says so."""

import logging

import pandas as pd
import pytest
from pydantic import TypeAdapter

from elasticast.config.dataset import DatasetConfig, Soundscapes, TwinSettings, VggSound, VoxCeleb1
from elasticast.config.resolving import load_dataset
from elasticast.data.coverage import UNLISTED, report_coverage, unlisted, with_unlisted
from elasticast.data.datasets import (
    audioset,
    epic_sounds,
    esc50,
    fsd50k,
    fsdd,
    reader_of,
    speech_commands,
    vggsound,
    voxceleb1,
)
from elasticast.data.prepare import prepare
from elasticast.files import read_json
from tests.complaints import assert_names

VOXCELEB = VoxCeleb1(source="voxceleb1")
PUBLISHED = voxceleb1.PUBLISHED
SETTINGS = {
    "audioset": {
        "segments": {
            "train": ["balanced_train_segments.csv", "unbalanced_train_segments.csv"],
            "test": ["eval_segments.csv"],
        }
    },
    "epic_sounds": {
        "annotations": {"train": ["EPIC_Sounds_train.csv"], "test": ["EPIC_Sounds_validation.csv"]},
        "audio": "all.hdf5",
    },
    "esc50": {},
    "fsd50k": {},
    "speech_commands": {},
    "vggsound": {},
    "voxceleb1": {},
}
COUNTS = {
    "audioset": {"train": 22160 + 2041789, "test": 20371},
    "epic_sounds": {"test": 8035},
    "esc50": {"train": 1600, "test": 400},
    "fsd50k": {"train": 36796, "dev": 4170, "test": 10231},
    "speech_commands": {"train": 84843, "dev": 9981, "test": 11005},
    "vggsound": {"train": 183730, "test": 15446},
    "voxceleb1": {"train": 138361, "dev": 6904, "test": 8251},
}
MODULES = (audioset, epic_sounds, esc50, fsd50k, speech_commands, vggsound, voxceleb1)
READERS = {module.__name__.rpartition(".")[2]: module for module in MODULES}


def counted(train=0, dev=0, test=0):
    return {"train": train, "dev": dev, "test": test}


def reported(config, clips, annotated, published, caplog):
    caplog.clear()
    caplog.set_level(logging.INFO)
    report_coverage({"clips": clips, "annotated": annotated, "published": published}, config, "out")
    return caplog.text


@pytest.mark.parametrize("name", SETTINGS)
def test_the_reader_of_every_published_dataset_gives_the_counts(name, tmp_path):
    """Its lists are those of a twin, under the published names."""
    clips = {split: 10 for split in COUNTS[name]} | {"train": 40, "test": 10}
    twin = {"clips": clips, "seconds": [0.2, 0.4]}
    settings = {"source": name, **SETTINGS[name]}
    config = TypeAdapter(DatasetConfig).validate_python(settings | {"twin": twin})
    reader_of(config).fetch(config, tmp_path, tmp_path)
    notes = READERS[name].annotate(config, tmp_path / "audio", tmp_path)
    assert notes.published == COUNTS[name]


def test_single_digits_are_compared_with_all_recordings(monkeypatch, tmp_path):
    monkeypatch.setattr(fsdd, "ensure_recordings", lambda *_: tmp_path)
    notes = fsdd.annotate(TypeAdapter(DatasetConfig).validate_python({"source": "fsdd_digits"}), tmp_path, tmp_path)
    assert notes.published == {"train": 2700, "test": 300}


def test_some_clips_of_a_large_dataset_are_said_to_be_some(tmp_path, caplog):
    """A list of 72 clips in place of 153,516: in a printed line, in summary.json and in summary.csv."""
    twin = TwinSettings(clips={"train": 50, "dev": 12, "test": 10}, seconds=[0.2, 0.4])
    config = VOXCELEB.model_copy(update={"twin": twin})
    reader_of(config).fetch(config, tmp_path, tmp_path / "made")
    prepare(VOXCELEB, tmp_path / "made/audio", tmp_path / "voices")
    assert_names(caplog.text, "72 of 153,516", "50 of 138,361 train", "12 of 6,904 dev", "10 of 8,251 test")
    summary = read_json(tmp_path / "voices/summary.json")
    assert (summary["published"], summary["clips"]) == (PUBLISHED, twin.clips)
    table = pd.read_csv(tmp_path / "voices/summary.csv")
    assert table["clips"].sum() == 153516
    rows = table[table["status"] == UNLISTED["status"]].set_index("split")["clips"]
    assert rows.to_dict() == {"train": 138311, "dev": 6892, "test": 8241}


def test_a_complete_dataset_is_said_to_be_complete(caplog):
    text = reported(VOXCELEB, PUBLISHED, PUBLISHED, PUBLISHED, caplog)
    assert_names(text, "153,516")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_missing_audio_and_a_short_list_are_told_apart(caplog):
    annotated = PUBLISHED | {"train": PUBLISHED["train"] - 100}
    used = annotated | {"train": annotated["train"] - 7, "test": annotated["test"] - 2}
    text = reported(VOXCELEB, used, annotated, PUBLISHED, caplog)
    assert_names(text, "153,407 of 153,516", "138,254 of 138,361 train", 100, 9)


def test_more_clips_than_published_are_noticed(caplog):
    more = PUBLISHED | {"test": 9000}
    text = reported(VOXCELEB, more, more, PUBLISHED, caplog)
    assert_names(text, "9,000 test", "8,251")
    assert caplog.records[-1].levelno == logging.WARNING


def test_clips_moved_to_dev_count_as_training_clips(caplog):
    config = VggSound(source="vggsound")
    counts = counted(train=183000, dev=730, test=15446)
    text = reported(config, counts, counts, vggsound.PUBLISHED, caplog)
    assert_names(text, "199,176")
    assert unlisted(counts, vggsound.PUBLISHED) == {}


@pytest.mark.parametrize(("published", "level"), [({"test": 8035}, logging.INFO), ({}, logging.WARNING)])
def test_a_split_without_a_published_number_is_named(published, level, caplog, request):
    config = load_dataset(request.config.rootpath / "config/datasets/epic_sounds.yaml")
    counts = counted(train=100, test=8035)
    text = reported(config, counts, counts, published, caplog)
    assert_names(text, "train")
    assert max(record.levelno for record in caplog.records) == level


def test_clips_that_were_made_are_compared_with_nothing(caplog):
    counts = counted(train=5, test=3)
    config = Soundscapes(source="soundscapes", clips={"train": 5, "test": 3})
    assert_names(reported(config, counts, counts, {}, caplog), "synthetic")
    assert len(caplog.records) == 1


def test_the_table_gets_no_row_if_nothing_is_unlisted():
    table = pd.DataFrame({"split": ["train"], "status": ["ok"], "reason": [""], "clips": [5], "hours": [0.1]})
    assert with_unlisted(table, counted(train=5), {"train": 5}).equals(table)
    longer = with_unlisted(table, counted(train=5), {"train": 9})
    assert longer["clips"].tolist() == [5, 4]
    assert longer["clips"].dtype == table["clips"].dtype
