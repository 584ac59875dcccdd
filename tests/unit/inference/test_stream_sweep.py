"""`elasticast sweep --chunks`: the clips of a dataset as streams."""

import math

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from elasticast.checksums import read_record
from elasticast.cli import app
from elasticast.data.manifest import read_classes
from elasticast.errors import ConfigError, ElasticASTError
from elasticast.evaluation.metrics import metrics
from elasticast.inference.classifier import load_pretrained
from elasticast.inference.length_sweep import parse_lengths
from elasticast.inference.stream_sweep import stream_sweep
from elasticast.models import build_model
from elasticast.training.checkpoint import save_model
from tests.complaints import complains

pytestmark = pytest.mark.usefixtures("cpu")


@pytest.fixture
def saved(tiny, prepared, norm, tmp_path):
    """Writes a model of random weights with the classes of the data."""

    def write(**settings):
        config = tiny(model=settings)
        classes = read_classes(prepared / "classes.json")["events"]["classes"]
        model = build_model(config, len(classes))
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
        save_model(tmp_path / "model", model, config, norm, classes, "multi")
        return str(tmp_path / "model")

    return write


def value(table, chunk, context, name="AUC"):
    row = table[(table["chunk"] == chunk) & (table["context"] == context) & (table["metric"] == name)]
    return row["value"].item()


def test_scores_are_those_of_the_streams(saved, prepared, test_clips, tmp_path):
    model = saved(positions="rotary")
    table = stream_sweep(model, prepared, [0.32, 2.56], [0.0, 0.64], tmp_path / "out")
    assert set(zip(table["chunk"], table["context"], strict=True)) == {(0.32, 0), (0.32, 0.64), (2.56, 0), (2.56, 2.56)}
    assert set(table["n"]) == {6}
    # one chunk holds the whole clip
    whole = load_pretrained(model).predict([test_clips.waveform(i) for i in range(6)], sample_rate=16000)
    expected = metrics(torch.stack([p.logits for p in whole]).numpy(), test_clips.targets.numpy(), "multi")
    assert value(table, 2.56, 0) == pytest.approx(expected["AUC"])
    assert value(table, 0.32, 0) != value(table, 0.32, 0.64)
    assert table[table["chunk"] == 0.32]["delay"].unique() == pytest.approx([0.335])
    assert (table["real_time_factor"] > 0).all()
    assert read_record(tmp_path / "out/stream.json", "")["weights"] == model


def test_the_command_prints_and_writes_the_table(saved, prepared, tmp_path):
    arguments = ["sweep", saved(), str(prepared), "--chunks", "640ms,1.28s", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert all(text in done.output for text in ("chunk (s)", "delay (s)", "real-time factor", "mAP (%)"))
    assert set(pd.read_csv(tmp_path / "out/stream.csv")["chunk"]) == {0.64, 1.28}


def test_what_is_not_possible_is_refused_before_work(saved, prepared, tmp_path):
    with complains(ElasticASTError, "context", "0.64"):
        stream_sweep(saved(), prepared, [0.32], [0.0, 0.64], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    arguments = ["sweep", saved(), str(prepared), "--out", str(tmp_path / "out")]
    for options in ([], ["--lengths", "1s", "--chunks", "1s"]):
        assert CliRunner().invoke(app, [*arguments, *options]).exit_code == 2


def test_contexts_may_be_nothing_or_everything():
    assert parse_lengths("inf,0s,1.5s", "--contexts", any_context=True) == [0, 1.5, math.inf]
    for text in ("inf", "0s"):
        with complains(ConfigError, "--chunks", text):
            parse_lengths(text, "--chunks")
    with complains(ConfigError, "--contexts", "-1s"):
        parse_lengths("-1s", "--contexts", any_context=True)
