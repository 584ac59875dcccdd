import csv
import os

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from elasticast.config.dataset import AudioSet
from elasticast.config.resolving import load_dataset
from elasticast.data.annotations import check_annotations, read_class_names
from elasticast.data.datasets import audioset
from elasticast.data.manifest import class_lists, read_manifest
from elasticast.data.prepare import prepare
from elasticast.errors import DataError
from tests.complaints import assert_names, complains

HEADER = """\
# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids={0}, num_segs={0}, num_unique_labels=5, num_positive_labels=9
# YTID, start_seconds, end_seconds, positive_labels
"""
CLASSES = """\
index,mid,display_name
0,/m/09x0r,"Speech"
1,/m/05zppz,"Male speech, man speaking"
2,/t/dd00088,"Gush"
3,/m/07q6cd_,"Squeak"
4,/g/122z_qxw,"Firecracker"
"""
NAMES = ["Speech", "Male speech, man speaking", "Gush", "Squeak", "Firecracker"]
# Ids that begin with - or Y, hold _, look like numbers, formulas and dates.
TRAIN = """\
--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"
Ya_cdefgh-_, 0.000, 10.000, "/m/05zppz"
12345678901, 420.000, 430.000, "/m/07q6cd_,/g/122z_qxw,/m/09x0r"
1234567E-10, 12.345, 18.000, "/m/09x0r"
"""
TEST = """\
_Y-0RWZT-mi, 30.000, 40.000, "/m/09x0r,/m/05zppz"
"""
CONFIG = AudioSet(
    source="audioset",
    segments={"train": ["lists/balanced_train_segments.csv"], "test": ["lists/eval_segments.csv"]},
    labels="lists/class_labels_indices.csv",
    audio="clips",
)


def write_list(root, text, name="balanced_train_segments.csv", header=HEADER):
    path = root / "lists" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = header.format(text.count("\n")) + text if isinstance(text, str) else text
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.fixture
def root(tmp_path):
    """Write lists and class names, and an audio folder without the audio of any clip."""
    write_list(tmp_path, TRAIN)
    write_list(tmp_path, TEST, "eval_segments.csv")
    write_list(tmp_path, CLASSES.encode(), "class_labels_indices.csv")
    touch(tmp_path, "x.wav")
    return tmp_path


def touch(root, *names):
    for name in names:
        path = root / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def annotated(root, config=CONFIG):
    return audioset.annotate(config, root, root / "out").clips.set_index("id")


def read(path):
    return audioset.read_segments(path, read_class_names(path.parent / "class_labels_indices.csv"))


# ---------------------------------------------------------------------------------------------
# Rows
# ---------------------------------------------------------------------------------------------


def test_rows_are_the_segments_of_the_lists(root):
    clips = annotated(root)
    assert clips.index.tolist() == ["--PJHxphWEs", "Ya_cdefgh-_", "12345678901", "1234567E-10", "_Y-0RWZT-mi"]
    assert clips["split"].tolist() == ["train"] * 4 + ["test"]
    assert clips["events"].tolist()[:3] == [["Speech", "Gush"], [NAMES[1]], ["Squeak", "Firecracker", "Speech"]]
    assert clips["longest"].tolist() == pytest.approx([11.0, 11.0, 11.0, 6.655, 11.0])
    assert (clips["path"] == "").all()
    assert (clips["reason"] == "missing").all()


def test_classes_are_all_of_the_index_in_its_order(root):
    notes = audioset.annotate(CONFIG, root, root / "out")
    assert notes.classes == {"events": NAMES}
    lists = class_lists(check_annotations(notes.clips, CONFIG.tasks), CONFIG.tasks, notes.classes)
    assert lists["events"] == {"kind": "multi", "classes": NAMES}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace(", ", ","),
        lambda text: text.replace(".000", ""),
        lambda text: text + "\n\n",
        lambda text: text.removesuffix("\n"),
        lambda text: text.replace('"/m/05zppz"', "/m/05zppz"),
        lambda text: text[text.index("--PJ") :],
    ],
    ids=["CRLF", "BOM", "no spaces", "whole seconds", "empty lines", "no last newline", "single unquoted", "no header"],
)
def test_harmless_differences_change_nothing(root, change):
    whole = read(write_list(root, TRAIN))
    changed = read(write_list(root, change(HEADER.format(4) + TRAIN).encode()))
    assert changed == whole


