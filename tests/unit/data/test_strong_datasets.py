"""The readers of lists of events: AudioSet-Strong and DESED."""

import numpy as np
import pytest
import soundfile as sf
from pydantic import ValidationError

from elasticast.config.dataset import AudioSetStrong, Desed
from elasticast.data.dataset import Clips
from elasticast.data.datasets import audioset_strong, desed
from elasticast.data.events import read_events
from elasticast.data.manifest import Known, read_data_hash, read_manifest
from elasticast.data.prepare import prepare
from elasticast.errors import DataError
from tests.complaints import complains

NAMES = "/m/09x0r\tSpeech\n/m/03m9d0z\tWind\n/m/0bt9lr\tDog\n/m/unused\tUnused\n"
STRONG = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"
TRAIN = STRONG + "-_RFKhbpFJA_30000\t0.000\t10.000\t/m/03m9d0z\n-_RFKhbpFJA_30000\t0.500\t2.250\t/m/09x0r\n"
TEST = STRONG + "b1_FKhbpFJA_0\t1.000\t1.500\t/m/0bt9lr\nb1_FKhbpFJA_0\t1.400\t3.000\t/m/0bt9lr\n"
DESED_HEAD = "filename\tonset\toffset\tevent_label\n"


def write_wav(path, seconds=10.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.random.default_rng(sum(path.name.encode())).uniform(-0.1, 0.1, round(seconds * 16000)), 16000)


@pytest.fixture
def strong(tmp_path):
    for name, text in {"train.tsv": TRAIN, "test.tsv": TEST, "names.tsv": NAMES}.items():
        (tmp_path / name).write_text(text)
    write_wav(tmp_path / "audio" / "Y-_RFKhbpFJA.wav")
    write_wav(tmp_path / "audio" / "b1_FKhbpFJA_0_10000.wav")
    lists = {"train": ["train.tsv"], "test": ["test.tsv"]}
    return AudioSetStrong(source="audioset_strong", annotations=lists, labels="names.tsv", audio="audio")


def test_audioset_strong_is_read(strong, tmp_path):
    prepare(strong, tmp_path, tmp_path / "out")
    classes = ["Speech", "Wind", "Dog"]
    train = read_events(tmp_path / "out", "timed_events", ["-_RFKhbpFJA_30000"], classes)
    assert train.label.tolist() == [1, 0]
    assert train.onset.tolist() == [0, 0.5]
    test = read_events(tmp_path / "out", "timed_events", ["b1_FKhbpFJA_0"], classes)
    assert (test.onset.tolist(), test.offset.tolist()) == ([1.0], [3.0])  # events that overlap are merged


@pytest.mark.parametrize(
    ("row", "tokens"),
    [
        ("b1_FKhbpFJA_0\t2.0\t1.0\t/m/09x0r", ["start_time_seconds", "end_time_seconds", "2", "1"]),
        ("b1_FKhbpFJA_0\t2.0\t2.0\t/m/09x0r", ["start_time_seconds", "end_time_seconds", "2"]),
        ("b1_FKhbpFJA_0\tx\t1.0\t/m/09x0r", ["start_time_seconds", "x"]),
        ("b1_FKhbpFJA_0\t-1\t1.0\t/m/09x0r", ["start_time_seconds", "-1"]),
        ("b1_FKhbpFJA_0\t0\tinf\t/m/09x0r", ["end_time_seconds", "inf"]),
        ("b1_FKhbpFJA_0\t0.0\t1.0\t/m/other", ["label", "/m/other"]),
        ("b1_FKhbpFJA\t0.0\t1.0\t/m/09x0r", ["segment_id", "b1_FKhbpFJA"]),
        ("b1_FKhbpFJA_0\t0.0\t1.0", ["3", "4"]),
        ("b1_FKhbpFJA_0,0.0,1.0,/m/09x0r", ["1", "4"]),
    ],
)
def test_wrong_rows_of_audioset_strong_are_named(strong, tmp_path, row, tokens):
    (tmp_path / "test.tsv").write_text(TEST + row + "\n")
    with complains(DataError, f"{tmp_path / 'test.tsv'}, line 4", *tokens):
        audioset_strong.annotate(strong, tmp_path, tmp_path)


def test_a_list_of_frames_is_refused(strong, tmp_path):
    rows = "b1_FKhbpFJA_0\t0.96\t1.92\t/m/09x0r\tNOT_PRESENT\n"
    (tmp_path / "test.tsv").write_text(STRONG.rstrip("\n") + "\tpresent\n" + rows)
    with complains(DataError, tmp_path / "test.tsv", "present", "audioset_eval_strong.tsv"):
        audioset_strong.annotate(strong, tmp_path, tmp_path)


def test_an_event_outside_its_clip_is_named(strong, tmp_path):
    (tmp_path / "test.tsv").write_text(TEST + "b1_FKhbpFJA_0\t9.0\t10.5\t/m/09x0r\n")
    with complains(DataError, f"{tmp_path / 'test.tsv'}, line 4", "9", "10.5", "b1_FKhbpFJA_0", "10"):
        prepare(strong, tmp_path, tmp_path / "out")


