"""Scores of time patches, from the logits of a model to saved predictions and intervals."""

import math
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from elasticast.checksums import with_checksum
from elasticast.config import Evaluation
from elasticast.config.evaluation import Boxes, Detection
from elasticast.data.dataset import ClipDataset, Clips
from elasticast.data.events import Events
from elasticast.data.norm import read_norm
from elasticast.data.sampler import BatchSampler
from elasticast.data.views import ViewRule
from elasticast.errors import ConfigError, DataError
from elasticast.evaluation.frames import FrameScores, detected, event_metrics, layout_of, nearest_seen, resampled_f1
from elasticast.evaluation.intervals import _scores
from elasticast.evaluation.run import evaluate_run
from elasticast.evaluation.saved_predictions import saved_events, saving
from elasticast.evaluation.sweep import evaluate, frame_scores, sweep
from elasticast.models import build_model
from elasticast.training.checkpoint import save_model
from elasticast.training.distributed import World
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import Trainer
from elasticast.training.selection import Selection, due_steps
from tests.complaints import complains
from tests.unit.conftest import TIMED

METRICS = {"PSDS1", "PSDS2", "event_F1", "segment_F1"}
LENGTH = Evaluation(x_name="max_frames", x=[64, 256])


@pytest.fixture(scope="module")
def clips(timed):
    return Clips(timed, "test", "timed_events")


@pytest.fixture
def model(tiny, clips):
    torch.manual_seed(0)
    model = build_model(tiny(**TIMED), len(clips.classes))
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


class Silent:
    def update(self, _):
        pass


def perfect(config, clips, **rule):
    """Logits that say which frames the events cover."""
    layout = layout_of(config, [ViewRule(config, **rule)(int(n)) for n in clips.samples], clips.samples)
    rows = []
    for clip, count in enumerate(np.diff(layout.first)):
        shares = clips.events.of_clip(clip).shares(len(clips.classes), int(count), layout.step)
        rows.append(torch.where(shares > 0.5, 6.0, -6.0).T)
    return FrameScores(layout, torch.cat(rows))


def test_perfect_scores_find_all_events_up_to_the_length_of_a_patch(tiny, clips):
    """With short patches; those of 160 ms are too coarse for events of 120 ms."""
    config = tiny(**TIMED | {"model": {"patch": 2, "frame_head": True}})
    values = event_metrics(perfect(config, clips), clips.events, clips.classes, Detection())
    assert set(values) == METRICS
    assert values == pytest.approx(dict.fromkeys(METRICS, 1), abs=1e-9)


@pytest.mark.parametrize("max_frames", [64, 128])
def test_clips_that_are_cut_are_compared_with_the_events_in_the_cut(tiny, clips, max_frames):
    config = tiny(**TIMED | {"model": {"patch": 2, "frame_head": True}})
    scores = perfect(config, clips, max_frames=max_frames)
    assert scores.layout.seconds.max() <= max_frames * 0.01 + 1e-9
    values = event_metrics(scores, clips.events, clips.classes, Detection())
    assert values["segment_F1"] == pytest.approx(1)
    assert values["PSDS1"] > 0.95  # an event may be cut to less than a patch


def test_edges_are_those_of_the_patches(tiny, clips):
    config = tiny(**TIMED)
    layout = layout_of(config, [ViewRule(config)(int(n)) for n in clips.samples], clips.samples)
    for clip, edges in enumerate(layout.edges()):
        count, end = np.diff(layout.first)[clip], clips.samples[clip] / 16000
        np.testing.assert_allclose(edges[:count], np.arange(count) * 0.16)
        np.testing.assert_allclose(edges[count:], min(end, count * 0.16))


def test_overlapping_patches_begin_in_their_middle(tiny, clips):
    config = tiny(**TIMED | {"model": {"stride": 8, "frame_head": True}})
    layout = layout_of(config, [ViewRule(config)(int(n)) for n in clips.samples], clips.samples)
    assert layout.edges()[0, :3] == pytest.approx([0, 0.04 + 0.08, 0.04 + 0.16])


@pytest.mark.parametrize("evaluation", [LENGTH, Evaluation(x_name="compression", x=[1.0, 2.0])], ids=lambda e: e.x_name)
def test_a_sweep_computes_the_logits_of_each_clip_alone(tiny, model, clips, timed, evaluation):
    config, norm = tiny(**TIMED), read_norm(timed / "norm.json")
    together = frame_scores(clips, config, evaluation, None, torch.empty)
    sweep(model, clips, config, norm, evaluation, Silent(), frames=together)
    for x in evaluation.x:
        single = Evaluation(x_name=evaluation.x_name, x=[x])
        alone = frame_scores(clips, config, single, None, torch.empty)
        sweep(model, clips, config, norm, single, Silent(), frames=alone)
        torch.testing.assert_close(together[x].logits, alone[x].logits, atol=1e-4, rtol=0)
        assert together[x].logits.isfinite().all()


