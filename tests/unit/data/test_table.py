"""Your own recordings in a table: columns, labels, spans, splits, and what is wrong with them."""

import json
import math
import re
import unicodedata
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import yaml

from elasticast.config.dataset import Table
from elasticast.config.reading import validate
from elasticast.config.resolving import load_dataset
from elasticast.data.datasets import table
from elasticast.data.manifest import read_classes, read_manifest
from elasticast.data.prepare import prepare
from elasticast.data.tables.columns import GUESSES, LABELS
from elasticast.data.tables.read import read_table
from elasticast.errors import ConfigError, DataError
from tests.complaints import assert_names, complains

RATE = 16000


def wav(path, seed=0, seconds=0.2, rate=RATE, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.random.default_rng(seed).uniform(-0.5, 0.5, (round(seconds * rate), channels))
    sf.write(path, wave, rate)


@pytest.fixture
def folder(tmp_path):
    """Ten recordings, 0.wav to 9.wav."""
    for i in range(10):
        wav(tmp_path / "mine" / f"{i}.wav", seed=i)
    return tmp_path / "mine"


def config(**others) -> Table:
    return Table.model_validate({"source": "table", "folder": "mine", "max_rejected": 1.0} | others)


def write(folder, rows, name="t.csv", header="file_name,label"):
    (folder / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def rows(clips=10, labels="ab"):
    return [f"{i}.wav,{labels[i % len(labels)]}" for i in range(clips)]


def annotate(folder, **others):
    return table.annotate(config(**others), folder.parent, folder.parent / "out")


def clips_of(folder, **others):
    return annotate(folder, **others).clips.set_index("id")


# ---------------------------------------------------------------------------------------------
# Formats and columns
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_line_ends_and_byte_order_marks_do_not_matter(folder, delimiter, end):
    lines = [delimiter.join(line.split(",")) for line in ["file_name,label", *rows()]]
    (folder / "t.csv").write_bytes(("\ufeff" + end.join(lines) + end + end).encode())
    clips = clips_of(folder)
    assert clips["label"].tolist() == [[c] for c in "ababababab"]
    assert clips["path"].tolist() == [str(folder / f"{i}.wav") for i in range(10)]


def test_formats_give_the_same_clips(folder):
    frame = pd.DataFrame({"file_name": [f"{i}.wav" for i in range(10)], "label": list("ab" * 5), "fold": range(10)})
    frame.to_csv(folder / "t.csv")  # with an index, whose column has no name
    frame.to_csv(folder / "t.tsv", sep="\t", index=False)
    frame.assign(fold=frame["fold"].astype(float)).to_parquet(folder / "t.parquet")
    read = [clips_of(folder, table=f"t.{kind}") for kind in ("csv", "tsv", "parquet")]
    for other in read[1:]:
        pd.testing.assert_frame_equal(read[0], other)


@pytest.mark.parametrize("path", GUESSES["path"])
@pytest.mark.parametrize("label", [*LABELS, "LABEL", "Category"])
def test_columns_with_usual_names_are_found(folder, path, label):
    write(folder, rows(), header=f"{path.upper()},{label}")
    notes = annotate(folder).notes["tables"][0]
    assert (notes["columns"], notes["labels"]) == ({"path": path.upper()}, {"label": [label]})


def test_the_name_of_the_task_is_the_first_guess(folder):
    write(folder, [f"{row},x" for row in rows()], header="file_name,bird,label")
    clips = clips_of(folder, labels={"bird": {}, "label": {}})
    assert clips["bird"].tolist() == [[c] for c in "ababababab"]
    assert clips["label"].tolist() == [["x"]] * 10


def test_guesses_are_printed_and_recorded(folder, caplog):
    write(folder, [f"{row},s{i % 5}" for i, row in enumerate(rows())], header="filename,category,speaker")
    with caplog.at_level("INFO"):
        notes = annotate(folder, split_seed=1).notes["tables"][0]
    assert_names(caplog.text, "t.csv", "filename", "category", "speaker")
    assert notes["columns"] == {"path": "filename", "group": "speaker"}
    assert json.loads(json.dumps(notes)) == notes


def test_a_column_of_ids_that_is_not_unique_is_not_guessed(folder):
    write(folder, [f"{row},{i // 2}" for i, row in enumerate(rows())], header="file,label,id")
    assert clips_of(folder).index.tolist() == [f"{i}.wav" for i in range(10)]
    with complains(DataError, "t.csv", "line 3", "0"):
        clips_of(folder, columns={"id": "id"})


def test_a_column_can_be_left_unused(folder):
    write(folder, [f"{row},{'train' if i else 'test'}" for i, row in enumerate(rows())], header="file,label,split")
    named, drawn = clips_of(folder)["split"], clips_of(folder, columns={"split": False})["split"]
    assert named.tolist() == ["test"] + ["train"] * 9
    assert drawn["0.wav"] == "train"


@pytest.mark.parametrize("name", ["lable", "missing"])
@pytest.mark.parametrize("use", ["path", "split", "group", "start", "labels"])
def test_a_column_that_does_not_exist_is_an_error(folder, name, use):
    write(folder, rows())
    others = {"labels": {"x": {"columns": [name]}}} if use == "labels" else {"columns": {use: name}}
    key = "labels.x.columns" if use == "labels" else f"columns.{use}"
    with complains(DataError, "t.csv", key, repr(name), "'file_name'", "'label'"):
        annotate(folder, **others)


@pytest.mark.parametrize(("header", "key"), [("a,label", "columns.path"), ("file,b", "labels.label.columns")])
def test_without_a_usual_name_the_setting_is_named(folder, header, key):
    write(folder, rows(), header=header)
    with complains(DataError, "t.csv", key, *map(repr, header.split(","))):
        annotate(folder)


# ---------------------------------------------------------------------------------------------
# Malformed tables
# ---------------------------------------------------------------------------------------------


def test_two_tables_and_no_table_are_errors(folder):
    with complains(DataError, folder, "table", "folders"):
        annotate(folder)
    write(folder, rows())
    write(folder, rows(), name="u.tsv")
    with complains(DataError, folder, "t.csv", "u.tsv", "table"):
        annotate(folder)
    assert len(clips_of(folder, table="t.csv")) == 10


@pytest.mark.parametrize("name", ["absent.csv", "t.xlsx", "t.jsonl", "t.pkl", "t.csv", "damaged.parquet"])
def test_a_file_that_is_no_table_is_an_error(folder, name):
    if name != "absent.csv":
        (folder / name).write_bytes("file_name,label\nMäuse.wav,a\n".encode("latin-1"))
    with complains(DataError, name, "table"):
        annotate(folder, table=name)


def test_an_absent_folder_is_an_error(tmp_path):
    with complains(DataError, "mine", "folder"):
        table.annotate(config(), tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("row", "tokens"),
    [("1.wav,a,b", ["line 3", 3, 2]), ("1.wav", ["line 3", 1, 2]), ('1.wav,"a', ["line 3"])],
)
def test_a_row_with_another_number_of_cells_is_an_error(folder, row, tokens):
    write(folder, ["0.wav,a", row, "2.wav,b"])
    with complains(DataError, "t.csv", *tokens):
        annotate(folder)


def test_a_table_without_rows_and_columns_of_one_name_are_errors(folder):
    write(folder, [])
    with complains(DataError, "t.csv"):
        annotate(folder)
    write(folder, rows(), header="label,label")
    with complains(DataError, "t.csv", "line 1", "'label'"):
        annotate(folder)


def test_lines_are_those_of_the_file_with_blank_and_quoted_lines(folder):
    write(folder, ["", '0.wav,"a', 'b"', "1.wav,c"])
    assert read_table(folder / "t.csv").numbers == [3, 5]


def test_a_clip_that_occurs_twice_is_an_error_with_both_places(folder):
    write(folder, ["0.wav,a", "1.wav,b", "0.wav,b"])
    with complains(DataError, "t.csv", "line 2", "line 4", "0.wav", "'a'", "'b'"):
        annotate(folder)


# ---------------------------------------------------------------------------------------------
# Audio files
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cell",
    [
        *(
            "sub dir/Möwe 1.wav",
            "./sub dir/Möwe 1.wav",
            "sub dir\\Möwe 1.wav",
            "sub dir/Möwe 1",
            "Möwe 1.wav",
            "Möwe 1",
        ),
        *("Möwe 1", "sub dir/Möwe 1.mp3", unicodedata.normalize("NFD", "sub dir/Möwe 1.wav"), "/elsewhere/Möwe 1.wav"),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_file_is_found_however_it_is_written(folder, cell, form):
    path = folder / "sub dir" / unicodedata.normalize(form, "Möwe 1.wav")
    wav(path)
    write(folder, [*rows(), f"{cell},a"])
    assert clips_of(folder)["path"].iloc[-1] == str(path)


def test_paths_may_be_absolute_or_relative_to_the_audio_folder_or_to_the_table(folder):
    wav(folder / "audio" / "x.wav")
    write(folder / "audio", [f"{folder / '0.wav'},a", "x.wav,b", "../1.wav,a"], name="t.csv")
    expected = [folder / "0.wav", folder / "audio/x.wav", folder / "1.wav"]
    found = clips_of(folder, table="audio/t.csv", split_seed=3, folds=2)
    assert found["path"].tolist() == list(map(str, expected))
    assert found.index.tolist() == ["../0.wav", "x.wav", "../1.wav"]
    write(folder, ["x.wav,a", "0.wav,b"], name="u.csv")
    others = {"table": "u.csv", "audio": "audio", "split_seed": 3, "folds": 2}
    assert clips_of(folder, **others)["path"].tolist() == [str(expected[1]), str(expected[0])]


def test_files_that_are_missing_or_ambiguous_get_a_reason(folder):
    for sub in ("a", "b"):
        wav(folder / sub / "twin.wav")
    write(folder, [*rows(), "absent.wav,a", "twin.wav,b", ",a", "a/twin.wav,a"])
    reasons = annotate(folder).clips["reason"].tolist()
    assert reasons == [""] * 10 + ["missing", "several files have this name", "no path", ""]


def test_more_missing_files_than_allowed_are_an_error_before_decoding(folder):
    write(folder, [*rows(), "absent.wav,a", "gone.wav,b"])
    with complains(DataError, "t.csv", "line 12", "'absent.wav'", 2, 12, "max_rejected"):
        annotate(folder, max_rejected=0.1)
    annotate(folder, max_rejected=0.17)


def test_if_no_file_exists_the_message_shows_where_they_were_looked_for(folder):
    write(folder, ["x.wav,a", "y.wav,b"])
    with complains(DataError, "t.csv", "line 2", "'x.wav'", folder, "audio", "columns.path"):
        annotate(folder)


def test_files_in_no_row_are_counted(folder, caplog):
    write(folder, rows(8))
    annotate(folder)
    assert_names(caplog.text, "t.csv", 2, folder)


@pytest.mark.parametrize("name", ["#NAME?", "3-May", "1.2E+10"])
def test_a_path_that_a_spreadsheet_program_has_changed_is_an_error(folder, name):
    write(folder, [*rows(), f"{name},a"])
    with complains(DataError, "t.csv", "line 12", repr(name)):
        annotate(folder)


def test_spans_of_a_file(folder):
    table_rows = ["0.wav,a,0,0.1", "0.wav,b,0.1,", "1.wav,a,,0.05"]
    write(folder, table_rows, header="file,label,start,end")
    clips = annotate(folder, split_seed=1, folds=2).clips
    assert clips["start"].tolist() == [0.0, 0.1, 0.0]
    np.testing.assert_allclose(clips["duration"], [0.1, math.nan, 0.05])
    assert clips["id"].is_unique
    assert clips["split"][0] == clips["split"][1] != clips["split"][2]


@pytest.mark.parametrize(("start", "end"), [("0.5", "0.5"), ("1", "0"), ("x", "1"), ("-1", "1"), ("0", "inf")])
def test_a_wrong_span_is_an_error(folder, start, end):
    write(folder, ["0.wav,a,0,1", f"1.wav,b,{start},{end}"], header="file,label,start,end")
    with complains(DataError, "t.csv", "line 3", "end" if end == "inf" or float(end) <= 0.5 else "start"):
        annotate(folder)


# ---------------------------------------------------------------------------------------------
# Labels
# ---------------------------------------------------------------------------------------------

STYLES = {
    "separator": ("tags", ["a; b", "b", "", "c;a"], {"columns": ["tags"], "separator": ";"}),
    "several": ("x,y", ["a,b", "b,", ",", "c,a"], {"columns": ["x", "y"]}),
    "one hot": (
        "a,b,c",
        ["1,1,0", "no,TRUE,", "0,0,0", "1.0,false,yes"],
        {"columns": ["a", "b", "c"], "one_hot": True},
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_every_style_of_labels_gives_the_same_sets(folder, style):
    header, cells, settings = STYLES[style]
    write(folder, [f"{i}.wav,{cell}" for i, cell in enumerate(cells)], header=f"file,{header}")
    labels = clips_of(folder, labels={"tags": {"kind": "multi"} | settings}, folds=2, split_seed=1)["tags"]
    assert [set(names) for names in labels] == [{"a", "b"}, {"b"}, set(), {"a", "c"}]


def test_lists_in_a_parquet_file_are_labels(folder):
    frame = pd.DataFrame({"file": [f"{i}.wav" for i in range(4)], "tags": [["a", "b"], ["b"], [], ["c, d", "a"]]})
    frame.to_parquet(folder / "t.parquet")
    labels = clips_of(folder, labels={"tags": {"kind": "multi"}}, folds=2, split_seed=1)["tags"]
    assert labels.tolist() == [["a", "b"], ["b"], [], ["c, d", "a"]]
    with complains(DataError, "t.parquet", "row 1", "tags", "kind"):
        clips_of(folder, labels={"tags": {}})


def test_a_label_may_contain_the_separator_of_the_columns(folder):
    write(folder, ['0.wav,"speech, male"', "1.wav,dog"])
    assert clips_of(folder, folds=2, split_seed=1)["label"].tolist() == [["speech, male"], ["dog"]]


def test_several_labels_need_a_separator(folder):
    write(folder, ["0.wav,a", '1.wav,"b,c"'])
    with complains(DataError, "t.csv", "line 3", "'b,c'", "labels.label.separator"):
        annotate(folder, labels={"label": {"kind": "multi"}})


def test_classes_come_in_the_order_of_the_list(folder):
    write(folder, rows())
    (folder / "classes.txt").write_text("z\nb\na\n")
    for classes in ("classes.txt", ["z", "b", "a"]):
        assert annotate(folder, labels={"label": {"classes": classes}}).classes == {"label": ["z", "b", "a"]}
    assert annotate(folder).classes == {}


def test_a_label_in_no_class_is_an_error_that_names_the_class_meant(folder):
    write(folder, [*rows(9), "9.wav,birdd"])
    with complains(DataError, "t.csv", "line 11", "'birdd'", "'bird'", "labels.label.classes"):
        annotate(folder, labels={"label": {"classes": ["a", "b", "bird"]}})


@pytest.mark.parametrize("pair", [("Dog", "dog"), ("sea waves", "sea_waves"), ("ｃat", "cat")])
def test_labels_that_differ_only_in_case_or_spaces_are_an_error(folder, pair):
    write(folder, rows(labels=pair))
    with complains(DataError, *map(repr, pair), "line 2", "line 3", "labels.label.classes"):
        annotate(folder)
    annotate(folder, labels={"label": {"classes": list(pair)}})


def test_spaces_around_labels_and_another_unicode_form_are_no_difference(folder):
    names = ["Möwe", " Möwe ", "Möwe\u00a0", unicodedata.normalize("NFD", "Möwe")]
    write(folder, rows(labels=names))
    assert {name for names in annotate(folder).clips["label"] for name in names} == {"Möwe"}


@pytest.mark.parametrize("label", ["#NAME?", "3-May", "1.2E+10", "TRUE"])
def test_a_label_that_a_spreadsheet_program_has_changed_is_an_error(folder, label):
    write(folder, [*rows(9), f"9.wav,{label}"])
    with complains(DataError, "t.csv", "line 11", repr(label), "labels.label.classes"):
        annotate(folder)
    annotate(folder, labels={"label": {"classes": ["a", "b", label]}})


def test_truth_values_and_whole_numbers_are_labels(folder):
    write(folder, rows(labels=["TRUE", "FALSE"]))
    annotate(folder)
    write(folder, rows(labels=["1", "2"]))
    annotate(folder)


def test_regression_is_refused_by_name(folder, tmp_path):
    write(folder, rows(labels=["0.25", "1", "2.5e-1"]))
    with complains(DataError, "t.csv", "'label'", "0.25", "regression"):
        annotate(folder)
    path = tmp_path / "d.yaml"
    path.write_text("source: table\nfolder: mine\nlabels: {arousal: {kind: regression}}\n")
    with complains(ConfigError, "d.yaml", "labels.arousal.kind", "'regression'"):
        load_dataset(path)


@pytest.mark.parametrize(
    ("settings", "tokens"),
    [
        ({"labels": {"x": {"separator": ";"}}}, ["labels.x.separator", "';'"]),
        ({"labels": {"x": {"one_hot": True}}}, ["labels.x.columns"]),
        ({"labels": {"x": {"columns": ["a", "b"]}}}, ["labels.x.columns"]),
        ({"labels": {"split": {}}}, ["labels", "'split'"]),
        ({"labels": {"a b": {}}}, ["labels"]),
        ({"labels": {}}, ["labels"]),
        ({"columns": {"lable": "x"}}, ["columns.lable", "fold"]),
        ({"split_values": {"train": ["a"]}}, ["split_values", "test"]),
        ({"split_values": {"train": ["a"], "test": ["a"]}}, ["split_values", "'a'"]),
        ({"test_fold": 2, "dev_fold": "2"}, ["dev_fold", "'2'"]),
        ({"table": {"train": "a.csv"}}, ["table", "test"]),
        ({"table": {"train": "a.csv", "test": "b.csv"}, "dev_fold": 3}, ["dev_fold", 3]),
    ],
)
def test_settings_that_cannot_be_are_errors_of_the_file(tmp_path, settings, tokens):
    path = tmp_path / "d.yaml"
    path.write_text(yaml.safe_dump({"source": "table", "folder": "mine"} | settings))
    with complains(ConfigError, "d.yaml", *tokens):
        load_dataset(path)


# ---------------------------------------------------------------------------------------------
# Splits
# ---------------------------------------------------------------------------------------------


def many(tmp_path, clips=300, speakers=60):
    folder = tmp_path / "mine"
    wav(folder / "0.wav")
    write(folder, [f"{i}.wav,a,s{i % speakers}" for i in range(clips)], header="file,label,speaker")
    return folder


def test_drawn_splits_never_divide_a_group(tmp_path):
    folder = many(tmp_path)
    clips = clips_of(folder)
    assert (clips.groupby("group")["split"].nunique() == 1).all()
    assert 0.1 < (clips["split"] == "test").mean() < 0.3
    by_clip = clips_of(folder, columns={"group": False})
    assert (by_clip.groupby(clips["group"])["split"].nunique() > 1).any()


def test_a_drawn_split_does_not_depend_on_the_other_clips(tmp_path):
    folder = many(tmp_path)
    before = clips_of(folder)["split"]
    lines = (folder / "t.csv").read_text().splitlines()
    (folder / "t.csv").write_text("\n".join([lines[0], *lines[:150:-1], lines[1], "new.wav,a,z"]))
    after = clips_of(folder)["split"].drop("new.wav")
    assert after.equals(before[after.index])


def test_drawn_folds_are_disjoint_and_cover_all_clips(tmp_path):
    folder = many(tmp_path)
    tests = [set(clips_of(folder, test_fold=k).query("split == 'test'").index) for k in range(1, 6)]
    assert max(Counter(name for names in tests for name in names).values()) == 1
    assert len(set.union(*tests)) == 300
    dev = clips_of(folder, test_fold=1, dev_fold=2)
    assert set(dev[dev["split"] == "dev"].index) == tests[1]
    assert set(clips_of(folder, split_seed=7).query("split == 'test'").index) != tests[0]


def test_the_drawn_split_and_dev_share_are_independent(tmp_path):
    folder = many(tmp_path, speakers=300)
    out = tmp_path / "out"
    with pytest.raises(DataError, match="missing"):
        prepare(config(dev_share=0.2), tmp_path, out)
    splits = pd.read_csv(out / "rejected.csv")["split"].value_counts(normalize=True)
    assert 0.1 < splits["dev"] < 0.25
    assert 0.1 < splits["test"] < 0.3
    assert folder.is_dir()


def test_how_a_split_was_drawn_is_stated(tmp_path, caplog):
    folder = many(tmp_path)
    with caplog.at_level("INFO"):
        notes = annotate(folder, test_fold=3, split_seed=7).notes["tables"][0]
    assert_names(notes["split"], "'speaker'", "hash", 5, 7, "fold 3")
    assert notes["split"] in caplog.text


@pytest.mark.parametrize("fold", [0, 6, "x"])
def test_a_fold_that_is_not_drawn_is_an_error(tmp_path, fold):
    with complains(DataError, "test_fold", repr(fold), 5):
        annotate(many(tmp_path), test_fold=fold)


def test_too_few_groups_for_the_folds_are_an_error_that_names_a_seed(tmp_path):
    folder = many(tmp_path, speakers=3)
    seeds = {}
    for seed in range(10):
        try:
            annotate(folder, split_seed=seed)
        except DataError as error:
            assert_names(str(error), "'speaker'", "split_seed", seed)
            seeds[seed] = int(re.search(r"split_seed: (\d+)", str(error))[1])
    assert len(set(seeds.values())) == 1
    annotate(folder, split_seed=next(iter(seeds.values())))
    with complains(DataError, "'speaker'"):
        annotate(many(tmp_path, speakers=1))


def test_splits_and_folds_of_the_table(folder):
    splits = ["Train", "training", "train", "val", "test", "TEST", "train", "train", "dev", "evaluation"]
    lines = [f"{row},{split},{i % 3}" for i, (row, split) in enumerate(zip(rows(), splits, strict=True))]
    write(folder, lines, header="file,label,split,fold")
    expected = ["train"] * 3 + ["dev", "test", "test", "train", "train", "dev", "test"]
    assert clips_of(folder)["split"].tolist() == expected
    by_fold = clips_of(folder, test_fold=2, dev_fold=0)["split"]
    assert by_fold.tolist() == [["dev", "train", "test"][i % 3] for i in range(10)]
    names = {"train": ["train", "training", "val", "dev"], "test": ["test", "evaluation"]}
    assert set(clips_of(folder, split_values=names)["split"]) == {"train", "test"}


def test_an_unknown_split_and_an_empty_split_are_errors(folder):
    write(folder, [f"{row},{'train' if i else 'tesst'}" for i, row in enumerate(rows())], header="file,label,split")
    with complains(DataError, "t.csv", "line 2", "'tesst'", "'split'", "'test'", "split_values"):
        annotate(folder)
    write(folder, [f"{row},train" for row in rows()], header="file,label,split")
    with complains(DataError, "t.csv", "test", "'split'", "split_values"):
        annotate(folder)
    with complains(DataError, "t.csv", "dev", "'split'", "split_values"):
        write(folder, [f"{row},{'test' if i else 'train'}" for i, row in enumerate(rows())], header="file,label,split")
        annotate(folder, split_values={"train": ["train"], "dev": ["val"], "test": ["test"]})


def test_an_unknown_fold_is_an_error(folder):
    write(folder, [f"{row},{i % 3}" for i, row in enumerate(rows())], header="file,label,fold")
    with complains(DataError, "t.csv", "'fold'", "test_fold", "'7'", "0, 1, 2"):
        annotate(folder, test_fold=7)


def test_one_table_per_split(folder):
    for split, first, last in (("train", 0, 6), ("test", 6, 10)):
        for i in range(first, last):
            wav(folder / split / f"{i}.wav", seed=i)
        write(folder / split, rows()[first:last], name="metadata.csv")
    clips = clips_of(folder, table={split: f"{split}/metadata.csv" for split in ("train", "test")})
    assert clips["split"].tolist() == ["train"] * 6 + ["test"] * 4
    assert clips.index[0] == "train/0.wav"
    assert clips["path"].iloc[0] == str(folder / "train/0.wav")


def test_all_clips_can_be_test_clips(folder):
    write(folder, [f"{row},{('train', 'other')[i % 2]}" for i, row in enumerate(rows())], header="file,label,split")
    assert set(clips_of(folder, all_test=True)["split"]) == {"test"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("table", {"train": "a.csv", "test": "b.csv"}),
        ("columns.split", "set"),
        ("columns.fold", "part"),
        ("test_fold", 2),
    ],
)
def test_all_test_excludes_settings_of_splits(key, value):
    outer, _, inner = key.partition(".")
    settings = {"source": "table", "folder": "mine", "all_test": True, outer: {inner: value} if inner else value}
    with complains(ConfigError, "all_test", key):
        validate(Table, settings, "mine.yaml")


def test_a_speaker_in_two_named_splits_is_a_warning(folder, caplog):
    lines = [f"{row},{'test' if i > 7 else 'train'},s{i % 4}" for i, row in enumerate(rows())]
    write(folder, lines, header="file,label,split,speaker")
    annotate(folder)
    assert_names(caplog.text, 2, 4, "groups")


# ---------------------------------------------------------------------------------------------
# Prepared
# ---------------------------------------------------------------------------------------------


def test_odd_recordings_are_prepared(tmp_path):
    folder = tmp_path / "mine"
    names = ["a b.wav", "Möwe (1).wav", "c,d.wav", "x'y.wav", "ß/ü.flac", "sub/UPPER.WAV", "n.ogg", "22k.wav"]
    for i, name in enumerate(names):
        wav(folder / name, seed=i, rate=(16000, 22050, 44100)[i % 3], channels=1 + i % 2)
    labels = ["Vogel, groß", "Hund"]
    frame = pd.DataFrame({"file_name": names, "label": labels * 4, "split": ["train", "train", "test", "test"] * 2})
    frame.to_csv(folder / "my table.csv", index=False)
    out = tmp_path / "out"
    prepare(config(), tmp_path, out)
    manifest = read_manifest(out / "manifest.parquet")
    assert manifest["id"].tolist() == names
    assert (manifest["status"] == "ok").all()
    assert set(manifest["channels"]) == {1, 2}
    assert read_classes(out / "classes.json") == {"label": {"kind": "single", "classes": sorted(labels)}}
    notes = json.loads((out / "summary.json").read_text())["notes"]
    assert notes["tables"][0]["columns"] == {"path": "file_name", "split": "split"}
    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.suffix == ".h5"}
    prepare(config(), tmp_path, out)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_every_row_is_used_or_rejected_with_a_reason(folder):
    (folder / "text.wav").write_text("no sound")
    write(folder, [*rows(), "absent.wav,a", "text.wav,b"])
    out = folder.parent / "out"
    with complains(DataError, "out", 2, 12, "max_rejected"):
        prepare(config(split_seed=1, max_rejected=0.1), folder.parent, out)
    prepare(config(split_seed=1, max_rejected=0.2), folder.parent, out)
    assert set(pd.read_csv(out / "rejected.csv")["id"]) == {"absent.wav", "text.wav"}
    assert len(read_manifest(out / "manifest.parquet")) == 12


def test_the_same_audio_in_two_splits_is_an_error_unless_allowed(folder, caplog):
    (folder / "copy.flac").write_bytes(b"")
    wave, rate = sf.read(folder / "0.wav", dtype="int16")
    sf.write(folder / "copy.flac", wave, rate)
    split = [f"{row},{'test' if i > 7 else 'train'}" for i, row in enumerate(rows())]
    write(folder, [*split, "copy.flac,a,test"], header="file,label,split")
    out = folder.parent / "out"
    with complains(DataError, "0.wav", "copy.flac", "train", "test", "allow_leakage"):
        prepare(config(), folder.parent, out)
    prepare(config(allow_leakage=True), folder.parent, out)
    assert_names(caplog.text, "0.wav", "copy.flac")


def test_copies_in_one_split_and_with_different_labels_are_a_warning(folder, caplog):
    wav(folder / "copy.wav", seed=0)
    split = [f"{row},{'test' if i > 7 else 'train'}" for i, row in enumerate(rows())]
    write(folder, [*split, "copy.wav,b,train"], header="file,label,split")
    prepare(config(), folder.parent, folder.parent / "out")
    assert_names(caplog.text, "0.wav", "copy.wav", "label")


def test_classes_in_one_split_only_are_a_warning(folder, caplog):
    lines = [f"{i}.wav,{'abcd'[i % 4]},{'test' if i in (0, 1, 2) else 'train'}" for i in range(8)]
    write(folder, [*lines, "8.wav,e,test", "9.wav,a,test"], header="file,label,split")
    prepare(config(), folder.parent, folder.parent / "out")
    untrained, untested = [record for record in caplog.messages if "label" in record and "classes with" in record]
    assert_names(untrained, "'e'")
    assert_names(untested, "'d'")
