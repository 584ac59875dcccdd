"""Suites that extend others: what is inherited, renamed, laid over all, and whose mistake a mistake is."""

import pytest
import yaml

from elasticast.config import digest
from elasticast.config.load_suite import load_suite
from elasticast.errors import ConfigError

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


@pytest.fixture
def problems(load, tmp_path):
    """What is said of wrong suites, without the folder."""

    def run(*args, **suites):
        with pytest.raises(ConfigError) as caught:
            load(*args, **suites)
        return [line.replace(f"{tmp_path / 'suites'}/", "") for line in caught.value.problems]

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
    # the child's difference, what is said
    ({"defaults": {"train": {"lr": "1e-5"}}}, "child.yaml: defaults: train.lr: '1e-5' is a string: write 1.0e-5"),
    ({"every": {"train": {"lr": "1e-5"}}}, "child.yaml: every: train.lr: '1e-5' is a string: write 1.0e-5"),
    ({"every": {"trian": {}}}, "child.yaml: every: trian: unknown key, did you mean `train`? Allowed: color, "),
    ({"every": {"base": "ast64"}}, "child.yaml: every: base: unknown key. Allowed: color, "),
    ({"every": 3}, "child.yaml: every: expected keys and values, found 3"),
    ({"defaults": []}, "child.yaml: defaults: expected keys and values, found []"),
    ({"experiments": {"ast64": {"label": 3}}}, "child.yaml: experiments.ast64: label: Input should be a valid string"),
    ({"experiments": {"ast64": {"modle": {}}}}, "child.yaml: experiments.ast64: modle: unknown key, did you mean"),
    ({"evaluations": {"length": {"x": []}}}, "child.yaml: evaluations.length: x: List should have at least 1 item"),
    ({"evaluations": {"length": {"x": [64.5]}}}, "child.yaml: evaluations.length: x = [64.5]: frames are whole"),
    ({"seeds": [0, 0]}, "child.yaml: seeds: each seed stands once, got [0, 0]"),
    ({"datasets": {"tinny": "twin"}}, "child.yaml: datasets.tinny: no experiment uses this dataset. Used: tiny"),
    ({"datasets": {"tiny": 3}}, "child.yaml: datasets.tiny: 3 is unknown ("),
    ({"datasets": {"tiny": "twinn"}}, "child.yaml: datasets.tiny: 'twinn' is unknown ("),
    ({"every": {"view": {"frames": 72}}}, "child.yaml: experiments.elastic: view.frames = 72 is not a multiple of"),
    ({"experimets": {}}, "child.yaml: experimets: unknown key, did you mean `experiments`?"),
    (
        {"claims": {"length": {"model": "elastik"}}},
        "child.yaml: claims.length: model: unknown experiment 'elastik'. Th",
    ),
    (
        {"claims": {"length": {"model": "ast64"}}},
        "child.yaml: claims.length: model: 'ast64' is of kind 'ast', view.frames 64; expe",
    ),
    ({"claims": {"length": {"against": ["elastic"]}}}, "child.yaml: claims.length: against: 'elastic' is of kind 'ela"),
    ({"claims": {"length": {"evaluation": "hop"}}}, "child.yaml: claims.length: evaluation: 'hop' is no curve of ela"),
    ({"claims": {"length": {"within_own": None}}}, "child.yaml: claims.length: give `within_own`, `better`, or both"),
    ({"claims": {"length": {"better": "longer"}}}, "child.yaml: claims.length.better: Input should be 'beyond' or 'e"),
    ({"extends": "parant"}, "child.yaml: extends: 'parant' is unknown ("),
    ({"extends": "child"}, "child.yaml: extends: 'child' leads back to itself"),
    ({"extends": ["parent"]}, "child.yaml: extends: ['parent'] is unknown ("),
]


@pytest.mark.parametrize(("difference", "message"), WRONG)
def test_a_mistake_of_a_child_names_the_childs_file(problems, difference, message):
    found = problems(child={"extends": "parent", **difference})
    assert found[0].startswith(message)
    assert len(found) == 1 or {line.split(": ")[1].split(".")[0] for line in found} <= {"experiments", "claims"}


def test_a_mistake_of_the_parent_names_the_parents_file(problems):
    parent = PARENT | {"defaults": PARENT["defaults"] | {"view": {"crop": "end"}}}
    (problem,) = problems(parent, child={"extends": "parent", "every": {"model": {"dim": 16}}})
    assert problem.startswith("parent.yaml: defaults: view.crop: Input should be 'random' or 'start', got 'end'")


def test_mistakes_of_both_files_are_said_at_once(problems):
    parent = PARENT | {"seeds": [-1]}
    child = {"extends": "parent", "every": {"train": {"lr": "1e-5"}}, "experiments": {"ast64": {"label": 3}}}
    assert [line.split(" is ")[0].split(" Input")[0] for line in problems(parent, child=child)] == [
        "parent.yaml: seeds.0:",
        "child.yaml: every: train.lr: '1e-5'",
        "child.yaml: experiments.ast64: label:",
    ]


def test_suites_that_extend_each_other(problems):
    (problem,) = problems(a={"extends": "b"}, b={"extends": "a"})
    assert problem == "a.yaml: extends: 'b' leads back to itself"


def test_a_child_without_a_parent_says_what_is_missing(problems):
    assert problems(child={"title": "alone"}) == [
        f"child.yaml: {key}: this key is required" for key in ("defaults", "evaluations", "experiments", "seeds")
    ]


def starting(**sources):
    """The parent suite with experiments that start from others."""
    experiments = {name: {"model": {"init": f"run:{source}"}} for name, source in sources.items()}
    return {"extends": "parent", "experiments": experiments}


def test_an_experiment_can_start_from_another(load):
    found = load(child=starting(elastic="ast64"))
    assert {name: found.runs[name].starts_from for name in found.runs} == {
        "elastic": "ast64",
        "ast64": None,
        "ast128": None,
    }


def test_a_start_that_leads_nowhere_or_back_is_refused(problems):
    (unknown,) = problems(child=starting(elastic="nobody"))
    assert unknown.startswith(
        "child.yaml: experiments.elastic: model.init: 'run:nobody': no such experiment. There is:"
    )
    circle = problems(child=starting(elastic="ast128", ast128="elastic"))
    assert "child.yaml: experiments.elastic: model.init: 'run:elastic' leads back to itself" in circle
