"""Names that users choose: one pattern, enforced wherever a name comes from."""

import re

import pytest
import yaml

from elasticast.config.ablation_names import run_name
from elasticast.config.load_ablation import load_ablation, load_ablations
from elasticast.config.load_suite import load_suite, load_workflow_config
from elasticast.config.names import MAX_NAME, NAME, RUN_NAME, name_error, no_such_file
from elasticast.config.reading import read_yaml
from elasticast.errors import ConfigError, did_you_mean
from tests.complaints import assert_names, complains
from tests.workflow.conftest import DATASET, ROOT, TINY

RULES = ROOT / "workflow/rules"
HOSTILE = [
    *("$(touch pwned)", "`touch pwned`", "a;touch pwned", "a b", "it's", 'a"b', "a\nb", "a\tb", "a\0b", "-x", "--out"),
    *(
        "../x",
        "a/b",
        "/tmp/x",
        ".",
        "..",
        ".x",
        "x.y",
        "~",
        "é",
        "ａ",
        "a{b}",
        "a*",
        "a|b",
        "a\\b",
        "%j",
        "#a",
        "a=b",
        "_",
    ),
    *("", " ", "_", "con", "NUL", "com1", "x" * (MAX_NAME + 1), "x" * 300),
]
FINE = ["a", "0", "Ast-64_x", "x" * MAX_NAME, "console", "1e5"]


@pytest.fixture
def config(tmp_path):
    """A folder of configuration with the tiny suite; gives a function that writes a file and returns the folder."""

    def write(name, value):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(value, sort_keys=False))
        return tmp_path

    write("suites/tiny", TINY)
    write("datasets/tiny", DATASET)
    return write


def refused(call, name):
    """Files of the problems that a call reports, all of which are about `name`."""
    with pytest.raises(ConfigError) as caught:
        call()
    assert all(name in (problem.value, *problem.key) for problem in caught.value.problems)
    return {problem.file for problem in caught.value.problems}


def test_a_misspelt_name_gets_the_name_that_is_meant(tmp_path):
    folder = tmp_path / "datasets"
    folder.mkdir()
    for name in ("mine", "fsdd"):
        (folder / f"{name}.yaml").touch()
    assert_names(no_such_file(folder, "mien"), folder / "mien.yaml", "`mine`", "fsdd")
    assert "`" not in no_such_file(folder, "zzz")
    with complains(ConfigError, folder / "fsd.yaml", "`fsdd`", "mine"):
        read_yaml(folder / "fsd.yaml")


@pytest.mark.parametrize(("word", "meant"), [("siute", "suite"), ("learning_rate", "lr"), ("zzz", None)])
def test_what_is_meant_is_like_a_word_or_its_initials(word, meant):
    assert did_you_mean(word, ["lr", "suite", "mixup"]) == (f"did you mean `{meant}`? " if meant else "")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_wherever_they_come_from(config, name):
    folder = config("ablations/fine", {"title": "t", "base": "elastic", "grid": {"train.lr": [0.5]}})
    of_workflow = {"suite": "tiny", "data_root": "data", "results": "results"}
    assert refused(lambda: load_suite(name, folder), name) == {str(folder / "suites")}
    assert refused(lambda: load_ablation(name, "tiny", folder), name) == {str(folder / "ablations")}
    assert refused(lambda: load_ablation("fine", name, folder), name) == {str(folder / "suites")}
    for key in ("suite", "beside"):
        assert refused(lambda k=key: load_workflow_config({**of_workflow, k: name}), name) == {"config/config.yaml"}
    assert no_such_file(folder / "datasets", name)
    named = [(key, {**TINY.get(key, {}), name: {}}) for key in ("experiments", "evaluations", "claims")]
    others = [("extends", name), ("datasets", {"tiny": name}), ("defaults", {**TINY["defaults"], "dataset": name})]
    for key, value in named + others:
        config("suites/mine", {**TINY, key: value})
        assert refused(lambda: load_suite("mine", folder), name) == {str(folder / "suites/mine.yaml")}
    for variant in ({"variants": {name: {}}}, {"grid": {"train.lr": [0.5]}, "evaluations": {name: {}}}):
        config("ablations/mine", {"title": "t", "base": "elastic", **variant})
        assert refused(lambda: load_ablation("mine", "tiny", folder), name) == {str(folder / "ablations/mine.yaml")}


@pytest.mark.parametrize("name", FINE)
def test_other_names_are_taken(config, name):
    assert name_error(name) is None
    experiment = {"base": "elastic", "evaluations": [name]}
    suite = {**TINY, "experiments": {**TINY["experiments"], name: experiment}}
    suite["evaluations"] = {**TINY["evaluations"], name: TINY["evaluations"]["length"]}
    folder = config(f"suites/{name}", suite)
    ablation = {"title": "t", "base": "elastic", "variants": {name: {"train": {"lr": 0.5}}}}
    config(f"ablations/{name}", ablation)
    loaded = load_suite(name, folder)
    assert name in loaded.runs
    assert list(load_ablations(loaded, folder)[0]) == [name]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("suites", "data"),
        ("suites", "reference"),
        ("datasets", "logs"),
        ("datasets", "benchmarks"),
        ("ablations", "a_table"),
    ],
)
def test_names_of_folders_of_the_suite_are_reserved(folder, name):
    assert name_error(name, folder)
    assert name_error(name) is None


def test_file_names_stay_below_255_bytes(config):
    long, experiment = "x" * MAX_NAME, TINY["experiments"]["elastic"]
    suite = load_suite("tiny", config("suites/tiny", {**TINY, "experiments": {long: experiment}}))
    changed = {**experiment, "model": {**experiment["model"], "init": "weights/" + "é" * 200}, "train": {"lr": 1.25e-5}}
    other = load_suite("tiny", config("suites/tiny", {**TINY, "experiments": {long: changed}}))
    name = run_name(other.runs[long], long, suite)
    assert re.fullmatch(RUN_NAME, name)
    patterns = [p for f in RULES.glob("*.smk") for p in re.findall(r'"[^"]*?([^"/]*\{\{[^"/]*)"', f.read_text())]
    assert len(patterns) > 10
    for pattern in patterns:
        filled = pattern.replace("{{seed}}", str(2**63 - 1)).replace("{{experiment}}", name)
        filled = re.sub(r"\{\{\w+\}\}", long, filled)
        assert len(f".{filled}.4194304.part") < 255, pattern


def test_a_name_ends_where_the_pattern_ends():
    assert re.fullmatch(NAME, "a")
    assert not re.fullmatch(NAME, "a\n")
