import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import yaml
from pydantic import TypeAdapter

from elasticast.config.dataset import SPLITS, DatasetConfig
from elasticast.config.resolving import load_dataset
from elasticast.data.annotations import check_annotations
from elasticast.data.datasets import (
    audioset,
    epic_sounds,
    esc50,
    fsd50k,
    reader_of,
    speech_commands,
    vggsound,
    voxceleb1,
)
from elasticast.data.manifest import read_classes, read_listed, read_manifest, reason_kind
from elasticast.data.prepare import prepare
from elasticast.data.store import Store
from elasticast.data.twins import audioset as twins_audioset
from elasticast.data.twins import esc50 as twins_esc50
from elasticast.data.twins import fsd50k as twins_fsd50k
from elasticast.data.twins.sounds import SAMPLE_RATE, write_clip
from elasticast.data.twins.voices import speech, voice
from elasticast.errors import ConfigError
from elasticast.files import read_json
from tests.complaints import complains

MODULES = {
    "audioset": audioset,
    "vggsound": vggsound,
    "voxceleb1": voxceleb1,
    "epic_sounds": epic_sounds,
    "fsd50k": fsd50k,
    "esc50": esc50,
    "speech_commands": speech_commands,
}
LISTS = {
    "audioset": {"segments": {"train": ["a/one.csv", "a/two.csv"], "test": ["a/eval.csv"]}, "labels": "a/classes.csv"},
    "vggsound": {"annotations": "v/vggsound.csv", "labels": "v/classes.csv"},
    "voxceleb1": {},
    "epic_sounds": {
        "annotations": {"train": ["e/one.csv", "e/two.csv"], "test": ["e/test.csv"]},
        "audio": "e/all.hdf5",
    },
    "fsd50k": {},
    "esc50": {"trim_silence": True},
    "speech_commands": {},
}
CLIPS = {"train": 50, "test": 20}
WITH_DEV = CLIPS | {"dev": 30}
OTHER_CLIPS = {
    "voxceleb1": WITH_DEV,
    "fsd50k": WITH_DEV,
    "speech_commands": WITH_DEV,
    "esc50": {"train": 40, "test": 10},
}
LONGEST = {"speech_commands": 1.0}  # s; of the others 1.5
# A fifth of 50, 20 and, where there is a dev split, 30 clips, the defects in turns; of EPIC-SOUNDS' 9 and 4 videos of
# six clips each; of ESC-50's 50 clips. No list has Speech Commands' training clips, so they cannot be missing.
REASONS = {
    "audioset": {"missing": 9, "truncated": 3, "silent": 1, "longer than its segment": 1},
    "vggsound": {"missing": 9, "truncated": 3, "silent": 2},
    "voxceleb1": {"missing": 13, "truncated": 4, "silent": 3},
    "epic_sounds": {"missing": 18},
    "fsd50k": {"missing": 13, "truncated": 4, "silent": 3},
    "esc50": {"missing": 6, "truncated": 2, "silent": 2},
    "speech_commands": {"missing": 7, "truncated": 7, "silent": 6},
}


def settings(name, **twin):
    """A small twin, a fifth of whose clips are unusable."""
    clips = OTHER_CLIPS.get(name, CLIPS)
    twin = {"clips": clips, "seconds": [0.3, LONGEST.get(name, 1.5)], "missing": 0.2} | twin
    return TypeAdapter(DatasetConfig).validate_python(
        {"source": name, "max_rejected": 0.5, "twin": twin, **LISTS[name]}
    )


def fetched(config, out):
    reader_of(config).fetch(config, out / "no data root", out)
    return contents(out)


def contents(out):
    files = {str(path.relative_to(out)): path.read_bytes() for path in (out / "audio").rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if name != "audio/recipe.json"}


def annotated(config, out):
    return reader_of(config).annotate(config, out / "no data root", out)


def prepared(config, out):
    prepare(config, out.parent / "no data root", out)
    return read_manifest(out / "manifest.parquet")


@pytest.fixture(scope="module", params=MODULES)
def twin(request, tmp_path_factory):
    """Prepare a twin. Returns its name, folder and manifest."""
    out = tmp_path_factory.mktemp("twins") / request.param
    return request.param, out, prepared(settings(request.param), out)


# ---------------------------------------------------------------------------------------------
# From raw files to a prepared dataset
# ---------------------------------------------------------------------------------------------


