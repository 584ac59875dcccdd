"""Suites that extend others: what is inherited, renamed, laid over all, and whose mistake a mistake is."""

from pathlib import Path

import pytest
import yaml

from elasticast.config import digest
from elasticast.config.load_suite import load_suite
from elasticast.errors import NO_VALUE, ConfigError

PARENT = {
    "title": "Parent",
    "seeds": [0, 1],
    "defaults": {
        "dataset": "tiny",
        "task": "events",
        "evaluations": ["length"],
        "model": {"dim": 32, "depth": 1, "heads": 2},
        "train": {"epochs": 3, "batch": {"clips": 2}},
    },
    "experiments": {
        "elastic": {"label": "ElasticAST", "model": {"kind": "elasticast"}},
        "ast64": {"label": "AST 64", "model": {"kind": "ast"}, "view": {"frames": 64}, "train": {"epochs": 9}},
        "ast128": {"base": "ast64", "label": "AST 128", "view": {"frames": 128}},
    },
    "evaluations": {"length": {"x_name": "max_frames", "x": [64, 128]}},
    "claims": {
        "length": {
            "says": "as good",
            "model": "elastic",
            "against": ["ast64", "ast128"],
            "evaluation": "length",
            "within_own": 1.0,
        }
    },
}
DATASET = {"source": "soundscapes", "clips": {"train": 4, "test": 2}}


@pytest.fixture
def load(tmp_path):
    """Load the last of the suites given by name, all of them lying side by side."""

    def run(parent=PARENT, **suites):
        for folder in ("suites", "datasets"):
            (tmp_path / folder).mkdir(exist_ok=True)
        for name in ("tiny", "twin"):
            (tmp_path / "datasets" / f"{name}.yaml").write_text(yaml.safe_dump(DATASET))
        for name, value in {"parent": parent, **suites}.items():
            (tmp_path / "suites" / f"{name}.yaml").write_text(yaml.safe_dump(value, sort_keys=False))
        return load_suite(list(suites)[-1] if suites else "parent", tmp_path)

    return run


def places(problems) -> list[tuple]:
    """Name of the file, dotted key and value of each problem."""
    return [(Path(p.file).name, ".".join(p.key), p.value) for p in problems]


@pytest.fixture
def problems(load, tmp_path):
    """The problems of wrong suites."""

    def run(*args, **suites):
        with pytest.raises(ConfigError) as caught:
            load(*args, **suites)
        return caught.value.problems

    return run


def runs(suite) -> dict:
    return {name: digest(suite.run_config(name, 0)) for name in suite.runs}


def test_a_suite_that_only_extends_is_its_parent_under_another_name(load):
    child = load(child={"extends": "parent"})
    parent = load()
    assert child.name == "child"
    assert child.model_dump(exclude={"name"}) == parent.model_dump(exclude={"name"})


def test_differences_are_merged_key_by_key_over_all_ancestors(load):
    child = {"extends": "parent", "seeds": [7], "defaults": {"train": {"lr": 0.5}}}
    child["experiments"] = {"ast64": {"train": {"lr": 0.25}}, "new": {"base": "ast128", "view": {"frames": 256}}}
    suite = load(child=child, grandchild={"extends": "child", "title": "G", "evaluations": {"length": {"x": [64]}}})
    assert (suite.title, suite.seeds, suite.evaluations["length"].x) == ("G", [7], [64])
    assert list(suite.runs) == ["elastic", "ast64", "ast128", "new"]
    lr = {name: suite.run_config(name, 7).train.lr for name in suite.runs}
    assert lr == {"elastic": 0.5, "ast64": 0.25, "ast128": 0.25, "new": 0.25}
    assert suite.run_config("new", 7).train.epochs == 9


def test_every_is_laid_over_each_experiment_last(load):
    every = {"train": {"epochs": None, "steps": 5}, "model": {"dim": 16}}
    suite = load(
        child={"extends": "parent", "every": every}, twice={"extends": "child", "every": {"model": {"dim": 8}}}
    )
    for name in suite.runs:
        run = suite.run_config(name, 0)
        assert (run.train.steps, run.train.epochs, run.model.dim) == (5, None, 8), name
    assert load(PARENT | {"every": every}).run_config("ast64", 0).train.steps == 5  # needs no parent


def test_datasets_are_renamed_in_every_experiment(load):
    suite = load(child={"extends": "parent", "datasets": {"tiny": "twin"}})
    assert {run.dataset for run in suite.runs.values()} == {"twin"}
    assert list(suite.datasets) == ["twin"]
    again = load(
        child={"extends": "parent", "datasets": {"tiny": "twin"}},
        back={"extends": "child", "datasets": {"tiny": "tiny"}},
    )
    assert list(again.datasets) == ["tiny"]


def test_claims_and_released_series_re_train_nothing(load):
    before = runs(load())
    child = {"extends": "parent", "claims": {"length": {"within_own": 2.0}}}
    child["experiments"] = {"elastic": {"released": {"dataset": "voxceleb1", "series": "elasticast"}}}
    suite = load(child=child)
    assert suite.claims["length"].within_own == 2.0
    assert suite.experiments["elastic"].released.series == "elasticast"
    assert runs(suite) == before


