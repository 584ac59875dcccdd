"""Saved predictions, and the tables of intervals and pairs that are made of them."""

import errno
import os
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from elasticast.config import Evaluation
from elasticast.data.dataset import Clips
from elasticast.errors import DataError
from elasticast.evaluation.intervals import INTERVAL_COLUMNS, PAIR_COLUMNS, _pairs, resample, write_tables
from elasticast.evaluation.metrics import metrics
from elasticast.evaluation.run import evaluate_run
from elasticast.evaluation.saved_predictions import points, saving, targets
from elasticast.evaluation.sweep import sweep
from elasticast.models import build_model
from elasticast.models.pretrained import load_model
from elasticast.progress import Progress
from elasticast.training.checkpoint import save_model
from tests.complaints import complains
from tests.records import rewrite_record

pytestmark = pytest.mark.usefixtures("cpu")
SWEEPS = {
    "length": Evaluation(x_name="max_frames", x=[64, 256]),
    "short": Evaluation(x_name="max_frames", x=[32]),
    "hop": Evaluation(x_name="compression", x=[1.0, 1.2]),
    "grid": Evaluation(x_name="max_frames", x=[64, 256], compression=[1.0, 2.0]),
}
POINTS = 5 + 4
TASKS = {"events": "bce", "scene": "ce"}


@pytest.fixture
def evaluated(tiny, prepared, norm, tmp_path):
    """Evaluates an untrained run of some weights and gives its folder."""

    def run(experiment, seed=0, kind="elasticast", task="events", sweeps=SWEEPS, data=prepared):
        folder = tmp_path / experiment / str(seed)
        config = tiny(experiment=experiment, seed=seed, task=task, model={"kind": kind}, train={"loss": TASKS[task]})
        clips = Clips(data, "test", task)
        torch.manual_seed(seed + 10 * len(experiment))
        model = build_model(config, len(clips.classes))
        for parameter in model.parameters():  # zero biases and near-zero weights would say the same of every clip
            parameter.data += 0.2 * torch.randn_like(parameter)
        save_model(folder, model, config, norm, clips.classes, clips.kind)
        settings = {name: value.model_dump(mode="json") for name, value in sweeps.items()}
        (folder / "sweeps.yaml").write_text(yaml.safe_dump({"suite": "s", "evaluations": settings}))
        evaluate_run(folder, folder / "sweeps.yaml", data, folder)
        return folder

    return run


@pytest.fixture
def tables(evaluated, tmp_path):
    """Tables of intervals and pairs of some experiments, each a tuple of name, kind of model and task, of two seeds."""

    def make(*experiments, references=()):
        for name, kind, task in experiments:
            files = [evaluated(name, seed, kind, task) / "predictions.h5" for seed in (0, 1)]
            resample(files, tmp_path / f"{name}.h5", 100)
        files = [tmp_path / f"{e[0]}.h5" for e in experiments]
        write_tables(files, tmp_path / "i.csv", tmp_path / "p.csv", references)
        return pd.read_csv(tmp_path / "i.csv"), pd.read_csv(tmp_path / "p.csv")

    return make


# ---------------------------------------------------------------------------------------------
# Predictions of each clip
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_what_is_saved_are_the_logits_of_the_sweep(evaluated, prepared, task):
    folder = evaluated("run", task=task)
    clips, trained = Clips(prepared, "test", task), load_model(folder)
    with h5py.File(folder / "predictions.h5") as file:
        assert list(file) == sorted(SWEEPS)
        about = {"suite": "s", "experiment": "run", "seed": 0, "dataset": "soundscapes", "task": task}
        about |= {"model": "elasticast", "kind": clips.kind}
        assert {name: file.attrs[name] for name in about} == about
        assert list(file.attrs["classes"]) == clips.classes
        for name, evaluation in SWEEPS.items():
            group = file[name]
            assert (group.attrs["x_name"], group.attrs["split"]) == (evaluation.x_name, "test")
            assert group["id"].asstr()[:].tolist() == clips.ids
            assert np.array_equal(targets(group, len(clips.classes)), clips.targets.numpy().astype(bool))
            expected = {}
            for compression in evaluation.compression or [None]:
                with Progress("test", len(clips)) as log:
                    args = (trained.model, clips, trained.config, trained.norm, evaluation, log, compression)
                    expected |= {(x, compression): logits for x, logits in sweep(*args).items()}
            assert len(list(points(group))) == len(expected)
            for (x, compression), logits in expected.items():
                point = group[f"{x:g}@{compression:g}" if compression else f"{x:g}"]
                shown = x if name == "hop" else compression or 1.0
                assert (point.attrs["x"], point.attrs["compression"]) == (x, shown)
                scores = logits if task == "events" else logits.double().log_softmax(1)
                assert point["scores"][:] == pytest.approx(scores.half().numpy(), rel=1e-3)
                if task != "events":
                    assert np.array_equal(point["predicted"][:], logits.argmax(1).numpy())


