import math
import pickle
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from elasticast.config.dataset import EpicSounds
from elasticast.config.resolving import load_dataset
from elasticast.data.annotations import check_annotations, published_counts
from elasticast.data.audio import UnusableAudioError, decode
from elasticast.data.datasets import epic_sounds
from elasticast.data.labels import UniqueIds
from elasticast.data.manifest import class_lists, reason_kind
from elasticast.data.prepare import prepare
from elasticast.data.store import Store
from elasticast.errors import DataError
from tests.complaints import complains

RATE = 24000
TRAIN = """\
annotation_id,participant_id,video_id,start_timestamp,stop_timestamp,start_sample,stop_sample,description,class,class_id
P01_01_0,P01,P01_01,00:00:00.100,00:00:00.300,2400,7200,clang / clatter,ceramic / wood collision,34
P01_01_1,P01,P01_01,00:00:00.250,00:00:01.000,6000,24000,"rustle, twice",rustle,4
P01_02_0,P01,P01_02,00:00:00.061,00:00:00.762,1463,18288,paper rustle,rustle,4
"""
VALIDATION = """\
annotation_id,participant_id,video_id,start_timestamp,stop_timestamp,start_sample,stop_sample,description,class,class_id
P02_101_0,P02,P02_101,00:00:00.000,00:00:00.500,0,12000,tap,water,5
"""
SECONDS = {"P01_01": 1.0, "P01_02": 0.8, "P02_101": 0.5}


@pytest.fixture
def config():
    return EpicSounds(
        source="epic_sounds",
        annotations={"train": ["EPIC_Sounds_train.csv"], "test": ["EPIC_Sounds_validation.csv"]},
        audio="audio",
    )


@pytest.fixture
def waves():
    rng = np.random.default_rng(0)
    return {video: (rng.standard_normal(round(s * RATE)) * 3000).astype(np.int16) for video, s in SECONDS.items()}


@pytest.fixture
def root(tmp_path):
    write_csv(tmp_path, TRAIN)
    write_csv(tmp_path, VALIDATION, "EPIC_Sounds_validation.csv")
    return tmp_path


def write_csv(root, text, name="EPIC_Sounds_train.csv"):
    (root / name).write_text(text, encoding="utf-8", newline="")
    return root / name


def write_hdf5(kind):
    def write(audio, waves):
        with h5py.File(audio, "w") as file:
            for video, wave in waves.items():
                file[video] = wave.astype(np.float32) / 32768 if kind == np.float32 else wave

    return write


def write_wavs(place):
    def write(audio, waves):
        for video, wave in waves.items():
            path = audio / place.format(video, video[:3])
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, wave, RATE)

    return write


LAYOUTS = {
    "hdf5 of float32": write_hdf5(np.float32),
    "hdf5 of int16": write_hdf5(np.int16),
    "flat folder": write_wavs("{0}.wav"),
    "folder a participant": write_wavs("{1}/audio/{0}.wav"),
}


def annotated(config, root):
    return epic_sounds.annotate(config, root, root / "out").clips


def decoded(row):
    return decode(Path(row.path), rate=RATE, key=row.key, start=row.start, duration=row.duration)


def without(text, *names):
    """An annotation file without some columns."""
    lines = pd.read_csv(pd.io.common.StringIO(text), dtype=str, keep_default_na=False)
    return lines.drop(columns=list(names)).to_csv(index=False)


# ---------------------------------------------------------------------------------------------
# The real annotations
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def real(request):
    path = request.config.rootpath.parent / "shared/data/annotations/epic_sounds/EPIC_Sounds_validation.csv"
    if not path.is_file():
        pytest.skip(f"no real annotations at {path}")
    return path


def test_real_annotations_have_the_published_counts(real, tmp_path, config):
    (tmp_path / "audio").mkdir()
    sf.write(tmp_path / "audio" / "P01_11.wav", np.ones(10, dtype=np.int16), RATE)
    config = config.model_copy(update={"annotations": {"test": [str(real)]}})
    notes = epic_sounds.annotate(config, tmp_path, tmp_path / "out")
    clips = check_annotations(notes.clips, config.tasks)
    assert len(clips) == 8035
    assert notes.published == {"test": 8035}
    assert clips["group"].nunique() == 137
    assert clips["sound"].str[0].nunique() == 44
    assert (clips["duration"].min(), clips["duration"].max()) == pytest.approx((0.2, 791.34))
    # all clips but those of one video are rejected, because their videos are missing
    assert set(clips["reason"]) == {"", "missing"}
    assert (clips["reason"].eq("") == clips["group"].eq("P01_11")).all()