def test_time_patches_without_tokens_have_the_logits_of_the_nearest():
    logits, seen = torch.arange(6.0)[:, None], torch.tensor([False, True, False, False, True, False])
    assert nearest_seen(logits, seen).flatten().tolist() == [1, 1, 1, 4, 4, 4]
    assert nearest_seen(logits, torch.ones(6, dtype=torch.bool)) is logits


@pytest.fixture
def saved(tiny, model, timed, tmp_path):
    sweeps = {
        "length": LENGTH,
        "boxes": LENGTH.model_copy(update={"detection": Detection(boxes=Boxes())}),
        "drop": Evaluation(x_name="token_drop", x=[0.0, 0.9], detection=Detection(median_seconds={"bell": 0.5})),
    }
    config = tiny(**TIMED)
    with saving(tmp_path / "predictions.h5", "s", config) as writer:
        table = evaluate(model, timed, config, read_norm(timed / "norm.json"), sweeps, writer)
    return table, tmp_path / "predictions.h5"


def test_an_evaluation_reports_events_and_clips(saved):
    table, _ = saved
    for _, rows in table.groupby(["evaluation", "x"]):
        assert METRICS | {"mAP", "AUC", "d_prime"} <= set(rows["metric"])
        values = rows[rows["metric"].isin(METRICS)]["value"]
        assert values.between(0, 1).all()


def test_saved_scores_are_those_of_the_model(saved, clips):
    table, path = saved
    with h5py.File(path) as file:
        for name, evaluation in file.items():
            events = saved_events(evaluation)
            for key in ("clip", "label", "onset", "offset"):
                np.testing.assert_array_equal(getattr(events, key), getattr(clips.events, key))
            detection = Detection.model_validate_json(evaluation.attrs["detection"])
            for x, group in evaluation.items():
                if isinstance(group, h5py.Group):
                    assert group["frames"]["scores"].dtype == np.float16
                    assert group["frames"]["scores"].fletcher32
                    values = event_metrics(FrameScores.read(group["frames"]), events, clips.classes, detection)
                    rows = table[(table["evaluation"] == name) & (table["x"] == float(x))].set_index("metric")["value"]
                    # rounding to 16 bits makes some scores equal
                    assert values == pytest.approx(rows[list(values)].to_dict(), abs=0.05)


def test_intervals_are_of_the_saved_scores(saved):
    table, path = saved
    with h5py.File(path) as file:
        weights = torch.ones(len(file["length"]["id"]), 3)
        found = _scores(file["length"], "256", weights)
        value = table[(table["evaluation"] == "length") & (table["x"] == 256)].set_index("metric")["value"]["event_F1"]
        assert found == pytest.approx([value] * 3, abs=0.02)


def test_clips_of_a_draw_count_as_often_as_drawn(tiny, clips):
    scores = perfect(tiny(**TIMED), clips)
    scores.logits[torch.rand(scores.logits.shape, generator=torch.Generator().manual_seed(0)) < 0.1] *= -1
    weights = np.random.default_rng(0).integers(0, 3, (len(clips), 5))
    found = resampled_f1(scores, clips.events, clips.classes, Detection(), weights)
    for value, counts in zip(found, weights.T, strict=True):
        drawn = np.repeat(np.arange(len(clips)), counts)
        rows = np.concatenate([np.arange(*scores.layout.first[clip : clip + 2]) for clip in drawn])
        first = np.concatenate([[0], np.diff(scores.layout.first)[drawn].cumsum()])
        layout = replace(scores.layout, first=first, seconds=scores.layout.seconds[drawn])
        parts = [(i, clips.events.of_clip(clip)) for i, clip in enumerate(drawn)]
        events = Events.of([(i, *row) for i, e in parts for row in zip(e.label, e.onset, e.offset, strict=True)])
        expected = event_metrics(FrameScores(layout, scores.logits[rows]), events, clips.classes, Detection())
        assert value == pytest.approx(expected["event_F1"])


def test_a_median_filter_of_an_unknown_class_is_named(tiny, clips):
    scores = perfect(tiny(**TIMED), clips)
    with complains(ConfigError, "detection.median_seconds", "cat"):
        detected(scores, clips.classes, Detection(median_seconds={"cat": 0.3}))
    with complains(ConfigError, "detection.boxes.relative", "cat"):
        detected(scores, clips.classes, Detection(boxes=Boxes(relative={"cat": 2.0})))


