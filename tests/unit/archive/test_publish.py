"""An archive holds the tables of a finished suite, verified, and is complete or none."""

import pandas as pd
import pytest

from elasticast.archive.layout import JOBS, RECORD, TABLES, read_archive
from elasticast.archive.publish import publish
from elasticast.errors import DataError
from elasticast.evaluation.records import write_table
from tests.complaints import complains


def test_tables_are_copied_as_they_are(finished, archive):
    assert archive.as_posix() == "docs/results/toy_suite"
    for name in TABLES:
        for kind in ("csv", "json"):
            file = f"{name}.{kind}"
            assert (archive / file).read_bytes() == (finished / "summary" / file).read_bytes()
    read = read_archive(archive)
    assert read.suite.name == "toy_suite"
    assert len(read.metrics) == len(pd.read_csv(finished / "summary/metrics.csv"))
    assert set(read.intervals["metric"]) == {"mAP"}
    assert len(read.pairs) == 4


def test_it_holds_no_weights_and_no_folder_of_the_machine(finished, archive):
    assert not list(archive.rglob("*.safetensors"))
    content = "".join(path.read_text() for path in archive.iterdir())
    assert str(finished.parents[1]) not in content


def test_a_table_is_missing(finished):
    (finished / "summary/pairs.csv").unlink()
    with complains(DataError, "pairs.csv"):
        publish(finished)
    assert not (finished.parents[1] / "docs").exists()


@pytest.mark.parametrize("name", ["metrics.csv", "runs.csv", "lengths.csv"])
def test_a_table_was_edited(finished, name):
    path = finished / "summary" / name
    path.write_text(path.read_text() + "\n")
    with complains(DataError, name):
        publish(finished)


def test_runs_have_other_settings_than_the_suite(finished):
    path = finished / "summary/runs.csv"
    runs = pd.read_csv(path)
    runs.loc[3, "config_digest"] = "0" * 16
    write_table(path, runs, {})
    with complains(DataError, "runs.csv", runs.loc[3, "experiment"], runs.loc[3, "seed"], "suite.yaml"):
        publish(finished)


def test_nothing_has_run(finished):
    with complains(DataError, "suite.yaml", "other"):
        publish(finished.with_name("other"))


def test_a_partial_archive_holds_what_there_is(finished):
    (finished / "summary").rename(finished / "partial")
    (finished / "partial/pairs.csv").unlink()
    archive = read_archive(publish(finished, partial=True))
    assert not archive.has("pairs.csv")
    assert archive.has("metrics.csv")


def test_a_new_archive_replaces_the_files_of_the_old(finished, archive):
    (finished / "summary").rename(finished / "partial")
    publish(finished, partial=True)
    assert not (archive / "pairs.csv").exists()
    read_archive(archive)


@pytest.mark.parametrize("name", ["metrics.csv", JOBS, "suite.yaml", "pairs.json"])
def test_a_file_of_an_archive_was_edited(archive, name):
    (archive / name).write_text((archive / name).read_text() + " ")
    with complains(DataError, name):
        read_archive(archive)


def test_a_folder_is_no_archive(archive):
    (archive / RECORD).unlink()
    with complains(DataError, archive, RECORD):
        read_archive(archive)