SEEN = {
    "taken for a formula": [
        '#NAME?, 30.000, 40.000, "/m/09x0r"',
        "#NAME?,30,40,/m/09x0r",
        "#ИМЯ?,30,40,/m/09x0r",
    ],
    "taken for a number": ["1.23E+05,30,40,/m/09x0r", "-1.2E-10,30,40,/m/09x0r", "1.2345E+100,30,40,/m/09x0r"],
    "semicolons": ['--PJHxphWEs;30.000;40.000;"/m/09x0r,/t/dd00088"'],
    "labels split": [
        # the two ways in which programs write a quotation mark that follows a space
        '--PJHxphWEs,30.000,40.000,"""/m/09x0r",/m/05zppz,"/t/dd00088""",,,,,,,',
        '--PJHxphWEs, 30.000, 40.000," ""/m/09x0r","/t/dd00088"""',
        "--PJHxphWEs,30,40,/m/09x0r,/t/dd00088",
    ],
    "no labels": ["--PJHxphWEs,30,40", "--PJHxphWEs,30,40,"],
    "cut off": ['--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/d'],
    "no id": [
        '-PJHxphWEs, 30.000, 40.000, "/m/09x0r"',
        'Y--PJHxphWEs, 30.000, 40.000, "/m/09x0r"',
        'PJHxphWÉs--, 30.000, 40.000, "/m/09x0r"',
    ],
    "no row": [
        '--PJHxphWEs, 00:30, 00:40, "/m/09x0r"',
        '--PJHxphWEs, nan, 40.000, "/m/09x0r"',
        '--PJHxphWEs, 30.000, 40.000, "Speech"',
    ],
    "ends before it starts": ['--PJHxphWEs, 40.000, 30.000, "/m/09x0r"'],
    "unknown label": ['--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/m/zzz"'],
}


def test_a_damaged_row_is_refused_with_its_line_and_what_happened(root):
    said = {}
    for what, rows in SEEN.items():
        for row in rows:
            path = write_list(root, TRAIN + row + "\n" + TEST)
            with complains(DataError, path, "line 8", repr(row)) as error:
                read(path)
            said.setdefault(what, set()).add(str(error.value).replace(repr(row), ""))
    # each kind of damage has one explanation, different from the others
    assert [len(texts) for texts in said.values()] == [1] * len(SEEN)
    assert len(set.union(*said.values())) == len(SEEN)


@pytest.mark.parametrize(
    "content",
    [b"", HEADER.format(0).encode(), (HEADER.format(4) + TRAIN).encode("utf-16"), None],
    ids=["empty", "header alone", "UTF-16", "not there"],
)
def test_a_list_that_is_none_is_refused(root, content):
    path = write_list(root, content or b"")
    if content is None:
        path.unlink()
    with complains(DataError, path):
        annotated(root)


def test_error_quotes_only_the_start_of_a_web_page(root):
    path = write_list(root, ("<!DOCTYPE html>" + "<p>" * 10_000).encode())
    with complains(DataError, path, "line 1", "<!DOCTYPE html><p>") as error:
        read(path)
    assert len(str(error.value)) < 700


def test_list_shorter_than_its_header_announces_gives_a_warning(root, caplog):
    read(write_list(root, TRAIN, header=HEADER.replace("{0}", "22160")))
    assert_names(caplog.text, 4, 22160)
    caplog.clear()
    read(write_list(root, TRAIN))
    assert not caplog.records


# ---------------------------------------------------------------------------------------------
# Class names
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"Male speech, man speaking"', "Male speech, man speaking", ["line 3"]),
        ('3,/m/07q6cd_,"Squeak"\n', "", ["line 5"]),
        ('"Squeak"', '"Gush"', ["line 5", "Gush"]),
        ("/m/07q6cd_", "/t/dd00088", ["line 5", "/t/dd00088"]),
        ("index,mid,display_name", "index;mid;display_name", ["line 1", "'index;mid;display_name'"]),
    ],
    ids=["quotes lost", "row lost", "name twice", "label twice", "semicolons"],
)
def test_damaged_class_names_are_refused(root, old, new, named):
    path = write_list(root, CLASSES.replace(old, new).encode(), "class_labels_indices.csv")
    with complains(DataError, path, *named):
        annotated(root)


@pytest.fixture
def real_classes(request):
    path = request.config.rootpath.parent / "shared/data/annotations/audioset/class_labels_indices.csv"
    if not path.is_file():
        pytest.skip(f"no real class names: {path}")
    return path


def test_the_real_class_names(real_classes):
    names = read_class_names(real_classes)
    with real_classes.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(names.items()) == [(row["mid"], row["display_name"]) for row in rows]
    assert len(set(names.values())) == 527
    assert list(names.values())[:2] == ["Speech", "Male speech, man speaking"]


