"""What `elasticast predict` says: table, CSV, JSON, timelines, errors, exit code."""

import io
import json

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
from typer.testing import CliRunner

from elasticast.cli import app
from elasticast.data.norm import Norm
from elasticast.errors import DataError
from elasticast.inference.classifier import load_pretrained
from elasticast.inference.prediction import Prediction, Timeline
from elasticast.inference.timeline import timeline_figure, write_timelines
from elasticast.models import build_model
from elasticast.training.checkpoint import save_model
from tests.complaints import assert_names, complains
from tests.drawn import assert_drawn

LABELS = ["dog, barking", "speech $3", "café", "rain [heavy]"]


@pytest.fixture(scope="module")
def files(tmp_path_factory, tiny):
    """A model, two good files and three broken ones."""
    folder, rng = tmp_path_factory.mktemp("predict"), np.random.default_rng()
    save_model(folder / "model", build_model(tiny(), 4), tiny(), Norm(-5.0, 3.0), LABELS, "multi")
    sf.write(folder / "short.wav", rng.uniform(-0.1, 0.1, 480), 16000)
    sf.write(folder / "long.flac", rng.uniform(-0.1, 0.1, (44100 * 7, 2)), 44100)
    sf.write(folder / "nan.wav", np.array([np.nan] * 9000), 16000, subtype="FLOAT")
    (folder / "text.wav").write_text("no audio")
    (folder / "empty.wav").touch()
    return folder


def run(files, names, *options):
    return CliRunner(env={"COLUMNS": "200"}).invoke(
        app, ["predict", str(files / "model"), *(str(files / n) for n in names), *options]
    )


GOOD, BROKEN = ["short.wav", "long.flac"], ["nan.wav", "text.wav", "empty.wav", "none.wav"]
REASONS = ["non-finite samples", "not audio (text)", "empty", "missing"]


def test_json_is_pythons_prediction(files):
    done = run(files, GOOD, "--json", "--top-k", "2")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    expected = load_pretrained(files / "model", device="cpu").predict([files / n for n in GOOD], top_k=2)
    for entry, prediction in zip(found, expected, strict=True):
        assert entry["path"] == prediction.path
        assert list(entry["scores"]) == list(prediction.scores)
        assert entry["scores"] == pytest.approx(prediction.scores, abs=1e-5)
        assert (entry["windows"], entry["seconds"]) == (prediction.windows, prediction.seconds)
        assert (entry["flags"], entry["error"]) == (list(prediction.flags), None)


def test_csv_is_tidy(files):
    done = run(files, GOOD, "--csv")
    table = pd.read_csv(io.StringIO(done.stdout))
    assert list(table) == ["path", "seconds", "windows", "flags", "label", "score", "error"]
    assert table["path"].tolist() == [str(files / n) for n in GOOD for _ in LABELS]
    assert set(table["label"]) == set(LABELS)
    assert [flags.split(":")[0] for flags in table["flags"].unique()] == ["padded", "windowed"]


@pytest.mark.parametrize("form", ["--csv", "--json", None])
def test_broken_files_are_named_and_the_others_kept(files, form):
    done = run(files, [BROKEN[0], GOOD[0], *BROKEN[1:], GOOD[1]], *([form] if form else []))
    assert done.exit_code == 1
    said = [f"error: {files / n}: {reason}" for n, reason in zip(BROKEN, REASONS, strict=True)]
    assert [line for line in done.stderr.splitlines() if line.startswith("error")] == said
    if form is None:
        assert "speech" in done.stdout
        return
    if form == "--json":
        errors = {entry["path"]: entry["error"] or "" for entry in json.loads(done.stdout)}
    else:
        table = pd.read_csv(io.StringIO(done.stdout), keep_default_na=False).drop_duplicates("path")
        errors = dict(zip(table["path"], table["error"], strict=True))
    expected = dict(zip(BROKEN, REASONS, strict=True)) | dict.fromkeys(GOOD, "")
    assert errors == {str(files / name): reason for name, reason in expected.items()}


@pytest.mark.parametrize("form", ["--csv", "--json", None])
def test_scores_that_are_not_finite_are_errors(files, tiny, form):
    """Weights near the largest float32 are finite; the scores are not."""
    model = build_model(tiny(), 4)
    for parameter in model.parameters():
        parameter.data.fill_(3e38)
    save_model(files / "infinite", model, tiny(), Norm(-5.0, 3.0), LABELS, "multi")
    done = CliRunner().invoke(
        app, ["predict", str(files / "infinite"), str(files / "short.wav"), *([form] if form else [])]
    )
    assert done.exit_code == 1
    assert_names(done.stderr, "short.wav")
    assert not any(label in done.stdout for label in LABELS)
    if form == "--json":
        assert json.loads(done.stdout)[0]["scores"] == {}