def test_reader_finds_every_clip_of_the_lists(twin):
    name, out, clips = twin
    config = settings(name)
    notes = MODULES[name].annotate(config, out / "audio", out)
    assert Counter(notes.clips["split"]) == config.twin.clips
    assert clips["id"].tolist() == notes.clips["id"].tolist()
    pd.testing.assert_frame_equal(annotated(config, out).clips, notes.clips)


def test_reasons_are_the_intended_and_no_other(twin):
    name, _, clips = twin
    rejected = clips[clips["status"] == "rejected"]
    assert Counter(rejected["reason"].map(reason_kind)) == REASONS[name]


def test_lengths_are_those_asked_for_and_audio_is_audible(twin):
    name, out, clips = twin
    used = clips[clips["status"] == "ok"]
    assert used["duration"].between(0.299, LONGEST.get(name, 1.5) + 0.001).all()
    assert used["duration"].std() > 0.1
    for split in used["split"].unique():
        store = Store(out / f"{split}.h5")
        assert store.sample_rate == {"epic_sounds": 24000}.get(name, 16000)
        assert all(np.ptp(store[i].astype(int)) > 200 for i in range(len(store)))


def test_all_forms_of_files_occur(twin):
    name, _, clips = twin
    used = clips[clips["status"] == "ok"]
    names = used["path"].map(lambda path: Path(path).as_posix()).tolist()
    forms = {
        "audioset": [r"/[\w-]{11}\.wav", r"/Y[\w-]{11}\.wav", r"_\d+_\d+\.flac", r"_\d+\.\d{3}\.flac"],
        "vggsound": [r"audio/[\w-]{11}_\d{6}\.wav", r"/train/[\w-]{11}_\d{6}\.flac"],
        "voxceleb1": [r"voxceleb1/wav/id\d{5}/", r"voxceleb1/dev/wav/id\d{5}/"],
        "epic_sounds": [r"e/all\.hdf5"],
        "fsd50k": [r"FSD50K/FSD50K\.dev_audio/\d+\.wav", r"FSD50K/FSD50K\.eval_audio/\d+\.wav"],
        "esc50": [r"esc50/audio/1-\d+-A-\d+\.wav", r"esc50/audio/5-\d+-A-\d+\.wav"],
        "speech_commands": [r"backward/[0-9a-f]{8}_nohash_0\.wav", r"eight/[0-9a-f]{8}_nohash_1\.wav"],
    }
    for form in forms[name]:
        assert any(re.search(form, path) for path in names), form
    if name in ("audioset", "vggsound"):
        assert set(used["channels"]) == {1, 2}
        assert set(used["sample_rate"]) == {16000, 32000}
    if rate := {"fsd50k": 44100, "esc50": 44100, "speech_commands": 16000}.get(name):
        assert (set(used["channels"]), set(used["sample_rate"])) == ({1}, {rate})


def test_classes_stay_the_published_ones_where_the_reader_knows_them(twin):
    name, out, clips = twin
    ((task, info),) = read_classes(out / "classes.json").items()
    heard = {label for labels in clips[task] for label in labels}
    known = {"voxceleb1": 1251, "epic_sounds": 44, "fsd50k": 200, "esc50": 50, "speech_commands": 35}
    assert len(info["classes"]) == known.get(name, 10)
    assert len(heard) == {"voxceleb1": 16, "fsd50k": 24}.get(name, 10)
    assert any("," in label for label in heard) == (name in ("audioset", "vggsound"))


def test_the_summary_does_not_compare_with_the_published_counts(twin):
    summary = read_json(twin[1] / "summary.json")
    assert summary["published"] == {}
    assert read_listed(twin[1], "test") == summary["annotated"]["test"] > summary["clips"]["test"]


def test_clips_of_a_recording_form_a_group(twin):
    """Groups are videos, recordings or speakers, so that `dev_share` does not divide one. None is in two splits."""
    name, out, _ = twin
    config = settings(name)
    clips = annotated(config, out).clips
    if name in ("audioset", "fsd50k"):
        assert "group" not in clips
    else:
        sizes = {"vggsound": 2, "voxceleb1": 3, "epic_sounds": 6, "esc50": 1, "speech_commands": 20}
        assert clips.groupby("group").size().max() == sizes[name]
        assert (clips.groupby("group")["split"].nunique() == 1).all()


