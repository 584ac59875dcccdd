"""The training loop: what a run's weights depend on, stopping and going on, and what it leaves behind."""

import csv
import json
import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from elasticast.checksums import OWN, write_record
from elasticast.config import Train, deciding, digest
from elasticast.data.manifest import read_data_hash
from elasticast.data.norm import Norm, norm_of
from elasticast.errors import DataError, ElasticASTError
from elasticast.files import locked, read_json
from elasticast.models.pretrained import load_model
from elasticast.provenance import code_digest
from elasticast.training import loop
from elasticast.training.checkpoint import save_model, saved_checkpoints
from elasticast.training.history import HISTORY_FIELDS
from elasticast.training.identity import may_compile
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import EXIT_CHECKPOINTED, Trainer
from elasticast.training.objective import compute_loss
from elasticast.training.optim import build_optimizer, learning_rate
from tests.complaints import assert_names, complains
from tests.unit.training.ranks import stop_at

pytestmark = pytest.mark.usefixtures("cpu")

GOLDEN = Path(__file__).parents[2] / "golden" / "elasticast_losses.json"
BUSY = {  # everything that draws random numbers
    "view": {"max_frames": 96, "compression": [1.0, 2.0]},
    "train": {"token_dropout": 0.2, "mixup": 0.5, "spec_augment": {"freq_bins": 24, "time_frames": 96}, "steps": 8},
}


@pytest.fixture
def trainer(tiny, train_clips, norm, tmp_path):
    """A trainer into a folder of `tmp_path`."""

    def build(folder="run", data_hash="data", **difference):
        return Trainer(tiny(**difference), RunInputs(train_clips, norm, data_hash), tmp_path / folder)

    return build


def test_what_has_no_transformer_blocks_is_not_compiled(trainer, tiny, monkeypatch):
    monkeypatch.setattr(loop, "may_compile", lambda *_: True)  # as on a GPU in bf16
    monkeypatch.setattr(loop, "circumstances", lambda *_, **found: found)
    found = {kind: trainer(kind, model={"kind": kind}).circumstances for kind in ("elasticast", "cnn", "aum")}
    assert found == {kind: {"compiled": kind == "elasticast", "graphs": False} for kind in found}
    assert [may_compile(tiny(model={"kind": kind}), "varlen") for kind in found] == [True, False, False]
    monkeypatch.setattr(loop, "speed_up", lambda *_, **__: False)  # as for a model of a user without blocks
    with complains(ElasticASTError, "train.compile", "on", "elasticast"):
        trainer(train={"compile": "on"})


@pytest.mark.parametrize("model", [{"kind": "cnn"}, {"kind": "aum"}, {"padding": "longest"}], ids=str)
def test_compiling_what_is_not_compiled_is_an_error_before_anything_runs(tiny, model):
    with complains(ValueError, "train.compile", "on", "auto"):
        tiny(model=model, train={"compile": "on"})


def interrupt(found: Trainer, step: int) -> None:
    """Train up to a step and save, as a run does that is told to stop."""
    stop_at(found, step)
    with pytest.raises(SystemExit) as caught:
        found.fit()
    assert caught.value.code == EXIT_CHECKPOINTED == 85