def test_classes_are_in_the_order_of_the_real_file(real):
    table = epic_sounds.read_table(real)
    names = table[["class", "class_id"]].drop_duplicates().astype({"class_id": int}).sort_values("class_id")
    assert names["class_id"].tolist() == list(range(44))
    assert names["class"].tolist() == epic_sounds.CLASSES


def test_timestamps_of_the_real_file_are_its_samples(real, tmp_path):
    table = pd.read_csv(real, dtype=str, keep_default_na=False)
    table.drop(columns=["start_sample", "stop_sample"]).to_csv(tmp_path / "stamps.csv", index=False)
    by_sample, by_stamp = (epic_sounds._clips(path, "test", UniqueIds()) for path in (real, tmp_path / "stamps.csv"))
    for ends in (["start"], ["start", "duration"]):
        apart = (by_sample[ends].sum(axis=1) - by_stamp[ends].sum(axis=1)).abs() * RATE
        assert apart.max() < 1.001  # published samples are rounded down


# ---------------------------------------------------------------------------------------------
# Layouts
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left_out", [(), ("start_sample", "stop_sample"), ("start_timestamp", "stop_timestamp")])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_every_span_its_samples(root, config, waves, layout, left_out):
    LAYOUTS[layout](root / "audio", waves)
    write_csv(root, without(TRAIN, *left_out))
    clips = annotated(config, root)
    assert clips["reason"].eq("").all()
    assert clips["split"].tolist() == ["train"] * 3 + ["test"]
    published = pd.concat([epic_sounds.read_table(write_csv(root, text, "all.csv")) for text in (TRAIN, VALIDATION)])
    for row, line in zip(clips.itertuples(), published.itertuples(), strict=True):
        begin, end = int(line.start_sample), int(line.stop_sample)
        # P01_02_0 starts at 0.061 s, which is sample 1464: the published 1463 is rounded down
        begin += row.id == "P01_02_0" and "start_sample" in left_out
        clip = decoded(row)
        assert clip.sample_rate == RATE
        np.testing.assert_array_equal(clip.samples, waves[line.video_id][begin:end])


def test_classes_are_the_published_44_whichever_a_file_names(root, config, waves):
    LAYOUTS["flat folder"](root / "audio", waves)
    notes = epic_sounds.annotate(config, root, root / "out")
    assert class_lists(notes.clips, config.tasks, notes.classes)["sound"]["classes"] == epic_sounds.CLASSES
    assert len(set(epic_sounds.CLASSES)) == 44
    assert notes.clips["sound"].tolist() == [["ceramic / wood collision"], ["rustle"], ["rustle"], ["water"]]


def test_example_settings_name_the_published_files(request):
    config = load_dataset(request.config.rootpath / "config/datasets/epic_sounds.yaml")
    assert published_counts(config.annotations, epic_sounds.PUBLISHED) == {"test": 8035}
    assert config.store_rate == RATE


def test_counts_are_published_of_the_validation_file_only(root, config, waves):
    LAYOUTS["flat folder"](root / "audio", waves)
    assert epic_sounds.annotate(config, root, root / "out").published == {"test": 8035}


def test_dev_share_never_divides_a_video(root, config, waves):
    LAYOUTS["flat folder"](root / "audio", waves)
    body = "".join(f"P09_{i}_{j},P09,P09_{i},0:00:00.0,0:00:01.0,x,zip,42\n" for i in range(40) for j in range(5))
    header = "annotation_id,participant_id,video_id,start_timestamp,stop_timestamp,description,class,class_id\n"
    write_csv(root, header + body)
    clips = check_annotations(annotated(config, root), config.tasks, dev_share=0.5)
    splits = clips[clips["split"] != "test"].groupby("group")["split"].agg(["nunique", "first"])
    assert splits["nunique"].eq(1).all()
    assert set(splits["first"]) == {"train", "dev"}


# ---------------------------------------------------------------------------------------------
# Clips that cannot be used
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_clips_of_a_missing_video_have_that_reason(root, config, waves, layout):
    del waves["P01_01"]
    LAYOUTS[layout](root / "audio", waves)
    clips = annotated(config, root)
    assert clips["id"].tolist() == ["P01_01_0", "P01_01_1", "P01_02_0", "P02_101_0"]
    assert clips["reason"].tolist() == ["missing"] * 2 + [""] * 2
    assert clips["path"].eq("").tolist() == [True] * 2 + [False] * 2