@pytest.mark.parametrize("names", ["/m/09x0r Speech\n", NAMES + "/m/09x0r\tOther\n", NAMES + "/m/x\tDog\n"])
def test_a_wrong_list_of_names_is_named(strong, tmp_path, names):
    (tmp_path / "names.tsv").write_text(names)
    with complains(DataError, f"{tmp_path / 'names.tsv'}, line {names.count(chr(10))}"):
        audioset_strong.annotate(strong, tmp_path, tmp_path)


@pytest.fixture
def homes(tmp_path):
    rows = ["Ya_0.000_10.000.wav\t0.5\t2.0\tSpeech", "Yb.wav\t\t\t"]
    (tmp_path / "train.tsv").write_text(DESED_HEAD + "\n".join(rows) + "\n")
    (tmp_path / "test.tsv").write_text(DESED_HEAD + "c.wav\t0.0\t10.0\tDog\n")
    for name in ("Ya_0.000_10.000", "Yb", "c"):
        write_wav(tmp_path / "audio" / f"{name}.wav")
    return Desed(source="desed", annotations={"train": ["train.tsv"], "test": ["test.tsv"]}, audio="audio")


def test_desed_is_read(homes, tmp_path):
    annotations = desed.annotate(homes, tmp_path, tmp_path)
    assert annotations.clips["id"].tolist() == ["Ya_0.000_10.000", "Yb", "c"]
    prepare(homes, tmp_path, tmp_path / "out")
    events = read_events(tmp_path / "out", "timed_events", ["Ya_0.000_10.000", "Yb"], ["Dog", "Speech"])
    assert (events.clip.tolist(), events.label.tolist(), events.onset.tolist()) == ([0], [1], [0.5])


WEAK_HEAD = "filename\tevent_labels\n"


@pytest.fixture
def partly(homes, tmp_path):
    """The same with two clips with weak labels, one of which has events too, and three without labels."""
    (tmp_path / "weak.tsv").write_text(WEAK_HEAD + "Yw_20.000_30.000.wav\tSpeech,Dog\nYa_0.000_10.000.wav\tDog\n")
    write_wav(tmp_path / "audio" / "Yw_20.000_30.000.wav")
    for name in ("Yu1_0.000_10.000", "Yu2_1.000_11.000", "sub/Yu3", "c"):  # c is a test clip
        write_wav(tmp_path / "unlabel_in_domain" / f"{name}.wav", 9.0)
    return homes.model_copy(update={"weak": ["weak.tsv"], "unlabelled": "unlabel_in_domain"})


def test_clips_with_weak_labels_and_without_labels_are_read(partly, tmp_path):
    prepare(partly, tmp_path, tmp_path / "out")
    clips = Clips(tmp_path / "out", "train", "timed_events")
    known = dict(zip(clips.ids, clips.known.tolist(), strict=True))
    assert {clip for clip, value in known.items() if value == Known.ALL} == {"Ya_0.000_10.000", "Yb"}
    assert {clip for clip, value in known.items() if value == Known.CLASSES} == {"Yw_20.000_30.000"}
    expected = {"Yu1_0.000_10.000", "Yu2_1.000_11.000", "Yu3"}
    assert {clip for clip, value in known.items() if value == Known.NOTHING} == expected
    assert clips.classes == ["Dog", "Speech"]
    assert clips.target(clips.ids.index("Yw_20.000_30.000")).tolist() == [1, 1]
    assert clips.target(clips.ids.index("Ya_0.000_10.000")).tolist() == [0, 1]
    assert not any(clips.target(clips.ids.index(clip)).any() for clip in expected)
    assert Clips(tmp_path / "out", "test", "timed_events").known is None


def test_aliases_are_other_names_of_classes(partly, tmp_path):
    """Events that two names give to one class are merged where they overlap; weak labels are renamed too."""
    head = DESED_HEAD.rstrip("\n") + "\tconfidence\n"
    rows = ["c.wav\t0\t2\tpeople talking\t0.9", "c.wav\t1\t3\tchildren voices\t0.9", "c.wav\t4\t5\tquiet\t0.1"]
    (tmp_path / "test.tsv").write_text(head + "\n".join(rows) + "\n")
    (tmp_path / "weak.tsv").write_text(WEAK_HEAD + "Yw_20.000_30.000.wav\tannouncement,Speech\n")
    aliases = dict.fromkeys(["people talking", "children voices", "announcement"], "Speech") | {"quiet": "Dog"}
    prepare(partly.model_copy(update={"aliases": aliases}), tmp_path, tmp_path / "out")
    assert Clips(tmp_path / "out", "train", "timed_events").classes == ["Speech"]
    events = read_events(tmp_path / "out", "timed_events", ["c"], ["Speech"])
    assert (events.onset.tolist(), events.offset.tolist()) == ([0], [3])


@pytest.mark.parametrize("aliases", [{"Spech": "Dog"}, {"Speech": "Dog", "nothing like it": "Dog"}])
def test_an_alias_of_no_class_is_named(partly, tmp_path, aliases):
    named = list(aliases)[-1]
    with complains(DataError, "aliases", named, "Speech"):
        desed.annotate(partly.model_copy(update={"aliases": aliases}), tmp_path, tmp_path)


