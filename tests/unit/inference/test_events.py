"""Events in audio files."""

import csv

import numpy as np
import pytest
import soundfile as sf
import torch
from typer.testing import CliRunner

from elasticast.cli import app
from elasticast.config.evaluation import Detection
from elasticast.data.dataset import Clips
from elasticast.data.norm import read_norm
from elasticast.data.windows import OVERLAP
from elasticast.errors import ConfigError, ElasticASTError
from elasticast.inference.classifier import load_pretrained
from elasticast.inference.events import find_events, joined
from elasticast.models import build_model
from elasticast.training.checkpoint import save_model
from tests.complaints import assert_names, complains
from tests.unit.conftest import TIMED

AST = {"model": {"kind": "ast", "frame_head": True}, "task": "timed_events"}


@pytest.fixture
def run(tiny, timed, tmp_path):
    """Writes a run of random weights with the given settings."""

    def write(**settings):
        config, clips = tiny(**(settings or TIMED)), Clips(timed, "test", "timed_events")
        torch.manual_seed(0)
        model = build_model(config, len(clips.classes))
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
        save_model(tmp_path / "run", model, config, read_norm(timed / "norm.json"), clips.classes, clips.kind)
        return tmp_path / "run"

    return write


def waves(*seconds):
    generator = np.random.default_rng(0)
    return [generator.uniform(-0.3, 0.3, round(16000 * s)).astype(np.float32) for s in seconds]


@pytest.mark.parametrize("settings", [TIMED, AST], ids=["elasticast", "ast"])
def test_events_are_runs_of_high_scores_within_the_clip(run, settings):
    classifier = load_pretrained(run(**settings), device="cpu")
    predictions = classifier.predict(waves(0.3, 1.1, 7.0), sample_rate=16000, events=Detection(threshold=0.4))
    assert any(prediction.events for prediction in predictions)
    for prediction in predictions:
        assert [event.onset for event in prediction.events] == sorted(event.onset for event in prediction.events)
        for event in prediction.events:
            assert 0 <= event.onset < event.offset <= prediction.seconds + 1e-9
            assert event.score > 0.4
            assert event.label in classifier.classes


def test_events_change_no_score_of_the_clip(run):
    classifier = load_pretrained(run(), device="cpu")
    plain, found = (classifier.predict(waves(1.0, 6.0), sample_rate=16000, events=e) for e in (None, Detection()))
    for a, b in zip(plain, found, strict=True):
        assert a.events is None
        assert a.scores == pytest.approx(b.scores, abs=1e-6)


def test_windows_are_joined(tiny):
    """A frame has the mean of the windows that contain it."""
    config, step = tiny(**TIMED), round(64 * OVERLAP)
    logits = [torch.full((4, 2), value) for value in (-2.0, 3.0)]
    chance = joined(logits, np.array([0, step]), config)
    low, high = torch.tensor([-2.0, 3.0]).double().sigmoid().tolist()
    assert chance.shape == (step + 64, 2)
    np.testing.assert_allclose(chance[:, 0], [low] * step + [(low + high) / 2] * (64 - step) + [high] * step)


def test_a_class_that_does_not_exist_is_named(tiny):
    detection = Detection(median_seconds={"no such class": 0.5})
    with complains(ConfigError, "median_seconds", "no such class", "bell"):
        find_events(None, [], 1.0, tiny(**TIMED), ["bell"], detection)


def test_a_model_without_a_frame_head_is_named(run):
    classifier = load_pretrained(run(task="events"), device="cpu")
    with complains(ElasticASTError, "model.frame_head"):
        classifier.predict(waves(1.0), sample_rate=16000, events=Detection())


def test_the_command_writes_a_table_of_events(run, tmp_path):
    folder = run()
    for name, wave in zip(("a", "b"), waves(1.0, 2.0), strict=True):
        sf.write(tmp_path / f"{name}.wav", wave, 16000)
    (tmp_path / "c.wav").write_bytes(b"no audio")
    files = [str(tmp_path / f"{name}.wav") for name in "abc"]
    result = CliRunner().invoke(app, ["predict", str(folder), *files, "--events", str(tmp_path / "events.csv")])
    assert result.exit_code == 1  # because of the third file
    with (tmp_path / "events.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert list(rows[0]) == ["path", "onset", "offset", "label", "score"]
    assert {row["path"] for row in rows} <= set(files[:2])


def test_the_command_needs_a_model_with_a_frame_head(run, tmp_path):
    folder = run(task="events")
    sf.write(tmp_path / "a.wav", waves(1.0)[0], 16000)
    result = CliRunner().invoke(app, ["predict", str(folder), str(tmp_path / "a.wav"), "--events", "e.csv"])
    assert result.exit_code
    assert_names(str(result.exception) + result.output, "model.frame_head")
