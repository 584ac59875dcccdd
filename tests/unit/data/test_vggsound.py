import hashlib

import numpy as np
import pytest
import soundfile as sf

from elasticast.config.dataset import VggSound
from elasticast.config.resolving import load_dataset
from elasticast.data.annotations import check_annotations
from elasticast.data.datasets import vggsound
from elasticast.data.labels import near_duplicates
from elasticast.data.manifest import read_manifest
from elasticast.data.prepare import prepare
from elasticast.errors import DataError
from tests.complaints import assert_names, complains

CONFIG = VggSound(source="vggsound")
ROWS = """\
zwUv7mdl0S4,6,"bird chirping, tweeting",train
--_PbEuAVEZ,0,playing gong,test
--_PbEuAVEZ,1234,police car (siren),train
zxR0XDlKt_8,300,playing gong,train
"""
IDS = ["zwUv7mdl0S4_000006", "--_PbEuAVEZ_000000", "--_PbEuAVEZ_001234", "zxR0XDlKt_8_000300"]
LABELS = ["bird chirping, tweeting", "playing gong", "police car (siren)", "playing gong"]
SURPLUS = "zxRfVeKqQW4,348,extending ladders,train\n"


def write(root, text, name="vggsound.csv"):
    path = root / "vggsound" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture
def root(tmp_path):
    """Write the list, and an audio folder without the audio of any clip."""
    write(tmp_path, ROWS)
    touch(tmp_path, "x.wav")
    return tmp_path


def touch(root, *names):
    for name in names:
        path = root / "vggsound/audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def annotate(root, config=CONFIG):
    return vggsound.annotate(config, root, root / "out")


def with_labels(root, *names):
    """Settings with a list of classes."""
    rows = "".join(f'{number},vgg_{number},"{name}"\n' for number, name in enumerate(names))
    write(root, "index,mid,display_name\n" + rows, "labels.csv")
    return CONFIG.model_copy(update={"labels": "vggsound/labels.csv"})


# ---------------------------------------------------------------------------------------------
# The list of clips
# ---------------------------------------------------------------------------------------------


def test_rows_are_those_of_the_list(root):
    notes = annotate(root)
    assert notes.clips["id"].tolist() == IDS
    assert notes.clips["sound"].tolist() == [[label] for label in LABELS]
    assert notes.clips["split"].tolist() == ["train", "test", "train", "train"]
    assert (notes.clips["reason"] == "missing").all()
    assert notes.classes == {"sound": vggsound.CLASSES}


def test_clips_of_a_video_are_never_divided(root):
    rows = "".join(f"video{n // 4:06d},{n},playing gong,train\n" for n in range(400))
    write(root, rows)
    clips = check_annotations(annotate(root).clips, CONFIG.tasks, dev_share=0.5)
    assert set(clips["split"]) == {"dev", "train"}
    assert (clips["split"].groupby(clips["id"].str[:11]).nunique() == 1).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text + "\n",
        lambda text: text.removesuffix("\n"),
        lambda text: text.replace("playing gong", '"playing gong"'),
    ],
    ids=["CRLF", "BOM", "empty line", "no last newline", "all quoted"],
)
def test_harmless_differences_change_nothing(root, change):
    whole = annotate(root).clips
    write(root, change(ROWS))
    assert annotate(root).clips.equals(whole)


@pytest.mark.parametrize(
    "row",
    [
        "#NAME?,0,playing gong,test",
        "1.23E+05,0,playing gong,test",
        "zxR0XDlKt_8;300;playing gong;train",
        "zxR0XDlKt_8,300,bird chirping, tweeting,train",
        'zxR0XDlKt_8,300,"bird chirping, tweeting,train',
        "zxR0XDlKt_8,300,playing gong",
        "zxR0XDlKt_8,300,,train",
        "zxR0XDlKt_8,-1,playing gong,train",
        "zxR0XDlKt_8,30.5,playing gong,train",
        "zxR0XDlKt_8,300,playing gong,validation",
        "zxR0XDlKt_8_000300,300,playing gong,train",
        "youtube_id,start,label,split",
    ],
)
def test_a_damaged_row_is_refused_with_its_line_and_what_would_be_right(root, row):
    path = write(root, ROWS + row + "\n" + ROWS)
    with complains(DataError, path, "line 5", repr(row)):
        annotate(root)