@pytest.mark.parametrize("aliases", [{"a": "b", "b": "c"}, {"a": "a"}, {"a": " "}])
def test_aliases_name_classes_that_stay(aliases):
    lists = {"train": ["train.tsv"], "test": ["test.tsv"]}
    with complains(ValidationError, "aliases", "a", next(iter(aliases.values())).strip() or "' '"):
        Desed(source="desed", annotations=lists, aliases=aliases)


def test_what_is_known_of_clips_is_part_of_the_data(homes, tmp_path):
    """A clip without events is not one without labels."""
    write_wav(tmp_path / "audio" / "unlabel" / "Yu.wav")
    without_labels = homes.model_copy(update={"unlabelled": "audio/unlabel"})
    prepare(without_labels, tmp_path, tmp_path / "one")
    with (tmp_path / "train.tsv").open("a") as file:
        file.write("Yu.wav\t\t\t\n")
    prepare(homes, tmp_path, tmp_path / "two")
    one, two = (read_manifest(tmp_path / name / "manifest.parquet", "train") for name in ("one", "two"))
    assert one["known"].tolist() == ["all", "all", "nothing"]
    assert "known" not in two
    assert one["id"].tolist() == two["id"].tolist()
    assert one["timed_events"].map(list).tolist() == two["timed_events"].map(list).tolist()
    assert read_data_hash(tmp_path / "one") != read_data_hash(tmp_path / "two")


def test_only_clips_with_events_are_held_out(partly, tmp_path):
    held_out = partly.model_copy(update={"dev_share": 0.999})
    (tmp_path / "train.tsv").write_text(DESED_HEAD + "Ya_0.000_10.000.wav\t0.5\t2.0\tSpeech\nYb.wav\t\t\t\n")
    prepare(held_out, tmp_path, tmp_path / "out")
    clips = read_manifest(tmp_path / "out" / "manifest.parquet")
    assert set(clips["id"][clips["split"] == "dev"]) == {"Ya_0.000_10.000", "Yb"}
    assert set(clips["known"][clips["split"] == "train"]) == {"classes", "nothing"}


@pytest.mark.parametrize(
    ("text", "line", "tokens"),
    [
        (DESED_HEAD + "c.wav\t0.0\t1.0\tDog\n", 1, ["event_labels", "onset"]),
        (WEAK_HEAD + "Yw.wav\n", 2, ["1", "2"]),
        (WEAK_HEAD + "Yw.wav\tDog,,Cat\n", 2, ["event_labels", "Dog,,Cat"]),
        (WEAK_HEAD + "Yw.wav\t\n", 2, ["event_labels"]),
    ],
)
def test_wrong_weak_lists_are_named(partly, tmp_path, text, line, tokens):
    (tmp_path / "weak.tsv").write_text(text)
    with complains(DataError, f"{tmp_path / 'weak.tsv'}, line {line}", *tokens):
        desed.annotate(partly, tmp_path, tmp_path)


def test_a_folder_without_further_clips_is_named(partly, tmp_path):
    with complains(DataError, tmp_path / "audio", "unlabelled", 4):
        desed.annotate(partly.model_copy(update={"unlabelled": "audio"}), tmp_path, tmp_path)
    with complains(DataError, tmp_path / "absent", "unlabelled"):
        desed.annotate(partly.model_copy(update={"unlabelled": "absent"}), tmp_path, tmp_path)


def test_events_of_low_confidence_are_left_out(homes, tmp_path):
    head = DESED_HEAD.rstrip("\n") + "\tconfidence\n"
    (tmp_path / "test.tsv").write_text(head + "c.wav\t0\t1\tDog\t0.5\nc.wav\t1\t2\tCat\t0.75\n")
    assert desed.annotate(homes, tmp_path, tmp_path).events["timed_events"]["label"].tolist() == ["Speech", "Cat"]


@pytest.mark.parametrize(
    ("text", "line", "tokens"),
    [
        ("filename\tevent_labels\nc.wav\tDog\n", 1, ["event_labels"]),
        (DESED_HEAD + "c.wav\t3.0\t1.0\tDog\n", 2, ["onset", "3", "offset", "1"]),
        (DESED_HEAD + "c.wav\t0.0\t1.0\t\n", 2, ["event_label"]),
        (DESED_HEAD + "c.wav\t\t1.0\tDog\n", 2, ["onset"]),
    ],
)
def test_wrong_lists_of_desed_are_named(homes, tmp_path, text, line, tokens):
    (tmp_path / "test.tsv").write_text(text)
    with complains(DataError, f"{tmp_path / 'test.tsv'}, line {line}", *tokens):
        desed.annotate(homes, tmp_path, tmp_path)


def test_a_list_without_events_is_named(homes, tmp_path):
    (tmp_path / "test.tsv").write_text(DESED_HEAD)
    with complains(DataError, tmp_path / "test.tsv"):
        desed.annotate(homes, tmp_path, tmp_path)
