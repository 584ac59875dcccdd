"""Ablations: which variants a file has, what their runs are called, and whose mistake a mistake is."""

import copy

import pytest
import yaml

from elasticast.config.load_ablation import Ablation, load_ablation, load_ablations, load_resolved_ablation
from elasticast.config.load_suite import load_suite
from elasticast.errors import NO_VALUE, ConfigError
from tests.complaints import complains
from tests.unit.config.test_merging import DATASET, PARENT

SCALE = {"title": "Scale", "base": "elastic", "grid": {"model.attention_scale": ["none", "sqrt"]}}
SUITES = {"parent": PARENT, "child": {"extends": "parent", "every": {"train": {"lr": 0.25}}}}


@pytest.fixture
def load(tmp_path):
    """Load an ablation, called `mine`, of a suite that lies beside it."""

    def run(said, suite="parent", suites=SUITES, name="mine"):
        for folder, files in {"suites": suites, "datasets": {"tiny": DATASET}, "ablations": {name: said}}.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            for stem, value in files.items():
                (tmp_path / folder / f"{stem}.yaml").write_text(yaml.safe_dump(value, sort_keys=False))
        return load_ablation(name, suite, tmp_path)

    return run


@pytest.fixture
def problems(load, tmp_path):
    """The problems of a wrong ablation."""

    def run(said, **options):
        with pytest.raises(ConfigError) as caught:
            load({**SCALE, **said}, **options)
        return caught.value.problems

    return run


def test_a_grid_has_every_combination(load):
    grid = {"model.attention_scale": ["none", "sqrt"], "train.token_dropout": [0.0, 0.5, [0.0, 0.5]]}
    found = load({**SCALE, "grid": grid})
    assert list(found.runs) == ["none_0", "none_0_5", "none_0_0_5", "sqrt_0", "sqrt_0_5", "sqrt_0_0_5"]
    for name, run in found.runs.items():
        scale, _, dropout = name.partition("_")
        assert run.model.attention_scale == scale
        assert run.train.token_dropout == {"0": 0.0, "0_5": 0.5, "0_0_5": [0.0, 0.5]}[dropout]
    assert found.experiments["none_0_0_5"].label == "none, 0–0.5"
    assert found.factors["none_0_5"] == {"model.attention_scale": "none", "train.token_dropout": 0.5}


def test_what_equals_the_base_is_the_base_and_its_run_the_experiments(load):
    found = load(SCALE)
    assert found.base == "sqrt"
    assert found.trained["sqrt"] == "elastic"
    assert found.factors["sqrt"] == {}
    assert found.trained["none"].startswith("elastic--attention_scale-none--")


def test_a_base_that_no_point_equals_is_first_and_named_by_its_values(load):
    found = load({**SCALE, "grid": {"model.attention_scale": ["none"]}})
    assert list(found.runs) == ["base", "none"]
    assert (found.base, found.trained["base"], found.experiments["base"].label) == ("base", "elastic", "sqrt")


def test_every_is_laid_over_the_base_and_variants_go_over_it(load):
    named = {"plain": {}, "hot": {"train": {"lr": 0.5}}, "other": {"base": "ast128", "label": "other"}}
    found = load({"title": "t", "base": "elastic", "every": {"train": {"lr": 0.125}}, "variants": named})
    rates = {name: run.train.lr for name, run in found.runs.items()}
    assert rates == {"plain": 0.125, "hot": 0.5, "other": 0.125}
    assert found.runs["other"].view.frames == 128
    assert found.base == "plain"
    assert found.trained["plain"].startswith("elastic--lr-0_125--")
    assert found.trained["other"].startswith("ast128--lr-0_125--")


def test_a_variant_outranks_what_its_suite_lays_over_all(load):
    found = load({**SCALE, "grid": {"train.lr": [0.0625]}}, suite="child")
    assert {name: run.train.lr for name, run in found.runs.items()} == {"base": 0.25, "0_0625": 0.0625}


def test_equal_settings_have_one_name_whatever_they_are_called(load):
    one = load({**SCALE, "variants": {"a": {"label": "A", "model": {"attention_scale": "none"}}}, "grid": None})
    again = load({**SCALE, "title": "other"}, name="other")
    assert one.trained["a"] == again.trained["none"]
    shown = load({**SCALE, "grid": None, "variants": {"a": {}, "b": {"evaluations": ["far"]}}, "evaluations": {
        "far": {"x_name": "max_frames", "x": [128, 256]}}})  # fmt: skip
    assert shown.trained == {"a": "elastic", "b": "elastic"}
    assert shown.base == "a"
    assert list(shown.sweep("b")) == ["far"]


