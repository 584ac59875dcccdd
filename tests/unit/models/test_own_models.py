"""Models whose class is in a file of the user: settings, trust, training, saving, and weights to start from."""

import json
import shutil

import pytest
import torch

from elasticast.config import RunConfig, deciding
from elasticast.config.model import own_code
from elasticast.config.model.own_code import allow, resolve
from elasticast.config.reading import deep_merge, validate
from elasticast.data.padding import padded
from elasticast.errors import ConfigError, DataError
from elasticast.files import read_json
from elasticast.inference.classifier import load_pretrained
from elasticast.inference.export import export
from elasticast.models import build_model
from elasticast.models.pretrained import load_model, start_from
from elasticast.training.checkpoint import save_model
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import EXIT_CHECKPOINTED, Trainer
from tests.complaints import complains
from tests.unit.models.own_models import GRID, GRU, bag
from tests.unit.training.ranks import stop_at

pytestmark = pytest.mark.usefixtures("cpu")


@pytest.fixture(autouse=True)
def nothing_allowed(monkeypatch):
    """As in a new process: no file was allowed to run."""
    monkeypatch.setattr(own_code, "_ALLOWED", {})
    monkeypatch.setattr(own_code, "_SOURCES", {})


@pytest.fixture
def own(tiny, tmp_path):
    """Settings of a tiny run with a model in `own.py`, a file with this text."""

    def build(text, name, difference=None, **settings):
        (tmp_path / "own.py").write_text(text)
        run = tiny(**(difference or {}))
        model = resolve({"kind": f"own.py:{name}", **settings}, (tmp_path,))
        return RunConfig.model_validate({**run.model_dump(), "model": model})

    return build


@pytest.fixture
def trainer(train_clips, norm, tmp_path):
    def build(config, folder="run"):
        return Trainer(config, RunInputs(train_clips, norm, "data"), tmp_path / folder)

    return build


def forget():
    """Another process: nothing is allowed, no module of a user is loaded."""
    own_code._ALLOWED.clear()
    own_code._SOURCES.clear()


def test_settings_survive_their_file(own):
    config = own(GRU, "Gru", width=14, names=["b", "c"])
    forget()
    again = RunConfig.model_validate(json.loads(json.dumps(config.model_dump(mode="json"))))
    assert again == config
    assert again.model.kind == "own.py:Gru"
    assert again.model.values["width"] == 14
    assert again.model.traits.lengths == "padded"


def test_every_change_of_the_file_is_another_model(own):
    one, two = own(bag(), "Bag"), own(bag() + "# more\n", "Bag")
    assert deciding(one) != deciding(two)
    assert one.model_copy(update={"model": two.model}) == two


def test_nothing_runs_that_was_not_allowed(own, tmp_path):
    config = own(bag() + f"open({str(tmp_path / 'ran')!r}, 'a').write('x')\n", "Bag")
    assert (tmp_path / "ran").read_text() == "x"  # once, when a suite named it
    forget()
    RunConfig.model_validate(config.model_dump(mode="json"))
    with complains(DataError, "own.py:Bag", config.model.code.sha256[:16]):
        build_model(config, 3)
    (tmp_path / "own.py").write_text(bag() + "# other\n")
    allow(tmp_path / "own.py")
    with complains(DataError, "own.py:Bag", config.model.code.sha256[:16]):
        build_model(config, 3)


def test_padded_batches_hold_the_clips_and_zeros(tiny, train_clips):
    from tests.unit.models.test_models import pack, random_clip

    clips = [random_clip(0, 64), random_clip(1, 16), random_clip(2, 128)]
    batch = padded(pack(clips))
    assert len(batch) == 3
    for clip, patches, freq, time, mask in zip(clips, batch.patches, batch.freq, batch.time, batch.mask, strict=True):
        n = len(clip.patches)
        assert torch.equal(mask, torch.arange(len(mask)) < n)
        assert torch.equal(patches[:n], clip.patches)
        assert not patches[n:].any()
        assert torch.equal(freq[:n], clip.freq)
        assert torch.equal(time[:n], clip.time)


