import logging
import unicodedata

import pandas as pd
import pytest

from elasticast.config.dataset import Soundscapes
from elasticast.data.annotations import Annotations, read_class_names
from elasticast.data.datasets import epic_sounds, esc50, soundscapes, speech_commands
from elasticast.data.labels import (
    UniqueIds,
    check_labels,
    class_of,
    clean,
    damage,
    meant,
    near_duplicates,
    report_classes,
    video_damage,
)
from elasticast.data.prepare import prepare
from elasticast.errors import DataError
from tests.complaints import assert_names, complains

LETTER = unicodedata.normalize("NFD", "é")


@pytest.mark.parametrize(
    "text", ["a b", " a b\r\n", "\ufeffa b", "a\u00a0b", "a \t b", "a\u200b b", "a\u202fb", "a b\u2003"]
)
def test_cleaning_removes_what_cannot_be_seen(text):
    assert clean(text) == "a b"


def test_cleaning_composes_letters():
    assert clean(f"caf{LETTER}") == "café"


@pytest.mark.parametrize("classes", [epic_sounds.CLASSES, esc50.CLASSES, speech_commands.WORDS, soundscapes.CLASSES])
def test_published_classes_are_clean_and_none_is_like_another(classes):
    assert [clean(name) for name in classes] == list(classes)
    assert not near_duplicates(classes)
    assert all(meant(name, classes) == name for name in classes)


@pytest.mark.parametrize("typed", ["Sea waves", "sea-waves", "SEA_WAVES", "sea_wave", "seawaves", "sea_wavse"])
def test_a_mistyped_label_names_the_class_that_is_meant(typed):
    with complains(ValueError, repr(typed), 50, "'sea_waves'"):
        class_of(typed, esc50.CLASSES)


def test_a_label_that_is_like_no_class_gets_no_suggestion():
    assert meant("quux", esc50.CLASSES) == ""


def test_names_that_are_alike_are_grouped():
    names = ["dog", "Dog", "cat", "sea waves", "sea_waves", "café", f"caf{LETTER}", "ｃat", "+", "-"]
    assert near_duplicates(names) == [
        ["dog", "Dog"],
        ["cat", "ｃat"],
        ["sea waves", "sea_waves"],
        ["café", f"caf{LETTER}"],
    ]


def test_the_names_of_the_real_audioset_list_are_not_alike(request):
    path = request.config.rootpath.parent / "shared/data/annotations/audioset/class_labels_indices.csv"
    if not path.is_file():
        pytest.skip(f"no real class names: {path}")
    assert not near_duplicates(read_class_names(path).values())


# ---------------------------------------------------------------------------------------------
# Damage by spreadsheet programs
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        *("#NAME?", "#VALUE!", "#REF!", "#N/A", "=-0RWZT-miFs", "'-0RWZT-miFs", "1.2E+10", "1,2E+10", "-3E-05"),
        *("3-May", "May-03", "3-May-2020", "03/05/2020", "2020-05-03", "2020-05-03 00:00:00", "12:30.5", "TRUE"),
    ],
)
def test_traces_of_spreadsheet_programs_are_recognised(value):
    assert damage(value)
    assert video_damage(value) == damage(value)


@pytest.mark.parametrize(
    "value", ["-0RWZT-miFs", "1234567E-10", "12345678901", "3-May-20201", "___________", "2020-05-031"]
)
def test_ids_of_videos_are_not_taken_for_damage(value):
    assert not video_damage(value)


@pytest.mark.parametrize("value", ["1234567890", "7", "0RWZT-miFs", "-0RWZT-miFs0", "-0RWZT-miFé", ""])
def test_what_is_no_id_of_a_video_has_a_cause(value):
    assert video_damage(value)


# ---------------------------------------------------------------------------------------------
# Rows
# ---------------------------------------------------------------------------------------------