@pytest.mark.parametrize("content", [b"", ROWS.encode("utf-16"), None], ids=["empty", "UTF-16", "not there"])
def test_a_list_that_is_none_is_refused(root, content):
    path = write(root, content or b"")
    if content is None:
        path.unlink()
    with complains(DataError, path):
        annotate(root)


def test_the_class_that_is_not_published_is_rejected(root):
    assert annotate(root).published == {"train": 183730, "test": 15446}
    write(root, ROWS + SURPLUS)
    touch(root, "zxRfVeKqQW4_000348.wav")
    notes = annotate(root)
    assert notes.clips["reason"].iloc[-1] == "not one of the published classes (extending ladders)"
    assert "extending ladders" not in notes.classes["sound"]
    assert notes.published == {"train": 183971, "test": 15496}


def test_the_classes_are_the_published_309():
    assert len(vggsound.CLASSES) == len(set(vggsound.CLASSES)) == 309
    assert sorted(vggsound.CLASSES) == vggsound.CLASSES
    digest = hashlib.sha256("".join(f"{name}\n" for name in vggsound.CLASSES).encode()).hexdigest()
    assert digest == "45c537f971c8ea8e175c8cebd4bdd2b4c4f579dd4e3c4309e4be6e482168b871"
    assert vggsound.SURPLUS_CLASS not in vggsound.CLASSES
    assert not near_duplicates(vggsound.CLASSES)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("playing gong,", "playing gong ,"),
        ("playing gong,", " playing gong\t,"),
        ("playing gong,", "playing gong\u00a0,"),
        ("playing gong", "playing\u00a0gong"),
        ("playing gong", "playing  gong"),
        ("playing gong", "\ufeffplaying gong\u200b"),
        ('"bird chirping, tweeting"', '" bird chirping,  tweeting "'),
        ("zwUv", "\ufeffzwUv"),
        (",train", ", train "),
    ],
)
def test_spaces_and_invisible_characters_make_no_new_class(root, old, new):
    whole = annotate(root)
    write(root, ROWS.replace(old, new))
    changed = annotate(root)
    assert changed.clips.equals(whole.clips)
    assert changed.classes == whole.classes


@pytest.mark.parametrize("listed", [False, True], ids=["published classes", "list of classes"])
@pytest.mark.parametrize(
    ("typed", "class_meant"),
    [
        ("Playing gong", "playing gong"),
        ("PLAYING GONG", "playing gong"),
        ("playing-gong", "playing gong"),
        ("playing gnog", "playing gong"),
        ("playing gongs", "playing gong"),
        ("pl\u0430ying gong", "playing gong"),  # a Cyrillic letter
        ("police car siren", "police car (siren)"),
        ("xyzzy", None),
    ],
)
def test_a_mistyped_class_is_refused_with_the_one_that_is_meant(root, listed, typed, class_meant):
    config = with_labels(root, *vggsound.CLASSES) if listed else CONFIG
    path = write(root, ROWS + f"zxR0XDlKt_8,310,{typed},train\n")
    with complains(DataError, path, "line 5", repr(typed), *([repr(class_meant)] if class_meant else [])):
        annotate(root, config)


@pytest.mark.parametrize(
    ("again", "named"),
    [
        ("zwUv7mdl0S4,6,playing gong,train", ["'playing gong'", "'bird chirping, tweeting'"]),
        ('zwUv7mdl0S4,6,"bird chirping, tweeting",test', ["'train'", "'test'"]),
        ('zwUv7mdl0S4,06,"bird chirping, tweeting",train', []),
    ],
    ids=["other label", "other split", "same row"],
)
def test_a_clip_that_occurs_twice_is_refused(root, again, named):
    path = write(root, ROWS + again + "\n")
    with complains(DataError, path, "line 5", "line 1", IDS[0], *named):
        annotate(root)


