import json

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from elasticast.config.dataset import DatasetConfig, Soundscapes
from elasticast.config.resolving import load_dataset
from elasticast.data.annotations import Annotations
from elasticast.data.datasets import reader_of
from elasticast.data.manifest import COLUMNS, read_classes, read_listed, read_manifest
from elasticast.data.prepare import prepare
from elasticast.data.store import Store
from elasticast.errors import ConfigError, DataError
from tests.complaints import assert_names, complains

FILES = {"manifest.parquet", "classes.json", "ids.txt", "rejected.csv", "summary.csv", "summary.json"}
FILES |= {"train.h5", "dev.h5", "test.h5", "parts", ".lock", ".lock-fetch"}


def soundscapes(**others) -> Soundscapes:
    settings = {"clips": {"train": 5, "test": 3}, "seconds": [0.5, 1.5]} | others
    return Soundscapes(source="soundscapes", **settings)


def noise(samples=4000, seed=0):
    return (np.random.default_rng(seed).standard_normal(samples) * 3000).astype(np.int16)


@pytest.fixture
def listed(monkeypatch):
    """Make the dataset return the given rows instead of generated soundscapes."""

    def use(rows, published=None):
        table = pd.DataFrame(rows)
        for name, value in {"start": 0.0, "duration": np.nan, "reason": ""}.items():
            table[name] = table[name].fillna(value) if name in table else value
        for task in ("events", "scene"):
            table[task] = table.get(task, pd.Series([["x"]] * len(table)))
        source = reader_of(soundscapes())
        monkeypatch.setattr(source, "fetch", lambda *_: None)
        monkeypatch.setattr(source, "annotate", lambda *_: Annotations(table.copy(), published=published or {}))

    return use


