"""`train.select`: the weights that are kept are the best on a split, however the run was interrupted."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from elasticast.config import Batch, Evaluation, FrontEnd
from elasticast.config.dataset import Soundscapes
from elasticast.data.dataset import Clips
from elasticast.data.norm import read_norm
from elasticast.data.prepare import prepare
from elasticast.data.sampler import BatchSampler
from elasticast.data.stats import write_stats
from elasticast.errors import DataError
from elasticast.evaluation.sweep import evaluate
from elasticast.models.pretrained import load_model
from elasticast.provenance import code_digest
from elasticast.training.checkpoint import saved_checkpoints
from elasticast.training.history import VALIDATION_FIELDS
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import EXIT_CHECKPOINTED, Trainer
from elasticast.training.selection import Selection, due_steps
from tests.complaints import complains
from tests.unit.training.ranks import stop_at

pytestmark = pytest.mark.usefixtures("cpu")
# batches of 4 of some more than 12 clips: 3 steps an epoch
EPOCHS = {
    "view": {"max_frames": 96, "compression": [1.0, 2.0]},
    "train": {
        "steps": None, "epochs": 5, "lr": 5.0e-3, "schedule": {"kind": "constant"}, "checkpoint_every": 4,
        "token_dropout": 0.2, "select": {"split": "dev"},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    """A prepared dataset of 20 clips in the splits train and dev, and 6 test clips."""
    out = tmp_path_factory.mktemp("divided") / "soundscapes"
    settings = {"clips": {"train": 20, "test": 6}, "seconds": [0.5, 2.5], "dev_share": 0.4}
    prepare(Soundscapes(source="soundscapes", **settings), out.parent, out)
    write_stats(out, FrontEnd(), out / "norm.json")
    assert len(Clips(out, "train", "events")) // 4 == 3
    return out


@pytest.fixture
def trainer(tiny, divided, tmp_path):
    """A trainer into a folder of `tmp_path`; keys of `train` are laid over :data:`EPOCHS`."""

    def build(folder, train=None, **difference):
        config = tiny(**EPOCHS | difference | {"train": EPOCHS["train"] | (train or {})})
        select, clips = config.train.select, Clips(divided, "train", config.task)
        held_out = Clips(divided, select.split, config.task) if select else None
        inputs = RunInputs(clips, read_norm(divided / "norm.json"), "data", held_out)
        return Trainer(config, inputs, tmp_path / folder)

    return build


def record(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def same_weights(folder: Path, other: Path) -> bool:
    one, other = (load_file(f / "model.safetensors") for f in (folder, other))
    return all(torch.equal(value, other[name]) for name, value in one.items())


def rows(folder: Path, name: str) -> list[dict]:
    with (folder / "history" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def trained(folder: Path) -> list[tuple]:
    return [
        tuple(row[name] for name in ("step", "epoch", "loss", "lr", "grad_norm")) for row in rows(folder, "history.csv")
    ]


def assert_same_run(folder: Path, other: Path) -> None:
    assert weights(folder) == weights(other)
    assert trained(folder) == trained(other)
    assert rows(folder, "validation.csv") == rows(other, "validation.csv")
    assert record(folder)["selection"] == record(other)["selection"]
    assert not (folder / "checkpoint").exists()


# ---------------------------------------------------------------------------------------------
# What is kept
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "loss", "metric"), [("events", "bce", "mAP"), ("scene", "ce", "accuracy")])
@pytest.mark.parametrize("kind", ["elasticast", "ast"])
def test_the_model_is_the_one_of_the_best_evaluation(trainer, divided, tmp_path, task, loss, metric, kind):
    fixed = {"model": {"kind": "ast"}, "view": {"frames": 64, "compression": [2.0]}} if kind == "ast" else {}
    trainer("run", {"loss": loss, "token_dropout": 0.0}, task=task, **fixed).fit()
    found = record(tmp_path / "run")["selection"]
    assert [(row["step"], row["epoch"]) for row in found["history"]] == [(3, 1), (6, 2), (9, 3), (12, 4), (15, 5)]
    values = [row["value"] for row in found["history"]]
    assert (found["split"], found["metric"], found["value"]) == ("dev", metric, max(values))
    assert found["step"] == 3 * (1 + values.index(max(values)))
    model = load_model(tmp_path / "run")
    own = Evaluation(x_name="compression", x=[2.0 if kind == "ast" else 1.0], split="dev")
    table = evaluate(model.model, divided, model.config, model.norm, {"own": own})
    assert table.set_index("metric").loc[metric, "value"] == found["value"]


def test_the_weights_are_those_of_a_run_that_ends_there_and_the_first_of_equals(trainer, tmp_path, monkeypatch):
    values = iter([0.2, 0.5, 0.5, 0.1, 0.3])
    monkeypatch.setattr(Selection, "_value", lambda *_: next(values))
    trainer("run").fit()
    selection = record(tmp_path / "run")["selection"]
    kept = {"step": 6, "epoch": 2, "value": 0.5, "training_flops": selection["history"][1]["training_flops"]}
    assert selection | {"history": None} == {"split": "dev", "metric": "mAP", **kept, "history": None}
    trainer("short", {"epochs": 2, "select": None}).fit()
    trainer("long", {"select": None}).fit()
    assert same_weights(tmp_path / "run", tmp_path / "short")
    assert not same_weights(tmp_path / "run", tmp_path / "long")


@pytest.mark.parametrize(
    ("patience", "values", "steps", "converged"),
    [
        (1, [0.2, 0.5, 0.5], 9, True),  # an equal score is not better
        (2, [0.2, 0.1, 0.3, 0.3, 0.2], 15, True),  # at the last step of the whole training
        (2, [0.2, 0.1, 0.3, 0.2, 0.4], 15, False),
        (5, [0.5, 0.4, 0.3, 0.2, 0.1], 15, False),
        (None, [0.5, 0.4, 0.3, 0.2, 0.1], 15, None),
    ],
)
def test_training_ends_once_the_score_no_longer_rises(
    trainer, tmp_path, monkeypatch, patience, values, steps, converged
):
    left = iter(values)
    monkeypatch.setattr(Selection, "_value", lambda *_: next(left))
    trainer("run", {"select": {"split": "dev", "patience": patience}}).fit()
    found = record(tmp_path / "run")
    assert found["steps"] == steps
    assert [row["value"] for row in found["selection"]["history"]] == values
    assert found["selection"].get("converged") == converged
    best = found["selection"]["step"]
    assert best == 3 * (1 + values.index(max(values)))
    trainer("short", {"epochs": best // 3, "select": None}).fit()
    assert same_weights(tmp_path / "run", tmp_path / "short")


def test_a_run_killed_while_it_converges_ends_at_the_same_step(trainer, tmp_path, monkeypatch):
    values = {3: 0.2, 6: 0.5, 9: 0.4, 12: 0.3}
    monkeypatch.setattr(Selection, "_value", lambda self, _: values[3 * (1 + len(self.history))])
    patient = {"select": {"split": "dev", "patience": 2}}
    trainer("whole", patient).fit()
    parts = trainer("parts", patient)
    evaluate = parts.selection.evaluate
    parts.selection.evaluate = lambda *args: (
        pytest.fail("killed") if len(parts.selection.history) == 3 else evaluate(*args)
    )
    with pytest.raises(pytest.fail.Exception):
        parts.fit()
    trainer("parts", patient).fit()
    assert record(tmp_path / "parts")["steps"] == 12
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_on_a_plateau_the_rate_falls_also_after_a_kill(trainer, tmp_path, monkeypatch):
    values = {3: 0.2, 6: 0.1, 9: 0.2, 12: 0.1, 15: 0.0}
    monkeypatch.setattr(Selection, "_value", lambda self, _: values[3 * (1 + len(self.history))])
    schedule = {"kind": "plateau", "patience": 2, "gamma": 0.1}
    trainer("whole", {"schedule": schedule, "lr": 0.01, "log_every": 1}).fit()
    found = [float(row["lr"]) for row in rows(tmp_path / "whole", "history.csv")]
    assert found == pytest.approx([0.01] * 9 + [0.001] * 6)
    parts = trainer("parts", {"schedule": schedule, "lr": 0.01, "log_every": 1})
    evaluate = parts.selection.evaluate
    parts.selection.evaluate = lambda *args: (
        pytest.fail("killed") if len(parts.selection.history) == 3 else evaluate(*args)
    )
    with pytest.raises(pytest.fail.Exception):
        parts.fit()
    trainer("parts", {"schedule": schedule, "lr": 0.01, "log_every": 1}).fit()
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_it_changes_nothing_of_the_training(trainer, tmp_path):
    trainer("with").fit()
    trainer("without", {"select": None}).fit()
    assert trained(tmp_path / "with") == trained(tmp_path / "without")
    assert record(tmp_path / "without")["selection"] is None
    assert not (tmp_path / "without" / "history" / "validation.csv").exists()


def test_what_a_run_tells_of_it(trainer, tmp_path):
    trainer("run").fit()
    found = record(tmp_path / "run")
    assert found["code_digest"] == code_digest("select") != code_digest("train")
    history = [{**row, "split": "dev", "metric": "mAP"} for row in found["selection"]["history"]]
    assert rows(tmp_path / "run", "validation.csv") == [
        {name: str(row[name]) for name in VALIDATION_FIELDS} for row in history
    ]
    operations = [row["training_flops"] for row in history]
    assert operations == sorted(operations)
    assert operations[0] > 0
    assert operations[-1] == found["training_flops"]  # the last evaluation is at the end
    board = EventAccumulator(str(tmp_path / "run" / "history"))
    board.Reload()
    told = [(event.step, event.value) for event in board.Scalars("dev/mAP")]
    assert told == [(row["step"], float(np.float32(row["value"]))) for row in history]
    trainer("run", {"select": None}).fit()
    assert not (tmp_path / "run" / "history" / "validation.csv").exists()


# ---------------------------------------------------------------------------------------------
# Stopped and killed
# ---------------------------------------------------------------------------------------------


def test_a_stopped_run_goes_on_bit_for_bit(trainer, tmp_path):
    trainer("whole").fit()
    for step in (2, 6, 7, 15):  # before the first evaluation, when one is due, after it, and at the end
        parts = trainer("parts")
        stop_at(parts, step)
        with pytest.raises(SystemExit) as caught:
            parts.fit()
        assert caught.value.code == EXIT_CHECKPOINTED
    trainer("parts").fit()
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.parametrize("evaluation", [0, 2])
def test_a_run_killed_while_it_is_measured_goes_on_from_there(trainer, tmp_path, evaluation):
    trainer("whole").fit()
    parts = trainer("parts")
    evaluate = parts.selection.evaluate
    parts.selection.evaluate = lambda *args: (
        pytest.fail("killed") if len(parts.selection.history) == evaluation else evaluate(*args)
    )
    with pytest.raises(pytest.fail.Exception):
        parts.fit()
    assert saved_checkpoints(tmp_path / "parts" / "checkpoint")[0].name == f"step-{3 * (evaluation + 1)}"
    trainer("parts").fit()
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_a_killed_run_goes_on_from_a_checkpoint_with_the_best_so_far(trainer, tmp_path):
    trainer("whole").fit()
    parts = trainer("parts")
    update = parts._update
    parts._update = lambda *args: update(*args) if parts.step < 10 else pytest.fail("killed")
    with pytest.raises(pytest.fail.Exception):
        parts.fit()
    trainer("parts").fit()
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_a_checkpoint_of_another_choice_is_ignored(trainer, tmp_path):
    parts = trainer("run")
    stop_at(parts, 7)
    with pytest.raises(SystemExit):
        parts.fit()
    trainer("run", {"select": {"split": "test"}}).fit()
    assert record(tmp_path / "run")["restarts"] == 0


# ---------------------------------------------------------------------------------------------
# When, and on what
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "total", "expected"),
    [
        (1, 9, {3: 1, 6: 2, 9: 3}),
        (2, 12, {6: 2, 12: 4}),
        (2, 15, {6: 2, 12: 4, 15: 5}),
        (1, 8, {3: 1, 6: 2, 8: 2}),  # the steps end in the midst of an epoch
        (1, 2, {2: 0}),
        (9, 6, {6: 2}),
    ],
)
def test_after_whole_epochs_and_at_the_end(every, total, expected):
    sampler = BatchSampler([10] * 13, Batch(clips=4), 0)
    assert due_steps(sampler, every, total) == expected


def test_epochs_of_a_token_budget_differ_in_steps():
    sampler = BatchSampler(list(range(10, 40)), Batch(tokens=90), 0)
    ends = np.cumsum([len(sampler.epoch(epoch)) for epoch in range(4)]).tolist()
    assert due_steps(sampler, 2, ends[3]) == {ends[1]: 2, ends[3]: 4}


def test_a_split_without_clips_is_one_clear_error(prepared):
    with complains(DataError, prepared, "dev", "dev_share"):
        Clips(prepared, "dev", "events")


def test_a_metric_that_is_no_number_is_one_clear_error(trainer):
    found = trainer("run")
    found.selection.clips.labels = found.selection.clips.labels[:0]
    found.selection.clips.first_label = found.selection.clips.first_label * 0
    with complains(DataError, "train.select", "mAP", "dev"):
        found.fit()
