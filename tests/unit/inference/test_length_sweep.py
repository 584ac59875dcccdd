"""`elasticast sweep`: any model on prepared data at a few lengths."""

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from elasticast.checksums import read_record
from elasticast.cli import app
from elasticast.config import Evaluation
from elasticast.data.manifest import read_classes
from elasticast.errors import ConfigError, DataError
from elasticast.evaluation.sweep import evaluate
from elasticast.inference.length_sweep import length_sweep, parse_lengths
from elasticast.models import build_model
from elasticast.models.pretrained import load_model
from elasticast.training.checkpoint import save_model
from tests.complaints import assert_names, complains

pytestmark = pytest.mark.usefixtures("cpu")


@pytest.fixture
def saved(tiny, prepared, norm, tmp_path):
    """Writes a model of random weights with these classes, by default those of the data."""

    def write(classes=None, name="model", **settings):
        config = tiny(**settings)
        classes = classes or read_classes(prepared / "classes.json")["events"]["classes"]
        torch.manual_seed(1)
        model = build_model(config, len(classes))
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
        save_model(tmp_path / name, model, config, norm, list(classes), "multi")
        return str(tmp_path / name)

    return write


def test_scores_are_those_of_an_evaluation(saved, prepared, norm, tmp_path):
    model = saved()
    table = length_sweep(model, prepared, [0.64, 1.28], tmp_path / "out")
    loaded = load_model(model)
    sweeps = {"length": Evaluation(x_name="max_frames", x=[64, 128])}
    expected = evaluate(loaded.model, prepared, loaded.config, norm, sweeps)
    assert table["value"].tolist() == pytest.approx(expected["value"].tolist(), nan_ok=True)
    assert table["seconds"].unique().tolist() == [0.64, 1.28]
    assert read_record(tmp_path / "out/sweep.json", "")["weights"] == model


def test_the_command_prints_scores_and_writes_table_and_figure(saved, prepared, tmp_path):
    out = tmp_path / "a folder"
    done = CliRunner().invoke(app, ["sweep", saved(), str(prepared), "--lengths", "500ms,1s", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "mAP (%)" in done.output
    assert {path.name for path in out.iterdir()} == {"sweep.csv", "sweep.json", "sweep.png", "sweep.pdf"}
    assert set(pd.read_csv(out / "sweep.csv")["n"]) == {6}


@pytest.mark.parametrize("split", ["train", "tset"])
@pytest.mark.parametrize("what", [["--lengths", "1s"], ["--chunks", "1s"]])
def test_another_split_is_refused_with_the_choices(prepared, tmp_path, split, what):
    done = CliRunner().invoke(app, ["sweep", "demo", str(prepared), *what, "--out", str(tmp_path), "--split", split])
    assert done.exit_code == 2
    assert_names(done.output, "--split", split, "dev", "test")


def test_a_rounded_length_is_stated(saved, prepared, tmp_path, caplog):
    with caplog.at_level("INFO"):
        table = length_sweep(saved(), prepared, [0.25, 0.64], tmp_path / "out")
    rounded = [record.getMessage() for record in caplog.records if "--lengths" in record.getMessage()]
    assert table["seconds"].unique().tolist() == [0.32, 0.64]
    assert len(rounded) == 1
    assert_names(rounded[0], 0.25, 0.32)


def test_more_classes_than_the_data_has_are_left_out(saved, prepared, tmp_path, caplog):
    classes = read_classes(prepared / "classes.json")["events"]["classes"]
    model = saved(["others", *reversed(classes)])
    table = length_sweep(model, prepared, [0.64], tmp_path / "out", task="events")
    loaded = load_model(model)
    logits = [loaded.classes.index(name) for name in classes]
    for parameter in loaded.model.get_submodule(loaded.config.model.traits.head[-1]).parameters():
        parameter.data = parameter.data[logits]
    sweeps = {"length": Evaluation(x_name="max_frames", x=[64])}
    expected = evaluate(loaded.model, prepared, loaded.config, loaded.norm, sweeps)
    assert table["value"].tolist() == pytest.approx(expected["value"].tolist(), nan_ok=True)


def test_other_classes_are_refused(saved, prepared, tmp_path):
    with pytest.raises(DataError, match="yodel"):
        length_sweep(saved(["yodel", "whistle"]), prepared, [0.64], tmp_path / "out", task="events")
    assert not (tmp_path / "out").exists()


def test_a_task_that_is_not_there_is_refused(saved, prepared, tmp_path):
    with complains(DataError, prepared / "classes.json", "colour"):
        length_sweep(saved(), prepared, [0.64], tmp_path / "out", task="colour")


def test_lengths_that_a_model_cannot_take_are_refused(saved, prepared, tmp_path):
    with complains(ConfigError, "--lengths", 900.0):
        length_sweep(saved(), prepared, [900.0], tmp_path / "out")


def test_lengths_are_read_with_their_units():
    assert parse_lengths("2s, 500ms,1.5s,2s") == [0.5, 1.5, 2.0]


@pytest.mark.parametrize("text", ["128", "1s,,2s", "0s", "-1s", "1m", "", "nans"])
def test_other_lengths_are_refused(text):
    with complains(ConfigError, "--lengths"):
        parse_lengths(text)
