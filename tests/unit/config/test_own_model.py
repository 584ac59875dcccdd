"""Suites and ablations that name a model in a file: where it is, what is inherited, whose mistake a mistake is."""

import re
from pathlib import Path

import pytest
import yaml

from elasticast.benchmarks.check_model import check_model
from elasticast.benchmarks.check_subject import open_subject
from elasticast.config import RunConfig, digest
from elasticast.config.load_ablation import load_ablations
from elasticast.config.load_suite import load_resolved_suite, load_suite
from elasticast.errors import ConfigError
from elasticast.plan import Plan
from tests.complaints import complains
from tests.unit.config.test_merging import DATASET, PARENT
from tests.unit.models.own_models import GRU, bag

PAGE = (Path(__file__).parents[3] / "docs/your_model.md").read_text()
BLOCK = re.compile(r"^```python\n# (my_models\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLE = dict(BLOCK.findall(PAGE))["my_models.py"]


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load a suite with more experiments, and `own.py` next to it or in the current folder."""

    def run(text=GRU, place="suites", ablations=None, every=None, **experiments):
        project = tmp_path / "project"
        for folder in ("suites", "datasets", "ablations"):
            (project / "config" / folder).mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(project)
        (Path("config/suites") if place == "suites" else Path(place)).joinpath("own.py").write_text(text)
        suite = {**PARENT, "experiments": {**PARENT["experiments"], **experiments}, "every": every or {}}
        Path("config/datasets/tiny.yaml").write_text(yaml.safe_dump(DATASET))
        Path("config/suites/suite.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))
        for name, value in (ablations or {}).items():
            Path(f"config/ablations/{name}.yaml").write_text(yaml.safe_dump(value, sort_keys=False))
        return load_suite("suite")

    return run


OWN = {"label": "Own", "model": {"kind": "own.py:Gru", "width": 8}}


@pytest.mark.parametrize("place", ["suites", "."])
def test_the_file_is_next_to_the_suite_or_in_the_current_folder(load, place):
    suite = load(place=place, own=OWN)
    plan = Plan(suite)
    assert suite.runs["own"].model.values["width"] == 8
    assert Path(plan.model_file("own")) == Path("own.py" if place == "." else "config/suites/own.py")
    assert plan.model_file("elastic") == []


def test_the_place_of_the_file_decides_nothing(load):
    one, two = (load(place=place, own=OWN).run_config("own", 0) for place in ("suites", "."))
    assert digest(one) == digest(two)
    assert one.model.kind == "own.py:Gru"


def test_settings_of_other_kinds_are_not_inherited(load):
    suite = load(
        own=OWN,
        more={"base": "own", "model": {"width": 10}},
        back={"base": "own", "label": "back", "model": {"kind": "elasticast", "dim": 96}},
        other={"base": "elastic", "label": "other", "model": {"kind": "own.py:Gru", "patch": 32}},
    )
    assert set(suite.runs["own"].model.values) == {
        "patch",
        "patch_sizes",
        "stride",
        "backend",
        "init",
        "width",
        "names",
    }
    assert suite.runs["more"].model.values["width"] == 10
    assert (suite.runs["back"].model.dim, suite.runs["back"].model.depth) == (96, 12)
    assert (suite.runs["other"].model.patch, suite.runs["other"].model.values["width"]) == (32, 12)


def test_the_experiments_of_other_kinds_are_the_same_with_it(load):
    with_it, without = load(own=OWN), load()
    assert all(digest(run) == digest(with_it.runs[name]) for name, run in without.runs.items())


def test_mistakes_are_at_their_place(load):
    for model, key, value in (
        ({"kind": "own.py:Gru", "width": 0}, "experiments.own.model.width", 0),
        ({"kind": "own.py:Gru", "depth": 2}, "experiments.own.model.depth", "width"),
        ({"kind": "own.py:Gru", "width": 7}, "experiments.own.model.width", 7),  # found by its method `problems`
        ({"kind": "nothing.py:Gru"}, "experiments.own.model.kind", "nothing.py:Gru"),
        ({"kind": "own.py:Nothing"}, "experiments.own.model.kind", "Gru"),
        ({"kind": "own:Gru"}, "experiments.own.model.kind", "own:Gru"),
    ):
        with complains(ConfigError, "config/suites/suite.yaml", key, value):
            load(own={"label": "Own", "model": model})
    with complains(ConfigError, "config/suites/suite.yaml", "every.model.depth"):
        load(own=OWN, every={"model": {"depth": 3}})


def test_reading_what_was_resolved_runs_no_code(load, tmp_path):
    suite = load(text=GRU + f"\nopen({str(tmp_path / 'ran')!r}, 'a').write('x')\n", own=OWN)
    assert (tmp_path / "ran").read_text() == "x"
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump(suite.model_dump(mode="json"), sort_keys=False))
    Path("config/suites/own.py").unlink()
    assert load_resolved_suite(path) == suite
    assert (tmp_path / "ran").read_text() == "x"


def test_ablations_vary_its_settings_and_compare_it_with_others(load):
    grid = {"title": "Width", "base": "own", "grid": {"model.width": [8, 10]}}
    kinds = {
        "title": "Kinds",
        "base": "elastic",
        "variants": {"own": {"label": "own", "model": {"kind": "own.py:Gru"}}},
    }
    suite = load(own=OWN, ablations={"width": grid, "kinds": kinds})
    ablations, errors = load_ablations(suite)
    assert not errors
    assert [run.model.values["width"] for run in ablations["width"].runs.values()] == [8, 10]
    assert ablations["kinds"].runs["own"].model.kind == "own.py:Gru"
    assert not [key for key in ablations["kinds"].factors["own"] if key.startswith("model.code")]
    plan = Plan(suite, ablations)
    assert plan.model_file("own", "kinds") == "config/suites/own.py"


def test_the_model_of_the_page_keeps_the_contract(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my_models.py").write_text(EXAMPLE)
    subject = open_subject("my_models.py:Bag", {"width": 8})
    subject.longest = subject.time_patches(5.0)
    results = check_model(subject)
    assert {result.outcome for result in results} == {"passed", "not applicable"}


def test_the_page_lists_every_trait_and_setting():
    from elasticast.config import ModelSettings, Traits

    assert all(f"| `{name}` |" in PAGE for name in Traits.__dataclass_fields__)
    assert all(f"`{name}`" in PAGE for name in ModelSettings.model_fields)


def test_a_model_of_one_length_needs_a_fixed_view(load):
    text = bag(settings="\n    @property\n    def traits(self):\n        return Traits(lengths='one')\n")
    with complains(ConfigError, "config/suites/suite.yaml", "own.py:Bag", "experiments.own.view.frames"):
        load(text=text, own={"label": "Own", "model": {"kind": "own.py:Bag"}})
    suite = load(text=text, own={"label": "Own", "model": {"kind": "own.py:Bag"}, "view": {"frames": 64}})
    assert suite.runs["own"].fixed_length
    assert isinstance(suite.run_config("own", 0), RunConfig)