@pytest.mark.parametrize("name", ["audioset", "vggsound", "epic_sounds"])
def test_a_dev_split_can_be_set_aside(name, tmp_path):
    """The names of the videos have hashes that divide them evenly."""
    twin = load_dataset(Path(__file__).parents[3] / f"config/datasets/{name}_twin.yaml").twin
    config = settings(name, clips=twin.clips, seconds=[0.1, 0.3], missing=0.0)
    fetched(config, tmp_path)
    clips = check_annotations(annotated(config, tmp_path).clips, config.tasks, dev_share=0.2)
    assert 0.1 < clips["split"].eq("dev").sum() / twin.clips["train"] < 0.3


# ---------------------------------------------------------------------------------------------
# Repeatable
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_same_settings_give_the_same_files_and_another_seed_others(name, tmp_path):
    one, two = (fetched(settings(name), tmp_path / folder) for folder in ("one", "two"))
    assert one == two
    other = fetched(settings(name, seed=1), tmp_path / "one")
    classes = {path for path in one if path.endswith(("classes.csv", "vocabulary.csv"))}
    assert {path for path in one.keys() & other.keys() if one[path] == other[path]} == classes


@pytest.mark.parametrize("name", MODULES)
def test_what_an_interrupted_fetch_left_is_completed_and_nothing_is_written_twice(name, tmp_path):
    config = settings(name)
    whole = fetched(config, tmp_path)
    times = {path: (tmp_path / path).stat().st_mtime_ns for path in whole}
    gone = sorted(whole)[::2]
    for path in gone:
        (tmp_path / path).unlink()
    (tmp_path / gone[0]).with_name(".left.wav.1.part").write_bytes(b"half")
    reader_of(config).fetch(config, tmp_path, tmp_path)
    (tmp_path / gone[0]).with_name(".left.wav.1.part").unlink()
    assert contents(tmp_path) == whole
    kept = set(whole).difference(gone)
    assert all((tmp_path / path).stat().st_mtime_ns == times[path] for path in kept)


def test_fewer_clips_leave_nothing_of_the_others(tmp_path):
    fetched(settings("vggsound"), tmp_path)
    few = {"clips": {"train": 5, "test": 5}}
    assert fetched(settings("vggsound", **few), tmp_path) == fetched(settings("vggsound", **few), tmp_path / "new")