def test_a_setting_at_its_default_renames_no_run(load):
    said = {**SCALE, "grid": {"train.lr": [0.5]}}
    explicit = copy.deepcopy(PARENT)
    explicit["defaults"]["train"]["weight_decay"] = 0.01
    assert load(said).trained == load(said, suites={"parent": explicit}).trained


def test_a_section_for_a_suite_holds_for_those_that_extend_it(load, tmp_path):
    said = {"title": "t", "grid": {"train.lr": [0.5]}, "suites": {"parent": {"base": "ast64"}}}
    assert load(said, suite="child").trained["0_5"].startswith("ast64--lr-0_5")
    other = copy.deepcopy(PARENT)
    load(said, suites={**SUITES, "stranger": other})
    assert load_ablations(load_suite("stranger", tmp_path), tmp_path) == ({}, {})
    with complains(ConfigError, "suites", "'stranger'", "parent"):
        load_ablation("mine", "stranger", tmp_path)


def test_null_takes_a_variant_back(load):
    variants = {"a": {"train": {"lr": 0.5}}, "b": {"train": {"lr": 0.25}}}
    said = {"title": "t", "base": "elastic", "variants": variants, "suites": {"parent": {"variants": {"a": None}}}}
    assert list(load(said).runs) == ["base", "b"]


def test_a_file_without_sections_is_for_every_suite_that_has_its_base(load, tmp_path):
    load(SCALE)
    without = copy.deepcopy(PARENT)
    without["experiments"]["flexible"] = without["experiments"].pop("elastic")
    del without["claims"]
    load(SCALE, suites={**SUITES, "without": without})
    assert list(load_ablations(load_suite("child", tmp_path), tmp_path)[0]) == ["mine"]
    assert load_ablations(load_suite("without", tmp_path), tmp_path) == ({}, {})


@pytest.mark.parametrize("name", ["a+b", "a{b}", "pool_table", "-a"])
def test_a_name_that_is_no_target_is_refused(load, tmp_path, name):
    load(SCALE)
    (tmp_path / "ablations" / f"{name}.yaml").write_text("{}")
    ablations, broken = load_ablations(load_suite("parent", tmp_path), tmp_path)
    assert (list(ablations), list(broken)) == (["mine"], [name])
    assert broken[name].problems[0].value == name


def test_what_an_editor_leaves_is_no_ablation(load, tmp_path):
    load(SCALE)
    (tmp_path / "ablations" / ".#mine.yaml").write_text("{}")
    assert list(load_ablations(load_suite("parent", tmp_path), tmp_path)[0]) == ["mine"]


def test_a_base_of_no_suite_is_a_mistake(load, tmp_path):
    load(SCALE)
    path = tmp_path / "ablations" / "mine.yaml"
    path.write_text(path.read_text().replace("base: elastic", "base: elastik"))
    ablations, broken = load_ablations(load_suite("parent", tmp_path), tmp_path)
    (problem,) = broken["mine"].problems
    assert (ablations, problem.key, problem.value) == ({}, ("base",), "elastik")


def test_names_of_points_keep_signs_apart_and_fit_into_a_file_name(load):
    grid = {"train.token_dropout": [0.0], "train.spec_augment": [{"freq_bins": 2, "time_frames": t} for t in (3, 4)]}
    assert all(len(name) <= 60 for name in load({**SCALE, "grid": grid}).runs)
    assert list(load({**SCALE, "grid": {"norm": [{"mean": m, "std": 1} for m in (-4, 4)]}}).runs)[1:] == [
        "mean_minus_4_std_1",
        "mean_4_std_1",
    ]


def test_resolved_and_read_again_it_is_the_same(load, tmp_path):
    found = load(SCALE)
    path = tmp_path / "ablation.yaml"
    path.write_text(yaml.safe_dump(found.model_dump(mode="json"), sort_keys=False))
    again = load_resolved_ablation(path)
    assert isinstance(again, Ablation)
    assert again == found
    assert again.run_config("none", 1).experiment == found.trained["none"]


@pytest.mark.parametrize("length", [1, 20, 45, 90])
def test_names_hold_whole_values_or_none(load, length):
    """A name that is too long leaves out settings; the others have their values, and no two runs share a name."""
    grid = {
        "model.init": ["weights/" + "x" * length],
        "train.lr": [0.125, 0.5],
        "train.token_dropout": [0.5, 0.25],
    }
    found = load({**SCALE, "grid": grid})
    for variant, name in found.trained.items():
        run = found.runs[variant]
        items = name.split("--")[1:-1]
        settings = {"lr": run.train.lr, "token_dropout": run.train.token_dropout, "init": run.model.init}
        for key, value in (item.split("-", 1) for item in items if "-" in item):
            assert value == str(settings[key]).replace(".", "_").replace("/", "_")
    assert len(set(found.trained.values())) == len(found.trained) == len(found.runs)