def test_a_group_in_the_hdf5_file_is_no_video(root, config, waves):
    with h5py.File(root / "audio", "w") as file:
        file["P01_01/left"] = waves["P01_01"]
    assert annotated(config, root)["reason"].eq("missing").all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_span_past_the_end_is_found_by_decoding(root, config, waves, layout):
    waves["P01_01"] = waves["P01_01"][:20000]
    LAYOUTS[layout](root / "audio", waves)
    clips = annotated(config, root)
    assert clips["reason"].eq("").all()
    decoded(clips.iloc[0])
    with complains(UnusableAudioError, "span"):
        decoded(clips.iloc[1])


def test_impossible_spans_are_rejected_one_by_one(root, config, waves):
    LAYOUTS["flat folder"](root / "audio", waves)
    text = TRAIN.replace("6000,24000", "144000,576000")  # 16 times too late, as with another sample rate
    text += "P01_02_1,P01,P01_02,00:00:00.500,00:00:00.500,12000,12000,zip,zip,42\n"
    text += "P01_02_2,P01,P01_02,00:00:00.500,00:00:00.250,12000,6000,zip,zip,42\n"
    text += "P01_02_3,P01,P01_02,00:00:00.500,00:00:00.501,12000,12000,zip,zip,42\n"
    text += "P03_01_0,P03,P03_01,00:00:00.500,00:00:00.250,12000,6000,zip,zip,42\n"
    write_csv(root, text)
    reasons = annotated(config, root).set_index("id")["reason"].to_dict()
    assert reasons["P01_01_1"] == ("samples and timestamps differ (start_sample 6.0 s, start_timestamp 00:00:00.250)")
    assert reasons["P01_02_2"] == "stop is not after start (0.5 s, 0.25 s)"
    late = "stop is not after start"
    kinds = {
        **{"P01_01_0": "", "P01_01_1": "samples and timestamps differ", "P01_02_0": ""},
        **{"P01_02_1": late, "P01_02_2": late, "P01_02_3": late, "P03_01_0": late, "P02_101_0": ""},
    }
    assert {name: reason_kind(reason) for name, reason in reasons.items()} == kinds


@pytest.mark.parametrize("again", ["train", "test"])
def test_an_id_in_two_files_is_refused(root, config, waves, again):
    LAYOUTS["flat folder"](root / "audio", waves)
    files = {"train": ["EPIC_Sounds_train.csv"], "test": []}
    files[again] = [*files[again], "EPIC_Sounds_train.csv"]
    first = TRAIN.splitlines()[1].split(",")[0]
    named = ["train", "test"] if again == "test" else []
    with complains(DataError, root / "EPIC_Sounds_train.csv", "line 2", first, *named):
        annotated(config.model_copy(update={"annotations": files}), root)


# ---------------------------------------------------------------------------------------------
# Damaged files
# ---------------------------------------------------------------------------------------------