WRONG = [
    # the difference of the child; key and value of the problem, and what the message suggests
    ({"defaults": {"train": {"lr": "1e-5"}}}, "defaults.train.lr", "1e-5", "1.0e-5"),
    ({"every": {"train": {"lr": "1e-5"}}}, "every.train.lr", "1e-5", "1.0e-5"),
    ({"every": {"trian": {}}}, "every.trian", NO_VALUE, "train"),
    ({"every": {"base": "ast64"}}, "every.base", NO_VALUE, ""),
    ({"every": 3}, "every", 3, ""),
    ({"defaults": []}, "defaults", [], ""),
    ({"experiments": {"ast64": {"label": 3}}}, "experiments.ast64.label", 3, ""),
    ({"experiments": {"ast64": {"modle": {}}}}, "experiments.ast64.modle", NO_VALUE, "model"),
    ({"evaluations": {"length": {"x": []}}}, "evaluations.length.x", [], ""),
    ({"evaluations": {"length": {"x": [64.5]}}}, "evaluations.length.x", [64.5], ""),
    ({"seeds": [0, 0]}, "seeds", [0, 0], ""),
    ({"datasets": {"tinny": "twin"}}, "datasets.tinny", "twin", ""),
    ({"datasets": {"tiny": 3}}, "datasets.tiny", 3, ""),
    ({"datasets": {"tiny": "twinn"}}, "datasets.tiny", "twinn", ""),
    ({"every": {"view": {"frames": 72}}}, "experiments.elastic.view.frames", 72, ""),
    ({"experimets": {}}, "experimets", NO_VALUE, "experiments"),
    ({"claims": {"length": {"model": "elastik"}}}, "claims.length.model", "elastik", ""),
    ({"claims": {"length": {"model": "ast64"}}}, "claims.length.model", "ast64", ""),
    ({"claims": {"length": {"against": ["elastic"]}}}, "claims.length.against", "elastic", ""),
    ({"claims": {"length": {"evaluation": "hop"}}}, "claims.length.evaluation", "hop", ""),
    ({"claims": {"length": {"within_own": None}}}, "claims.length", NO_VALUE, ""),
    ({"claims": {"length": {"better": "longer"}}}, "claims.length.better", "longer", ""),
    (
        {
            "claims": {"length": {"better": "native", "evaluation": "length"}},
            "evaluations": {"length": {"x_name": "compression", "x": [1.0]}},
        },
        "claims.length.evaluation",
        "length",
        "",
    ),
    ({"extends": "parant"}, "extends", "parant", ""),
    ({"extends": "child"}, "extends", "child", ""),
    ({"extends": ["parent"]}, "extends", ["parent"], ""),
]


@pytest.mark.parametrize(("difference", "key", "value", "hint"), WRONG)
def test_a_mistake_of_a_child_names_the_childs_file(problems, difference, key, value, hint):
    found = problems(child={"extends": "parent", **difference})
    assert places(found[:1]) == [("child.yaml", key, value)]
    assert hint in found[0].message
    assert len(found) == 1 or {problem.key[0] for problem in found} <= {"experiments", "claims"}


def test_a_mistake_of_the_parent_names_the_parents_file(problems):
    parent = PARENT | {"defaults": PARENT["defaults"] | {"view": {"crop": "end"}}}
    (problem,) = problems(parent, child={"extends": "parent", "every": {"model": {"dim": 16}}})
    assert places([problem]) == [("parent.yaml", "defaults.view.crop", "end")]


def test_mistakes_of_both_files_are_said_at_once(problems):
    parent = PARENT | {"seeds": [-1]}
    child = {"extends": "parent", "every": {"train": {"lr": "1e-5"}}, "experiments": {"ast64": {"label": 3}}}
    assert places(problems(parent, child=child)) == [
        ("parent.yaml", "seeds.0", -1),
        ("child.yaml", "every.train.lr", "1e-5"),
        ("child.yaml", "experiments.ast64.label", 3),
    ]


def test_suites_that_extend_each_other(problems):
    (problem,) = problems(a={"extends": "b"}, b={"extends": "a"})
    assert places([problem]) == [("a.yaml", "extends", "b")]


def test_a_child_without_a_parent_says_what_is_missing(problems):
    assert places(problems(child={"title": "alone"})) == [
        ("child.yaml", key, NO_VALUE) for key in ("defaults", "evaluations", "experiments", "seeds")
    ]


def starting(**sources):
    """The parent suite with experiments that start from others."""
    experiments = {name: {"model": {"init": f"run:{source}"}} for name, source in sources.items()}
    return {"extends": "parent", "experiments": experiments}


def test_an_experiment_can_start_from_another(load):
    found = load(child=starting(elastic="ast64"))
    assert {name: found.runs[name].trained_first for name in found.runs} == {
        "elastic": {"model.init": "ast64"},
        "ast64": {},
        "ast128": {},
    }


def test_a_start_that_leads_nowhere_or_back_is_refused(problems):
    (unknown,) = problems(child=starting(elastic="nobody"))
    assert places([unknown]) == [("child.yaml", "experiments.elastic.model.init", "run:nobody")]
    circle = problems(child=starting(elastic="ast128", ast128="elastic"))
    assert ("child.yaml", "experiments.elastic.model.init", "run:ast128") in places(circle)