@pytest.mark.parametrize(
    ("said", "key", "value", "hint"),
    [
        ({"grid": {"model.atention_scale": ["none"]}}, "grid.model.atention_scale", NO_VALUE, "attention_scale"),
        ({"grid": {"modle.dim": [8]}}, "grid.modle", NO_VALUE, "model"),
        ({"grid": {"model.attention_scale": ["cube"]}}, "grid.model.attention_scale", "cube", ""),
        ({"grid": {"train.lr": [0.5, 0.5]}}, "grid", NO_VALUE, ""),
        ({"grid": {"base": ["elastic", "ast64"]}}, "grid.base", NO_VALUE, ""),
        ({"grid": {"label": ["a", "b"]}}, "grid.label", NO_VALUE, ""),
        ({"grid": {"train": [{"lr": 0.5}], "train.lr": [0.25]}}, "grid.train.lr", NO_VALUE, ""),
        ({"grid": {"train..lr": [0.5]}}, "grid.train..lr", NO_VALUE, ""),
        ({"grid": {"front_end.hop_ms": [5]}}, "grid.front_end.hop_ms", 5, ""),
        ({"base": ["elastic"]}, "base", ["elastic"], ""),
        ({"base": 3}, "base", 3, ""),
        ({"grid": None, "variants": {"a": {"base": ["elastic"]}}}, "variants.a.base", ["elastic"], ""),
        ({"suites": {}}, "suites", {}, ""),
        ({"suites": {"parrent": {}}}, "suites.parrent", NO_VALUE, ""),
        ({"grid": None, "variants": {}, "suites": {"parent": {}}}, "variants", NO_VALUE, ""),
        ({"grid": {}}, "grid", NO_VALUE, ""),
        ({"grid": {"train.lr": []}}, "grid.train.lr", [], ""),
        ({"grid": None}, "", NO_VALUE, ""),
        ({"variants": {"a": {}}}, "", NO_VALUE, ""),
        ({"base": "elastik"}, "base", "elastik", ""),
        ({"grid": None, "variants": {"a": {"base": "no"}}}, "variants.a.base", "no", ""),
        ({"grid": None, "variants": {"base": {}}}, "variants.base", NO_VALUE, ""),
        ({"grid": None, "variants": {"a b": {}}}, "variants.a b", "a b", ""),
        ({"grid": None, "variants": {"a": {"trian": {}}}}, "variants.a.trian", NO_VALUE, "train"),
        ({"every": {"view": {"frames": 100}}}, "every.view.frames", 100, ""),
        ({"every": {"evaluations": ["nowhere"]}}, "every.evaluations", "nowhere", ""),
        ({"evaluations": {"far": {"x_name": "seconds", "x": [1]}}}, "evaluations.far.x_name", "seconds", ""),
        ({"plot": "pie"}, "plot", "pie", ""),
        ({"sedes": [1]}, "sedes", NO_VALUE, "seeds"),
        ({"suites": ["parent"]}, "suites", ["parent"], ""),
        ({"grid": {"model.init": ["run:nobody"]}}, "grid.model.init", "run:nobody", ""),
    ],
)
def test_a_mistake_is_told_with_file_and_key(problems, said, key, value, hint):
    (problem,) = problems(said)
    assert problem.file.endswith("ablations/mine.yaml")
    assert (".".join(problem.key), problem.value) == (key, value)
    assert hint in problem.message


@pytest.mark.parametrize(
    ("grid", "places"),
    [
        ({"train.lr": ["1e-5"], "model.dim": [32, 64, 96]}, ["grid.train.lr"]),
        ({"train.lr": [0.5, 0.25], "model.heads": [2, 3, 5]}, ["grid (0_5_3 and 1 more)", "grid (0_5_5 and 1 more)"]),
    ],
)
def test_a_mistake_of_many_points_of_a_grid_is_one_problem(problems, grid, places):
    found = problems({"grid": grid})
    assert [".".join(p.key).removesuffix(".model.dim") for p in found] == places


def test_the_ablations_of_the_repository_are_for_all_suites():
    for suite in ("mini", "soundscapes", "fsdd", "paper", "paper_fair", "paper_fair_tokens", "paper_mini"):
        found, broken = load_ablations(load_suite(suite))
        assert broken == {}
        assert len(found) >= 11
        for ablation in found.values():
            assert ablation.base in ablation.runs
            points = {v: {(e.x_name, x) for e in ablation.sweep(v).values() for x in e.x} for v in ablation.runs}
            assert all(points[ablation.base] & other for other in points.values()), ablation.name
