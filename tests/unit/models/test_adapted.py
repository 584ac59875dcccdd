"""Adapted runs: what they train and keep, and how a whole model comes of it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from elasticast.data.norm import read_norm
from elasticast.data.packing import pack
from elasticast.errors import DataError
from elasticast.inference.export import export
from elasticast.models.adapters import is_added
from elasticast.models.pretrained import init_source, load_model
from elasticast.models.weights.sources import read_weights
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import Trainer
from tests.complaints import complains
from tests.unit.models.test_adapters import KINDS
from tests.unit.models.test_models import random_clip
from tests.unit.training.test_training import interrupt, weights

pytestmark = pytest.mark.usefixtures("cpu")
AST = {"kind": "ast", "prefix_tokens": 2}


@pytest.fixture(scope="module")
def base(tiny, prepared, train_clips, tmp_path_factory):
    """Folder of a trained AST of 64 frames."""
    out = tmp_path_factory.mktemp("runs") / "base" / "seed0"
    config = tiny(experiment="base", model=AST)
    Trainer(config, RunInputs(train_clips, read_norm(prepared / "norm.json"), "data"), out).fit()
    return out


@pytest.fixture
def runs(base, tmp_path):
    """A folder of runs with a copy of the trained AST."""
    shutil.copytree(base, tmp_path / "runs" / "base" / "seed0")
    return tmp_path / "runs"


@pytest.fixture
def trainer(tiny, train_clips, norm, runs):
    """A trainer of a run that adapts the AST, or another run, in a folder of `runs`."""

    def build(name, kind, init="run:base", model=AST, **difference):
        config = tiny(experiment="adapted", model={**model, "init": init, "adapt": KINDS.get(kind)}, **difference)
        out = runs / name / "seed0"
        source = init and init_source(init, runs.parent, out)
        return Trainer(config, RunInputs(train_clips, norm, "data", init=source), out)

    return build


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_keeps_what_it_trained_and_loads_as_a_whole(trainer, runs, kind):
    found = trainer("adapted", kind)
    found.fit()
    kept, theirs = (load_file(runs / name / "seed0" / "model.safetensors") for name in ("adapted", "base"))
    trained = {name for name, p in found.model.named_parameters() if p.requires_grad}
    assert kept.keys() == trained
    record = json.loads((runs / "adapted" / "seed0" / "run.json").read_text())
    assert record["trained_parameters"] == sum(value.numel() for value in kept.values()) < record["parameters"]
    loaded = load_model(runs / "adapted" / "seed0").model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in found.model.state_dict().items())
    assert all(torch.equal(loaded[name], value) for name, value in theirs.items() if name not in trained)
    assert any(not torch.equal(kept[name], theirs[name]) for name in kept.keys() & theirs.keys())


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_is_whole_and_the_same_model(trainer, runs, tmp_path, kind, equal):
    trainer("adapted", kind).fit()
    export(runs / "adapted" / "seed0", tmp_path / "out")
    adapted = load_model(runs / "adapted" / "seed0").model
    shutil.rmtree(runs)
    found = load_model(tmp_path / "out")
    batch = pack([random_clip(i, 64, 8) for i in range(3)])
    with torch.no_grad():
        equal(f"{kind}, exported", found.model(batch), adapted(batch))
    plain = not any(map(is_added, found.model.state_dict()))
    assert plain == (found.config.model.adapt is None) == (kind.split()[0] in ("linear", "bitfit", "lora"))
    assert str(tmp_path) not in (tmp_path / "out" / "model.json").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(trainer, runs, kind):
    trainer("whole", kind).fit()
    interrupt(trainer("parts", kind), 3)
    state = torch.load(runs / "parts" / "seed0" / "checkpoint" / "step-3" / "state.pt", weights_only=True)
    assert state["model"].keys() == load_file(runs / "whole" / "seed0" / "model.safetensors").keys()
    trainer("parts", kind).fit()
    assert weights(runs / "parts" / "seed0") == weights(runs / "whole" / "seed0")


def test_the_best_weights_are_kept(tiny, trainer, runs, train_clips, test_clips, norm):
    config = tiny(model={**AST, "init": "run:base", "adapt": KINDS["lora"]}, train={"select": {"split": "test"}})
    out = runs / "selected" / "seed0"
    inputs = RunInputs(train_clips, norm, "data", test_clips, init_source("run:base", runs, out))
    Trainer(config, inputs, out).fit()
    assert load_model(out).config == config


def test_an_adapted_ast_becomes_a_model_of_any_length(trainer, runs):
    model = {"kind": "elasticast", "pooling": "cls"}
    trainer("elastic", "lora", model=model).fit()
    found, theirs = load_model(runs / "elastic" / "seed0").model, load_model(runs / "base" / "seed0").model
    assert torch.equal(found.trunk.blocks[1].mlp.fc1.weight, theirs.trunk.blocks[1].mlp.fc1.weight)
    assert found.positions.time.norm(dim=1).min() > 0  # 4 positions of the AST became 16
    assert len(found.positions.time) == 16
    found(pack([random_clip(0, 256), random_clip(1, 16)]))


def test_a_run_starts_from_the_merged_weights_of_an_adapted_one(trainer, runs):
    trainer("adapted", "lora").fit()
    again = trainer("again", "lora", init="run:adapted")
    name = "trunk.blocks.0.attn.qkv.weight"
    adapted = read_weights(runs / "adapted" / "seed0")
    assert not torch.equal(again.model.state_dict()[name], adapted.tensors[name])
    again.fit()
    load_model(runs / "again" / "seed0")
    assert not any(map(is_added, trainer("tuned", None, init="run:adapted").model.state_dict()))


@pytest.mark.parametrize("kind", ["prompts", "bottleneck"])
def test_a_run_does_not_start_from_what_cannot_be_merged(trainer, kind):
    trainer("adapted", kind).fit()
    with complains(DataError, "model.init", "model.adapt.kind", kind, "run:base"):
        trainer("again", "lora", init="run:adapted")


def test_results_can_move_as_a_whole(trainer, runs, tmp_path):
    trainer("adapted", "lora").fit()
    runs.rename(tmp_path / "elsewhere")
    load_model(tmp_path / "elsewhere" / "adapted" / "seed0")


def test_a_relative_path_is_recorded_from_the_folder_of_the_run(tiny, train_clips, norm, runs, monkeypatch):
    monkeypatch.chdir(runs)
    init, out = "base/seed0", Path("adapted/seed0")
    config = tiny(experiment="adapted", model={**AST, "init": init, "adapt": KINDS["lora"]})
    Trainer(config, RunInputs(train_clips, norm, "data", init=init_source(init, Path(), out)), out).fit()
    assert json.loads((out / "model.json").read_text())["base"]["source"] == "../../base/seed0"
    monkeypatch.chdir("/")
    load_model(runs / out)


def test_other_weights_than_those_that_were_adapted_are_refused(trainer, runs):
    trainer("adapted", "bitfit").fit()
    shutil.rmtree(runs / "base")
    with complains(DataError, runs / "adapted" / "seed0" / "model.json", "base"):
        load_model(runs / "adapted" / "seed0")
    trainer("base", None, init=None, seed=1).fit()
    with complains(DataError, runs / "adapted" / "seed0" / "model.json", "base.source"):
        load_model(runs / "adapted" / "seed0")


@pytest.mark.parametrize(
    "model", [{"kind": "ast", "pooling": "attention"}, {"kind": "elasticast", "positions": "rotary"}], ids=str
)
def test_frozen_parameters_come_from_the_weights(trainer, model):
    assert all(value.isfinite().all() for value in trainer("adapted", "lora", model=model).model.state_dict().values())


def test_frozen_parameters_that_the_weights_lack_are_refused(trainer, runs):
    trainer("rotary", None, model={"kind": "elasticast", "positions": "rotary"}, init=None).fit()
    with complains(DataError, "model.init", "positions.freq", "positions.time", "model.adapt.kind", "lora"):
        trainer("adapted", "lora", init="run:rotary", model={"kind": "elasticast"})
    with complains(DataError, "model.init", "prefix", "prefix_positions"):
        trainer("adapted", "lora", init="run:rotary", model=AST)


def test_other_formats_have_low_rank_updates_added_and_refuse_prompts(trainer, runs, tmp_path):
    trainer("lora", "lora").fit()
    export(runs / "lora" / "seed0", tmp_path / "hf", "huggingface")
    batch = pack([random_clip(0, 64)])
    with torch.inference_mode():
        found, expected = (load_model(folder).model(batch) for folder in (tmp_path / "hf", runs / "lora" / "seed0"))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    trainer("prompts", "prompts").fit()
    for to in ("huggingface", "torch-export"):
        with complains(DataError, runs / "prompts" / "seed0", "model.adapt", "prompts"):
            export(runs / "prompts" / "seed0", tmp_path / to, to)
