"""`elasticast new-suite`: what it guesses, that what it writes can be run, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import yaml

from elasticast.config.load_suite import load_suite
from elasticast.config.resolving import load_dataset
from elasticast.data.tables.read import Rows
from elasticast.errors import ConfigError, ElasticASTError
from elasticast.new_suite import default_name, new_suite
from elasticast.new_suite import machine as measuring
from elasticast.new_suite.labels import guess_labels
from elasticast.new_suite.machine import Machine, measure_machine
from elasticast.new_suite.size import FEWEST_STEPS, LONGEST, size_suite
from elasticast.new_suite.survey import look_at
from elasticast.new_suite.write import dataset_text
from elasticast.plan import Plan
from tests.complaints import complains

SLOW = Machine("cpu", 0.0, 2, 0, 1e10)
GPU = Machine("GPU", 80.0, 1, 8, 3e14)


def wav(path, seed, seconds, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * rate)), rate)


@pytest.fixture
def folder(tmp_path):
    """Forty recordings of 0.3-2.25 s, 0.wav to 39.wav."""
    for i in range(40):
        wav(tmp_path / "my birds" / f"{i}.wav", i, 0.3 + 0.05 * i, (8000, 16000)[i % 2])
    return tmp_path / "my birds"


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "SECONDS", 0.01)
    for name in ("datasets", "suites"):
        (tmp_path / "config" / name).mkdir(parents=True)
    return tmp_path / "config"


def table(folder, name="metadata.csv", **columns):
    frame = {"file_name": [f"{i}.wav" for i in range(40)], "label": list("abcd" * 10)} | columns
    frame = pd.DataFrame({key: value for key, value in frame.items() if value is not None})
    frame.to_csv(folder / name, index=False)


def written(config, name="my_birds"):
    return [yaml.safe_load((config / kind / f"{name}.yaml").read_text()) for kind in ("datasets", "suites")]


# ---------------------------------------------------------------------------------------------
# What is written
# ---------------------------------------------------------------------------------------------


def test_the_suite_can_be_planned_and_has_its_models(folder, config):
    table(folder, speaker=[f"s{i % 8}" for i in range(40)])
    survey, paths = new_suite(folder, config_dir=config)
    assert paths == [config / "datasets/my_birds.yaml", config / "suites/my_birds.yaml"]
    suite = load_suite("my_birds", config)
    plan = Plan(suite)
    assert plan.packed_dataset == "my_birds"
    assert {"fig1", "fig2", "fig3", "fig4", "table1"} <= set(plan.figures)
    lengths = [run.view.frames for run in suite.runs.values()]
    quartiles = survey.clips["duration"].quantile([0.25, 0.5, 0.75]) * 100
    assert lengths[0] == lengths[-1] == "native"
    assert all(abs(frames - q) <= 24 for frames, q in zip(lengths[1:-1], quartiles, strict=True))
    assert set(lengths[1:-1]) <= set(suite.evaluations["length"].x)
    assert max(suite.evaluations["length"].x) == suite.runs["label_elastic"].view.max_frames


def test_the_dataset_file_names_all_that_was_guessed(folder, config):
    table(folder, speaker=[f"s{i % 8}" for i in range(40)])
    survey, _ = new_suite(folder, config_dir=config)
    dataset, _ = written(config)
    assert dataset["folder"] == str(folder)
    assert dataset["columns"] == {"path": "file_name", "group": "speaker"}
    assert dataset["labels"] == {"label": {"kind": "single", "columns": ["label"]}}
    assert dataset["split_seed"] == survey.settings["split_seed"]
    text = (config / "datasets/my_birds.yaml").read_text()
    assert all(word in text for word in ("40 clips", "8,000 Hz", "16,000 Hz", "'a', 'b', 'c', 'd'"))


def test_the_drawn_split_has_every_class_on_both_sides(folder, config):
    table(folder, speaker=[f"s{i // 4}" for i in range(40)])
    clips = new_suite(folder, config_dir=config)[0].clips
    for split in ("train", "test"):
        assert {name for names in clips.loc[clips["split"] == split, "label"] for name in names} == set("abcd")
    assert (clips.groupby("group")["split"].nunique() == 1).all()


def test_named_splits_are_written_out(folder, config):
    table(folder, split=["Train"] * 20 + ["val"] * 10 + ["TEST"] * 10)
    new_suite(folder, config_dir=config)
    dataset, _ = written(config)
    assert dataset["split_values"] == {"train": ["Train"], "dev": ["val"], "test": ["TEST"]}
    assert load_suite("my_birds", config).datasets["my_birds"].splits() == {"train", "dev", "test"}


def test_without_a_test_split_the_dev_split_is_tested(folder, config):
    table(folder, split=["train"] * 30 + ["validation"] * 10)
    new_suite(folder, config_dir=config)
    assert written(config)[0]["split_values"] == {"train": ["train"], "test": ["validation"]}


def test_folds_of_the_table_are_used(folder, config):
    table(folder, fold=[1 + i % 5 for i in range(40)])
    clips = new_suite(folder, config_dir=config)[0].clips
    assert written(config)[0]["test_fold"] == 5
    assert (clips["split"] == "test").sum() == 8


def test_folders_without_a_table(tmp_path, config):
    for i in range(40):
        wav(tmp_path / "x" / "ab"[i % 2] / f"{i}.wav", i, 0.3 + 0.02 * i)
    new_suite(tmp_path / "x", config_dir=config)
    dataset, suite = written(config, "x")
    assert (dataset["source"], dataset["task"], dataset["folds"]) == ("folders", "label", 5)
    assert suite["defaults"]["task"] == "label"


def test_a_dataset_of_test_clips_has_no_suite(folder, config):
    table(folder, split=["train"] * 20 + ["test"] * 20)
    survey, paths = new_suite(folder, config_dir=config, all_test=True)
    assert paths == [config / "datasets/my_birds.yaml"]
    assert paths[0].is_file()
    assert not (config / "suites/my_birds.yaml").exists()
    assert load_dataset(paths[0]).splits() == {"test"}
    assert (survey.clips["split"] == "test").all()


def test_no_suite_trains_on_a_dataset_of_test_clips(folder, config):
    table(folder)
    new_suite(folder, config_dir=config)
    path = config / "datasets/my_birds.yaml"
    dataset = {k: v for k, v in written(config)[0].items() if k not in ("folds", "test_fold", "split_seed")}
    path.write_text(yaml.safe_dump(dataset | {"all_test": True}))
    with complains(ConfigError, config / "suites/my_birds.yaml", "dataset", "my_birds", "all_test") as caught:
        load_suite("my_birds", config)
    assert len(caught.value.problems) == 1


def test_folders_of_splits(tmp_path, config):
    for i in range(20):
        wav(tmp_path / "x" / ("train", "val")[i % 2] / "ab"[i // 2 % 2] / f"{i}.wav", i, 0.3)
    new_suite(tmp_path / "x", config_dir=config)
    assert written(config, "x")[0]["split_values"] == {"train": ["train"], "test": ["val"]}


def test_tables_in_folders_of_splits(folder, config):
    for split, first in (("train", 0), ("test", 30)):
        for i in range(first, first + 10):
            wav(folder / split / f"{i}.wav", 100 + i, 0.5)
        rows = pd.DataFrame({"file_name": [f"{i}.wav" for i in range(first, first + 10)], "label": list("ab" * 5)})
        rows.to_csv(folder / split / "metadata.csv", index=False)
    new_suite(folder, config_dir=config)
    assert written(config)[0]["table"] == {"train": "train/metadata.csv", "test": "test/metadata.csv"}


def test_a_table_in_a_sub_folder_and_several_tasks(folder, config):
    (folder / "meta").mkdir()
    table(folder, "meta/x.csv", tags=["p;q", "q", "p", "q;p"] * 10)
    new_suite(folder, "two", labels=["label", "tags"], config_dir=config)
    suite = load_suite("two", config)
    assert {run.task: run.train.loss for run in suite.runs.values()} == {"label": "ce", "tags": "bce"}
    assert suite.datasets["two"].labels["tags"].separator == ";"


def test_hostile_names_of_folders_and_classes_stay_in_comments(tmp_path, config):
    folder = tmp_path / "x\nsource: esc50 # 'é'"
    for i in range(40):
        wav(folder / ("a\nb: [", "c")[i % 2] / f"{i}.wav", i, 0.3)
    new_suite(folder, "hostile", config_dir=config)
    dataset, _ = written(config, "hostile")
    assert (dataset["folder"], dataset["source"]) == (str(folder), "folders")


# ---------------------------------------------------------------------------------------------
# Labels
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["a", "b", "a"], {"kind": "single"}),
        (["a;b", "b;c", "a", "a;c"], {"kind": "multi", "separator": ";"}),
        (["a, b|c", "c", "a, b", "a, b|d", "c|d"], {"kind": "multi", "separator": "|"}),
        (["bird, large", "dog", "bird, large"], {"kind": "single"}),
        ([["a", "b"], []], {"kind": "multi"}),
    ],
)
def test_styles_of_labels(tmp_path, cells, expected):
    rows = Rows(tmp_path / "t.csv", {"file": ["x"] * len(cells), "Tags": cells}, range(len(cells)))
    assert guess_labels([rows], {"file"}, []) == {"Tags": {"columns": ["Tags"]} | expected}


@pytest.mark.parametrize(("flags", "kind"), [("10 01 10", "single"), ("11 00 10", "multi")])
def test_columns_of_zeros_and_ones_are_classes(tmp_path, flags, kind):
    a, b = zip(*flags.split(), strict=True)
    rows = Rows(tmp_path / "t.csv", {"file": ["x"] * 3, "a": list(a), "b": list(b), "note": ["1", "2", ""]}, range(3))
    assert guess_labels([rows], {"file"}, []) == {"label": {"kind": kind, "columns": ["a", "b"], "one_hot": True}}


@pytest.mark.parametrize(
    ("name", "expected"), [("Möwen & Co.", "Mowen_Co"), ("x", "x"), ("...", "mine"), ("a" * 99, "a" * 40)]
)
def test_names_of_folders_become_names(tmp_path, name, expected):
    assert default_name(tmp_path / name) == expected


# ---------------------------------------------------------------------------------------------
# Size
# ---------------------------------------------------------------------------------------------


def test_the_time_limits_the_training(folder):
    table(folder)
    survey = look_at(folder, None, [])
    plans = [size_suite(survey, SLOW, minutes) for minutes in (0, 1, 1000)]
    assert plans[0].steps == FEWEST_STEPS <= plans[1].steps <= plans[2].steps
    assert all(plan.batch <= 16 and plan.precision == "fp32" for plan in plans)


def test_a_fast_machine_gets_larger_models_for_many_clips(folder):
    table(folder)
    survey = look_at(folder, None, [])
    many = survey.clips.loc[survey.clips.index.repeat(2000)].reset_index(drop=True)
    survey = type(survey)(**{**vars(survey), "clips": many})
    small, large = (size_suite(survey, machine, 60) for machine in (SLOW, GPU))
    assert small.size.model["dim"] < large.size.model["dim"]
    assert small.minutes <= 61
    assert (large.precision, large.batch > small.batch) == ("bf16", True)


def test_long_clips_are_cut(folder):
    table(folder)
    survey = look_at(folder, None, [])
    survey = type(survey)(**{**vars(survey), "clips": survey.clips.assign(duration=survey.clips["duration"] * 100)})
    assert size_suite(survey, SLOW, 1).longest == LONGEST["cpu"]
    assert size_suite(survey, GPU, 1).longest == LONGEST["gpu"]


def test_the_machine_is_measured(monkeypatch):
    monkeypatch.setattr(measuring, "SECONDS", 0.01)
    machine = measure_machine()
    assert machine.flops > 1e8
    assert machine.runs_at_once >= 1


# ---------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------


def test_nothing_is_overwritten(folder, config):
    table(folder)
    new_suite(folder, config_dir=config)
    before = written(config)
    with complains(ConfigError, "--name", "my_birds", "config/datasets/my_birds.yaml"):
        new_suite(folder, config_dir=config)
    assert written(config) == before


@pytest.mark.parametrize("name", ["a b", "data", "con"])
def test_a_name_that_cannot_be_is_an_error(folder, config, name):
    table(folder)
    with complains(ConfigError, "--name", repr(name)):
        new_suite(folder, name, config_dir=config)


def break_folder(folder, how):
    if how == "empty":
        for path in folder.iterdir():
            path.unlink()
    elif how == "two tables":
        table(folder, "a.csv")
        table(folder, "b.csv")
    elif how == "no labels":
        table(folder, label=None)
    elif how == "unknown split":
        table(folder, split=["train"] * 39 + ["tesst"])
    elif how == "damaged":
        table(folder)
        for path in folder.glob("*.wav"):
            path.write_text("no sound")


@pytest.mark.parametrize(
    ("how", "tokens"),
    [
        ("empty", ["my birds"]),
        ("no table", ["my birds", "folder"]),
        ("two tables", ["a.csv", "b.csv", "table"]),
        ("no labels", ["metadata.csv", "--labels", "'file_name'"]),
        ("unknown split", ["metadata.csv", "line 41", "'tesst'", "'test'"]),
        ("damaged", ["my birds", "not audio"]),
    ],
)
def test_a_folder_that_cannot_be_used_is_an_error_and_nothing_is_written(folder, config, how, tokens):
    break_folder(folder, how)
    with complains(ElasticASTError, *tokens):
        new_suite(folder, config_dir=config)
    assert not list(config.rglob("*.yaml"))


def test_an_absent_folder_column_and_repository_are_errors(folder, config, tmp_path):
    table(folder)
    with complains(ElasticASTError, "absent", "folder of the recordings"):
        new_suite(tmp_path / "absent", config_dir=config)
    with complains(ElasticASTError, "metadata.csv", "--labels", "'lable'", "'label'"):
        new_suite(folder, labels=["lable"], config_dir=config)
    with complains(ElasticASTError, "absent"):
        new_suite(folder, config_dir=tmp_path / "absent")


def test_what_is_unusable_is_stated(folder, config, caplog):
    table(folder)
    (folder / "0.wav").unlink()
    survey, _ = new_suite(folder, config_dir=config)
    assert "missing" in dataset_text(survey, "x")
    assert "0.wav" in caplog.text