def test_a_mistyped_name_in_the_list_of_classes_is_refused(root):
    names = [name.replace("playing gong", "playing gongg") for name in vggsound.CLASSES]
    config = with_labels(root, *names)
    with complains(DataError, root / config.labels, "'playing gongg'", "'playing gong'", 309):
        annotate(root, config)


def test_a_list_of_classes_may_have_one_that_is_not_published(root, caplog):
    config = with_labels(root, *vggsound.CLASSES, "zzzzzzzzzzzzz310_class")
    assert len(annotate(root, config).classes["sound"]) == 310
    assert_names(caplog.text, root / config.labels, 1)


def test_a_list_of_some_classes_is_told_from_the_published_one(root, caplog):
    annotate(root, with_labels(root, *LABELS[:3]))
    assert_names(caplog.text, 306, 309)


# ---------------------------------------------------------------------------------------------
# The list of classes
# ---------------------------------------------------------------------------------------------


def test_classes_are_in_the_order_of_their_list(root):
    names = ["police car (siren)", "zither", "playing gong", "bird chirping, tweeting"]
    assert annotate(root, with_labels(root, *names)).classes == {"sound": names}


def test_underscores_of_released_lists_are_commas(root):
    config = with_labels(root, "police car (siren)", "playing gong", "bird chirping_ tweeting")
    assert annotate(root, config).classes == {
        "sound": ["police car (siren)", "playing gong", "bird chirping, tweeting"]
    }


def test_a_label_of_no_class_is_refused_with_its_line(root):
    config = with_labels(root, "playing gong", "bird chirping, tweeting")
    with complains(DataError, root / CONFIG.annotations, "line 3", "'police car (siren)'", 3):
        annotate(root, config)


def test_a_list_of_classes_may_name_the_one_that_is_not_published(root):
    write(root, ROWS + SURPLUS)
    names = sorted({*LABELS, "extending ladders"})
    notes = annotate(root, with_labels(root, *names))
    assert notes.clips["reason"].iloc[-1] == "missing"
    assert notes.published == {"train": 183971, "test": 15496}
    assert annotate(root, with_labels(root, *sorted(set(LABELS)))).clips["reason"].iloc[-1].startswith("not one of")


# ---------------------------------------------------------------------------------------------
# Audio
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", ["wav", "flac", "mp4"])
@pytest.mark.parametrize("folder", ["", "train/a/"])
def test_names_hold_the_start_in_six_digits(root, extension, folder):
    touch(root, *(f"{folder}{name}.{extension}" for name in IDS[:3]), f"{folder}zxR0XDlKt_8_300.{extension}")
    clips = annotate(root).clips
    assert clips["path"].tolist()[:3] == [f"{root}/vggsound/audio/{folder}{name}.{extension}" for name in IDS[:3]]
    assert clips["reason"].tolist() == ["", "", "", "missing"]


def test_no_audio_folder_is_an_error(root):
    with complains(DataError, root / "elsewhere", "audio"):
        annotate(root, CONFIG.model_copy(update={"audio": "elsewhere"}))


def test_example_settings_are_those_of_the_download(request):
    config = load_dataset(request.config.rootpath / "config/datasets/vggsound.yaml")
    assert config.model_copy(update={"max_rejected": 0.0, "title": None}) == CONFIG


def test_prepared_with_one_clip_of_each_fate(root):
    write(root, ROWS + SURPLUS)
    rng = np.random.default_rng(0)
    for name in (*IDS[:2], "zxRfVeKqQW4_000348"):
        sf.write(root / f"vggsound/audio/{name}.flac", (rng.standard_normal(8000) * 1000).astype(np.int16), 8000)
    (root / "vggsound/audio" / f"{IDS[2]}.wav").touch()
    prepare(CONFIG.model_copy(update={"max_rejected": 0.7}), root, root / "out")
    clips = read_manifest(root / "out" / "manifest.parquet").set_index("id")
    assert clips["reason"].to_dict() == {
        IDS[0]: "",
        IDS[1]: "",
        IDS[2]: "empty",
        IDS[3]: "missing",
        "zxRfVeKqQW4_000348": "not one of the published classes (extending ladders)",
    }