@pytest.fixture
def zoo(tmp_path):
    """Four usable files and one for each kind of damage. Returns rows and expected reasons."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    for name in ("good0", "good1", "good2", "good3", "truncated", "duplicate"):
        sf.write(folder / f"{name}.wav", noise(), 16000)
    sf.write(folder / "stereo.wav", np.stack([noise(seed=1), noise(seed=2)], axis=1), 44100)
    sf.write(folder / "silent.wav", np.zeros(4000, np.int16), 16000)
    sf.write(folder / "broken_float.wav", np.full(4000, np.nan, np.float32), 16000, subtype="FLOAT")
    sf.write(folder / "short.wav", noise(100), 16000)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("no sound")
    (folder / "truncated.wav").write_bytes((folder / "good0.wav").read_bytes()[:5000])
    reasons = {
        "good0": "",
        "good1": "",
        "good2": "",
        "good3": "",
        "stereo": "",
        "empty": "empty",
        "text": "not audio (text)",
    }
    reasons |= {"truncated": "truncated", "silent": "silent", "broken_float": "non-finite samples", "absent": "missing"}
    reasons |= {"short": "too short (< 25 ms)", "text": "not audio (text)"}
    rows = [{"id": n, "split": "train" if n != "good3" else "test", "path": str(folder / f"{n}.wav")} for n in reasons]
    return rows, reasons


def test_every_source_has_its_module():
    for option in DatasetConfig.__origin__.__args__:
        source = reader_of(option)
        assert callable(source.fetch)
        assert callable(source.annotate)
        for part in ("Description", "Source", "Licence"):
            assert f"\n{part}\n" in source.__doc__, option


def test_a_range_the_wrong_way_round_is_an_error(tmp_path):
    (tmp_path / "x.yaml").write_text("source: soundscapes\nclips: {train: 1, test: 1}\nseconds: [8.0, 0.5]\n")
    with complains(ConfigError, "x.yaml", "seconds", "[8.0, 0.5]"):
        load_dataset(tmp_path / "x.yaml")


def test_files_and_their_content(tmp_path):
    out = tmp_path / "small"
    prepare(soundscapes(), tmp_path, out)
    assert {path.name for path in out.iterdir()} == FILES | {"audio"}
    manifest = read_manifest(out / "manifest.parquet")
    assert list(manifest.columns) == [*COLUMNS, "events", "scene"]
    assert (manifest["status"] == "ok").all()
    assert manifest["id"].is_unique
    for split, clips in (("train", 5), ("test", 3)):
        store, rows = Store(out / f"{split}.h5"), read_manifest(out / "manifest.parquet", split)
        assert (len(store), store.sample_rate) == (clips, 16000)
        assert store.ids == rows["id"].tolist()
        np.testing.assert_allclose(store.lengths / 16000, rows["duration"])
        for i, path in enumerate(rows["path"]):
            np.testing.assert_array_equal(store[i], sf.read(path, dtype="int16")[0])
    classes = read_classes(out / "classes.json")
    assert {task: info["kind"] for task, info in classes.items()} == {"events": "multi", "scene": "single"}
    assert classes["events"]["classes"] == sorted({name for names in manifest["events"] for name in names})
    assert pd.read_csv(out / "rejected.csv").columns.tolist() == ["id", "split", "path", "reason"]
    summary = pd.read_csv(out / "summary.csv")
    assert summary["clips"].sum() == 8
    assert summary["hours"].sum() == pytest.approx(manifest["duration"].sum() / 3600, abs=1e-3)


def test_the_same_input_gives_the_same_hash_anywhere(tmp_path):
    hashes = set()
    for name, workers in (("a", 1), ("b", 1), ("c", 2)):
        prepare(soundscapes(), tmp_path, tmp_path / name, workers=workers)
        hashes.add(json.loads((tmp_path / name / "summary.json").read_text())["sha256"])
    assert len(hashes) == 1
    prepare(soundscapes(seed=1), tmp_path, tmp_path / "d")
    assert json.loads((tmp_path / "d" / "summary.json").read_text())["sha256"] not in hashes


def test_labels_are_part_of_the_hash(tmp_path, zoo, listed):
    rows = [row for row in zoo[0] if row["id"].startswith("good")]
    hashes = []
    for label in ("x", "y"):
        listed([row | {"scene": [label]} for row in rows])
        prepare(soundscapes(), tmp_path, tmp_path / label)
        hashes.append(json.loads((tmp_path / label / "summary.json").read_text())["sha256"])
    assert hashes[0] != hashes[1]


def test_each_damaged_file_ends_with_its_reason(tmp_path, zoo, listed, caplog):
    rows, reasons = zoo
    listed(rows)
    caplog.set_level("INFO")
    prepare(soundscapes(max_rejected=0.6), tmp_path, tmp_path / "zoo_out")
    out = tmp_path / "zoo_out"
    manifest = read_manifest(out / "manifest.parquet")
    assert dict(zip(manifest["id"], manifest["reason"], strict=True)) == reasons
    assert (manifest["status"] == np.where(manifest["reason"] == "", "ok", "rejected")).all()
    rejected = pd.read_csv(out / "rejected.csv")
    assert dict(zip(rejected["id"], rejected["reason"], strict=True)) == {k: v for k, v in reasons.items() if v}
    assert Store(out / "train.h5").ids == ["good0", "good1", "good2", "stereo"]
    assert json.loads((out / "summary.json").read_text())["rejected"] == 7
    summary = pd.read_csv(out / "summary.csv")
    assert summary[summary["status"] == "rejected"]["clips"].sum() == 7
    assert_names(caplog.text, 1, "mono")


def test_too_many_rejected_fail_with_the_counts_and_what_to_set(tmp_path, zoo, listed):
    listed(zoo[0])
    named = (7, 12, "58.33%", "max_rejected", "50.00%", tmp_path / "broken" / "rejected.csv", "1 × empty", 2)
    with complains(DataError, *named):
        prepare(soundscapes(max_rejected=0.5), tmp_path, tmp_path / "broken")
    left = {path.name for path in (tmp_path / "broken").iterdir() if not path.name.startswith(".")}
    assert left == {"rejected.csv", "parts"}
    assert len(pd.read_csv(tmp_path / "broken" / "rejected.csv")) == 7


def test_one_rejected_clip_fails_by_default(tmp_path, zoo, listed):
    listed([row for row in zoo[0] if row["id"].startswith(("good", "empty"))])
    with complains(DataError, 1, 5, "20.00%"):
        prepare(soundscapes(), tmp_path, tmp_path / "out")


def test_a_split_without_a_usable_clip_fails(tmp_path, zoo, listed):
    listed([row | {"split": "test" if row["id"] == "empty" else "train"} for row in zoo[0]])
    with complains(DataError, "test", "1 × empty", tmp_path / "out" / "rejected.csv"):
        prepare(soundscapes(max_rejected=1.0), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out" / "train.h5").exists()
    listed([row | {"split": "train"} for row in zoo[0]])
    with complains(DataError, "test", "ids"):
        prepare(soundscapes(max_rejected=1.0), tmp_path, tmp_path / "out")


def test_annotations_that_cannot_be_used(tmp_path, zoo, listed):
    good = [row for row in zoo[0] if row["id"].startswith("good")]
    odd = [good[0] | {"id": "new\nline"}, good[1] | {"id": "odd", "split": "validation"}]
    odd += [good[1] | {"id": "two", "scene": ["x", "y"]}, good[1] | {"id": "known", "reason": "recalled"}]
    odd += [good[1] | {"id": "span", "start": 0.2, "duration": 0.1}]
    listed([row | {"scene": row.get("scene", ["x"])} for row in good + odd])
    prepare(soundscapes(max_rejected=0.6), tmp_path, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out" / "manifest.parquet").set_index("id")
    assert manifest.index.is_unique
    assert manifest.loc["good0", "status"] == "ok"
    assert manifest["reason"].iloc[4:].to_dict() == {
        "new\\nline": "id is not printable UTF-8",
        "odd": "split is none of train, dev, test",
        "two": "not exactly one label for scene",
        "known": "recalled",
        "span": "span outside the file",
    }


def test_a_folder_whose_name_is_not_utf8_is_named(tmp_path):
    for root, out in ((tmp_path / "caf\udce9", tmp_path / "out"), (tmp_path, tmp_path / "caf\udce9")):
        with complains(DataError, rf"{tmp_path}/caf\xe9"):
            prepare(soundscapes(), root, out)


@pytest.mark.parametrize("split", ["train", "test"])
def test_two_rows_of_one_id_are_refused(tmp_path, zoo, listed, split):
    good = [row for row in zoo[0] if row["id"].startswith("good")]
    listed([*good, good[0] | {"split": split}])
    with complains(DataError, "good0", good[0]["split"], split, 1):
        prepare(soundscapes(max_rejected=1.0), tmp_path, tmp_path / "out")


def test_a_failure_leaves_an_earlier_result_alone(tmp_path, listed):
    out = tmp_path / "out"
    prepare(soundscapes(), tmp_path, out)
    before = {name: (out / name).read_bytes() for name in FILES - {"rejected.csv", "summary.csv", "parts"}}
    listed([{"id": "a", "split": "train", "path": "nowhere.wav"}])
    with pytest.raises(DataError):
        prepare(soundscapes(), tmp_path, out)
    assert {name: (out / name).read_bytes() for name in before} == before


# ---------------------------------------------------------------------------------------------
# Coverage of the published clips
# ---------------------------------------------------------------------------------------------


def rows_of(tmp_path, **clips):
    """Rows of some clips per split."""
    names = [(split, f"{split}{i}") for split, count in clips.items() for i in range(count)]
    for i, (_, name) in enumerate(names):
        sf.write(tmp_path / f"{name}.wav", noise(seed=i), 16000)
    return [{"id": name, "split": split, "path": str(tmp_path / f"{name}.wav")} for split, name in names]


@pytest.mark.parametrize(
    ("published", "said"),
    [
        ({"train": 4, "test": 3}, []),
        ({}, []),
        ({"train": 4, "test": 8251}, ["3 of 8,251 test"]),
        ({"train": 138361, "test": 8251}, ["4 of 138,361 train", "3 of 8,251 test"]),
    ],
)
def test_clips_missing_from_the_published_ones_are_counted_in_a_warning(tmp_path, listed, caplog, published, said):
    rows = rows_of(tmp_path, train=4, test=3)
    listed(rows, published)
    for _ in range(2):  # also if the data are complete
        caplog.clear()
        prepare(soundscapes(), tmp_path, tmp_path / "out")
        warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert len(warnings) == bool(said)
        for counts in said:
            assert counts in warnings[0]
    assert read_listed(tmp_path / "out", "test") == published.get("test", 3)


def test_clips_held_out_for_dev_are_not_missing(tmp_path, listed, caplog):
    listed(rows_of(tmp_path, train=12, test=2), {"train": 12, "test": 2})
    prepare(soundscapes(dev_share=0.5), tmp_path, tmp_path / "out")
    assert Store(tmp_path / "out" / "dev.h5").ids
    assert not caplog.records


def test_a_selection_of_ids_is_a_part_of_the_published_clips(tmp_path, listed, caplog):
    listed(rows_of(tmp_path, train=4, test=3), {"train": 4, "test": 3})
    (tmp_path / "ids.txt").write_text("train0\ntest0\n")
    prepare(soundscapes(ids="ids.txt"), tmp_path, tmp_path / "out")
    assert_names(caplog.text, "1 of 4 train", "1 of 3 test")
    assert read_listed(tmp_path / "out", "test") == 3


def test_it_is_said_what_clips_that_were_made_are(tmp_path, listed, caplog):
    caplog.set_level("INFO")
    listed(rows_of(tmp_path, train=1, test=1))
    prepare(soundscapes(), tmp_path, tmp_path / "out")
    assert "synthetic" in caplog.text


@pytest.mark.parametrize(
    "name",
    ["audioset", "vggsound", "voxceleb1", "epic_sounds", "fsd50k", "audioset_balanced", "esc50", "speech_commands"],
)
def test_the_origin_of_a_dataset(name, request):
    folder = request.config.rootpath / "config" / "datasets"
    assert load_dataset(folder / f"{name}.yaml").origin == "recordings"
    if (folder / f"{name}_twin.yaml").is_file():
        assert load_dataset(folder / f"{name}_twin.yaml").origin == f"synthetic twin of {name}"