def test_a_second_row_of_an_id_names_both_places_and_what_differs():
    ids = UniqueIds()
    ids.add("a", "one.csv", 2, "train", "dog")
    ids.add("b", "one.csv", 3, "train", "dog")
    with complains(DataError, "a", "one.csv", "line 2", "two.csv", "line 7", "'train'", "'test'", "'dog'", "'cat'"):
        ids.add("a", "two.csv", 7, "test", "cat")


def table(**columns):
    return pd.DataFrame({"id": list("abcd"), "reason": "", "status": "ok", **columns})


def test_a_label_that_is_no_published_class_is_refused():
    clips = table(sound=[["dog"], ["cat"], ["Dog"], ["dog"]])
    with complains(DataError, "c", "'Dog'", "sound", 2, "'dog'"):
        check_labels(clips, {"sound": ["cat", "dog"]})
    check_labels(clips.assign(reason=["", "", "not published", ""]), {"sound": ["cat", "dog"]})
    check_labels(clips, {})


def test_classes_that_no_model_can_learn_are_named(caplog):
    clips = table(split=["train", "test", "test", "dev"], sound=[["dog"], ["cat", "dog"], ["hen"], ["owl"]])
    report_classes(clips, {"sound": {"kind": "single", "classes": ["cat", "dog", "hen", "owl"]}}, complete=True)
    assert_names(caplog.text, "sound", 2, "'cat'", "'hen'")
    assert "dog" not in caplog.text


def test_a_training_clip_that_was_rejected_trains_no_class(caplog):
    clips = table(split=["train", "train", "test", "test"], sound=[["dog"], ["cat"], ["cat"], ["dog"]])
    clips["status"] = ["ok", "rejected", "ok", "ok"]
    report_classes(clips, {"sound": {"kind": "single", "classes": ["cat", "dog"]}}, complete=True)
    assert_names(caplog.text, "sound", 1, "'cat'")


@pytest.mark.parametrize(("complete", "level"), [(True, logging.WARNING), (False, logging.INFO)])
def test_classes_without_clips_are_counted(caplog, complete, level):
    clips = table(split=["train", "train", "test", "test"], sound=[["dog"]] * 4)
    with caplog.at_level(logging.INFO):
        report_classes(clips, {"sound": {"kind": "single", "classes": ["cat", "dog", "hen"]}}, complete)
    (record,) = caplog.records
    assert record.levelno == level
    assert_names(record.getMessage(), "sound", 2, 3, "'cat'", "'hen'")


@pytest.mark.parametrize(("complete", "level"), [(True, logging.WARNING), (False, logging.INFO)])
def test_classes_that_a_mean_of_precisions_leaves_out_are_named(caplog, complete, level):
    rows = [("train", ["cat", "dog"], "ok"), ("test", ["cat"], "ok"), ("test", ["dog"], "rejected")]
    clips = pd.DataFrame(rows, columns=["split", "sound", "status"])
    with caplog.at_level(logging.INFO):
        report_classes(clips, {"sound": {"kind": "multi", "classes": ["cat", "dog"]}}, complete)
    (record,) = caplog.records
    assert record.levelno == level
    assert_names(record.getMessage(), "sound", 1, 2, "'dog'")


def test_classes_that_may_be_the_same_are_named(caplog):
    clips = table(split=["train", "train", "test", "test"], sound=[["dog"], ["Dog "], ["dog"], ["Dog "]])
    report_classes(clips, {"sound": {"kind": "single", "classes": ["Dog ", "dog"]}}, complete=True)
    assert_names(caplog.text, "sound", "'Dog '", "'dog'")


def test_prepare_reports_classes(tmp_path, monkeypatch, caplog):
    real = soundscapes.annotate

    def annotate(*arguments):
        clips = real(*arguments).clips
        clips["scene"] = [["arcade" if split == "train" else "Arcade"] for split in clips["split"]]
        return Annotations(clips)

    monkeypatch.setattr(soundscapes, "annotate", annotate)
    config = Soundscapes(source="soundscapes", clips={"train": 2, "test": 1}, seconds=[0.5, 1.0])
    prepare(config, tmp_path, tmp_path / "out")
    assert_names(caplog.text, "scene", 1, "'Arcade'", "'arcade'")
