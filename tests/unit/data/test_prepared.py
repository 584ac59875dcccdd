"""Prepared data are what `prepare` wrote, or an error names the file: damage, exchange, order, labels, statistics."""

import itertools
import json
import os
import pickle
import random
import shutil
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from elasticast import checksums
from elasticast.checksums import read_record, write_record
from elasticast.config import FrontEnd
from elasticast.config.dataset import Soundscapes
from elasticast.data import parts as parts_module
from elasticast.data.dataset import Clips
from elasticast.data.manifest import read_data_hash, read_manifest
from elasticast.data.norm import read_norm
from elasticast.data.prepare import FILES, prepare
from elasticast.data.prepared import verified_file
from elasticast.data.stats import write_stats
from elasticast.data.store import writing_part
from elasticast.errors import DataError
from tests.complaints import complains

SETTINGS = {"clips": {"train": 8, "test": 5}, "seconds": [0.1, 0.3], "dev_share": 0.4}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A prepared dataset in parts of three clips, with statistics in `norm.json`, and one with another seed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts_module, "PART_CLIPS", 3)
        for seed, name in enumerate(("data", "other")):
            settings = Soundscapes(source="soundscapes", seed=seed, **SETTINGS)
            prepare(settings, folder, folder / name)
            write_stats(folder / name, FrontEnd(), folder / name / "norm.json")
    return folder


@pytest.fixture
def data(whole, tmp_path):
    """A copy of the prepared dataset to damage."""
    return shutil.copytree(whole / "data", tmp_path / "data")