def test_every_metric_of_single_labels_can_be_computed_from_what_is_saved(evaluated):
    folder = evaluated("run", task="scene")
    measured = pd.read_csv(folder / "metrics.csv")
    measured = measured[measured["evaluation"] == "length"].pivot(index="x", columns="metric", values="value")
    with h5py.File(folder / "predictions.h5") as file:
        for point in points(file["length"]):
            scores = point["scores"][:].astype(np.float32)
            found = metrics(scores, targets(file["length"], scores.shape[1]), file.attrs["kind"])
            assert found == pytest.approx(measured.loc[point.attrs["x"], list(found)].to_dict(), abs=0.01)


def test_sweeps_of_the_same_clips_hold_them_once_and_files_repeat(evaluated):
    first = (evaluated("run") / "predictions.h5").read_bytes()
    folder = evaluated("run")
    assert (folder / "predictions.h5").read_bytes() == first
    with h5py.File(folder / "predictions.h5") as file:
        assert file["length/id"] == file["hop/id"]
        assert file["length/first_label"] == file["short/first_label"]


def test_an_evaluation_that_fails_leaves_nothing(tiny, tmp_path):
    def broken():
        with saving(tmp_path / "predictions.h5", "s", tiny()) as saved:
            saved.allocate(2, 3).zero_()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_that_names_the_folder(tiny, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with complains(OSError, tmp_path) as caught, saving(tmp_path / "p.h5", "s", tiny()) as saved:
        saved.allocate(2, 3)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path))


# ---------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------


def test_intervals_are_of_the_scores_that_were_measured(tables, tmp_path):
    intervals, _ = tables(("multi", "elasticast", "events"), ("single", "ast", "scene"))
    assert tuple(intervals) == INTERVAL_COLUMNS
    files = [tmp_path / name / seed / "metrics.csv" for name in ("multi", "single") for seed in "01"]
    measured = pd.concat([pd.read_csv(file) for file in files])
    point = ["suite", "experiment", "evaluation", "dataset", "task", "x_name", "x", "compression", "metric"]
    both = intervals.merge(measured.groupby(point)["value"].agg(measured="mean").reset_index(), on=point)
    assert len(both) == len(intervals) == 2 * POINTS
    of = both.set_index("task")
    assert of.loc["scene", "value"].tolist() == pytest.approx(of.loc["scene", "measured"].tolist(), abs=1e-12)
    # of scores rounded to float16
    assert of.loc["events", "value"].tolist() == pytest.approx(of.loc["events", "measured"].tolist(), abs=1e-3)
    assert (intervals["low"] < intervals["high"]).all()
    assert (intervals[["seeds", "clips"]] == [2, 6]).all(axis=None)
    assert dict(zip(intervals["task"], intervals["metric"], strict=True)) == {"events": "mAP", "scene": "accuracy"}


def test_pairs_are_every_elasticast_against_every_ast_of_the_same_task_and_sweep(tables):
    experiments = [("e1", "elasticast", "scene"), ("e22", "elasticast", "scene"), ("a333", "ast", "scene")]
    intervals, pairs = tables(*experiments, ("a4444", "ast", "scene"), ("other", "ast", "events"))
    assert tuple(pairs) == PAIR_COLUMNS
    assert set(zip(pairs["experiment"], pairs["against"], strict=True)) == {
        (one, other) for one in ("e1", "e22") for other in ("a333", "a4444")
    }
    assert len(pairs) == 4 * POINTS
    values = intervals.set_index(["experiment", "evaluation", "x", "compression"])["value"]
    for row in pairs.itertuples():
        one, other = (values[e, row.evaluation, row.x, row.compression] for e in (row.experiment, row.against))
        assert row.difference == pytest.approx(one - other)
        assert row.low <= row.high
        assert 0 < row.p <= row.p_corrected <= 1
        assert row.comparisons == len(pairs)


