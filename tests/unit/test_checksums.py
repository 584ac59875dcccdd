"""A changed byte in a record, in a file that it names, or in a YAML file with a checksum is an error."""

import json
import random
from pathlib import Path

import pytest

from elasticast.checksums import (
    FOLDER,
    check_folder,
    check_yaml,
    folder_of,
    read_record,
    verified,
    with_checksum,
    write_record,
)
from elasticast.errors import DataError
from tests.complaints import complains

REMEDY = "make it again"


@pytest.fixture
def record(tmp_path):
    """A record of one file."""
    (tmp_path / "weights.bin").write_bytes(bytes(range(256)))
    write_record(tmp_path / "record.json", {"mean": -4.25, "names": ["dog", "cat"]}, [tmp_path / "weights.bin"])
    return tmp_path / "record.json"


def test_a_record_is_read_as_it_was_written(record):
    value = read_record(record, REMEDY)
    assert value["mean"] == -4.25
    assert value["names"] == ["dog", "cat"]
    assert verified(record.parent / "weights.bin", record, REMEDY).is_file()


def test_every_flipped_bit_of_a_record_that_changes_a_value_is_an_error(record):
    original, content = json.loads(record.read_text()), record.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << random.Random(position).randrange(8)
        record.write_bytes(bytes(flipped))
        try:
            value = read_record(record, REMEDY)
        except DataError:
            continue
        assert value == original


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "other"])
def test_a_changed_file_is_an_error_that_names_it(record, damage):
    path = record.parent / "weights.bin"
    content = path.read_bytes()
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes({"flip": b"\x01" + content[1:], "truncate": content[:-1], "other": b"x"}[damage])
    with complains(DataError, path, REMEDY):
        verified(path, record, REMEDY)


def test_a_file_that_the_record_does_not_name_is_an_error(record):
    (record.parent / "stray.bin").write_bytes(b"")
    with complains(DataError, record, "stray.bin"):
        verified(record.parent / "stray.bin", record, REMEDY)


def test_a_json_file_without_its_checksum_is_no_record(record):
    value = json.loads(record.read_text())
    del value["record_sha256"]
    record.write_text(json.dumps(value))
    with complains(DataError, record, "record_sha256"):
        read_record(record, REMEDY)


def test_values_that_are_not_valid_json_are_never_written(tmp_path):
    with complains(DataError, "record.json", "losses.1", "nan"):
        write_record(tmp_path / "record.json", {"losses": [0.5, float("nan")]})
    assert not (tmp_path / "record.json").exists()


def test_a_yaml_file_with_a_checksum_is_verified_and_others_are_not(tmp_path):
    text = with_checksum("lr: 0.001\nsteps: 10\n")
    check_yaml(tmp_path / "config.yaml", text)
    check_yaml(tmp_path / "config.yaml", "lr: 0.01\n")
    with complains(DataError, tmp_path / "config.yaml"):
        check_yaml(tmp_path / "config.yaml", text.replace("0.001", "0.101"))


RUNS = {
    "results/tiny/runs/elastic/seed0/run.json": "tiny/runs/elastic/seed0",
    "results/tiny/runs/elastic/resampled.json": "tiny/runs/elastic",
    "results/tiny/ablations/hop/runs/ms20/seed12/sweeps.yaml": "tiny/ablations/hop/runs/ms20/seed12",
    "results/tiny/released/elastic/evaluation.json": "tiny/released/elastic",
    "results/tiny/summary/metrics.json": None,
    "results/data/tiny/summary.json": None,
    "backup/seed0/run.json": None,
}


@pytest.mark.parametrize("file", RUNS)
def test_the_folder_of_a_file(file, tmp_path, monkeypatch):
    path = tmp_path / file
    assert folder_of(path) == RUNS[file]
    path.parent.mkdir(parents=True)
    monkeypatch.chdir(path.parent)
    assert folder_of(Path(path.name)) == RUNS[file]


@pytest.mark.parametrize("file", [file for file, folder in RUNS.items() if folder])
def test_a_copy_in_the_folder_of_another_run_is_an_error(file, tmp_path):
    record = {FOLDER: RUNS[file]}
    check_folder(tmp_path / file, record, REMEDY)
    for other in ("tiny/runs/other/seed0", "tiny/ablations/other/runs/elastic/seed0", "tiny2/runs/elastic/seed0"):
        path = tmp_path / other / "run.json"
        with complains(DataError, path, RUNS[file], other, REMEDY):
            check_folder(path, record, REMEDY)
        check_folder(path, {}, REMEDY)
    check_folder(tmp_path / "backup" / "run.json", record, REMEDY)