def test_the_real_class_names_are_the_published_ones(real_classes, root, caplog):
    write_list(root, real_classes.read_bytes(), "class_labels_indices.csv")
    annotated(root)
    assert "class_labels_indices.csv" not in caplog.text


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"Speech"', b'"Speach"'), (b"/m/09x0r", b"/m/09x0s"), (b'"Chuckle, chortle"', b'"chuckle, chortle"')],
    ids=["name", "label", "case"],
)
def test_an_edited_list_of_the_527_classes_is_refused(real_classes, root, old, new):
    path = write_list(root, real_classes.read_bytes().replace(old, new), "class_labels_indices.csv")
    with complains(DataError, path, 527):
        annotated(root)


def test_two_classes_in_each_others_place_are_refused(real_classes, root):
    lines = real_classes.read_text().splitlines(keepends=True)
    names = [line.split(",", 1)[1] for line in lines]
    lines[5], lines[6] = f"4,{names[6]}", f"5,{names[5]}"
    path = write_list(root, "".join(lines).encode(), "class_labels_indices.csv")
    with complains(DataError, path, 527):
        annotated(root)


@pytest.mark.parametrize("ends", [b"\r\n", b" \n"], ids=["CRLF", "spaces"])
def test_spaces_in_the_list_of_classes_change_nothing(real_classes, root, ends):
    text = real_classes.read_bytes().replace(b"\r", b"").replace(b"\n", ends).replace(b'"Speech"', b'" Speech\xc2\xa0"')
    path = write_list(root, text, "class_labels_indices.csv")
    assert read_class_names(path) == read_class_names(real_classes)


def test_a_list_of_other_classes_is_told_from_the_published_one(root, caplog):
    annotated(root)
    assert_names(caplog.text, root / CONFIG.labels, 5, 527)


# ---------------------------------------------------------------------------------------------
# Splits and counts
# ---------------------------------------------------------------------------------------------


def test_splits_that_share_a_clip_are_refused(root):
    write_list(root, TEST + TRAIN.splitlines(keepends=True)[2], "eval_segments.csv")
    named = (root / "lists/balanced_train_segments.csv", root / "lists/eval_segments.csv", "line 6", "line 5")
    with complains(DataError, *named, 1, "12345678901", "train", "test"):
        annotated(root)


def test_the_same_list_for_two_splits_is_refused(root):
    segments = {"train": CONFIG.segments["train"], "dev": CONFIG.segments["train"], "test": CONFIG.segments["test"]}
    with complains(DataError, root / CONFIG.segments["train"][0], 4, "--PJHxphWEs", "train", "dev"):
        annotated(root, CONFIG.model_copy(update={"segments": segments}))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("", "", []),
        ("30.000, 40.000", "50.000, 60.000", []),
        ("/m/09x0r,/t/dd00088", "/m/09x0r", ["/m/09x0r,/t/dd00088", "/m/09x0r"]),
    ],
    ids=["the same row", "other span", "other labels"],
)
def test_a_clip_twice_in_one_split_is_refused(root, old, new, named):
    path = write_list(root, TRAIN + TRAIN.splitlines(keepends=True)[0].replace(old, new))
    with complains(DataError, path, "line 8", "line 4", "--PJHxphWEs", *named):
        annotated(root)


@pytest.mark.parametrize(
    ("segments", "published"),
    [
        (
            {"train": ["a/balanced_train_segments.csv"], "test": ["b/eval_segments.csv"]},
            {"train": 22160, "test": 20371},
        ),
        (
            {"train": ["balanced_train_segments.csv", "unbalanced_train_segments.csv"], "test": ["mine.csv"]},
            {"train": 2063949},
        ),
        ({"train": ["balanced_train_segments.csv", "mine.csv"], "test": ["eval.csv"]}, {}),
    ],
)
def test_counts_are_published_of_whole_published_lists(root, segments, published):
    for split, files in segments.items():
        for number, file in enumerate(files):
            path = root / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(f'{split:_<10}{number}, 0.000, 10.000, "/m/09x0r"\n')
    config = CONFIG.model_copy(update={"segments": segments})
    assert audioset.annotate(config, root, root / "out").published == published


@pytest.mark.parametrize("name", ["audioset", "audioset_balanced"])
def test_example_settings_name_the_published_files(request, name):
    config = load_dataset(request.config.rootpath / f"config/datasets/{name}.yaml")
    files = [os.path.basename(file) for files in config.segments.values() for file in files]
    assert set(files) <= set(audioset.PUBLISHED)
    assert list(config.segments) == ["train", "test"]


# ---------------------------------------------------------------------------------------------
# Names of audio files
# ---------------------------------------------------------------------------------------------