def test_a_suite_of_one_kind_of_model_has_no_pairs(tables):
    _, pairs = tables(("alone", "elasticast", "scene"))
    assert pairs.empty
    assert tuple(pairs) == PAIR_COLUMNS


def test_the_same_predictions_give_the_same_tables(tables, tmp_path):
    tables(("e1", "elasticast", "events"), ("a22", "ast", "events"))
    first = [(tmp_path / name).read_bytes() for name in ("e1.h5", "i.csv", "p.csv")]
    tables(("e1", "elasticast", "events"), ("a22", "ast", "events"))
    assert [(tmp_path / name).read_bytes() for name in ("e1.h5", "i.csv", "p.csv")] == first


def renamed_clip(file):
    """A clip of the predictions gets another id."""
    with h5py.File(file, "r+") as opened:
        opened["length/id"][0] = "another"
    rewrite_record(file.with_name("evaluation.json"))


def test_other_clips_are_refused(evaluated, tmp_path):
    files = [evaluated("run", seed) / "predictions.h5" for seed in (0, 1)]
    renamed_clip(files[1])
    with complains(DataError, files[0], files[1]):
        resample(files, tmp_path / "out.h5", 10)
    assert not (tmp_path / "out.h5").exists()
    resample(files[:1], tmp_path / "a.h5", 10)
    against = evaluated("ast", kind="ast") / "predictions.h5"
    renamed_clip(against)
    resample([against], tmp_path / "b.h5", 10)
    with complains(DataError, tmp_path / "a.h5", tmp_path / "b.h5"):
        write_tables([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "i.csv", tmp_path / "p.csv")


def test_different_numbers_of_draws_are_refused(evaluated, tmp_path):
    for name, kind, draws in (("a", "ast", 10), ("b", "elasticast", 20)):
        resample([evaluated(name, kind=kind) / "predictions.h5"], tmp_path / f"{name}.h5", draws)
    with complains(DataError, tmp_path / "a.h5", tmp_path / "b.h5"):
        write_tables([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "i.csv", tmp_path / "p.csv")


def test_seeds_of_two_experiments_or_of_other_sweeps_are_refused(evaluated, tmp_path):
    one, other = (evaluated(name) / "predictions.h5" for name in ("one", "other"))
    with complains(DataError, one, other, "experiment"):
        resample([one, other], tmp_path / "out.h5", 10)
    other = evaluated("one", 1, sweeps={"hop": SWEEPS["hop"]}) / "predictions.h5"
    with complains(DataError, one, other):
        resample([one, other], tmp_path / "out.h5", 10)


def test_models_of_different_kinds_are_compared_those_of_any_length_first(tmp_path):
    kinds = {"a": ("ast", True), "m1": ("m.py:M", False), "e": ("elasticast", False), "m2": ("m.py:M", False)}
    runs = []
    for name, (kind, one_length) in kinds.items():
        runs.append(h5py.File(tmp_path / f"{name}.h5", "w"))
        runs[-1].attrs.update({"model": kind, "one_length": one_length, "dataset": "d", "task": "t"})
        runs[-1].create_group("length")
    pairs = [tuple(Path(group.file.filename).stem for group in pair) for pair in _pairs(runs)]
    assert pairs == [("m1", "e"), ("m1", "a"), ("e", "m2"), ("e", "a"), ("m2", "a")]


def test_references_are_compared_with_all_others_of_their_task(tables):
    names = {"e1": "scene", "e22": "scene", "a333": "scene", "f1": "events", "f22": "events"}
    experiments = [(name, "ast" if name == "a333" else "elasticast", task) for name, task in names.items()]
    _, pairs = tables(*experiments, references=["e22", "f1"])
    found = set(zip(pairs["experiment"], pairs["against"], strict=True))
    assert found == {("e22", "e1"), ("e22", "a333"), ("f1", "f22")}
    assert (pairs["comparisons"] == len(pairs)).all()


def test_files_of_an_earlier_version_are_refused(evaluated, tmp_path):
    file = evaluated("e1") / "predictions.h5"
    with h5py.File(file, "r+") as opened:
        del opened.attrs["one_length"]
    rewrite_record(file.with_name("evaluation.json"))
    with complains(DataError, file, "one_length"):
        resample([file], tmp_path / "e1.h5", 3)
