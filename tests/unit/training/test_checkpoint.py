"""Checkpoints: the last two are kept, every byte is verified, and none is replaced in silence."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from elasticast.checksums import read_record
from elasticast.config import RunConfig
from elasticast.config.deciding import NO_EFFECT, deciding, without_effect
from elasticast.config.load_suite import load_run_config
from elasticast.errors import ConfigError, DataError, ElasticASTError
from elasticast.training import loop
from elasticast.training.checkpoint import Checkpoints, saved_checkpoints
from elasticast.training.distributed import World
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import Trainer
from tests.complaints import assert_names, complains
from tests.unit.training.test_training import BUSY, interrupt, losses, weights

pytestmark = pytest.mark.usefixtures("cpu")


@pytest.fixture
def trainer(tiny, train_clips, norm, tmp_path):
    def build(folder="run", data_hash="data", **difference):
        return Trainer(tiny(**difference), RunInputs(train_clips, norm, data_hash), tmp_path / folder)

    return build


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, train_clips, norm):
    """A run that stopped at step 5, with checkpoints of steps 4 and 5, and its weights if nothing stops it."""
    from tests.conftest import make_config

    out = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        Trainer(make_config(**BUSY), RunInputs(train_clips, norm, "data"), out / "whole").fit()
        interrupt(Trainer(make_config(**BUSY), RunInputs(train_clips, norm, "data"), out / "run"), 5)
    return out


@pytest.fixture
def run(stopped, tmp_path):
    """A copy of the stopped run."""
    shutil.copytree(stopped / "run", tmp_path / "run")
    return tmp_path / "run"


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def test_the_last_two_are_kept(run):
    found = saved_checkpoints(run / "checkpoint")
    assert [path.name for path in found] == ["step-5", "step-4"]
    assert all({"state.pt", "checkpoint.json"} == {file.name for file in path.iterdir()} for path in found)


@pytest.mark.parametrize("damage", ["state.pt", "checkpoint.json", "no state.pt", "no checkpoint.json", "cut", "empty"])
def test_the_one_before_a_damaged_checkpoint_gives_the_same_weights(trainer, stopped, run, caplog, damage):
    path = run / "checkpoint" / "step-5"
    if damage.startswith("no "):
        (path / damage.removeprefix("no ")).unlink()
    elif damage in ("cut", "empty"):
        state = (path / "state.pt").read_bytes()
        (path / "state.pt").write_bytes(state[: len(state) // 2 if damage == "cut" else 0])
    else:
        flip(path / damage, (path / damage).stat().st_size // 2)
    with caplog.at_level(logging.WARNING):
        trainer(**BUSY).fit()
    assert_names(caplog.text, path)
    assert weights(run) == weights(stopped / "whole")
    assert losses(run) == losses(stopped / "whole")


def test_no_flipped_bit_of_a_checkpoint_is_used(trainer, stopped, run):
    """The last checkpoint is used if and only if no bit of it is flipped."""
    found, path = trainer(**BUSY).checkpoints, run / "checkpoint" / "step-5"
    rng = np.random.default_rng(0)
    for _ in range(100):
        file = path / rng.choice(["state.pt", "checkpoint.json"], p=[0.8, 0.2])
        position = int(rng.integers(file.stat().st_size))
        flip(file, position)
        assert found.load()["step"] == 4, (file.name, position)
        flip(file, position)
    assert found.load()["step"] == 5


def test_two_damaged_checkpoints_are_one_clear_error_and_stay(trainer, run):
    for name in ("step-4", "step-5"):
        flip(run / "checkpoint" / name / "state.pt", 1000)
    with complains(DataError, run / "checkpoint", "step-4", "step-5"):
        trainer(**BUSY).fit()
    assert len(saved_checkpoints(run / "checkpoint")) == 2


def test_a_damaged_checkpoint_does_not_take_the_place_of_a_good_one(run, trainer):
    """After going on from step 4, the damaged checkpoint of step 5 is not one of the two that are kept."""
    flip(run / "checkpoint" / "step-5" / "state.pt", 1000)
    found = trainer(**BUSY).checkpoints
    state = found.load()
    found.save(4, state | {"step": 4})
    assert [path.name for path in saved_checkpoints(run / "checkpoint")] == ["step-4"]
    found.save(6, state | {"step": 6})
    assert [path.name for path in saved_checkpoints(run / "checkpoint")] == ["step-6", "step-4"]


@pytest.mark.parametrize("moment", ["torch.save", "write_record", "rename"])
def test_a_checkpoint_that_cannot_be_written_leaves_the_others(run, trainer, monkeypatch, moment):
    found = trainer(**BUSY).checkpoints
    state = found.load()

    def full(*_):
        raise OSError(28, "No space left on device")

    target = {"torch.save": "torch.save", "write_record": "elasticast.training.checkpoint.write_record"}
    monkeypatch.setattr(target.get(moment, "pathlib.Path.rename"), full)
    with pytest.raises(OSError, match="No space"):
        found.save(6, state)
    monkeypatch.undo()
    assert sorted(path.name for path in (run / "checkpoint").glob("*step*")) == ["step-4", "step-5"]
    assert found.load()["step"] == 5


OTHER = {
    "settings": ({"train": {**BUSY["train"], "lr": 2.0e-3}}, ["settings.train.lr", 0.001, 0.002]),
    "a mask": ({"train": {**BUSY["train"], "spec_augment": {"freq_bins": 8}}}, ["freq_bins", 24, 8]),
    "seed": ({"seed": 1}, ["settings.seed", 0, 1]),
    "data": ({"data_hash": "other"}, ["data_sha256", "data", "other"]),
    "code": ({}, ["code", "other"]),
}


@pytest.mark.parametrize("name", OTHER)
def test_a_checkpoint_of_another_run_is_moved_aside_and_what_differs_is_said(
    trainer, run, tmp_path, monkeypatch, caplog, name
):
    other, said = OTHER[name]
    if name == "code":
        monkeypatch.setattr(loop, "training_code", lambda _: "other")
    before = {path.name: (path / "state.pt").read_bytes() for path in saved_checkpoints(run / "checkpoint")}
    settings = {**BUSY, **other}
    trainer("fresh", **settings).fit()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        trainer("run", **settings).fit()
    assert_names(caplog.text, run / "replaced-1", *said)
    assert weights(run) == weights(tmp_path / "fresh")
    assert losses(run) == losses(tmp_path / "fresh")
    assert json.loads((run / "run.json").read_text())["restarts"] == 0
    aside = run / "replaced-1" / "checkpoint"
    assert {path.name: (path / "state.pt").read_bytes() for path in saved_checkpoints(aside)} == before


def test_what_was_moved_aside_can_be_moved_back(trainer, stopped, run):
    other = {**BUSY, "seed": 1}
    interrupt(trainer("run", **other), 3)
    interrupt(trainer("run", **BUSY), 3)  # moves the checkpoints of seed 1 aside, too
    assert {path.name for path in run.glob("replaced-*")} == {"replaced-1", "replaced-2"}
    shutil.rmtree(run / "checkpoint")
    shutil.rmtree(run / "history")
    for folder in (run / "replaced-1").iterdir():
        shutil.move(folder, run)
    trainer("run", **BUSY).fit()
    assert weights(run) == weights(stopped / "whole")
    assert losses(run) == losses(stopped / "whole")


# ---------------------------------------------------------------------------------------------
# Settings that cannot change the weights
# ---------------------------------------------------------------------------------------------

UNIMPORTANT = {"train.log_every": 7, "train.checkpoint_every": 5, "train.workers": 2}


def declared(model: type, prefix: str = "") -> set[str]:
    """Dotted names of all fields of a run that are declared to change no result."""
    found = set()
    for name, field in model.model_fields.items():
        if field.json_schema_extra == NO_EFFECT:
            found.add(prefix + name)
        elif isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
            found |= declared(field.annotation, f"{prefix}{name}.")
    return found


def test_the_settings_that_are_declared_to_change_no_result_are_those_proven_here():
    assert declared(RunConfig) == set(UNIMPORTANT)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("key", UNIMPORTANT)
def test_they_change_no_bit_of_the_weights(trainer, tmp_path, key, threads):
    """With everything that draws random numbers; also with several threads, of which a data loader process has one."""
    other = {**BUSY, "train": {**BUSY["train"], key.removeprefix("train."): UNIMPORTANT[key]}}
    torch.set_num_threads(threads)
    try:
        trainer("one", **BUSY).fit()
        trainer("other", **other).fit()
    finally:
        torch.set_num_threads(1)
    assert weights(tmp_path / "one") == weights(tmp_path / "other")
    records = [read_record(tmp_path / name / "run.json", "") for name in ("one", "other")]
    assert records[0]["config_digest"] == records[1]["config_digest"]


def test_a_run_goes_on_when_they_change(trainer, stopped, run):
    changed = {key.removeprefix("train."): value for key, value in UNIMPORTANT.items()}
    trainer("run", **{**BUSY, "train": {**BUSY["train"], **changed}}).fit()
    assert weights(run) == weights(stopped / "whole")
    assert json.loads((run / "run.json").read_text())["restarts"] == 1
    assert not list(run.glob("replaced-*"))


def test_all_other_settings_are_part_of_the_identity(tiny):
    assert set(deciding(tiny())) == set(RunConfig.model_fields)
    assert {f"train.{name}" for name in tiny().train.model_dump().keys() - deciding(tiny())["train"].keys()} == set(
        UNIMPORTANT
    )


@pytest.mark.parametrize(("draw", "same"), [("step", True), ("process", False)])
def test_the_number_of_processes_counts_if_each_draws_a_size_of_patches(tiny, train_clips, norm, tmp_path, draw, same):
    config = tiny(model={"patch_sizes": {"sizes": [8, 16], "draw": draw}})
    one, two = (
        Trainer(config, RunInputs(train_clips, norm, "data"), tmp_path / "run", World(0, size)) for size in (1, 2)
    )
    assert (one.checkpoints.identity == two.checkpoints.identity) == same


def test_the_workflow_gives_them_apart_from_the_others(tiny, tmp_path):
    run = tiny(train={key.removeprefix("train."): value for key, value in UNIMPORTANT.items()})
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(deciding(run)))
    assert load_run_config(path).train.workers == 0
    assert load_run_config(path, without_effect(run)) == run
    for also, key in [({"train": {"lr": 0.5}}, "lr"), ({"seed": 3}, "seed"), ({"train": {"wrkers": 1}}, "wrkers")]:
        with complains(ConfigError, "--also", key):
            load_run_config(path, also)


# ---------------------------------------------------------------------------------------------
# Rounding errors
# ---------------------------------------------------------------------------------------------


def test_a_run_that_goes_on_with_other_threads_says_so_and_records_it(trainer, run, caplog):
    torch.set_num_threads(3)
    try:
        with caplog.at_level(logging.WARNING):
            trainer(**BUSY).fit()
    finally:
        torch.set_num_threads(1)
    assert_names(caplog.text, "threads", 1, 3)
    computed = json.loads((run / "run.json").read_text())["computed"]
    assert [(part["from_step"], part["threads"]) for part in computed] == [(0, 1), (5, 3)]


def test_a_run_that_goes_on_as_before_records_one_part(trainer, run, caplog):
    with caplog.at_level(logging.WARNING):
        trainer(**BUSY).fit()
    assert not caplog.text
    (part,) = json.loads((run / "run.json").read_text())["computed"]
    assert (part["from_step"], part["threads"], part["world_size"], part["device"]) == (0, 1, 1, "cpu")


@pytest.mark.parametrize("where", ["model", "optimizer"])
def test_a_value_that_is_not_finite_is_not_saved(trainer, run, where):
    found = trainer(**BUSY).checkpoints
    state = found.load()
    tensors = state["model"] if where == "model" else state["optimizer"]["state"][0]
    name = "head.bias" if where == "model" else "exp_avg_sq"
    tensors[name] = torch.full_like(tensors[name], float("inf"))
    with complains(ElasticASTError, "step 6", name):
        found.save(6, state)
    assert [path.name for path in saved_checkpoints(run / "checkpoint")] == ["step-5", "step-4"]


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    assert Checkpoints(tmp_path, {}).load() is None
