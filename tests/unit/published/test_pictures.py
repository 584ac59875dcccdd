"""Pictures and the data they were drawn from: a change of data is noticed, without comparing pixels."""

from pathlib import Path

import pytest

from elasticast.checksums import FILES, read_record
from elasticast.errors import DataError
from elasticast.published.layout import FIGURES, PICTURES, ROOT, read_published
from elasticast.published.pictures import DRAWN_FROM, changes, record_pictures
from tests.complaints import complains

REPOSITORY = Path(__file__).parents[3]
PUBLISHED = sorted(path.parent for path in (REPOSITORY / ROOT).glob("*/published.json"))
REDRAW = "publish again if the data are right, then: snakemake redraw --forceall --config suite="
WITHOUT_DATA = {
    "audit_length.png": "of an audit, whose page is not published; docs/audit.md has the command",
}
"""Pictures in docs that `snakemake redraw` does not draw: why."""


@pytest.fixture
def drawn(published):
    """The published results with a picture, its caption and a table."""
    folder = published / FIGURES
    folder.mkdir()
    for name in ("fig4.png", "fig4.rst", "fig4.pdf", "verdict.csv", "verdict_claims.csv"):
        (folder / name).write_text(name)
    inputs = {"fig4.png": ["metrics.csv", "intervals.csv"], "verdict.csv": ["metrics.csv", "pairs.csv"]}
    paths = {str(folder / name): [str(published / file) for file in files] for name, files in inputs.items()}
    record_pictures(folder / PICTURES, paths)
    return published


def test_nothing_changed(drawn):
    assert changes(drawn) == []
    record = read_record(drawn / FIGURES / PICTURES, "")
    assert set(record[FILES]) == {"fig4.png", "fig4.rst", "verdict.csv", "verdict_claims.csv"}
    assert set(record[DRAWN_FROM]) == {"fig4.png", "verdict.csv"}


@pytest.mark.parametrize(
    ("name", "pictures"), [("intervals.csv", ["fig4.png"]), ("metrics.csv", ["fig4.png", "verdict.csv"])]
)
def test_data_changed_without_a_redraw(drawn, name, pictures):
    path = drawn / name
    path.write_text(path.read_text().replace("0.5", "0.6"))
    found = changes(drawn)
    assert len(found) == len(pictures)
    assert all(picture in line and name in line for picture, line in zip(pictures, found, strict=True))


def test_a_picture_was_exchanged(drawn):
    (drawn / FIGURES / "fig4.png").write_text("another")
    (line,) = changes(drawn)
    assert "fig4.png" in line


def test_data_are_gone(drawn):
    (drawn / "pairs.csv").unlink()
    (line,) = changes(drawn)
    assert "verdict.csv" in line
    assert "pairs.csv" in line


def test_pictures_without_a_record(published):
    with complains(DataError, PICTURES, "toy_suite"):
        changes(published)


# ---- docs/results of the repository


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda path: path.name)
def test_published_pictures_are_of_the_published_data(published):
    assert changes(published, REPOSITORY) == [], REDRAW + published.name


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda path: path.name)
def test_published_results_are_whole_and_small(published):
    assert read_published(published).suite.name == published.name
    large = [path.name for path in published.rglob("*") if path.is_file() and path.stat().st_size > 700_000]
    assert not [name for name in large if not name.endswith((".pdf", ".html"))]


def test_every_picture_in_docs_is_drawn_from_published_data():
    recorded = {
        published / FIGURES / name
        for published in PUBLISHED
        for name in read_record(published / FIGURES / PICTURES, "")[FILES]
    }
    # the figure of an ablation is published with its data, under one record
    ablations = (REPOSITORY / ROOT).glob("*/ablations/*/published.json")
    recorded |= {record.parent / name for record in ablations for name in read_record(record, "")[FILES]}
    found = {path for path in (REPOSITORY / "docs").rglob("*.png") if "_build" not in path.parts}
    without = {path.name for path in found - recorded}
    assert without == set(WITHOUT_DATA), "draw it with `snakemake redraw`, or say in WITHOUT_DATA why not"