def history(folder: Path) -> list[dict]:
    with (folder / "history" / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def losses(folder: Path) -> list[tuple]:
    """Everything in a history but the speed."""
    return [tuple(row[name] for name in HISTORY_FIELDS[:5]) for row in history(folder)]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_the_same_seed_gives_the_same_weights(trainer, tmp_path):
    trainer("a", **BUSY).fit()
    trainer("b", **BUSY).fit()
    trainer("c", **BUSY, seed=1).fit()
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")
    assert losses(tmp_path / "a") == losses(tmp_path / "b") != losses(tmp_path / "c")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("batch", [{"clips": 4}, {"clips": None, "tokens": 150}])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(trainer, tmp_path, batch, precision):
    settings = {"view": BUSY["view"], "train": BUSY["train"] | {"batch": batch, "precision": precision}}
    trainer("whole", **settings).fit()
    for step in (3, 6):  # in the midst of an epoch, away from a checkpoint, and after a resume
        interrupt(trainer("parts", **settings), step)
        assert saved_checkpoints(tmp_path / "parts" / "checkpoint")[0].name == f"step-{step}"
        assert not (tmp_path / "parts" / "run.json").exists()
    trainer("parts", **settings).fit()
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert json.loads((tmp_path / "parts" / "run.json").read_text())["restarts"] == 2
    assert not (tmp_path / "parts" / "checkpoint").exists()


OPTIONS = {
    "random lengths and drop-out, rotary, CLS": {
        "model": {"positions": "rotary", "pooling": "cls"},
        "view": {"max_frames": 192, "cut_from": 32},
        "train": {"token_dropout": [0.0, 0.5]},
    },
    "longer than the table, pooled": {
        "model": {"positions": "interpolated", "pooling": "mean", "max_frames": 64},
        "view": {"compression": [1.0, 2.0], "resolution": "max_pool"},
    },
    "fractional": {"model": {"positions": "fractional"}},
    "sinusoidal": {"model": {"positions": "sinusoidal"}},
    "masked, shifted": {
        "model": {"kind": "ast", "time_offset": True, "prefix_tokens": 2},
        "view": {"frames": 192, "fill": "mask"},
    },
    "patch sizes": {
        "model": {"patch_sizes": {"sizes": [8, 16, 40], "remainder": "drop"}},
        "train": {"batch": {"clips": None, "tokens": 600}, "token_dropout": 0.2},
    },
    "patch sizes, kept, fixed": {
        "model": {"kind": "ast", "time_offset": True, "patch_sizes": {"sizes": [16, 12, 48], "remainder": "keep"}},
        "view": {"frames": 128, "fill": "mask"},
    },
    "buckets": {
        "model": {"kind": "ast", "pooling": "mean"},
        "view": {"frames": "native", "max_frames": 192},
        "train": {"batch": {"clips": 4, "buckets": True}},
    },
    "padded, buckets of tokens": {
        "model": {"positions": "grid", "padding": [24, 40, 64]},
        "view": {"max_frames": 192},
        "train": {"batch": {"clips": None, "tokens": 300, "buckets": True}, "token_dropout": 0.1},
    },
    "buckets of tokens, shifted": {
        "model": {"kind": "ast", "time_offset": True},
        "view": {"frames": "native", "max_frames": 192},
        "train": {"batch": {"clips": None, "tokens": 300, "buckets": True}, "sampler": "balanced"},
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_trains_and_goes_on_bit_for_bit(trainer, tmp_path, name):
    settings = {**OPTIONS[name], "train": {"steps": 7, "workers": 0} | OPTIONS[name].get("train", {})}
    trainer("whole", **settings).fit()
    interrupt(trainer("parts", **settings), 4)
    trainer("parts", **settings).fit()
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    processes = {**settings, "train": settings["train"] | {"workers": 2}}
    trainer("processes", **processes).fit()
    assert weights(tmp_path / "processes") == weights(tmp_path / "whole")


def test_a_killed_run_goes_on_from_its_last_checkpoint(trainer, tmp_path):
    trainer("whole", **BUSY).fit()
    killed = trainer("parts", **BUSY)
    update = killed._update
    killed._update = lambda *args: update(*args) if killed.step < 5 else pytest.fail("killed")
    with pytest.raises(pytest.fail.Exception):
        killed.fit()
    assert [row["step"] for row in history(tmp_path / "parts")] == list("12345")  # the checkpoint is of step 4
    trainer("parts", **BUSY).fit()
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert [int(row["step"]) for row in history(tmp_path / "parts")] == list(range(1, 9))


def test_statistics_in_the_settings_take_the_place_of_the_file(tiny, norm, prepared):
    file, data = prepared / "norm.json", read_data_hash(prepared)
    assert norm_of(tiny(), file, data) == norm
    for statistics in (file, None):
        assert norm_of(tiny(norm={"mean": -5, "std": 4.5}), statistics, data) == Norm(-5, 4.5)
    with complains(ElasticASTError, "--norm", "norm"):
        norm_of(tiny(), None, data)
    with complains(DataError, file, "data_sha256", data[:16], "aaaa"):
        norm_of(tiny(), file, "aaaa")


def test_the_command_trains_and_keeps_statistics_of_the_settings(tiny, prepared, programs, tmp_path):
    config = tiny(norm={"mean": -5, "std": 4.5}, train={"steps": 1})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = [programs / "python", "-m", "elasticast", "train", "--config", "config.yaml", "--data", str(prepared)]
    done = subprocess.run([*command, "--out", "run"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert load_model(tmp_path / "run").norm == Norm(-5, 4.5)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR2"])
def test_a_signal_stops_the_command_and_the_same_command_goes_on(tiny, trainer, prepared, tmp_path, name):
    config = tiny(**BUSY)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(json.loads(config.model_dump_json())))
    argv = ["elasticast", "train", "--config", "config.yaml", "--data", str(prepared)]
    argv += ["--norm", str(prepared / "norm.json"), "--out", "run"]
    code = (
        "import os, signal, sys\n"
        "from elasticast import cli\n"
        "from elasticast.training.loop import Trainer\n"
        "update = Trainer._update\n"
        "def interrupted(self, *args):\n"
        f"    if self.step == 4: os.kill(os.getpid(), signal.{name})\n"
        "    return update(self, *args)\n"
        "Trainer._update = interrupted\n"
        f"sys.argv = {argv}\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 85, done.stderr
    assert_names(done.stderr, "step 5")
    data_hash = json.loads((prepared / "summary.json").read_text())["sha256"]
    trainer("run", data_hash, **BUSY).fit()
    trainer("whole", data_hash, **BUSY).fit()
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_a_second_process_on_a_folder_is_refused(trainer, tmp_path):
    with (
        locked(tmp_path / "run" / "checkpoint" / "lock", ""),
        complains(ElasticASTError, tmp_path / "run"),
    ):
        trainer("run").fit()
    trainer("run").fit()  # the lock ends with its holder


def test_a_finished_run_trains_again_to_the_same(trainer, tmp_path):
    trainer("run").fit()
    first = weights(tmp_path / "run")
    trainer("run").fit()
    assert weights(tmp_path / "run") == first
    assert len(history(tmp_path / "run")) == 4
    assert len(list((tmp_path / "run" / "history").glob("events.out.*"))) == 1


def test_half_precision_needs_a_gpu(trainer):
    with complains(ElasticASTError, "train.precision", "fp16", "CUDA"):
        trainer(train={"precision": "fp16"})


@pytest.mark.parametrize("kind", ["elasticast", "ast", "aum", "cnn"])
def test_the_loss_goes_down(trainer, tmp_path, kind):
    trainer("run", model={"kind": kind}, train={"steps": 40, "batch": {"clips": 12}, "lr": 3.0e-3}).fit()
    found = [float(row["loss"]) for row in history(tmp_path / "run")]
    assert sum(found[-3:]) / 3 < 0.7 * found[0]


@pytest.mark.parametrize("batch", [{"clips": 5}, {"clips": None, "tokens": 150}])
def test_epochs_are_whole_passes(trainer, tmp_path, batch):
    found = trainer("run", train={"steps": None, "epochs": 3, "batch": batch})
    expected = [len(found.phases[0].sampler.epoch(epoch)) for epoch in range(3)]
    found.fit()
    epochs = [int(row["epoch"]) for row in history(tmp_path / "run")]
    assert [epochs.count(epoch) for epoch in range(4)] == [*expected, 0]


def test_every_log_every_steps_and_at_the_end(trainer, tmp_path):
    trainer("run", train={"steps": 7, "log_every": 3}).fit()
    assert [int(row["step"]) for row in history(tmp_path / "run")] == [3, 6, 7]


def test_what_a_run_records(tiny, trainer, tmp_path):
    trainer("run").fit()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert set(record) == {
        *(
            "experiment",
            "seed",
            "dataset",
            "task",
            "config_digest",
            "code_digest",
            "data_sha256",
            "device",
            "attention_backend",
        ),
        *("threads", "parameters", "steps", "seconds", "restarts", "peak_memory_mib", "init", "computed"),
        *(
            "distill",
            "ensemble",
            "impulse_responses",
            "phases",
            "stages",
            "trained_parameters",
            "training_flops",
            "energy",
        ),
        *("world_size", "devices", "clips_per_s", "tokens_per_s", "selection", "folder"),
        *("git_commit", "versions", "machine", "command", "files", "record_sha256"),
    }
    assert (record["experiment"], record["seed"], record["steps"], record["restarts"]) == ("tiny", 0, 4, 0)
    assert record["config_digest"] == digest(deciding(tiny()))
    assert (record["code_digest"], record["data_sha256"]) == (code_digest("train"), "data")
    assert (record["device"], record["attention_backend"]) == ("cpu", "sdpa")
    assert (record["world_size"], record["devices"]) == (1, ["cpu"])
    assert record["clips_per_s"] * record["seconds"] == pytest.approx(4 * tiny().train.batch.clips, rel=0.01)
    assert record["parameters"] > 10_000
    assert record["seconds"] > 0
    assert record["peak_memory_mib"] > 50
    assert set(history(tmp_path / "run")[0]) == set(HISTORY_FIELDS)
    assert all(float(row[name]) > 0 for row in history(tmp_path / "run") for name in HISTORY_FIELDS[5:])


# ---------------------------------------------------------------------------------------------
# The finished model
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def saved(trainer, train_clips, norm, tmp_path):
    found = trainer("run")
    save_model(tmp_path / "run", found.model, found.config, norm, train_clips.classes, train_clips.kind)
    return tmp_path / "run", found


def test_save_and_load(saved):
    folder, found = saved
    loaded = load_model(folder)
    assert (loaded.config, loaded.norm) == (found.config, found.inputs.norm)
    assert (loaded.classes, loaded.kind, loaded.config.task) == (found.inputs.clips.classes, "multi", "events")
    assert not loaded.model.training
    assert not loaded.notes
    expected, state = found.model.state_dict(), loaded.model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(value.cpu(), expected[name].cpu()) for name, value in state.items())


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "gone", "other"])
def test_damaged_weights_are_one_clear_error(saved, trainer, tmp_path, damage):
    folder, _ = saved
    path = folder / "model.safetensors"
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "other":
        other = trainer("other", model={"dim": 16})
        save_model(
            tmp_path / "other", other.model, other.config, other.inputs.norm, other.inputs.clips.classes, "multi"
        )
        path.write_bytes(weights(tmp_path / "other"))
    else:
        path.write_bytes({"cut": content[: len(content) // 2], "text": b"no weights" * 9, "empty": b""}[damage])
    with complains(DataError, path):
        load_model(folder)
    if damage == "other":  # they do not fit, even if the checksums do
        about = {key: value for key, value in read_json(folder / "model.json").items() if key != OWN}
        write_record(folder / "model.json", about, [path])
        with complains(DataError, folder, "trunk.norm.weight", [16], [32]):
            load_model(folder)


def test_a_folder_without_a_model_is_one_clear_error(saved, tmp_path):
    with complains(DataError, tmp_path / "nothing"):
        load_model(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with complains(DataError, tmp_path / "empty", "model.safetensors", "model.json"):
        load_model(tmp_path / "empty")
    (saved[0] / "model.json").write_text('{"format": ')
    with complains(DataError, saved[0] / "model.json"):
        load_model(saved[0])


# ---------------------------------------------------------------------------------------------
# Learning rate, optimiser, loss
# ---------------------------------------------------------------------------------------------


def rates(total=100, per_epoch=10.0, **settings) -> list[float]:
    train = Train(steps=total, batch={"clips": 1}, lr=0.1, **settings)
    return [learning_rate(train, step, total, per_epoch) for step in range(total)]


@pytest.mark.parametrize("kind", ["constant", "step", "cosine"])
def test_warm_up_is_linear_and_reaches_the_rate(kind):
    found = rates(warmup_steps=10, schedule={"kind": kind, "start_epoch": 5})
    assert found[:10] == pytest.approx([0.01 * (step + 1) for step in range(10)])
    assert found[10] == pytest.approx(0.1)
    assert max(found) == pytest.approx(0.1)


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 4))
def test_a_plateau_decays_as_in_pytorch(scores, patience):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    options = {"factor": 0.5, "patience": patience - 1, "threshold": 0.0, "eps": 0.0}
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", **options)
    train = Train(
        steps=100,
        batch={"clips": 1},
        lr=0.1,
        schedule={"kind": "plateau", "patience": patience},
        select={"split": "dev"},
    )
    for done in range(len(scores)):
        theirs.step(scores[done])
        found = learning_rate(train, 50, 100, 10.0, scores[: done + 1])
        assert found == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


@pytest.mark.parametrize("settings", [{}, {"select": {"split": "dev"}, "phases": [{"compression": 1.0, "share": 1.0}]}])
def test_a_plateau_needs_scores(settings):
    with complains(ValidationError, "schedule", "kind", "plateau", "select"):
        Train(steps=100, batch={"clips": 1}, lr=0.1, schedule={"kind": "plateau"}, **settings)


def test_warm_up_in_epochs_from_a_share_of_the_rate():
    found = rates(warmup_epochs=2, warmup_start=0.01, schedule={"kind": "constant"})
    assert found[:21] == pytest.approx([0.1 * (0.01 + 0.99 * step / 20) for step in range(20)] + [0.1])
    assert set(found[20:]) == {0.1}


def test_warm_up_that_holds_the_rate():
    found = rates(warmup_steps=40, warmup_hold=10, schedule={"kind": "constant"})
    assert found == pytest.approx([0.0] * 10 + [0.025] * 10 + [0.05] * 10 + [0.075] * 10 + [0.1] * 60)


def test_warm_up_is_in_steps_or_in_epochs():
    with pytest.raises(ValidationError, match="warmup_epochs"):
        rates(warmup_steps=10, warmup_epochs=2)


def test_constant():
    assert rates(schedule={"kind": "constant"}) == [0.1] * 100


@pytest.mark.parametrize("warmup", [0, 10])
def test_cosine_falls_to_nothing(warmup):
    found = rates(warmup_steps=warmup)[warmup:]
    assert all(a > b for a, b in pairwise(found))
    assert found[len(found) // 2] == pytest.approx(0.05)
    assert 0 < found[-1] < 0.1 * 1e-3


def test_step_decays_at_its_epochs():
    found = rates(schedule={"kind": "step", "gamma": 0.5, "start_epoch": 2, "every_epochs": 3})
    by_epoch = [found[10 * epoch : 10 * epoch + 10] for epoch in range(10)]
    assert all(len(set(epoch)) == 1 for epoch in by_epoch)
    assert [epoch[0] for epoch in by_epoch] == pytest.approx([0.1] * 2 + [0.05] * 3 + [0.025] * 3 + [0.0125] * 2)


def test_step_decay_of_the_paper_starts_at_the_second_epoch_and_halves_each():
    found = rates(schedule={"kind": "step"})
    assert found[::10] == pytest.approx([0.1, 0.1, *(0.1 * 0.5**k for k in range(1, 9))])


@pytest.mark.parametrize(("optimizer", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_decay_of_matrices_or_of_everything(trainer, optimizer, kind):
    model = trainer().model
    train = {"steps": 1, "batch": {"clips": 1}, "weight_decay": 0.3, "optimizer": optimizer}
    decayed, others = build_optimizer(model, Train(**train)).param_groups
    linear = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Linear)}
    assert {id(p) for p in decayed["params"]} == linear
    assert {id(p) for p in others["params"]} == {id(p) for p in model.parameters()} - linear
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    everything = build_optimizer(model, Train(**train, decay="all"))
    assert type(everything) is kind
    (group,) = everything.param_groups
    assert (len(group["params"]), group["weight_decay"]) == (len(list(model.parameters())), 0.3)


def test_losses_are_their_definitions():
    logits, one_hot = torch.randn(6, 4), torch.eye(4)[[0, 1, 2, 3, 0, 1]]
    log_p = logits.log_softmax(1)
    torch.testing.assert_close(compute_loss(logits, one_hot, "ce"), -(one_hot * log_p).sum(1).mean())
    soft = 0.3 * one_hot + 0.7 * one_hot.roll(1, 0)
    torch.testing.assert_close(compute_loss(logits, soft, "ce"), -(soft * log_p).sum(1).mean())
    p = logits.sigmoid()
    expected = -(soft * p.log() + (1 - soft) * (1 - p).log()).mean()
    torch.testing.assert_close(compute_loss(logits, soft, "bce"), expected)
    assert compute_loss(logits.bfloat16(), soft, "bce").dtype == torch.float32


# ---------------------------------------------------------------------------------------------
# A golden curve
# ---------------------------------------------------------------------------------------------


def test_golden_loss_curve(trainer, tmp_path):
    """The loss of a tiny ElasticAST over 30 steps; ``GOLDEN=refresh pytest -k golden`` writes a new curve."""
    settings = {"view": {"max_frames": 128}, "train": {**BUSY["train"], "steps": 30, "warmup_steps": 5}}
    trainer("run", **settings).fit()
    found = [float(row["loss"]) for row in history(tmp_path / "run")]
    if os.environ.get("GOLDEN") == "refresh":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps([round(loss, 6) for loss in found], indent=1) + "\n")
    expected = json.loads(GOLDEN.read_text())
    assert all(math.isfinite(loss) for loss in found)
    assert found == pytest.approx(expected, rel=1e-3), (
        "training gives other losses than before; if that is meant, refresh the curve with "
        "`GOLDEN=refresh pytest tests/unit/test_training.py -k golden` and say why in the commit"
    )