def test_a_class_that_a_model_lacks_is_named_before_clips_are_evaluated(tiny, model, clips, timed, tmp_path):
    save_model(tmp_path / "run", model, tiny(**TIMED), read_norm(timed / "norm.json"), clips.classes, clips.kind)
    evaluation = {"x_name": "max_frames", "x": [64.0], "detection": {"boxes": {"window": {"bells": 0.3}}}}
    text = yaml.safe_dump({"suite": "s", "evaluations": {"length": evaluation}})
    (tmp_path / "sweeps.yaml").write_text(with_checksum(text))
    key = "evaluations.length.detection.boxes.window"
    with complains(ConfigError, tmp_path / "sweeps.yaml", key, "bells", "bell"):
        evaluate_run(tmp_path / "run", tmp_path / "sweeps.yaml", timed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_boxes_by_class_are_those_of_each_class(tiny, clips):
    scores = perfect(tiny(**TIMED), clips)
    scores.logits.add_(torch.randn(scores.logits.shape, generator=torch.Generator().manual_seed(0)))
    one, two = clips.classes[:2]
    by_class = detected(scores, clips.classes, Detection(boxes=Boxes(window={one: 0.2, two: 0.4}, absolute={two: 0.1})))
    for label, boxes in ((0, Boxes(window=0.2)), (1, Boxes(window=0.4, absolute=0.1)), (2, Boxes())):
        alone = detected(scores, clips.classes, Detection(boxes=boxes))[label]
        assert np.array_equal(by_class[label].values, alone.values)
        assert np.array_equal(by_class[label].edges, alone.edges)


def test_post_processing_makes_up_for_noise(tiny, clips):
    scores = perfect(tiny(**TIMED | {"model": {"patch": 2, "frame_head": True}}), clips)
    noise = torch.randn(scores.logits.shape, generator=torch.Generator().manual_seed(0))
    noisy = FrameScores(scores.layout, scores.logits + 4 * noise)
    ways = (Detection(), Detection(median_seconds=0.18), Detection(boxes=Boxes(window=0.2)))
    plain, median, boxes = (event_metrics(noisy, clips.events, clips.classes, way) for way in ways)
    for name in ("event_F1", "PSDS1"):
        assert median[name] > plain[name]
        assert boxes[name] > plain[name]


def test_a_run_learns_and_selects_by_events(tiny, timed, tmp_path, cpu):
    norm = read_norm(timed / "norm.json")
    train = {"steps": 40, "lr": 5e-3, "select": {"split": "test", "every_epochs": 5}, "checkpoint_every": 100}
    config = tiny(**TIMED | {"train": train})
    train_clips, held_out = (Clips(timed, split, "timed_events") for split in ("train", "test"))
    Trainer(config, RunInputs(train_clips, norm, "data", held_out), tmp_path / "run").fit()
    history = pd.read_csv(tmp_path / "run" / "history" / "history.csv")["loss"]
    assert history.iloc[-3:].mean() < 0.8 * history.iloc[:3].mean()
    validation = pd.read_csv(tmp_path / "run" / "history" / "validation.csv")
    assert set(validation["metric"]) == {"event_F1"}
    assert validation["value"].between(0, 1).all()


def test_a_model_without_a_frame_head_is_named(tiny, timed, clips):
    config, norm = tiny(task="timed_events"), read_norm(timed / "norm.json")
    with complains(DataError, "model.frame_head", "timed_events", "tiny"):
        evaluate(build_model(config, len(clips.classes)), timed, config, norm, {"length": LENGTH})
    with complains(DataError, "model.frame_head", "timed_events", "tiny"):
        ClipDataset(clips, config, norm)


def test_selection_is_by_the_metric_of_the_evaluation(tiny, timed, model, clips):
    config = tiny(**TIMED | {"train": {"select": {"split": "test"}, "epochs": 2, "steps": None}})
    norm = read_norm(timed / "norm.json")
    due = due_steps(BatchSampler(np.full(12, 8), config.train.batch, 0, None), 1, 6)
    selection = Selection(config, clips, norm, World(), due)
    selection.evaluate(model, 3, 10)
    sweep_at_1 = {"e": Evaluation(x_name="compression", x=[1.0])}
    table = evaluate(model, timed, config, norm, sweep_at_1).set_index("metric")["value"]
    assert selection.history[0]["value"] == pytest.approx(table["event_F1"])
    assert not math.isnan(table["event_F1"])


def test_f1_alone_is_that_of_all_metrics(tiny, clips):
    arguments = perfect(tiny(**TIMED), clips), clips.events, clips.classes, Detection()
    every, alone = event_metrics(*arguments), event_metrics(*arguments, only_f1=True)
    assert alone == {name: value for name, value in every.items() if name.endswith("F1")}
    assert alone.keys() < every.keys()


def test_events_outside_the_view_are_not_missed(tiny, clips):
    """Otherwise a shorter view could never find all events."""
    config = tiny(**TIMED)
    scores = perfect(config, clips, max_frames=32)
    after = Events.of([(0, 0, 0.4, 0.5)])
    values = event_metrics(scores, after, clips.classes, Detection())
    assert all(math.isnan(values[name]) for name in METRICS)
