import re

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from elasticast.config.dataset import FsddDigits, FsddStrings
from elasticast.data.datasets import fsdd
from elasticast.data.manifest import read_manifest
from elasticast.data.prepare import prepare
from elasticast.errors import DataError
from tests.complaints import complains

DIGITS = FsddDigits(source="fsdd_digits")


def strings(train=20, test=10, dev=0, **others) -> FsddStrings:
    clips = {"train": train, "test": test} | ({"dev": dev} if dev else {})
    return FsddStrings(source="fsdd_strings", clips=clips, **others)


@pytest.fixture
def data_root(tmp_path, published, sums):
    folder = tmp_path / "data" / "fsdd" / "recordings"
    folder.mkdir(parents=True)
    for name, content in published.items():
        (folder / name).write_bytes(content)
    return tmp_path / "data"


def compositions(config):
    of = fsdd.pools(dev="dev" in config.clips)
    seconds = {recording.name: 0.4 for recording in fsdd.recordings()}
    return {s: [fsdd.compose(config, s, i, of, seconds) for i in range(count)] for s, count in config.clips.items()}


def wavs(out):
    return {path.name: path.read_bytes() for path in sorted(out.glob("audio/*.wav"))}


# ---------------------------------------------------------------------------------------------
# Recordings and strings
# ---------------------------------------------------------------------------------------------


def test_committed_checksums_are_of_the_whole_dataset():
    names = list(fsdd.checksums())
    assert len(names) == 3000
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in fsdd.checksums().values())
    table = pd.DataFrame(fsdd.recordings())
    assert table.groupby(["digit", "speaker"]).size().eq(50).all()
    assert table["speaker"].nunique() == 6
    assert table["split"].value_counts().to_dict() == {"train": 2700, "test": 300}


def test_digits_are_labelled_and_split_by_their_names(data_root, tmp_path):
    rows = fsdd.annotate(DIGITS, data_root, tmp_path).clips.set_index("id")
    assert len(rows) == 140
    assert rows.loc["7_bob_4", ["split", "digit", "speaker", "reason"]].tolist() == ["test", ["7"], ["bob"], ""]
    assert rows.loc["7_bob_5", "split"] == "train"


@pytest.mark.parametrize("dev", [0, 200])
def test_strings_never_mix_speakers_or_splits(dev):
    used = {}
    for split, found in compositions(strings(200, 200, dev)).items():
        used[split] = {part.name for string in found for part in string.parts}
        for string in found:
            assert {part.split for part in string.parts} == {split}
            assert len({part.speaker for part in string.parts}) == 1
            assert len(set(string.parts)) == len(string.parts)
    assert len(set().union(*used.values())) == sum(map(len, used.values()))


def test_labels_are_the_digits_and_the_speaker_joined(data_root, tmp_path):
    config = strings()
    rows = fsdd.annotate(config, data_root, tmp_path).clips
    seconds = {name: sf.info(data_root / "fsdd/recordings" / name).duration for name in fsdd.checksums()}
    for row in rows.itertuples():
        split, index = row.id.split("_")
        string = fsdd.compose(config, split, int(index), fsdd.pools(), seconds)
        assert row.digits == sorted({part.name[0] for part in string.parts})
        assert row.speaker == [string.parts[0].name.split("_")[1]]


def test_a_clean_string_is_its_recordings_with_silence_between(data_root, tmp_path, published):
    config = strings(5, 5)
    fsdd.fetch(config, data_root, tmp_path)
    folder = data_root / "fsdd/recordings"
    seconds = {name: sf.info(folder / name).duration for name in fsdd.checksums()}
    for index in range(5):
        string = fsdd.compose(config, "train", index, fsdd.pools(), seconds)
        wave, rate = sf.read(tmp_path / "audio" / f"train_{index:06d}.wav")
        assert rate == 8000
        place = 0
        for part, gap in zip(string.parts, string.gaps, strict=True):
            silence, speech = round(gap * 8000), sf.read(folder / part.name)[0]
            assert not wave[place : place + silence].any()
            place += silence
            np.testing.assert_allclose(wave[place : place + len(speech)], speech, atol=1e-4)
            place += len(speech)
        assert place == len(wave)
        assert string.gaps[0] == 0
        assert all(0.05 <= gap <= 0.3 for gap in string.gaps[1:])


def test_lengths_are_within_limits_and_counts_log_uniform(data_root):
    found = compositions(strings(1500, 1))["train"]
    counts = np.array([len(string.parts) for string in found])
    assert counts.max() <= 16
    # P(1) = log(2) / log(17), and a single 0.4 s recording is long enough
    assert np.mean(counts == 1) == pytest.approx(np.log(2) / np.log(17), abs=0.04)
    assert np.mean(counts >= 8) > 0.15
    for string in found:
        assert 0.3 <= 0.4 * len(string.parts) + sum(string.gaps) <= 10


def test_short_recordings_are_joined_until_long_enough(data_root):
    seconds = {recording.name: 0.12 for recording in fsdd.recordings()}
    config = strings(recordings=[1, 1])
    for index in range(20):
        string = fsdd.compose(config, "train", index, fsdd.pools(), seconds)
        assert 0.3 <= 0.12 * len(string.parts) + sum(string.gaps) < 0.3 + 0.12 + 0.3