def test_preparing_twice_gives_the_same_hash_and_no_other_work(twin):
    name, out, _ = twin
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.h5")}
    prepare(settings(name), out.parent / "no data root", out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.h5")} == before


# ---------------------------------------------------------------------------------------------
# What is in it
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vggsound", "epic_sounds", "voxceleb1", "speech_commands"])
def test_length_does_not_tell_the_label(name, tmp_path):
    """Predicting the most frequent label of training clips of similar length is no better than chance."""
    clips = {"train": 400, "test": 200} | ({"dev": 1} if name in OTHER_CLIPS else {})
    config = settings(name, clips=clips, seconds=[0.1, 1.0], missing=0.0)
    table = prepared(config, tmp_path / name)
    task = next(iter(config.tasks))
    train, test = (table[table["split"] == split] for split in ("train", "test"))
    nearest = np.abs(test["duration"].to_numpy()[:, None] - train["duration"].to_numpy()).argsort(axis=1)[:, :15]
    labels = train[task].map(lambda names: names[0]).to_numpy()
    told = [Counter(labels[places]).most_common(1)[0][0] for places in nearest]
    right = np.mean([guess == names[0] for guess, names in zip(told, test[task], strict=True)])
    assert right < 1 / len(set(labels)) + 0.1


def test_a_shorter_audioset_clip_holds_fewer_classes(tmp_path):
    config = settings("audioset", clips={"train": 200, "test": 1}, seconds=[10.0, 10.0])
    long = annotated_lists(config, tmp_path / "long")
    twin = config.twin.model_copy(update={"seconds": [3.0, 3.0]})
    short = annotated_lists(config.model_copy(update={"twin": twin}), tmp_path / "short")
    assert 1.8 < long.map(len).mean() < 2.7
    assert short.map(len).mean() < 0.9 * long.map(len).mean()


def test_fsd50ks_clips_have_every_ancestor_of_their_labels(tmp_path):
    """Also that lists of labels are quoted, and that no clip is in two splits."""
    fetched(settings("fsd50k"), tmp_path)
    clips = annotated(settings("fsd50k"), tmp_path).clips
    ancestors = {leaf: set(others) for leaf, *others in twins_fsd50k.LABELS}
    for labels in clips["events"]:
        assert all(ancestors.get(label, set()) <= set(labels) for label in labels)
        assert set(labels) & set(ancestors)
    assert clips["events"].map(len).max() > 4
    assert clips["id"].is_unique
    folder = tmp_path / "audio/FSD50K/FSD50K.ground_truth"
    lines = [line for file in ("dev.csv", "eval.csv") for line in (folder / file).read_text().splitlines()[1:]]
    assert {line.count('"') for line in lines} == {0, 4}
    assert all(("," in line.split('"')[1]) for line in lines if '"' in line)
    assert (folder / "vocabulary.csv").read_bytes() == fsd50k.VOCABULARY.read_bytes()


def test_the_folds_of_esc50s_twin_have_the_same_files(tmp_path):
    """Whichever fold is the test or dev split: each clip is in the fold that its name says."""
    one = settings("esc50")
    five = one.model_copy(update={"test_fold": 1, "dev_fold": 2})
    assert fetched(one, tmp_path / "one") == fetched(five, tmp_path / "five")
    splits = [annotated(config, tmp_path / name).clips["split"] for name, config in (("one", one), ("five", five))]
    folds = annotated(one, tmp_path / "one").clips["id"].str[0].astype(int)
    assert splits[0].tolist() == ["test" if fold == 5 else "train" for fold in folds]
    assert splits[1].tolist() == [{1: "test", 2: "dev"}.get(fold, "train") for fold in folds]
    assert folds.value_counts().to_dict() == dict.fromkeys(range(1, 6), 10)


def test_clips_of_esc50s_twin_are_padded_with_digital_silence(tmp_path):
    """All files have 5 s; without the silence, they have the lengths of the sounds."""
    fetched(settings("esc50", missing=0.0), tmp_path)
    waves = [sf.read(path, dtype="int16") for path in (tmp_path / "audio/esc50/audio").iterdir()]
    assert {(len(wave), rate) for wave, rate in waves} == {(5 * 44100, 44100)}
    lengths = [np.flatnonzero(wave)[-1] / rate for wave, rate in waves]
    assert 0.29 < min(lengths) < 0.6 < 1.0 < max(lengths) <= 1.5


def test_recordings_of_esc50s_twin_have_two_takes_in_one_fold(tmp_path):
    config = settings("esc50", clips={"train": 80, "test": 20})
    write = twins_esc50.files(config)["esc50/meta/esc50.csv"]
    write(tmp_path / "esc50.csv")
    rows = pd.read_csv(tmp_path / "esc50.csv")
    recordings = rows.groupby("src_file")
    assert set(recordings["take"].agg("".join)) == {"AB"}
    assert recordings[["fold", "category"]].nunique().to_numpy().max() == 1
    assert set(rows.loc[rows["esc10"], "category"]) == {"clock_tick", "chainsaw"}


def annotated_lists(config, out):
    """Labels of the training clips, read from the lists."""
    for name, write in twins_audioset.files(config).items():
        if name.endswith(".csv"):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            write(out / name)
    names = audioset.read_class_names(out / config.labels)
    parts = [audioset.read_segments(out / file, names).labels for file in config.segments["train"]]
    return pd.Series([labels for part in parts for labels in part])


def test_speakers_differ_in_pitch_and_clips_of_one_resemble_each_other():
    """On average, the spectra of clips of the same speaker are more similar than those of different speakers."""
    spectra = {}
    for number in range(6):
        clips = [speech(np.random.default_rng([number, i]), voice(number, 6), 4.0, [20.0, 20.0]) for i in range(4)]
        spectra[number] = [np.log(np.abs(np.fft.rfft(clip.reshape(-1, 1600) / 32768)).mean(0) + 1e-3) for clip in clips]
    within = [np.abs(a - b).mean() for found in spectra.values() for a in found for b in found if a is not b]
    between = [np.abs(a - b).mean() for i in spectra for j in spectra if i < j for a in spectra[i] for b in spectra[j]]
    assert np.mean(within) < 0.8 * np.mean(between)
    assert len({voice(number, 16) for number in range(16)}) == 16


@pytest.mark.parametrize("variant", range(4))
def test_rate_and_channels_do_not_change_the_sound(variant, tmp_path):
    wave = (8000 * np.sin(np.arange(4000) / 5)).astype(np.int16)
    write_clip(lambda: wave, "flac", variant, "", tmp_path / "clip")
    found, rate = sf.read(tmp_path / "clip", dtype="int16", always_2d=True)
    assert (rate, found.shape[1]) == (SAMPLE_RATE * (1 + variant // 2), 1 + variant % 2)
    step = rate // SAMPLE_RATE
    np.testing.assert_allclose(found[::step, -1], wave, atol=1)


# ---------------------------------------------------------------------------------------------
# Settings
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_without_a_twin_the_real_files_are_read_and_nothing_is_made(name, tmp_path):
    config = settings(name).model_copy(update={"twin": None})
    assert reader_of(config) is MODULES[name]
    if name not in ("fsd50k", "esc50", "speech_commands"):  # which would be downloaded
        reader_of(config).fetch(config, tmp_path, tmp_path / "out")
    assert not list(tmp_path.iterdir())
    assert config.code() == (f"config/dataset/twinned.py:{type(config).__name__}", f"data/datasets/{name}.py")


FOLDS = [f"esc50_twin_fold{fold}" for fold in esc50.FOLDS]


@pytest.mark.parametrize("name", [*(f"{name}_twin" for name in MODULES), *FOLDS])
def test_committed_twins_differ_from_the_real_ones_in_nothing_but_the_flag(name, request):
    folder = request.config.rootpath / "config" / "datasets"
    real = {"audioset_twin": "audioset_balanced"}.get(name, name.replace("_twin", ""))
    twin, real = load_dataset(folder / f"{name}.yaml"), load_dataset(folder / f"{real}.yaml")
    allowed = {"twin", "max_rejected", "title"}
    assert twin.model_dump(exclude=allowed) == real.model_dump(exclude=allowed)
    assert real.twin is None
    assert twin.twin.missing < twin.max_rejected


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ({"twin": {"clips": {"train": 5}}}, "twin.clips", "test"),  # the split without a number of clips
        ({"annotations": "/data/vggsound.csv"}, "annotations", "/data/vggsound.csv"),
        ({"audio": "../vggsound"}, "audio", "../vggsound"),
        ({"twin": {"seconds": [3.0, 1.0]}}, "seconds", "[3.0, 1.0]"),
        ({"twin": {"missing": 1.0}}, "twin.missing", 1),
    ],
)
def test_impossible_twins_are_refused(change, key, value, tmp_path):
    settings_file = settings("vggsound").model_dump(mode="json")
    settings_file["twin"] |= change.pop("twin", {})
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(settings_file | change))
    with complains(ConfigError, tmp_path / "x.yaml", key, value):
        load_dataset(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("settings_file", "key", "value"),
    [
        ({"source": "esc50", "twin": {"clips": {"train": 41, "test": 10}}}, "twin.clips.train", 41),
        ({"source": "esc50", "twin": {"clips": {"train": 30, "test": 10}}}, "twin.clips.train", 30),
        ({"source": "esc50", "dev_fold": 1, "twin": {"clips": {"train": 30, "dev": 9, "test": 10}}}, "twin.clips", 9),
        ({"source": "esc50", "dev_fold": 1, "twin": {"clips": {"train": 40, "test": 10}}}, "twin.clips", "dev"),
        (
            {"source": "esc50", "twin": {"clips": {"train": 40, "test": 10}, "seconds": [1.0, 5.5]}},
            "twin.seconds",
            "[1.0, 5.5]",
        ),
        ({"source": "speech_commands", "twin": {"clips": WITH_DEV, "seconds": [0.5, 1.5]}}, "twin.seconds", 1.5),
        ({"source": "speech_commands", "folder": "/data", "twin": {"clips": WITH_DEV}}, "folder", "/data"),
    ],
)
def test_twins_that_the_published_format_cannot_hold_are_refused(settings_file, key, value, tmp_path):
    settings_file["twin"] = {"seconds": [0.3, 1.0]} | settings_file["twin"]
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(settings_file))
    with complains(ConfigError, tmp_path / "x.yaml", key, value):
        load_dataset(tmp_path / "x.yaml")


def test_splits_of_a_twin_are_those_of_its_lists():
    assert settings("voxceleb1").splits() == settings("fsd50k").splits() == set(SPLITS)
    assert settings("audioset").splits() == settings("epic_sounds").splits() == {"train", "test"}
    assert settings("speech_commands").splits() == set(SPLITS)
    assert settings("esc50").splits() == {"train", "test"}