def test_what_prepare_refuses_has_no_scores(files):
    """Float samples on the scale of integers are noise of full scale once they are clipped."""
    sf.write(files / "integers.wav", np.random.default_rng(0).uniform(-9000, 9000, 16000), 16000, subtype="FLOAT")
    done = run(files, ["integers.wav", GOOD[0]], "--json")
    assert done.exit_code == 1
    first, second = json.loads(done.stdout)
    assert_names(first["error"], "peak")
    assert not first["scores"]
    assert second["scores"]


def test_a_table_for_people_says_label_score_and_windows(files):
    done = run(files, GOOD, "--top-k", "1")
    assert done.exit_code == 0
    assert "5 windows" in done.stdout
    assert "7.00" in done.stdout
    assert sum(label in done.stdout for label in LABELS) in (1, 2)


def test_timelines(files, tmp_path):
    done = run(files, [*GOOD, "nan.wav"], "--timeline", str(tmp_path / "out"), "--window", "1.28", "--json")
    assert done.exit_code == 1
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [f"{stem}.{kind}" for stem in ("long", "short") for kind in ("csv", "pdf", "png")]
    table = pd.read_csv(tmp_path / "out" / "long.csv")
    assert list(table) == ["start", "end", "label", "score"]
    windows = table.drop_duplicates("start")
    assert len(windows) == json.loads(done.stdout)[1]["windows"] == len(table) / len(LABELS)
    np.testing.assert_allclose(windows["end"] - windows["start"], 127 * 0.01 + 0.025, atol=1e-4)
    assert windows["end"].iloc[-1] == pytest.approx(7.0, abs=0.011)
    assert table["score"].between(0, 1).all()


def prediction(path, windows, seconds, labels=4):
    start = torch.linspace(0, seconds / 2, windows, dtype=torch.float64)
    return Prediction(path, seconds, timeline=Timeline(start, start + seconds / 2, torch.rand(windows, labels)))


def test_files_of_one_name_do_not_overwrite_each_other(tmp_path):
    found = [prediction(f"{folder}/clip.wav", 3, 5.0) for folder in "abc"]
    written = write_timelines([*found, Prediction(None, error="empty"), prediction(None, 1, 2.0)], LABELS, tmp_path, 2)
    assert [p.name for p in written] == ["clip.csv", "clip_2.csv", "clip_3.csv", "waveform_4.csv"]
    for path in written:
        assert_drawn(path.with_suffix(""))


@pytest.mark.parametrize("seconds", [0.03, 5.0, 119.0, 500.0, 3599.0, 90_000.0])
def test_a_timeline_shows_the_highest_peaks_over_the_whole_clip(seconds):
    one = prediction("folder/a $clip$.wav", 5, seconds)
    axes = timeline_figure(one, LABELS, 3).axes[0]
    peaks = one.timeline.scores.max(0).values
    assert [t.get_text() for t in axes.get_yticklabels()] == [LABELS[i] for i in peaks.argsort(descending=True)[:3]]
    assert axes.get_xlim() == (0, seconds)
    assert 2 <= sum(0 <= t <= seconds for t in axes.get_xticks()) <= 12


def test_a_short_peak_shows_in_a_long_timeline():
    one = prediction("long.wav", 9000, 36_000.0)
    one.timeline.scores[:] = 0.01
    one.timeline.scores[7654, 2] = 0.9
    mesh = timeline_figure(one, LABELS, 2).axes[0].collections[0]
    assert mesh.get_array().shape == (2, 1000)
    assert mesh.get_array()[0].max() == pytest.approx(0.9)
    assert mesh.get_array()[0].argmax() == 7654 // 9


def test_one_form_at_a_time(files):
    done = run(files, GOOD, "--json", "--csv")
    assert done.exit_code == 2
    assert_names(done.stderr, "--json", "--csv")


def test_a_table_of_80_columns_shows_whole_names(files):
    long = files / f"{'x' * 60} y.wav"
    long.write_bytes((files / "short.wav").read_bytes())
    done = CliRunner(env={"COLUMNS": "80"}).invoke(
        app, ["predict", str(files / "model"), str(long), str(files / "short.wav"), "--top-k", "1"]
    )
    assert done.exit_code == 0
    assert f"in {files}/" in done.stdout
    assert f" {long.name} " in done.stdout
    assert "0." in next(line for line in done.stdout.splitlines() if long.name in line)


def test_a_folder_of_seeds_is_explained(files, tiny):
    folder = files / "runs"
    save_model(folder / "seed3", build_model(tiny(), 4), tiny(), Norm(-5.0, 3.0), LABELS, "multi")
    with complains(DataError, folder, folder / "seed3"):
        load_pretrained(folder)