def test_vocabulary_limits_the_different_digits(data_root):
    for string in compositions(strings(200, 1, vocabulary=[2, 3]))["train"]:
        assert len({part.digit for part in string.parts}) <= 3


def test_strings_are_reproducible_and_independent_of_their_number(data_root, tmp_path):
    for name, config in {
        "a": strings(6, 2),
        "b": strings(6, 2),
        "few": strings(3, 2),
        "other": strings(6, 2, seed=1),
    }.items():
        fsdd.fetch(config, data_root, tmp_path / name)
    a, few = wavs(tmp_path / "a"), wavs(tmp_path / "few")
    assert a == wavs(tmp_path / "b")
    assert few == {name: a[name] for name in few}
    assert not set(a.values()) & set(wavs(tmp_path / "other").values())


def test_noise_has_its_level_and_changes_no_label(data_root, tmp_path):
    clean, noisy = strings(4, 1), strings(4, 1, snr_db=[5.0, 5.0])
    for name, config in {"clean": clean, "noisy": noisy}.items():
        fsdd.fetch(config, data_root, tmp_path / name)
    columns = ["id", "split", "digits", "speaker"]
    labels = [fsdd.annotate(config, data_root, tmp_path).clips[columns] for config in (clean, noisy)]
    pd.testing.assert_frame_equal(*labels)
    for name in wavs(tmp_path / "clean"):
        speech, mix = (sf.read(tmp_path / kind / "audio" / name)[0] for kind in ("clean", "noisy"))
        spoken = speech[speech != 0]
        assert 10 * np.log10(np.mean(spoken**2) / np.mean((mix - speech) ** 2)) == pytest.approx(5, abs=0.1)


# ---------------------------------------------------------------------------------------------
# Missing and altered recordings
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(data_root):
    folder = data_root / "fsdd" / "recordings"
    (folder / "3_ada_6.wav").unlink()
    content = bytearray((folder / "4_bob_0.wav").read_bytes())
    content[100] ^= 1
    (folder / "4_bob_0.wav").write_bytes(content)
    return {"3_ada_6": "missing", "4_bob_0": "checksum differs from fsdd.sha256"}


def test_missing_and_altered_recordings_are_rejected(data_root, damaged, tmp_path):
    with complains(DataError, 2, 140, "1 × missing", "fsdd.sha256"):
        prepare(DIGITS, data_root, tmp_path / "digits")
    prepare(DIGITS.model_copy(update={"max_rejected": 0.02}), data_root, tmp_path / "digits")
    manifest = read_manifest(tmp_path / "digits" / "manifest.parquet").set_index("id")
    rejected = manifest[manifest["status"] == "rejected"]
    assert rejected["reason"].to_dict() == damaged


def test_no_string_uses_them_and_the_others_stay_as_they_were(data_root, damaged, published, tmp_path):
    config = strings(40, 40)
    fsdd.fetch(config, data_root, tmp_path / "damaged")
    rows = fsdd.annotate(config, data_root, tmp_path / "damaged").clips.set_index("id")
    rejected = rows[rows["reason"] != ""]
    assert set(rejected["reason"]) == {f"{name}.wav: {reason}" for name, reason in damaged.items()}
    made = wavs(tmp_path / "damaged")
    assert set(made) == {f"{name}.wav" for name in rows.index[rows["reason"] == ""]}
    for name in damaged:
        (data_root / "fsdd" / "recordings" / f"{name}.wav").write_bytes(published[f"{name}.wav"])
    fsdd.fetch(config, data_root, tmp_path / "whole")
    whole = wavs(tmp_path / "whole")
    assert len(whole) == 80
    assert made == {name: whole[name] for name in made}


def test_times_of_digits_are_those_of_the_recordings(data_root, tmp_path):
    """Between digits, the audio is silent."""
    config = strings(6, 3, event_times=True)
    fsdd.fetch(config, data_root, tmp_path)
    annotations = fsdd.annotate(config, data_root, tmp_path)
    for clip, events in annotations.events["timed_digits"].groupby("id"):
        wave, rate = sf.read(tmp_path / "audio" / f"{clip}.wav")
        spoken = np.zeros(len(wave), bool)
        for onset, offset in zip(events["onset"], events["offset"], strict=True):
            spoken[round(onset * rate) : round(offset * rate)] = True
        assert spoken[0]
        assert spoken[-1]
        assert not wave[~spoken].any()
        row = annotations.clips.set_index("id").loc[clip]
        assert sorted(set(events["label"])) == row["digits"]


# ---------------------------------------------------------------------------------------------
# The real recordings, if available
# ---------------------------------------------------------------------------------------------


def test_real_recordings(request, tmp_path):
    root = request.config.rootpath.parent / "shared" / "data"
    if not (root / "fsdd" / "recordings").is_dir():
        pytest.skip(f"no real recordings in {root / 'fsdd'}")
    prepare(DIGITS, root, tmp_path / "digits")
    manifest = read_manifest(tmp_path / "digits" / "manifest.parquet")
    assert (manifest["status"] == "ok").all()
    assert manifest["split"].value_counts().to_dict() == {"train": 2700, "test": 300}
    assert (manifest["duration"].min(), manifest["duration"].max()) == pytest.approx((0.1435, 2.2828), abs=1e-3)
    prepare(strings(30, 10), root, tmp_path / "strings")
    assert read_manifest(tmp_path / "strings" / "manifest.parquet")["duration"].between(0.3, 10).all()
