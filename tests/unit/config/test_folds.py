"""Cross-validation: experiments repeated on folds, and table 1 over them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from elasticast.config.load_ablation import load_ablations
from elasticast.config.load_suite import load_resolved_suite, load_suite
from elasticast.errors import ConfigError
from elasticast.reporting.comparison import comparison_table, markdown
from elasticast.reporting.read_tables import METRICS
from tests.complaints import assert_names, complains

ROOT = Path(__file__).parents[3]
SUITE = {
    "seeds": [0, 1],
    "folds": {"whole": ["first", "second", "third"]},
    "defaults": {
        "dataset": "whole",
        "task": "sound",
        "evaluations": ["length"],
        "model": {"dim": 32, "depth": 1, "heads": 1},
        "train": {"steps": 2, "batch": {"clips": 2}},
        "view": {"max_frames": 128},
    },
    "experiments": {
        "elastic": {"label": "ElasticAST", "model": {"kind": "elasticast", "max_frames": 128}},
        "fixed": {"label": "AST 64", "model": {"kind": "ast"}, "view": {"frames": 64}},
        "tuned": {"base": "fixed", "label": "AST 64, again", "model": {"init": "run:fixed"}},
        "other": {"base": "elastic", "dataset": "unfolded", "task": "events"},
    },
    "evaluations": {"length": {"x_name": "max_frames", "x": [64, 128]}},
    "claims": {
        "length": {"says": "better", "model": "elastic", "against": ["fixed"], "evaluation": "length", "within_own": 1},
    },
}
DATASETS = {name: {"source": "esc50", "test_fold": i} for i, name in enumerate(("first", "second", "third"), 1)}
DATASETS |= {"copied": {"source": "esc50", "test_fold": 2, "title": "Fold 3"}}
DATASETS |= {"trimmed": {"source": "esc50", "test_fold": 3, "trim_silence": True}}
TWIN = {"clips": {"train": 40, "test": 10}, "seconds": [0.5, 5.0]}
DATASETS |= {f"{name}_twin": DATASETS[name] | {"twin": TWIN} for name in ("first", "second", "third")}
DATASETS |= {"whole_twin": {"source": "esc50", "twin": TWIN}}
DATASETS |= {"whole": {"source": "esc50"}, "unfolded": {"source": "soundscapes", "clips": {"train": 2, "test": 2}}}


@pytest.fixture
def load(tmp_path):
    def run(**changes):
        for folder, files in (("suites", {"toy": SUITE | changes}), ("datasets", DATASETS)):
            (tmp_path / folder).mkdir(exist_ok=True)
            for name, content in files.items():
                (tmp_path / folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return load_suite("toy", tmp_path)

    return run


def test_experiments_and_claims_are_repeated_on_each_fold(load):
    suite = load()
    names = [f"{name}_fold{fold}" for name in ("elastic", "fixed", "tuned") for fold in (1, 2, 3)]
    assert list(suite.runs) == list(suite.experiments) == [*names, "other"]
    assert [suite.runs[f"elastic_fold{i}"].dataset for i in (1, 2, 3)] == ["first", "second", "third"]
    assert set(suite.datasets) == {"first", "second", "third", "unfolded"}
    assert suite.runs["tuned_fold2"].model.init == "run:fixed_fold2"
    claim = suite.claims["length_fold3"]
    assert (claim.model, claim.against) == ("elastic_fold3", ["fixed_fold3"])
    whole = load(folds={}).runs
    assert suite.runs["fixed_fold2"].model_copy(update={"dataset": "whole"}) == whole["fixed"]


def test_the_resolved_suite_is_not_repeated_again(load, tmp_path):
    suite = load()
    (tmp_path / "resolved.yaml").write_text(yaml.safe_dump(suite.model_dump(mode="json")))
    assert load_resolved_suite(tmp_path / "resolved.yaml") == suite


@pytest.mark.parametrize(
    ("folds", "key", "value"),
    [
        ({"hole": ["first"]}, "hole", "whole"),
        ({"whole": ["first", "frist"]}, "whole", "frist"),
        ({"whole": ["first", "unfolded"]}, "whole", "soundscapes"),
        ({"whole": ["first", "first"]}, "whole", "first"),
        ({"whole": ["first", "second", "copied"]}, "whole", "test_fold"),
        ({"whole": ["first", "second", "trimmed"]}, "whole", "trim_silence"),
        ({"whole": "first"}, "whole", "first"),
        (["first"], "folds", "first"),
    ],
)
def test_a_wrong_fold_is_an_error_that_names_it(load, folds, key, value):
    with complains(ConfigError, "toy.yaml", "folds", key, value):
        load(folds=folds)


def test_datasets_replaces_folds_one_by_one(load):
    replaced = {name: f"{name}_twin" for name in ("whole", "first", "second", "third")}
    suite = load(datasets=replaced)
    assert suite.folds == {"whole_twin": ["first_twin", "second_twin", "third_twin"]}
    assert {suite.runs[f"elastic_fold{fold}"].dataset for fold in (1, 2, 3)} == set(suite.folds["whole_twin"])
    assert suite.runs["other"].dataset == "unfolded"


@pytest.mark.parametrize(
    ("datasets", "named"),
    [
        ({"whole": "whole_twin"}, ("folds", "whole_twin", "first", "synthetic twin of esc50")),
        ({"first": "first_twin"}, ("folds", "whole", "first_twin", "synthetic twin of esc50")),
        ({"frist": "first_twin"}, ("datasets", "frist", "first")),
        ({"whole": "whole_twin", "unfolded": "whole_twin"}, ("datasets", "whole_twin")),
    ],
)
def test_folds_of_other_clips_than_their_dataset_are_refused(load, datasets, named):
    folds = SUITE["folds"] | ({"unfolded": ["first"]} if "unfolded" in datasets else {})
    with complains(ConfigError, "toy.yaml", *named):
        load(datasets=datasets, folds=folds)


def test_references_are_repeated_on_each_fold(load):
    first, other = list(SUITE["experiments"])[:2]
    found = load(references=[first, other]).references
    assert set(found) == {name for name in load().runs if name.startswith((f"{first}_", f"{other}_")) or name == other}
    with complains(ConfigError, "toy.yaml", "references", "nobody"):
        load(references=["nobody"])


def test_an_ablation_of_an_experiment_with_folds_is_refused(load, tmp_path):
    suite = load()
    (tmp_path / "ablations").mkdir()
    text = {"title": "T", "question": "Q?", "grid": {"model.depth": [1, 2]}, "plot": "factor"}
    for base in ("fixed", "other"):
        (tmp_path / "ablations" / f"{base}.yaml").write_text(yaml.safe_dump({**text, "base": base}))
    ablations, broken = load_ablations(suite, tmp_path)
    assert list(ablations) == ["other"]
    assert_names(str(broken["fixed"]), "fixed.yaml", "base", "fixed", "folds", "other")


def test_table_1_has_mean_and_deviation_over_folds(load):
    """The value of a fold is the mean over its seeds."""
    suite, rows = load(), []
    for name in suite.runs:
        for seed in (0, 1):
            for x in (64.0, 128.0):
                fold = int(name[-1]) if name[-1].isdigit() else 0
                about = ["toy", name, seed, "length", suite.runs[name].dataset, suite.runs[name].task, "max_frames", x]
                metric = "mAP" if fold == 0 else "accuracy"
                rows.append([*about, metric, 0.5 + 0.1 * fold + (0.02 if seed else -0.02), 40 + fold, 43])
    table = comparison_table(suite, pd.DataFrame(rows, columns=list(METRICS)))
    own = table[(table["fixed"] == "AST 64") & (table["quantity"] == "fixed_own")].iloc[0]
    assert (own["experiment"], own["dataset"], own["seeds"], own["seeds_planned"]) == ("fixed", "whole", 3, 3)
    assert own["mean"] == pytest.approx(0.7)
    assert own["sd"] == pytest.approx(np.std([0.6, 0.7, 0.8], ddof=1))
    printed = {line.split(" · ")[0].strip("| "): line for line in markdown(table).splitlines()[2:]}
    assert "70.0 ± 10.0" in printed["whole, 3 folds"]
    assert "3 folds" in printed["whole, 3 folds"]
    assert " 2 |" in printed["unfolded (synthetic)"]


def test_the_folds_of_esc50_are_each_the_test_fold_once():
    suite = load_suite("esc50", ROOT / "config")
    (folds,) = suite.folds.values()
    assert sorted(suite.datasets[name].test_fold for name in folds) == [1, 2, 3, 4, 5]
    assert len({suite.datasets[name].model_copy(update={"test_fold": 1, "title": None}) for name in folds}) == 1