CASES = {
    "gru": (GRU, "Gru", {}),
    "grid": (GRID, "Grid", {"view": {"frames": 64}}),
    "bag": (bag(), "Bag", {"train": {"token_dropout": 0.2}}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_stopped_goes_on_to_the_same_weights(own, trainer, tmp_path, case):
    config = own(*CASES[case])
    trainer(config, "whole").fit()
    stopped = trainer(config, "stopped")
    stop_at(stopped, 2)
    with pytest.raises(SystemExit) as caught:
        stopped.fit()
    assert caught.value.code == EXIT_CHECKPOINTED
    trainer(config, "stopped").fit()
    whole, resumed = (load_model(tmp_path / name).model.state_dict() for name in ("whole", "stopped"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    record = read_json(tmp_path / "whole" / "run.json")
    assert record["model_file_sha256"] == config.model.code.sha256


def test_a_run_of_a_changed_file_does_not_use_the_old_checkpoint(own, trainer, tmp_path):
    stopped = trainer(own(bag(), "Bag"))
    stop_at(stopped, 2)
    with pytest.raises(SystemExit):
        stopped.fit()
    trainer(own(bag() + "# changed\n", "Bag")).fit()
    assert (tmp_path / "run" / "replaced-1").is_dir()


@pytest.fixture
def saved(own, norm, tmp_path, train_clips):
    """Folder of a trained model, and its configuration; no code is allowed any more."""

    def build(text=None, name="Bag", **settings):
        config, classes = own(text or bag(), name, **settings), train_clips.classes
        torch.manual_seed(0)
        folder = tmp_path / "saved"
        save_model(folder, build_model(config, len(classes)), config, norm, classes, "multi")
        forget()
        return folder, config

    return build


def test_a_model_that_brings_code_is_refused_without_trust(saved, tmp_path):
    folder, config = saved()
    for source in (folder, folder / "model.safetensors"):
        with complains(DataError, "own.py:Bag", folder / "model_code.py", "--trust-code"):
            load_model(source)
        with complains(DataError, "own.py:Bag", folder / "model_code.py", "--trust-code"):
            load_pretrained(source)
    assert (folder / "model_code.py").read_text() == bag()
    assert load_model(folder, trust_code=True).config == config


def test_a_file_that_the_suite_names_is_trusted_in_the_folder_too(saved, tmp_path):
    folder, _ = saved()
    allow(tmp_path / "own.py")
    load_model(folder)


def test_code_next_to_weights_is_verified_before_it_runs(saved, tmp_path):
    folder, config = saved()
    with (folder / "model_code.py").open("a") as file:
        file.write(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with complains(DataError, folder / "model_code.py", config.model.code.sha256[:16]):
        load_model(folder, trust_code=True)
    (folder / "model_code.py").unlink()
    with complains(DataError, folder / "model_code.py"):
        load_model(folder, trust_code=True)
    assert not (tmp_path / "ran").exists()


def test_an_export_holds_the_code_and_needs_trust_too(own, trainer, tmp_path):
    trainer(own(bag(), "Bag")).fit()
    export(tmp_path / "run", tmp_path / "out")
    forget()
    with complains(DataError, "--trust-code"):
        export(tmp_path / "run", tmp_path / "other")
    with complains(DataError, tmp_path / "out" / "model_code.py", "--trust-code"):
        load_model(tmp_path / "out")
    assert "trust_code=True" in (tmp_path / "out" / "README.md").read_text()
    shutil.rmtree(tmp_path / "run")
    one = load_model(tmp_path / "out", trust_code=True)
    assert one.config.model.kind == "own.py:Bag"


def test_runs_start_from_weights_of_the_same_kind(saved, own, train_clips):
    folder, config = saved()
    given = load_model(folder, trust_code=True).model.state_dict()
    model = build_model(config, len(train_clips.classes))
    record = start_from(str(folder), model, config, train_clips.classes)
    assert not record["notes"]
    assert all(torch.equal(value, given[name]) for name, value in model.state_dict().items())
    model = build_model(config, 3)
    fresh = model.head.weight.clone()
    notes = start_from(str(folder), model, config, list("abc"))["notes"]
    assert torch.equal(model.embed.weight, given["embed.weight"])
    assert torch.equal(model.head.weight, fresh)
    assert len(notes) == 1


def test_starting_from_another_kind_or_size_is_refused(saved, own, tiny):
    folder, _ = saved()
    elastic = tiny()
    with complains(DataError, folder, "own.py:Bag", "elasticast"):
        start_from(str(folder), build_model(elastic, 3), elastic, list("abc"))
    other = own(bag(init="self.more = nn.Linear(8, 8)"), "Bag")
    with complains(DataError, folder, "more.weight"):
        start_from(str(folder), build_model(other, 3), other, list("abc"))


BROKEN = {
    "no class": ("x = 1\n", ("Bag", "own.py")),
    "syntax": ("class Bag:\n    def\n", ("own.py", "line 2", "SyntaxError")),
    "error": ("import torch\n\nraise RuntimeError('no luck')\n", ("own.py", "line 3", "no luck")),
    "exit": ("import sys\nsys.exit(3)\n", ("own.py", "line 2")),
    "no settings": ("class Bag:\n    forward = print\n", ("own.py", "Bag", "Settings")),
    "no forward": (
        "from elasticast.config import ModelSettings\n\n\nclass Bag:\n    Settings = ModelSettings\n",
        ("own.py", "Bag", "forward"),
    ),
    "traits": (
        bag(settings="\n    @property\n    def traits(self):\n        return Traits(length=3)\n"),
        ("own.py", "length"),
    ),
    "reserved": (bag(settings="    code: int = 3\n"), ("own.py", "Bag", "code")),
    "another file": ("import neighbour\n" + bag(), ("own.py", "line 1", "neighbour")),
    "relative": ("from . import neighbour\n" + bag(), ("own.py", "line 1")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused_with_their_line(tmp_path, case):
    text, tokens = BROKEN[case]
    (tmp_path / "own.py").write_text(text)
    (tmp_path / "neighbour.py").write_text("y = 2\n")
    with complains(ConfigError, "kind", *tokens):
        resolve({"kind": "own.py:Bag"}, (tmp_path,))


def test_settings_are_checked_like_all_others(tmp_path):
    (tmp_path / "own.py").write_text(GRU)
    with complains(ConfigError, "width", 0):
        resolve({"kind": "own.py:Gru", "width": 0}, (tmp_path,))
    with complains(ConfigError, "wdith", "width"):
        resolve({"kind": "own.py:Gru", "wdith": 3}, (tmp_path,))
    with complains(ConfigError, "code"):
        resolve({"kind": "own.py:Gru", "code": {"sha256": "0" * 64}}, (tmp_path,))
    with complains(ConfigError, "kind", "none.py:Gru", tmp_path):
        resolve({"kind": "none.py:Gru"}, (tmp_path,))


def test_traits_decide_what_a_run_may_be(own):
    grid = own(GRID, "Grid", {"view": {"frames": 64}}).model_dump()
    for difference, key in (
        ({"view": {"frames": "native"}}, "view.frames"),
        ({"view": {"compression": [1.0, 2.0]}}, "view.compression"),
        ({"train": {"token_dropout": 0.5}}, "train.token_dropout"),
        ({"view": {"fill": "mask"}}, "view.fill"),
    ):
        with complains(ConfigError, "own.py:Grid", key):
            validate(RunConfig, deep_merge(grid, difference), "config.yaml")