DAMAGED = {
    "without labels": (without(TRAIN, "class", "class_id", "description"), "class", "class_id", "annotations"),
    "without a column": (without(TRAIN, "video_id"), "video_id", "annotation_id", "participant_id"),
    "without class_id": (without(TRAIN, "class_id"), "class_id"),
    "half a span": (without(TRAIN, "stop_sample"), "stop_sample"),
    "without spans": (
        without(TRAIN, "start_sample", "stop_sample", "start_timestamp", "stop_timestamp"),
        "start_sample",
        "stop_sample",
    ),
    "semicolons": (TRAIN.replace(",", ";"), "annotation_id"),
    "empty": ("", "annotation_id"),
    "comma without quotes": (TRAIN.replace('"', ""), "line 3", 11, 10, 1, 3),
    "quote not closed": (
        TRAIN.replace("paper rustle", '"paper rustle') + VALIDATION.splitlines()[1] * 4000,
        "line 5",
    ),
    "cut off": (TRAIN[:-10], "line 4", 8, 10),
    "cut numbers": (
        TRAIN.replace("00:00:00.300", "00:00.3"),
        "line 2",
        "stop_timestamp",
        "'00:00.3'",
    ),
    "rounded samples": (
        TRAIN.replace("24000", "2.4E+04"),
        "line 3",
        "stop_sample",
        "'2.4E+04'",
    ),
    "negative": (TRAIN.replace(",2400,", ",-2400,"), "line 2", "start_sample", "'-2400'"),
    "nothing": (TRAIN.replace(",2400,", ",,"), "line 2", "start_sample", "''"),
    "shifted": (TRAIN.replace("P01_02_0,P01,P01_02,", "P01_02_0,P01_02,P01,"), "line 4", "video_id", "'P01'", "P01_11"),
    "no id": (TRAIN.replace("P01_02_0,", ","), "line 4", "annotation_id", "''"),
    "other numbers": (
        TRAIN.replace("rustle,4", "rustle,3"),
        "line 3",
        "class",
        "'rustle'",
        "class_id",
        "'3'",
        2,
        3,
    ),
    "unknown class": (
        TRAIN.replace("rustle,4", "rusle,4"),
        "line 3",
        "class",
        "'rusle'",
        "class_id",
        "'4'",
        "'rustle'",
    ),
    "other case": (TRAIN.replace("rustle,4", "Rustle,4"), "line 3", "class", "'Rustle'", "'rustle'"),
    "number of no class": (TRAIN.replace("rustle,4", "rustle,44"), "line 3", "class", "'rustle'", "class_id", "'44'"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_refused_and_named(root, config, damage):
    text, *named = DAMAGED[damage]
    path = write_csv(root, text)
    with complains(DataError, path, *named):
        annotated(config, root)


def test_windows_line_ends_and_byte_order_mark_are_read(root, config, waves):
    LAYOUTS["flat folder"](root / "audio", waves)
    as_published = annotated(config, root)
    write_csv(root, "\ufeff" + TRAIN.replace("\n", "\r\n"))
    pd.testing.assert_frame_equal(annotated(config, root), as_published)


def test_a_header_alone_names_no_clip(root, config, waves):
    LAYOUTS["flat folder"](root / "audio", waves)
    write_csv(root, TRAIN.splitlines()[0])
    assert annotated(config, root)["split"].tolist() == ["test"]


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["EPIC_Sounds_train.pkl", "EPIC_Sounds_train.csv"])
def test_a_pickle_is_never_loaded(root, config, name):
    mark = root / "loaded"
    (root / name).write_bytes(pickle.dumps([Bomb(mark), "é"]))
    config = config.model_copy(update={"annotations": {"train": [name]}})
    with complains(DataError, name):
        annotated(config, root)
    assert not mark.exists()


def test_annotations_that_are_not_there_are_named(root, config):
    config = config.model_copy(update={"annotations": {"train": ["nowhere.csv"]}})
    with complains(DataError, "nowhere.csv", "annotations"):
        annotated(config, root)


def test_hdf5_without_rate_cannot_be_resampled(root, config, waves):
    LAYOUTS["hdf5 of float32"](root / "audio", waves)
    config = config.model_copy(update={"store_rate": 16000})
    with complains(DataError, root / "audio", "store_rate", 16000, RATE):
        annotated(config, root)
    with h5py.File(root / "audio", "a") as file:
        for video in waves:
            file[video].attrs["sample_rate"] = RATE
    of_datasets = annotated(config, root)
    with h5py.File(root / "audio", "a") as file:
        del file["P01_02"].attrs["sample_rate"]
        file.attrs["sample_rate"] = RATE
    pd.testing.assert_frame_equal(annotated(config, root), of_datasets)
    for row in of_datasets.itertuples():
        clip = decode(Path(row.path), rate=16000, key=row.key, start=row.start, duration=row.duration)
        assert clip.sample_rate == RATE
        assert clip.seconds == pytest.approx(row.duration, abs=1e-4)


@pytest.mark.parametrize("damage", ["not there", "text", "cut off"])
def test_audio_that_cannot_be_read_is_named(root, config, waves, damage):
    if damage == "text":
        (root / "audio").write_text("audio")
    if damage == "cut off":
        LAYOUTS["hdf5 of float32"](root / "audio", waves)
        (root / "audio").write_bytes((root / "audio").read_bytes()[:-5000])
    with complains(DataError, root / "audio", "audio"):
        annotated(config, root)


# ---------------------------------------------------------------------------------------------
# Prepared
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["hdf5 of float32", "flat folder"])
def test_prepared_at_24_khz(root, config, waves, layout):
    del waves["P01_02"]
    LAYOUTS[layout](root / "audio", waves)
    prepare(config.model_copy(update={"max_rejected": 0.25}), root, root / "out")
    store = Store(root / "out" / "train.h5")
    assert store.sample_rate == RATE
    assert len(store) == 2
    np.testing.assert_array_equal(store[1], waves["P01_01"][6000:24000])
    rejected = pd.read_csv(root / "out" / "rejected.csv", keep_default_na=False)
    assert rejected.to_dict("records") == [{"id": "P01_02_0", "split": "train", "path": "", "reason": "missing"}]
    assert not math.isnan(store.lengths.sum())