SPANS = {
    "--PJHxphWEs": (30.0, 40.0),
    "Ya_cdefgh-_": (0.0, 10.0),
    "a_cdefgh-_9": (0.0, 10.0),
    "abcdefghij_": (30.0, 40.0),
    "Yabcdefghij": (30.0, 40.0),
    "___________": (5.0, 6.5),
    "12345678901": (420.0, 430.0),
}
VARIANTS = ("", "_{0:.0f}", "_{0:.3f}", "_{0:.3f}_{1:.3f}", "_{2:d}", "_{2:d}_{3:d}", "_{0:06.0f}")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("prefix", ["", "Y"])
@pytest.mark.parametrize("folder", ["", "deep/er/"])
def test_every_file_name_matches_only_its_id(variant, prefix, folder):
    find = audioset.clip_of(SPANS)
    for name, (start, end) in SPANS.items():
        times = variant.format(start, end, round(1000 * start), round(1000 * end))
        assert find(folder + prefix + name + times) == name


@pytest.mark.parametrize(
    "stem",
    [
        "--PJHxphWEs_31",  # different start
        "--PJHxphWEs_40000_50000",
        "--PJHxphWEs_30000_35000",  # different end
        "--PJHxphWEs_30_40_50",
        "--PJHxphWEs_",
        "--PJHxphWEs_part",
        "--PJHxphWEs-30",
        "YY--PJHxphWEs",
        "-PJHxphWEs",
        "Y-PJHxphWEs",
        "zzzzzzzzzzz",  # in no list
        "Yzzzzzzzzzz",
        "é-PJHxphWEs",
    ],
)
def test_other_names_are_of_no_clip(stem):
    assert audioset.clip_of(SPANS)(stem) == ""


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["Yabcdefghij.wav", "YYabcdefghij.wav"], "YYabcdefghij.wav"),
        (["Yabcdefghij.wav", "Yabcdefghij_30000_40000.flac"], "Yabcdefghij_30000_40000.flac"),
        (["Yabcdefghij.wav", "Yabcdefghij_50000_60000.wav"], "Yabcdefghij.wav"),
    ],
)
def test_id_that_starts_with_y_matches_its_file(root, files, chosen):
    # without the Y it would not be an id, because ids have 11 characters
    write_list(root, 'Yabcdefghij, 30.000, 40.000, "/m/09x0r"\n')
    touch(root, *files)
    assert annotated(root).loc["Yabcdefghij", "path"] == f"{root}/clips/{chosen}"


def test_two_files_of_a_clip_give_a_warning(root, caplog):
    touch(root, "train/--PJHxphWEs.wav", "Y--PJHxphWEs.flac", "12345678901.mp3")
    clips = annotated(root)
    assert clips.loc["--PJHxphWEs", "path"] == f"{root}/clips/Y--PJHxphWEs.flac"
    assert_names(caplog.text, 1, "--PJHxphWEs")


def test_no_audio_folder_is_an_error(root):
    with complains(DataError, root / "elsewhere", "audio"):
        annotated(root, CONFIG.model_copy(update={"audio": "elsewhere"}))


def test_paths_in_the_settings_may_be_absolute(root, tmp_path_factory):
    touch(root, "--PJHxphWEs.wav")
    absolute = {"audio": str(root / "clips"), "labels": str(root / CONFIG.labels)}
    absolute["segments"] = {split: [str(root / file) for file in files] for split, files in CONFIG.segments.items()}
    config = CONFIG.model_copy(update=absolute)
    pd.testing.assert_frame_equal(annotated(tmp_path_factory.mktemp("other"), config), annotated(root))


# ---------------------------------------------------------------------------------------------
# From files to a store
# ---------------------------------------------------------------------------------------------


def test_prepared_with_one_clip_of_each_fate(root):
    rng = np.random.default_rng(0)
    seconds = {"--PJHxphWEs_30000_40000.flac": 10.01, "sub/YYa_cdefgh-_.wav": 11.5, "_Y-0RWZT-mi_30.000.flac": 9.9}
    for name, length in seconds.items():
        path = root / "clips" / name
        path.parent.mkdir(exist_ok=True)
        sf.write(path, (rng.standard_normal(round(8000 * length)) * 1000).astype(np.int16), 8000)
    (root / "clips" / "1234567E-10.wav").write_bytes(b"no audio at all")
    prepare(CONFIG.model_copy(update={"max_rejected": 0.6}), root, root / "out")
    clips = read_manifest(root / "out" / "manifest.parquet").set_index("id")
    reasons = clips["reason"].str.split(" (", regex=False).str[0].to_dict()
    assert reasons == {
        "--PJHxphWEs": "",
        "Ya_cdefgh-_": "longer than its segment",
        "12345678901": "missing",
        "1234567E-10": "not audio",
        "_Y-0RWZT-mi": "",
    }
    assert list(clips.loc["_Y-0RWZT-mi", "events"]) == ["Speech", "Male speech, man speaking"]
