"""Phases and teachers in suites and ablations: what is refused before anything runs, and what is trained first."""

from pathlib import Path

import pytest
import yaml

from elasticast.config.load_ablation import load_ablation
from elasticast.config.load_suite import load_suite
from elasticast.errors import ConfigError
from elasticast.plan import Plan
from tests.complaints import assert_names
from tests.unit.config.test_merging import DATASET, PARENT
from tests.unit.models.own_models import GRU

PHASES = [{"compression": 2.0, "share": 0.5}, {"compression": 1.0, "share": 0.5}]


@pytest.fixture
def suite(tmp_path):
    """The suite PARENT with changed experiments, and ablations of it."""

    def write(ablations=None, **experiments):
        merged = {**PARENT["experiments"]}
        for name, difference in experiments.items():
            merged[name] = {**merged.get(name, {"base": "elastic"}), **difference}
        files = {"suites/suite": {**PARENT, "experiments": merged, "claims": {}}, "datasets/tiny": DATASET}
        files |= {"datasets/other": DATASET}
        files |= {f"ablations/{name}": said for name, said in (ablations or {}).items()}
        for name, content in files.items():
            path = tmp_path / f"{name}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(yaml.safe_dump(content, sort_keys=False))
        return load_suite("suite", tmp_path)

    return write


def distilled(teacher, weight=0.5, **others):
    return {"train": {"distill": {"teacher": teacher, "weight": weight}}, **others}


def refused(caught) -> set[tuple]:
    return {(Path(p.file).name, ".".join(p.key)) for p in caught.value.problems}


WRONG = {
    "a sum below 1": ({"phases": [{"compression": 2.0, "share": 0.5}, {"compression": 1.0, "share": 0.4}]}, "0.9"),
    "a sum above 1": ({"phases": [{"compression": 2.0, "share": 0.5}, {"compression": 1.0, "share": 0.75}]}, "1.25"),
    "a coarse end": ({"phases": [{"compression": 1.0, "share": 0.5}, {"compression": 2.0, "share": 0.5}]}, "1"),
    "a pooled end": ({"phases": [{"compression": 1.0, "share": 1.0, "resolution": "max_pool"}]}, "hop"),
    "rising": ({"phases": [{"compression": c, "share": s} for c, s in ((2.0, 0.25), (4.0, 0.25), (1.0, 0.5))]}, "4.0"),
    "an odd hop": ({"phases": [{"compression": 1.25, "share": 0.5}, {"compression": 1.0, "share": 0.5}]}, "1.25"),
    "no step": (
        {
            "steps": 10,
            "epochs": None,
            "phases": [{"compression": c, "share": s} for c, s in ((2.0, 0.05), (1.0, 0.95))],
        },
        "10",
    ),
    "none": ({"phases": []}, "phases"),
    "wide patches at the end": ({"phases": [{"compression": 1.0, "share": 1.0, "resolution": "patch"}]}, "hop"),
}


@pytest.mark.parametrize("name", WRONG)
def test_phases_that_do_not_fit_are_refused(suite, name):
    train, value = WRONG[name]
    with pytest.raises(ConfigError) as caught:
        suite(elastic={"train": train})
    assert refused(caught) == {("suite.yaml", "experiments.elastic.train.phases")}
    assert_names(str(caught.value), value)


WIDER = {
    "a fraction of a frame": ({}, 1.3, "16"),
    "finer than the last phase": ({"view": {"compression": [100.0]}}, 2.0, "100"),
    "longer than any clip": ({}, 100.0, "1600"),
    "a model of one size": ({"model": {"kind": "cnn", "width": 8}}, 2.0, "cnn"),
    "patches that overlap": ({"model": {"kind": "elasticast", "stride": 10}}, 2.0, "model.stride"),
    "drawn sizes": ({"model": {"kind": "elasticast", "patch_sizes": {"sizes": [8, 16]}}}, 2.0, "model.patch_sizes"),
}


@pytest.mark.parametrize("name", WIDER)
def test_wider_patches_that_do_not_fit_are_refused(suite, name):
    difference, compression, value = WIDER[name]
    phases = [{"compression": compression, "share": 0.5, "resolution": "patch"}, {"compression": 1.0, "share": 0.5}]
    with pytest.raises(ConfigError) as caught:
        suite(elastic={**difference, "train": {"phases": phases}})
    assert ("suite.yaml", "experiments.elastic.train.phases") in refused(caught)
    assert_names(str(caught.value), value, f"{compression:g}")


@pytest.mark.parametrize("share", [0, -0.5, 1.5, "half"])
def test_a_share_is_above_0_and_at_most_1(suite, share):
    with pytest.raises(ConfigError) as caught:
        suite(elastic={"train": {"phases": [{"compression": 2.0, "share": share}, {"compression": 1.0, "share": 0.5}]}})
    assert refused(caught) == {("suite.yaml", "experiments.elastic.train.phases.0.share")}


def test_phases_need_one_resolution_at_the_end(suite):
    with pytest.raises(ConfigError) as caught:
        suite(elastic={"view": {"compression": [1.0, 2.0]}, "train": {"phases": PHASES}})
    assert refused(caught) == {("suite.yaml", "experiments.elastic.train.phases")}
    assert_names(str(caught.value), "view.compression")


