"""Published results are the verified tables of a finished suite, complete or none."""

import shutil

import pandas as pd
import pytest

from elasticast.errors import DataError
from elasticast.evaluation.records import write_table
from elasticast.published.layout import JOBS, RECORD, TABLES, read_published
from elasticast.published.publish import publish
from tests.complaints import complains


def test_tables_are_copied_as_they_are(finished, published):
    assert published.as_posix() == "docs/results/toy_suite"
    for name in TABLES:
        for kind in ("csv", "json"):
            file = f"{name}.{kind}"
            assert (published / file).read_bytes() == (finished / "summary" / file).read_bytes()
    read = read_published(published)
    assert read.suite.name == "toy_suite"
    assert len(read.metrics) == len(pd.read_csv(finished / "summary/metrics.csv"))
    assert set(read.intervals["metric"]) == {"mAP"}
    assert len(read.pairs) == 4


def test_it_holds_no_weights_and_no_folder_of_the_machine(finished, published):
    assert not list(published.rglob("*.safetensors"))
    content = "".join(path.read_text() for path in published.iterdir())
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
    path = finished / "runs/ast128/seed1/config.yaml"
    path.write_text(path.read_text().replace("frames: 128", "frames: 96"))
    with complains(DataError, path, "ast128", "suite.yaml"):
        publish(finished)


def test_a_run_is_not_in_the_suite(finished):
    path = finished / "summary/runs.csv"
    runs = pd.read_csv(path)
    runs.loc[3, "experiment"] = "another"
    write_table(path, runs, {})
    with complains(DataError, "runs.csv", "another", "toy_suite"):
        publish(finished)


def test_nothing_has_run(finished):
    with complains(DataError, "suite.yaml", "other"):
        publish(finished.with_name("other"))


def test_a_partial_archive_holds_what_there_is(finished):
    (finished / "summary").rename(finished / "partial")
    (finished / "partial/pairs.csv").unlink()
    published = read_published(publish(finished, partial=True))
    assert not published.has("pairs.csv")
    assert published.has("metrics.csv")


def test_publishing_again_replaces_all_files(finished, published):
    (finished / "summary").rename(finished / "partial")
    publish(finished, partial=True)
    assert not (published / "pairs.csv").exists()
    read_published(published)


@pytest.mark.parametrize("name", ["metrics.csv", JOBS, "suite.yaml", "pairs.json"])
def test_a_file_was_edited(published, name):
    (published / name).write_text((published / name).read_text() + " ")
    with complains(DataError, name):
        read_published(published)


def test_a_folder_without_a_record(published):
    (published / RECORD).unlink()
    with complains(DataError, published, RECORD):
        read_published(published)


@pytest.mark.parametrize("other", ["evaluation.json", "../../../summary/metrics.json"])
def test_another_record_in_the_place_of_that_of_a_training(finished, other):
    run = finished / "runs/elastic/seed0/run.json"
    shutil.copy(run.parent / other, run)
    with complains(DataError, run):
        publish(finished)
