"""The suites of published models: the same data and parameters, and the same steps or operations of training."""

from pathlib import Path

import pytest
import torch

from elasticast.config.load_suite import load_suite
from elasticast.models import build_model

ROOT = Path(__file__).parents[3]
SUITES = ["zoo", "zoo_soundscapes", "zoo_asterisk", "paper_zoo"]
TEACHERS = {"cnn"}
"""Kinds of models that are there to teach others."""
MODELS = [
    *("elastic", "ast", "ast_repeat", "ast_mask", "ast_buckets", "naflex", "naflex_packed", "flexi", "aum"),
    *("ast_tome", "elastic_tome", "coarse_to_fine", "cnn", "distilled"),
]


def suite_named(name):
    return load_suite(name, ROOT / "config")


def groups(suite):
    """Experiments by dataset, each in the order of the suite."""
    found = {}
    for name, run in suite.runs.items():
        found.setdefault(run.dataset, []).append(name)
    return found


@pytest.mark.parametrize("name", SUITES)
def test_every_dataset_has_every_model(name):
    suite = suite_named(name)
    for names in groups(suite).values():
        prefix = names[0].removesuffix("elastic")
        assert {f"{prefix}{model}" for model in MODELS} <= set(names)
    assert len(groups(suite)) == (4 if name == "paper_zoo" else 1)
    assert [names[0] for names in groups(suite).values()] == suite.references


@pytest.mark.parametrize("name", SUITES)
def test_all_models_have_about_the_same_number_of_parameters(name):
    suite, built = suite_named(name), {}
    for names in groups(suite).values():
        for experiment in names:
            config = suite.run_config(experiment, 0)
            with torch.device("meta"):
                built[experiment] = sum(p.numel() for p in build_model(config, 300).parameters())
            if config.model.kind not in TEACHERS:
                limit = 0.07 if config.model.kind == "aum" else 0.05
                assert built[experiment] == pytest.approx(built[names[0]], rel=limit), experiment


@pytest.mark.parametrize("name", SUITES)
def test_all_models_of_a_dataset_have_the_same_training(name):
    suite = suite_named(name)
    ours = {"token_dropout", "phases", "distill", "batch", "lr"}
    for names in groups(suite).values():
        first = suite.runs[names[0]]
        for experiment in names:
            run = suite.runs[experiment]
            assert (run.task, run.norm, run.front_end) == (first.task, first.norm, first.front_end)
            assert run.train.model_dump(exclude=ours) == first.train.model_dump(exclude=ours), experiment
            assert run.train.batch.clips == first.train.batch.clips
            if run.model.kind not in TEACHERS:
                assert run.train.lr == first.train.lr
            dropped = first.train.token_dropout if run.model.kind == "elasticast" else 0.0
            assert run.train.token_dropout == dropped


@pytest.mark.parametrize("name", ["zoo", "paper_zoo"])
def test_equal_operations_differ_in_the_length_of_training_only(name):
    steps, flops = suite_named(name), suite_named(f"{name}_flops")
    length = {"steps", "epochs", "flops"}
    assert list(flops.runs) == list(steps.runs)
    for names in groups(flops).values():
        assert len({flops.runs[experiment].train.flops for experiment in names}) == 1
    for experiment, run in flops.runs.items():
        other = steps.runs[experiment]
        assert run.train.flops
        assert run.train.model_dump(exclude=length) == other.train.model_dump(exclude=length)
        assert run.model_copy(update={"train": other.train}) == other
