"""Training in stages and the convolutional recurrent head: what is refused before anything runs."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from elasticast.config.load_suite import load_suite
from elasticast.config.reading import deep_merge
from elasticast.config.stages import StageSettings
from elasticast.errors import ConfigError
from elasticast.plan import Plan
from tests.complaints import assert_names
from tests.unit.config.test_merging import DATASET, PARENT

TIMED = {"task": "timed_events", "model": {"frame_head": True}}
ONE = [{"share": 1.0, "consistency": 1.0}]
PSEUDO = [{"share": 1.0, "pseudo_labels": 1.0}]


@pytest.fixture
def suite(tmp_path):
    """The suite PARENT with events and changed experiments."""

    def write(**experiments):
        elastic = deep_merge(PARENT["experiments"]["elastic"], TIMED)
        plain = {"base": "elastic", "train": {"stages": None, "ensemble": None}}
        merged = {"elastic": elastic, **{name: plain for name in experiments if name != "elastic"}}
        for name, difference in experiments.items():
            merged[name] = deep_merge(merged[name], difference)
        files = {"suites/suite": {**PARENT, "experiments": merged, "claims": {}}}
        files["datasets/tiny"] = {**DATASET, "event_times": True}
        for name, content in files.items():
            path = tmp_path / f"{name}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(yaml.safe_dump(content, sort_keys=False))
        return load_suite("suite", tmp_path)

    return write


def refused(caught) -> set[tuple]:
    return {(Path(p.file).name, ".".join(p.key)) for p in caught.value.problems}


WRONG = {
    "a sum below 1": ({"stages": [{"share": 0.5}, {"share": 0.25}]}, "stages", "0.75"),
    "no stage": ({"stages": []}, "stages", "stages"),
    "a negative weight": ({"stages": [{"share": 1.0, "consistency": -1.0}]}, "stages.0.consistency", "-1.0"),
    "frozen from scratch": ({"stages": [{"share": 1.0, "frozen": True}]}, "stages.0.frozen", "model.init"),
    "phases too": ({"stages": ONE, "phases": [{"compression": 1.0, "share": 1.0}]}, "phases", "train.stages"),
    "a teacher too": ({"stages": ONE, "distill": {"teacher": "x", "weight": 0.5}}, "distill", "train.stages"),
    "operations": ({"stages": ONE, "flops": 1.0e12, "steps": None, "epochs": None}, "flops", "train.stages"),
    "tokens": ({"stages": ONE, "loss_weights": "token"}, "loss_weights", "clip"),
    "graphs": ({"stages": ONE, "cuda_graphs": True}, "cuda_graphs", "train.stages"),
    "no step": (
        {"stages": [{"share": 0.05}, {"share": 0.95}], "steps": 10, "epochs": None},
        "stages",
        "10",
    ),
    "a warp": (
        {"stages": ONE, "spec_augment": {"warp": {"kind": "specaugment", "frames": 5}}},
        "spec_augment.warp",
        "consistency",
    ),
    "interpolation of nothing": (
        {"stages": [{"share": 1.0, "interpolation": True}], "mixup": 0.5},
        "stages.0.interpolation",
        "consistency",
    ),
    "interpolation without mixtures": (
        {"stages": [{**ONE[0], "interpolation": True}], "mixup": 0.0},
        "stages.0.interpolation",
        "train.mixup",
    ),
    "rates that rise": ({"layer_decay": 1.5}, "layer_decay", "1.5"),
    "no rates": ({"layer_decay": 0.0}, "layer_decay", "0.0"),
    "no ensemble": ({"stages": PSEUDO}, "stages.0.pseudo_labels", "train.ensemble"),
    "an ensemble for nothing": ({"stages": ONE, "ensemble": ["weights"]}, "ensemble", "pseudo_labels"),
    "an ensemble without stages": ({"ensemble": ["weights"]}, "ensemble", "train.stages"),
    "an empty ensemble": ({"stages": PSEUDO, "ensemble": []}, "ensemble", "ensemble"),
    "a teacher of nothing": ({"mean_teacher": {"keep": "teacher"}}, "mean_teacher.keep", "train.stages"),
    "an average of nothing": ({"mean_teacher": {"ema": 1.0}}, "mean_teacher.ema", "1.0"),
    "all without labels": ({"unlabelled": {"share": 1.0, "clips": 2}}, "unlabelled.share", "1.0"),
    "a balanced sampler": ({"unlabelled": {"share": 0.5, "clips": 2}, "sampler": "balanced"}, "sampler", "shuffle"),
}


@pytest.mark.parametrize("name", WRONG)
def test_stages_that_do_not_fit_are_refused(suite, name):
    train, key, value = WRONG[name]
    with pytest.raises(ConfigError) as caught:
        suite(elastic={"train": train})
    assert refused(caught) == {("suite.yaml", f"experiments.elastic.train.{key}")}
    assert_names(str(caught.value), value)


def test_a_frozen_transformer_has_no_learning_rate(suite):
    stages = [{"share": 0.5}, {"share": 0.5, "frozen": True, "transformer_lr": 1.0e-4}]
    with pytest.raises(ConfigError) as caught:
        suite(elastic={"train": {"stages": stages}})
    assert refused(caught) == {("suite.yaml", "experiments.elastic.train.stages.1.transformer_lr")}


def test_a_model_without_layers_has_one_learning_rate(tiny):
    assert tiny(model={"kind": "cnn"}, train={"layer_decay": 1.0}).train.layer_decay == 1
    with pytest.raises(ValidationError) as caught:
        tiny(model={"kind": "cnn"}, train={"layer_decay": 0.5})
    assert_names(str(caught.value), "train.layer_decay", "blocks", "0.5")


def test_an_adapted_model_has_no_stages(suite):
    adapted = {"model": {"init": "weights", "adapt": {"kind": "lora"}}, "train": {"stages": ONE}}
    with pytest.raises(ConfigError) as caught:
        suite(elastic=adapted)
    assert refused(caught) == {("suite.yaml", "experiments.elastic.model.adapt.kind")}


def test_pseudo_labels_are_of_time_patches(suite):
    of_clips = {"task": "events", "model": {"frame_head": False}, "train": {"stages": PSEUDO, "ensemble": ["weights"]}}
    with pytest.raises(ConfigError) as caught:
        suite(elastic=of_clips)
    assert refused(caught) == {("suite.yaml", "experiments.elastic.train.stages.0.pseudo_labels")}
    assert_names(str(caught.value), "model.frame_head")


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ({"crnn": {}, "frame_head": False}, "model.crnn"),
        ({"crnn": {}, "stride": 8}, "model.stride"),
        ({"crnn": {}, "context": {"chunk": 1}, "positions": "rotary"}, "model.crnn"),
        ({"crnn": {"channels": []}}, "model.crnn.channels"),
        ({"crnn": {"channels": [4, 0]}}, "model.crnn.channels.1"),
        ({"crnn": {"dropout": 1.0}}, "model.crnn.dropout"),
    ],
    ids=str,
)
def test_a_recurrent_head_that_does_not_fit_is_refused(suite, model, key):
    with pytest.raises(ConfigError) as caught:
        suite(elastic={"model": model} | ({"task": "events"} if model.get("frame_head") is False else {}))
    assert refused(caught) == {("suite.yaml", f"experiments.elastic.{key}")}


def taught(*names):
    return {"train": {"stages": PSEUDO, "ensemble": [f"run:{name}" for name in names]}}


def test_members_are_trained_first(suite):
    loaded = suite(one={}, two={"model": {"init": "run:one"}}, elastic=taught("one", "two"))
    assert Plan(loaded).needs("elastic").trained_first == ("one", "two")
    renamed = loaded.runs["elastic"].with_source("train.ensemble.1", "run:three")
    assert renamed.train.ensemble == ["run:one", "run:three"]
    assert list(renamed.trained_first.items()) == [("train.ensemble.0", "one"), ("train.ensemble.1", "three")]


@pytest.mark.parametrize(
    ("members", "experiments", "value"),
    [
        (("one", "nobody"), {"one": {}}, "run:nobody"),
        (("one", "elastic"), {"one": {}}, "run:elastic"),
        (("one", "clips"), {"one": {}, "clips": {"task": "events", "model": {"frame_head": False}}}, "run:clips"),
    ],
    ids=["unknown", "itself", "of clips"],
)
def test_members_that_do_not_fit_are_refused(suite, members, experiments, value):
    with pytest.raises(ConfigError) as caught:
        suite(elastic=taught(*members), **experiments)
    assert ("suite.yaml", "experiments.elastic.train.ensemble.1") in refused(caught)
    assert_names(str(caught.value), value)


def test_the_ramp_ends_at_the_weight():
    stage = StageSettings(share=1.0, consistency=4.0, ramp_steps=10)
    found = [stage.consistency_at(step) for step in range(12)]
    assert found == sorted(found)
    assert found[10:] == [4.0, 4.0]
    assert StageSettings(share=1.0, consistency=4.0).consistency_at(0) == 4.0