def prepare_again(data: Path) -> None:
    """Prepare a copy of the dataset again. Its manifest then names the audio files of the copy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts_module, "PART_CLIPS", 3)
        prepare(Soundscapes(source="soundscapes", seed=0, **SETTINGS), data.parent, data)


def everything(data: Path) -> dict:
    """All values that later stages read from a prepared dataset."""
    clips, sha256 = [], read_data_hash(data)
    for name in FILES:
        verified_file(data / name)
    for split, task in itertools.product(("train", "dev", "test"), ("events", "scene")):
        some = Clips(data, split, task)
        clips += [some.ids, some.classes, some.kind, some.labels.tolist(), some.first_label.tolist()]
        clips += [some.store[i].tolist() for i in range(len(some))]
        some.store.close()
    return {
        "sha256": sha256,
        "norm": read_norm(data / "norm.json", sha256),
        "manifest": read_manifest(data / "manifest.parquet").to_json(),
        "clips": clips,
    }


@contextmanager
def rewritten(data: Path, name: str):
    """Change a file and update the record: what a mistake in `prepare` would look like."""
    record = read_record(data / "summary.json", "")
    yield data / name
    content = {key: value for key, value in record.items() if key not in (checksums.OWN, checksums.FILES)}
    write_record(data / "summary.json", content, [data / file for file in FILES])


def change_manifest(path: Path, change) -> None:
    change(pd.read_parquet(path)).to_parquet(path, index=False)


def change_index(path: Path, name: str, change) -> None:
    with h5py.File(path, "r+") as file:
        values = file[name][:]
        change(values)
        file[name][:] = values


def swap(values) -> None:
    values[:2] = values[:2][::-1].copy()


def swap_classes(path: Path) -> None:
    classes = json.loads(path.read_text())
    names = classes["events"]["classes"]
    names[0], names[1] = names[1], names[0]
    path.write_text(json.dumps(classes, indent=2) + "\n")


def later(samples: int):
    def change(offsets) -> None:
        offsets[2] += samples

    return change


CHANGES = {
    "one test row is missing": ("manifest.parquet", lambda path: change_manifest(path, lambda rows: rows[:-1])),
    "rows are shuffled": ("manifest.parquet", lambda path: change_manifest(path, lambda rows: rows[::-1])),
    "an offset is later": ("train.h5", lambda path: change_index(path, "offsets", later(4000))),
    "an offset is a little later": ("train.h5", lambda path: change_index(path, "offsets", later(1))),
    "two ids are exchanged": ("train.h5", lambda path: change_index(path, "id", swap)),
    "two classes are exchanged": ("classes.json", swap_classes),
    "the list of ids is shorter": ("ids.txt", lambda path: path.write_text(path.read_text()[:-5])),
}


def test_what_was_prepared_is_read(whole, data):
    assert everything(data) == everything(whole / "data")
    assert read_record(data / "summary.json", "")["files"].keys() == set(FILES)


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_file_is_an_error_that_names_it(data, name):
    file, change = CHANGES[name]
    change(data / file)
    with complains(DataError, data / file):
        everything(data)


@pytest.mark.parametrize("file", ["manifest.parquet", "classes.json", "train.h5", "test.h5", "norm.json"])
def test_a_file_of_another_dataset_is_an_error_that_names_it(whole, data, file):
    shutil.copyfile(whole / "other" / file, data / file)
    with complains(DataError, data / file):
        everything(data)


@pytest.mark.parametrize("name", [*FILES, "summary.json", "norm.json"])
def test_a_missing_file_is_an_error_that_names_it(data, name):
    (data / name).unlink()
    with complains(DataError, data / name):
        everything(data)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("one test row is missing", "test.h5"),
        ("rows are shuffled", "train.h5"),
        ("two ids are exchanged", "train.h5"),
        ("an offset is later", "train.h5"),
        ("an offset is a little later", "train-"),
    ],
)
def test_files_that_do_not_fit_together_are_an_error_even_if_their_checksums_are_right(data, name, file):
    with rewritten(data, CHANGES[name][0]) as path:
        CHANGES[name][1](path)
    with pytest.raises(DataError) as caught:
        everything(data)
    assert file in str(caught.value)


@pytest.mark.parametrize("labels", [[], ["street", "kitchen"]])
def test_a_clip_with_not_exactly_one_label_is_an_error(data, labels):
    def change(rows):
        return rows.assign(scene=[labels if i == 1 else scene for i, scene in enumerate(rows["scene"])])

    with rewritten(data, "manifest.parquet") as path:
        change_manifest(path, change)
    clip = read_manifest(data / "manifest.parquet")["id"][1]
    with complains(DataError, data / "manifest.parquet", "scene", clip):
        everything(data)


def test_a_label_that_is_no_class_is_an_error(data):
    with rewritten(data, "classes.json") as path:
        classes = json.loads(path.read_text())
        name = classes["scene"]["classes"].pop()
        path.write_text(json.dumps(classes))
    with complains(DataError, data / "classes.json", "scene", name):
        everything(data)


def parts_of(data: Path, split: str) -> list[Path]:
    return sorted((data / "parts").glob(f"{split}-*.h5"))


@pytest.mark.parametrize("other", ["of another dataset", "of the same dataset"])
def test_an_exchanged_part_is_an_error_until_prepare_decodes_it_again(whole, data, other):
    part = parts_of(data, "test")[0]
    source = parts_of(whole / "other", "test")[0] if other == "of another dataset" else parts_of(data, "train")[0]
    shutil.copyfile(source, part)
    with complains(DataError, part, source.stem):
        everything(data)
    prepare_again(data)
    found, expected = everything(data), everything(whole / "data")
    assert (found["clips"], found["sha256"]) == (expected["clips"], expected["sha256"])


def test_a_part_with_the_right_name_and_other_audio_is_an_error(data):
    """For example of another release of a dataset, with the same sizes and modification times of its files."""
    part, clips = parts_of(data, "test")[0], Clips(data, "test", "scene")
    with writing_part(part, clips.store.sample_rate) as writer:
        for i in range(3):
            writer.append(clips.store[i][::-1])
        writer.write("sha256", ["a", "b", "c"])
    with complains(DataError, part, data / "test.h5"):
        everything(data)


def damaged(content: bytes, tries: int, seed: str):
    """Contents with a flipped bit, a flipped byte, or a missing end."""
    chance = random.Random(seed)
    for number in range(tries):
        position, changed = chance.randrange(len(content)), bytearray(content)
        if number % 3 == 2:
            yield f"cut at {position}", content[:position]
            continue
        changed[position] ^= 1 << chance.randrange(8) if number % 3 else 0xFF
        yield f"byte {position}", bytes(changed)


def test_random_flips_and_truncations_change_no_value(whole, data):
    """Every file of the dataset, one damage at a time: an error that names the file, or the same values."""
    expected, errors = everything(data), 0
    files = [data / name for name in (*FILES, "summary.json", "norm.json")] + parts_of(data, "*")
    for path in files:
        content = path.read_bytes()
        for what, changed in damaged(content, 15, path.name):
            path.write_bytes(changed)
            error = None
            try:
                values = everything(data)
            except DataError as raised:
                error = str(raised)
            assert str(path) in error if error else values == expected, (path.name, what)
            errors += error is not None
        path.write_bytes(content)
    assert errors


def test_no_checksum_is_computed_twice_in_a_process(data, monkeypatch):
    computed, compute = [], checksums.file_sha256
    monkeypatch.setattr(checksums, "file_sha256", lambda path: computed.append(path.name) or compute(path))
    for _ in range(3):
        Clips(data, "test", "scene")
    assert sorted(computed) == ["classes.json", "manifest.parquet", "test.h5"]
    os.utime(data / "classes.json")
    Clips(data, "test", "scene")
    assert computed.count("classes.json") == 2


@pytest.mark.parametrize("name", [*FILES, "summary.json"])
def test_prepare_repairs_a_damaged_file_and_keeps_the_times_of_all(tmp_path, caplog, name):
    """Later stages, which are newer than `summary.json`, do not run again."""
    settings = Soundscapes(source="soundscapes", clips={"train": 3, "test": 2}, seconds=[0.1, 0.2])
    out = tmp_path / "out"
    prepare(settings, tmp_path, out)
    time = 1_600_000_000 * 10**9
    for file in (*FILES, "summary.json"):
        os.utime(out / file, ns=(time, time))
    content = {file: (out / file).read_bytes() for file in (*FILES, "summary.json")}
    (out / name).write_bytes(content[name][: len(content[name]) // 2])
    prepare(settings, tmp_path, out)
    assert str(out / name) in caplog.text
    assert {file: (out / file).read_bytes() for file in content} == content
    newer = {file for file in content if (out / file).stat().st_mtime_ns != time}
    assert newer <= ({"summary.json"} if name == "summary.json" else set())


def test_a_killed_prepare_leaves_no_record(tmp_path, monkeypatch):
    settings = Soundscapes(source="soundscapes", clips={"train": 3, "test": 2}, seconds=[0.1, 0.2])
    out = tmp_path / "out"
    prepare(settings, tmp_path, out)
    (out / "classes.json").unlink()

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("elasticast.data.prepare.write_record", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(settings, tmp_path, out)
    with complains(DataError, out / "summary.json"):
        Clips(out, "train", "scene")


def test_workers_verify_nothing_but_the_parts_that_they_open(data, monkeypatch):
    clips = Clips(data, "train", "scene")
    monkeypatch.setattr(checksums, "file_sha256", lambda path: pytest.fail(f"{path} verified again"))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(clips)).store[0], clips.store[0])
