"""Ways to adapt a model: settings that are refused, before anything runs, and what experiments inherit."""

from pathlib import Path

import pytest
import yaml

from elasticast.config import Evaluation
from elasticast.config.evaluation import sweep_problems
from elasticast.config.load_suite import load_suite, order_problems
from elasticast.config.merging import merge_difference
from elasticast.config.model.adapting import ADAPTATIONS
from elasticast.errors import ConfigError
from tests.complaints import assert_names, complains

ROOT = Path(__file__).parents[3]


@pytest.fixture
def suite(tmp_path):
    """Loads suite `mini` with a difference in its experiment `events_elastic`."""

    def load(difference):
        (tmp_path / "suites").mkdir()
        (tmp_path / "datasets").symlink_to(ROOT / "config" / "datasets")
        content = yaml.safe_load((ROOT / "config" / "suites" / "mini.yaml").read_text())
        content["experiments"]["events_elastic"]["model"] |= difference
        (tmp_path / "suites" / "adapted.yaml").write_text(yaml.safe_dump(content))
        return load_suite("adapted", tmp_path)

    return load


WRONG = {
    "no weights": ({"adapt": {"kind": "lora"}, "init": None}, "adapt.kind", "lora", "model.init"),
    "unknown kind": ({"adapt": {"kind": "lorra"}}, "adapt.kind", "lorra", "lora"),
    "no kind": ({"adapt": {"rank": 3}}, "adapt.kind"),
    "a name": ({"adapt": "lora"}, "adapt", "lora"),
    "a key of another kind": ({"adapt": {"kind": "prompts", "rank": 3}}, "adapt.rank", "tokens"),
    "a wide rank": ({"adapt": {"kind": "lora", "rank": 65}}, "adapt.rank", 65, 64),
    "a wide bottleneck": ({"adapt": {"kind": "bottleneck", "width": 65}}, "adapt.width", 65, 64),
    "a projection twice": ({"adapt": {"kind": "lora", "targets": ["q", "q"]}}, "adapt.targets", "q"),
    "an unknown projection": ({"adapt": {"kind": "lora", "targets": ["o"]}}, "adapt.targets.0", "o"),
    "an even kernel": ({"adapt": {"kind": "conformer", "kernel": 30}}, "adapt.kernel", 30),
    "no prompts": ({"adapt": {"kind": "prompts", "tokens": 0}}, "adapt.tokens", 0),
    "prompts and merging": ({"adapt": {"kind": "prompts"}, "merge": {"share": 0.5}}, "merge", "prompts"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_is_one_problem_with_file_key_and_value(suite, tmp_path, name):
    difference, key, *tokens = WRONG[name]
    place = tmp_path / "suites" / "adapted.yaml"
    with complains(ConfigError, place, f"experiments.events_elastic.model.{key}", *tokens) as caught:
        suite({"init": "run:events_ast256", **difference})
    assert len(caught.value.problems) == 1


def test_audio_mamba_is_not_adapted(suite):
    with complains(ConfigError, "experiments.events_elastic.model.adapt"):
        suite({"kind": "aum", "init": "run:events_ast256", "adapt": {"kind": "lora"}})


@pytest.mark.parametrize("kind", ["prompts", "conformer"])
def test_what_cannot_be_compiled_is_not(tiny, kind):
    model = {"init": "weights", "adapt": {"kind": kind}}
    with complains(ValueError, "train.compile", "on", kind):
        tiny(model=model, train={"compile": "on"})


@pytest.mark.parametrize("kind", ADAPTATIONS)
def test_cuda_graphs_are_for_training_all_parameters(tiny, kind):
    with complains(ValueError, "train.cuda_graphs", "model.adapt"):
        tiny(model={"init": "weights", "adapt": {"kind": kind}}, train={"cuda_graphs": True})


@pytest.mark.parametrize(
    ("model", "fits"),
    [
        ({"kind": "ast"}, False),
        ({"positions": "table"}, False),
        ({"positions": "interpolated"}, False),
        ({"positions": "fractional"}, True),
        ({"positions": "rotary"}, True),
    ],
    ids=str,
)
def test_phases_do_not_change_frozen_positions(tiny, model, fits):
    model = {**model, "init": "weights", "adapt": {"kind": "lora"}}
    phases = [{"compression": 2.0, "share": 0.5}, {"compression": 1.0, "share": 0.5}]
    tiny(model=model, train={"phases": [{"compression": 1.0, "share": 1.0}]})
    if fits:
        tiny(model=model, train={"phases": phases})
        return
    with complains(ValueError, "train.phases", "2.0", "model.adapt"):
        tiny(model=model, train={"phases": phases})


def test_a_model_with_prompts_is_not_evaluated_with_merging(tiny):
    config = tiny(model={"init": "weights", "adapt": {"kind": "prompts"}})
    (problem,) = sweep_problems(config, Evaluation(x_name="token_merge", x=[0.0, 0.5]))
    assert_names(str(problem), "x_name", "token_merge", "prompts")


def test_another_kind_inherits_no_settings():
    start = {"model": {"kind": "ast", "init": "x", "adapt": {"kind": "lora", "rank": 3}}}
    for difference, expected in {
        "lora": {"kind": "lora", "rank": 3},
        "linear": {"kind": "linear"},
    }.items():
        merged = merge_difference(start, {"model": {"adapt": {"kind": difference}}}, ())
        assert merged["model"] == {"kind": "ast", "init": "x", "adapt": expected}
    assert merge_difference(start, {"model": {"adapt": {"rank": 4}}}, ())["model"]["adapt"] == {
        "kind": "lora",
        "rank": 4,
    }
    assert merge_difference(start, {"model": {"adapt": None}}, ())["model"]["adapt"] is None
    assert merge_difference(start, {"model": {"kind": "aum"}}, ())["model"] == {"kind": "aum", "init": "x"}


@pytest.mark.parametrize(
    ("kind", "fits"), [("lora", True), ("linear", True), ("prompts", False), ("bottleneck", False)]
)
def test_a_run_does_not_start_from_a_run_that_cannot_be_merged(tiny, kind, fits):
    start = tiny(model={"init": "run:base", "adapt": {"kind": kind}})
    runs = {"base": tiny(), "start": start, "again": tiny(model={"init": "run:start"})}
    found = order_problems("again", runs)
    assert [".".join(problem.key) for problem in found] == ([] if fits else ["model.init"])
    for problem in found:
        assert_names(str(problem), "run:start", kind, "run:base")
