"""The plan of a suite: which training runs there are, what each needs, and which figures are drawn."""

import copy
import subprocess
import sys

import pytest
import yaml

from elasticast.config.load_ablation import load_ablations
from elasticast.config.load_suite import load_suite
from elasticast.plan import Needs, Plan, front_end_name
from elasticast.provenance import code_digest
from tests.unit.config.test_merging import PARENT

SUITE = {
    "title": "Suite",
    "seeds": [0, 1],
    "defaults": PARENT["defaults"],
    "experiments": {
        "ast": {"label": "AST", "model": {"kind": "ast"}, "view": {"frames": 64}},
        "elastic": {"label": "ElasticAST", "model": {"kind": "elasticast"}},
    },
    "evaluations": {
        "length": {"x_name": "max_frames", "x": [64, 128]},
        "held_out": {"x_name": "max_frames", "x": [64], "split": "dev"},
        "resolution": {"x_name": "compression", "x": [1.0, 2.0]},
        "cost": {"x_name": "token_drop", "x": [0.0, 0.5]},
    },
}
DATASET = {"source": "soundscapes", "clips": {"train": 4, "test": 2}, "dev_share": 0.5}
POOLING = {"title": "Pooling", "base": "elastic", "grid": {"model.pooling": ["attention", "mean"]}}


@pytest.fixture
def plan(tmp_path):
    """The plan of SUITE with changed experiments, other keys, and ablations."""

    def build(ablations=None, claims=None, **experiments):
        suite = copy.deepcopy(SUITE)
        for name, difference in experiments.items():
            suite["experiments"][name] = {**suite["experiments"].get(name, {}), **difference}
        suite["claims"] = claims or {}
        files = {"suites/suite": suite, "datasets/tiny": DATASET, "datasets/other": DATASET}
        files |= {f"ablations/{name}": content for name, content in (ablations or {}).items()}
        for name, content in files.items():
            path = tmp_path / f"{name}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(yaml.safe_dump(content, sort_keys=False))
        loaded = load_suite("suite", tmp_path)
        valid, errors = load_ablations(loaded, tmp_path)
        assert errors == {}
        return Plan(loaded, valid)

    return build


def test_a_suite_has_one_run_per_experiment(plan):
    found = plan()
    assert list(found.runs) == ["ast", "elastic"]
    assert found.run_of("elastic") == "elastic"
    assert list(found.datasets) == ["tiny"]


def test_variants_that_equal_an_experiment_or_each_other_share_its_run(plan):
    other = {**POOLING, "title": "Other", "grid": {"model.pooling": ["mean", "cls"]}}
    found = plan({"pooling": POOLING, "other": other})
    assert found.run_of("attention", "pooling") == "elastic"
    assert found.run_of("mean", "pooling") == found.run_of("mean", "other") != "elastic"
    variants = {found.run_of(v, a) for a in ("pooling", "other") for v in found.ablations[a].runs}
    assert set(found.runs) == {"ast", "elastic"} | variants
    assert len(found.runs) == 4


def test_the_settings_of_a_variants_run_are_the_variants(plan):
    found = plan({"pooling": POOLING})
    run = found.run_of("mean", "pooling")
    config = found.run_config(run, 1)
    assert (config.experiment, config.seed, config.model.pooling) == (run, 1, "mean")
    assert config.settings == found.runs[run] == found.ablations["pooling"].runs["mean"]


def test_a_run_needs_the_training_split_and_the_statistics_of_its_front_end(plan):
    found = plan()
    needs = found.needs("elastic")
    assert needs == Needs("tiny", front_end_name(found.runs["elastic"].front_end), ("train",), ())
    assert found.front_ends[needs.norm] == found.runs["elastic"].front_end


def test_runs_with_other_front_ends_need_other_statistics(plan):
    found = plan(ast={"front_end": {"window_ms": 32.0}})
    assert found.needs("ast").norm != found.needs("elastic").norm
    assert set(found.front_ends) == {found.needs(run).norm for run in found.runs}


def test_a_run_whose_settings_give_the_normalisation_needs_no_statistics(plan):
    found = plan(ast={"norm": {"mean": -5.0, "std": 4.5}})
    assert found.needs("ast").norm is None
    assert found.needs("elastic").norm is not None


