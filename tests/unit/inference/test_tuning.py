"""Choosing by class how events follow from scores: `elasticast tune-events`."""

import shutil

import numpy as np
import pytest
import soundfile as sf
import torch
import yaml
from typer.testing import CliRunner

from elasticast.cli import app
from elasticast.config import FrontEnd
from elasticast.config.dataset import Soundscapes
from elasticast.data.dataset import Clips
from elasticast.data.norm import read_norm
from elasticast.data.prepare import prepare
from elasticast.data.stats import write_stats
from elasticast.errors import ConfigError, DataError, ElasticASTError
from elasticast.evaluation.frames import event_metrics
from elasticast.inference import classifier, tuning
from elasticast.inference.classifier import load_pretrained
from elasticast.inference.events import read_detection
from elasticast.models import build_model
from elasticast.training.checkpoint import save_model
from tests.complaints import assert_names, complains
from tests.unit.conftest import TIMED
from tests.unit.evaluation.test_frames import perfect


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Prepared soundscapes with held-out clips."""
    out = tmp_path_factory.mktemp("tuned") / "soundscapes"
    settings = {"clips": {"train": 16, "test": 2}, "seconds": [0.5, 2.5], "dev_share": 0.5}
    prepare(Soundscapes(source="soundscapes", event_times=True, **settings), out.parent, out)
    write_stats(out, FrontEnd(), out / "norm.json")
    return out


@pytest.fixture
def run(tiny, data, tmp_path):
    """Writes a run of random weights, and returns its folder."""

    def write(**settings):
        config, clips = tiny(**{**TIMED, **settings}), Clips(data, "dev", "timed_events")
        torch.manual_seed(0)
        model = build_model(config, len(clips.classes))
        save_model(tmp_path / "run", model, config, read_norm(data / "norm.json"), clips.classes, clips.kind)
        return str(tmp_path / "run")

    return write


@pytest.fixture
def noisy(data, tiny, monkeypatch):
    """Scores of the held-out clips that are right but for noise, in place of those of a model."""
    clips = Clips(data, "dev", "timed_events")
    scores = perfect(tiny(**TIMED), clips)
    noise = torch.Generator().manual_seed(0)
    flipped = torch.rand(scores.logits.shape, generator=noise) < 0.08
    scores.logits[flipped] *= -1
    monkeypatch.setattr(tuning, "_scores", lambda model, clips: scores)
    return scores, clips


@pytest.mark.parametrize("method", ["boxes", "median"])
def test_what_is_written_has_the_best_f1_of_each_class(run, data, noisy, tmp_path, method):
    scores, clips = noisy
    out = tmp_path / "detection.yaml"
    table = tuning.tune_events(run(), data, out, method=method)
    found = read_detection(out)
    reached = event_metrics(scores, clips.events, clips.classes, found, only_f1=True)["event_F1"]
    assert reached == pytest.approx(np.nanmean(table["after"]))
    assert reached > np.nanmean(table["before"])
    for one in tuning._candidates(method, 0.5, scores.layout.step):
        assert event_metrics(scores, clips.events, clips.classes, one, only_f1=True)["event_F1"] <= reached + 1e-9
    without = table["events"] == 0
    assert table["after"][without].isna().all()
    chosen = found.median_seconds if method == "median" else found.boxes.window
    assert list(chosen) == clips.classes
    defaults = {"median": 0.0, "boxes": 0.5}
    assert all(chosen[label] == defaults[method] for label in table["label"][without])


def test_the_command_writes_settings_that_predict_reads(run, data, tmp_path):
    sf.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.3, 0.3, 20000), 16000)
    out, events = tmp_path / "detection.yaml", tmp_path / "events.csv"
    command = ["tune-events", run(), str(data), "--out", str(out), "--method", "median", "--threshold", "0.3"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(out.read_text())["threshold"] == 0.3
    command = ["predict", run(), str(tmp_path / "a.wav"), "--events", str(events)]
    result = CliRunner().invoke(app, [*command, "--detection", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert events.read_text().startswith("path,onset,offset,label,score")
    result = CliRunner().invoke(app, [*command[:3], "--detection", str(out)])
    assert result.exit_code == 2
    assert "--events" in result.output


def test_what_cannot_be_tuned_is_named(run, data, timed, tmp_path):
    out = tmp_path / "detection.yaml"
    with complains(ElasticASTError, "model.frame_head"):
        tuning.tune_events(run(model={"frame_head": False}), data, out)
    with complains(DataError, timed / "manifest.parquet", "dev"):
        tuning.tune_events(run(), timed, out)
    with complains(ConfigError, "--task", "events"):
        tuning.tune_events(run(), data, out, task="events")
    assert not out.exists()


def test_only_the_split_that_decides_is_needed(run, data, tmp_path):
    without = tmp_path / "soundscapes"
    shutil.copytree(data, without)
    (without / "test.h5").unlink()
    table = tuning.tune_events(run(), without, tmp_path / "detection.yaml", method="median")
    assert len(table) == len(Clips(without, "dev", "timed_events").classes)


@pytest.mark.parametrize(
    ("text", "key"),
    [("median_seconds: {bel: 0.3, bell: 0.5}", "median_seconds"), ("boxes: {window: {bel: 0.3}}", "boxes.window")],
)
def test_a_class_that_the_model_lacks_is_named_before_audio_is_read(run, tmp_path, monkeypatch, text, key):
    sf.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.3, 0.3, 20000), 16000)
    detection, events = tmp_path / "detection.yaml", tmp_path / "events.csv"
    detection.write_text(text)
    monkeypatch.setattr(classifier, "open_source", lambda *_: pytest.fail("audio was opened"))
    command = ["predict", run(), str(tmp_path / "a.wav"), "--events", str(events), "--detection", str(detection)]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, ConfigError)
    assert_names(str(result.exception), detection, key, "bel", "bell")
    with complains(ConfigError, f"events.{key}", "bel"):
        load_pretrained(run()).predict(tmp_path / "a.wav", events=read_detection(detection))


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("median_secnds: 0.3", "median_secnds", "median_seconds"),
        ("boxes: {window: {bell: -1}}", "boxes.window.bell", "-1"),
        ("threshold: 2", "threshold", "2"),
    ],
)
def test_wrong_settings_are_named(tmp_path, text, key, value):
    (tmp_path / "detection.yaml").write_text(text)
    with complains(ConfigError, tmp_path / "detection.yaml", key, value):
        read_detection(tmp_path / "detection.yaml")
