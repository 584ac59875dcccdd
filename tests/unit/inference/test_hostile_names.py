"""File names and class labels of any kind: `predict` scores every file, and its outputs show the names."""

import csv
import io
import json
import os

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from typer.testing import CliRunner

from elasticast.cli import app
from elasticast.data.norm import Norm
from elasticast.inference.prediction import Prediction, print_predictions, to_csv, to_json, to_table
from elasticast.inference.timeline import write_timelines
from elasticast.models import build_model
from elasticast.text import printable
from elasticast.training.checkpoint import save_model
from tests.drawn import assert_drawn

LABELS = ["=cmd|' /C calc'!A0", "[red]two\nlines[/red] :dog:", "$x_1$ & \\", "+1\udcff"]
NAMES = [
    "new\nline.wav", "tab\t.wav", "-lead.wav", " space .wav", "'\"$`;&|.wav", "[red]x.wav", "%d.wav", "=1+2.wav",
    "caf\udce9.wav", "a" * 251 + ".wav", "é" * 125 + ".wav", "한" * 83 + ".wav", "b" * 250 + ".flac",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny):
    """A model with such labels, and one good file of each name."""
    folder, rng = tmp_path_factory.mktemp("predict"), np.random.default_rng(0)
    save_model(folder / "model", build_model(tiny(), 4), tiny(), Norm(-5.0, 3.0), LABELS, "multi")
    for name in NAMES:
        with open(folder / "x", "wb") as file:
            sf.write(file, rng.uniform(-0.1, 0.1, 8000), 16000, format="FLAC" if name.endswith("flac") else "WAV")
        os.rename(folder / "x", folder / name)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    from elasticast.inference.classifier import load_pretrained

    return load_pretrained(folder / "model", device="cpu").predict([folder / name for name in NAMES], timeline=True)


def test_every_file_is_scored(folder, found):
    assert [(p.path, p.error) for p in found] == [(str(folder / name), None) for name in NAMES]


def test_json_gives_back_every_name(folder, found):
    text = to_json(found)
    text.encode("utf-8")
    entries = json.loads(text)
    assert [entry["path"] for entry in entries] == [str(folder / name) for name in NAMES]
    assert all(set(entry["scores"]) == set(LABELS) for entry in entries)


def test_csv_has_a_row_per_label_and_no_formula(folder, found):
    text = to_csv(found)
    text.encode("utf-8")
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert {len(row) for row in rows} == {len(head)}
    paths = [str(folder / name).replace("\udce9", "\\xe9") for name in NAMES]
    assert [row[0] for row in rows[:: len(LABELS)]] == paths
    assert len(rows) == len(LABELS) * len(NAMES)
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@", "-"))]
    assert {row[4].lstrip("'") for row in rows} == {label.replace("\udcff", "\\xff") for label in LABELS}


def test_a_path_that_looks_like_a_formula_is_guarded():
    (cell,) = {row[0] for row in csv.reader(io.StringIO(to_csv([Prediction("=1+2.wav", 1.0, {"a": 0.5})])))} - {"path"}
    assert cell == "'=1+2.wav"


def test_the_table_shows_names_and_labels_as_they_are(found):
    table = to_table(found)
    cells = [str(cell) for cell in table.columns[2].cells]
    assert set(cells) == {printable(label) for label in LABELS}
    assert [str(cell) for cell in table.columns[0].cells if str(cell)] == [printable(p.path) for p in found]


@pytest.mark.parametrize("form", ["table", "csv", "json"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_every_form_can_be_printed(found, monkeypatch, form, encoding):
    out, errors = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", errors)
    errors.reconfigure(errors="backslashreplace")  # as the stderr of Python
    print_predictions([*found, Prediction("a\nb.wav", error="empty")], form)
    out.flush(), errors.flush()
    assert out.buffer.getvalue()
    assert errors.buffer.getvalue() == b"error: a\\nb.wav: empty\n"


def test_every_file_has_a_timeline(found, tmp_path):
    written = write_timelines(found, LABELS, tmp_path / "out", 4)
    assert len(set(written)) == len(NAMES)
    for path in written:
        assert path.name.isprintable()
        table = pd.read_csv(path)
        assert set(table["label"].str.lstrip("'")) == {label.replace("\udcff", "\\xff") for label in LABELS}
        assert_drawn(path.with_name(path.name.removesuffix(".csv")))
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".csv", ".png", ".pdf"}


def test_names_that_differ_in_case_only_get_different_timelines(found, tmp_path):
    one, other = (found[0].__class__(**{**vars(found[0]), "path": name}) for name in ("a/Clip.wav", "b/clip.wav"))
    written = write_timelines([one, other], LABELS, tmp_path, 2)
    assert [path.name for path in written] == ["Clip.csv", "clip_2.csv"]


def test_the_command_takes_such_names(folder):
    names = [str(folder / name) for name in NAMES if "\udce9" not in name]
    done = CliRunner().invoke(app, ["predict", str(folder / "model"), "--json", "--top-k", "1", *names])
    assert done.exit_code == 0
    assert [entry["path"] for entry in json.loads(done.stdout)] == names