def test_thirds_may_be_rounded(suite):
    thirds = [{"compression": c, "share": s} for c, s in ((4.0, 0.333333), (2.0, 0.333333), (1.0, 0.333334))]
    assert len(suite(elastic={"train": {"phases": thirds}}).runs["elastic"].train.phases) == 3


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_a_weight_is_a_share(suite, weight):
    with pytest.raises(ConfigError) as caught:
        suite(elastic=distilled("run:ast64", weight))
    assert refused(caught) == {("suite.yaml", "experiments.elastic.train.distill.weight")}


TEACHER = ("suite.yaml", "experiments.elastic.train.distill.teacher")


@pytest.mark.parametrize(
    ("experiments", "value"),
    [
        ({"elastic": distilled("run:nobody")}, "run:nobody"),
        ({"elastic": distilled("run:elastic")}, "run:elastic"),
        ({"elastic": distilled("run:ast64"), "ast64": {"model": {"kind": "ast", "init": "run:elastic"}}}, "run:ast64"),
        ({"elastic": distilled("run:scene"), "scene": {"base": "ast64", "task": "scene"}}, "scene"),
        ({"elastic": distilled("run:slow"), "slow": {"base": "ast64", "front_end": {"sample_rate": 8000}}}, "8000"),
    ],
    ids=["unknown", "itself", "circle", "other classes", "other rate"],
)
def test_teachers_that_do_not_fit_are_refused(suite, experiments, value):
    with pytest.raises(ConfigError) as caught:
        suite(**experiments)
    assert TEACHER in refused(caught) or value == "8000"  # the dataset has another rate too
    assert_names(str(caught.value), value)


def test_a_circle_of_teachers_is_refused_at_each_of_them(suite):
    with pytest.raises(ConfigError) as caught:
        suite(elastic=distilled("run:ast64"), ast64=distilled("run:elastic"))
    assert refused(caught) >= {TEACHER, ("suite.yaml", "experiments.ast64.train.distill.teacher")}


def test_a_teacher_is_trained_first(suite):
    found = Plan(suite(elastic=distilled("run:ast64"), both=distilled("run:ast128", model={"init": "run:ast64"})))
    assert found.needs("elastic").trained_first == ("ast64",)
    assert found.needs("both").trained_first == ("ast64", "ast128")
    assert found.needs("ast64").trained_first == ()


ABLATION = {
    "title": "Distillation",
    "base": "elastic",
    "variants": {
        "student": {"label": "student", **distilled("run:cnn")},
        "cnn": {"label": "CNN", "model": {"kind": "cnn"}},
        "second": {"label": "second", **distilled("run:student")},
    },
}


def test_a_variant_can_teach_others(suite, tmp_path):
    loaded = suite({"mine": ABLATION})
    ablation = load_ablation("mine", "suite", tmp_path)
    teacher = ablation.trained["cnn"]
    assert ablation.runs["student"].train.distill.teacher == f"run:{teacher}"
    assert ablation.factors["student"]["train.distill"]["teacher"] == "run:cnn"
    found = Plan(loaded, {"mine": ablation})
    assert found.needs(ablation.trained["student"]).trained_first == (teacher,)
    assert found.needs(ablation.trained["second"]).trained_first == (ablation.trained["student"],)
    wider = {**ABLATION["variants"], "cnn": {"label": "CNN", "model": {"kind": "cnn", "width": 16}}}
    suite({"mine": {**ABLATION, "variants": wider}})
    changed = load_ablation("mine", "suite", tmp_path)
    assert not set(changed.trained.values()) & (set(ablation.trained.values()) - {"elastic"})


@pytest.mark.parametrize(("teacher", "message"), [("run:second", "run:second"), ("run:nobody", "run:nobody")])
def test_variants_that_do_not_exist_or_lead_back_are_refused(suite, tmp_path, teacher, message):
    variants = {**ABLATION["variants"], "student": {"label": "student", **distilled(teacher)}}
    suite({"mine": {**ABLATION, "variants": variants}})
    with pytest.raises(ConfigError) as caught:
        load_ablation("mine", "suite", tmp_path)
    assert ("mine.yaml", "variants.student.train.distill.teacher") in refused(caught)
    assert_names(str(caught.value), message)


def test_a_training_runs_the_file_of_its_teacher_too(suite, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(GRU)
    own = {"base": "ast128", "label": "own", "model": {"kind": "own.py:Gru"}, "view": {"frames": "native"}}
    found = Plan(suite(own=own, elastic=distilled("run:own")))
    assert found.training_files("elastic") == found.training_files("own") == ["own.py"]
    assert found.training_files("ast64") == []
    assert found.model_file("elastic") == []


@pytest.mark.parametrize(
    ("key", "model"),
    [
        ("model.width", {"width": 12}),
        ("model.stages", {"patch": 8}),
        ("model.stride", {"stride": 10}),
    ],
)
def test_sizes_of_a_cnn_that_do_not_fit_are_refused(suite, key, model):
    with pytest.raises(ConfigError) as caught:
        suite(cnn={"label": "CNN", "model": {"kind": "cnn", **model}})
    assert refused(caught) == {("suite.yaml", f"experiments.cnn.{key}")}