def test_a_run_that_selects_its_weights_needs_that_split_and_more_code(plan):
    train = {"epochs": 3, "batch": {"clips": 2}, "select": {"split": "dev"}}
    found = plan(elastic={"train": train})
    assert found.needs("elastic").splits == ("train", "dev")
    assert found.needs("ast").splits == ("train",)
    assert found.training_code("elastic") == code_digest("select")
    assert found.training_code("ast") == code_digest("train")


def test_a_run_may_start_from_another(plan):
    ablation = {"title": "Start", "base": "elastic", "grid": {"model.init": ["run:ast"]}}
    found = plan({"start": ablation})
    (variant,) = set(found.ablations["start"].runs) - {"base"}
    assert found.needs(found.run_of(variant, "start")).trained_first == ("ast",)
    assert found.needs("elastic").trained_first == ()


def test_data_sets_are_those_of_suite_and_ablations(plan):
    found = plan({"data": {**POOLING, "every": {"dataset": "other"}}})
    assert set(found.datasets) == {"tiny", "other"}
    assert found.needs(found.run_of("mean", "data")).dataset == "other"


def test_evaluations_of_experiments_and_variants(plan):
    ablation = {**POOLING, "every": {"evaluations": ["length", "held_out"]}}
    found = plan({"pooling": ablation}, ast={"evaluations": ["resolution", "length"]})
    assert list(found.evaluations("ast")) == ["resolution", "length"]
    assert found.evaluated_splits("ast") == ["test"]
    assert list(found.evaluations("mean", "pooling")) == ["length", "held_out"]
    assert found.evaluated_splits("mean", "pooling") == ["test", "dev"]


@pytest.mark.parametrize(
    ("evaluations", "curves", "figures"),
    [
        (["length"], ["max_frames"], ["fig1", "fig2", "fig3", "fig4", "learning_curves", "table1"]),
        (["resolution"], ["compression"], ["fig2", "fig3", "fig5", "learning_curves", "table1"]),
        (
            ["length", "resolution"],
            ["max_frames", "compression"],
            ["fig1", "fig2", "fig3", "fig4", "fig5", "learning_curves", "table1"],
        ),
        (["held_out", "cost"], [], ["fig2", "fig3", "learning_curves", "zoo", "table1"]),
    ],
)
def test_a_suite_has_figures_of_the_curves_that_it_measures_on_the_test_split(plan, evaluations, curves, figures):
    found = plan(ast={"evaluations": evaluations}, elastic={"evaluations": evaluations})
    assert (found.curves, found.figures) == (curves, figures)


def test_figure_3_needs_packed_clips(plan):
    assert plan(elastic={"dataset": "other"}).packed_dataset == "other"
    found = plan(elastic={"view": {"frames": 64}})
    assert found.packed_dataset is None
    assert "fig3" not in found.figures


def test_a_verdict_needs_claims_or_released_curves(plan):
    claim = {"says": "as good", "model": "elastic", "against": ["ast"], "evaluation": "length", "within_own": 1.0}
    assert "verdict" not in plan().figures
    assert "verdict" in plan(claims={"length": claim}).figures
    found = plan(ast={"released": {"dataset": "audioset", "series": "ast"}})
    assert "verdict" in found.figures
    assert (found.has_released_curves, found.released_weights) == (True, {})


def test_released_weights_are_those_of_experiments_that_name_a_file(plan):
    released = {"dataset": "audioset", "series": "elasticast", "weights": "a.pth"}
    assert plan(elastic={"released": released}).released_weights == {"elastic": "a.pth"}


def test_planning_imports_neither_torch_nor_snakemake():
    code = "import sys, elasticast.plan; assert not {'torch', 'pandas', 'snakemake'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_adapted_run_needs_the_weights_that_it_adapts_whenever_it_is_read(plan):
    lora = {"init": "run:elastic", "adapt": {"kind": "lora"}}
    models = {
        "tuned": {"init": "run:elastic"},
        "adapted": lora,
        "twice": {**lora, "init": "run:adapted"},
        "file": {**lora, "init": "weights.pth"},
    }
    elastic = {"kind": "elasticast"}
    found = plan(**{name: {"label": name, "model": elastic | model} for name, model in models.items()})
    bases = {run: found.bases(run) for run in found.runs}
    assert bases == {
        "ast": [],
        "elastic": [],
        "tuned": [],
        "adapted": ["elastic"],
        "twice": ["adapted", "elastic"],
        "file": [],
    }
    assert found.needs("twice").trained_first == ("adapted", "elastic")
