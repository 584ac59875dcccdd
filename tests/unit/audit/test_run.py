"""Files of an audit: table, record, page; resumed, escaped, self-contained, complete."""

import html.parser
import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from elasticast.audit import run
from elasticast.audit.clips import built_in
from elasticast.checksums import read_record, verify
from elasticast.cli import app
from elasticast.errors import DataError
from tests.complaints import complains
from tests.unit.audit import planted

HOSTILE = "=<script>alert(1)</script>\"'\n&"


@pytest.fixture(scope="module")
def clips():
    return built_in(12)


@pytest.fixture
def planted_only(monkeypatch):
    monkeypatch.setattr(run, "open_encoder", lambda source: getattr(planted, source)())


@pytest.fixture
def short(monkeypatch):
    """Only the first steps: a test of files needs no more."""
    monkeypatch.setattr(run, "STEPS", run.STEPS[:3])


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, text):
        self.words.append(text)


def test_an_audit_writes_a_table_a_record_and_a_page(planted_only, clips, tmp_path):
    page = run.audit(["Honest", "Padded"], clips, tmp_path, budget=2)
    table = pd.read_csv(tmp_path / run.CSV)
    assert tuple(table.columns) == run.COLUMNS
    assert set(table["encoder"]) == {"Honest", "Padded"}
    record = read_record(tmp_path / run.RECORD, "")
    for name in (run.CSV, run.PAGE):
        verify(tmp_path / name, record, tmp_path / run.RECORD, "")
    checks = {finding["check"] for encoder in record["encoders"] for finding in encoder["findings"]}
    assert checks == {"consistency", "length", "needle", "sampling", "cost"}
    text = Page(page.read_text())
    shown = " ".join(text.words)
    for encoder in record["encoders"]:
        assert all(finding["text"] in shown for finding in encoder["findings"])
        assert all(item in shown for item in encoder["untried"])


def test_the_page_needs_nothing_else_and_runs_nothing(planted_only, short, clips, tmp_path):
    text = run.audit(["Honest"], clips, tmp_path, budget=1).read_text()
    page = Page(text)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert page.links
    assert all(link.startswith("data:image/svg+xml;base64,") for link in page.links)
    assert "http://" not in text
    assert "https://" not in text


def test_what_was_audited_is_not_audited_again(planted_only, short, clips, tmp_path, monkeypatch):
    run.audit(["Honest"], clips, tmp_path, budget=1)
    before = (tmp_path / run.CSV).read_text()
    audited = []

    def count(encoder, *arguments):
        audited.append(encoder.card.name)
        return original(encoder, *arguments)

    original = run.audit_one
    monkeypatch.setattr(run, "audit_one", count)
    run.audit(["Honest"], clips, tmp_path, budget=1)
    assert (audited, (tmp_path / run.CSV).read_text()) == ([], before)
    run.audit(["Honest", "Loudest"], clips, tmp_path, budget=1)
    assert audited == ["Loudest"]
    part = next((tmp_path / "encoders").glob("Honest*.json"))
    part.write_text(part.read_text().replace('"pass"', '"fail"'))
    run.audit(["Honest"], clips, tmp_path, budget=1)
    assert audited == ["Loudest", "Honest"]


def test_hostile_names_are_shown_and_not_run(planted_only, short, clips, tmp_path, monkeypatch):
    hostile = type(HOSTILE, (planted.Honest,), {})
    monkeypatch.setattr(planted, "Hostile", hostile, raising=False)
    text = run.audit(["Hostile", "Hostile"], clips, tmp_path, budget=1).read_text()
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)" in text
    names = set(pd.read_csv(tmp_path / run.CSV)["encoder"])
    assert len(names) == 2
    assert all(name.startswith("'=") for name in names)


def test_an_encoder_that_refuses_everything_does_not_stop_the_others(planted_only, short, clips, tmp_path):
    run.audit(["Nothing", "Honest"], clips, tmp_path, budget=1)
    nothing, honest = json.loads((tmp_path / run.RECORD).read_text())["encoders"]
    assert any(f["status"] == "fail" and "KeyError" in f["text"] for f in nothing["findings"])
    assert any(f["status"] == "pass" for f in honest["findings"])


def test_all_encoders_are_opened_before_any_work(clips, tmp_path):
    with complains(DataError, "random:nothing"):
        run.audit(["random:elasticast/mini", "random:nothing"], clips, tmp_path, budget=1)
    assert not list(tmp_path.iterdir())


def test_the_command_takes_a_class_of_a_file(short, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from tests.unit.audit.planted import Honest\n")
    options = ["--out", str(tmp_path / "out"), "--clips", "8", "--budget", "1"]
    result = CliRunner().invoke(app, ["audit", f"{path}:Honest", *options])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "audit.html").is_file()
    assert "audit.html" in result.output
