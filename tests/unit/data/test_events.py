import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from elasticast.checksums import file_sha256
from elasticast.config.dataset import Soundscapes
from elasticast.data.annotations import Annotations
from elasticast.data.dataset import Clips
from elasticast.data.datasets import soundscapes
from elasticast.data.event_lists import events_of
from elasticast.data.event_table import event_table, with_clip_labels
from elasticast.data.events import EVENTS, Events, read_events
from elasticast.data.manifest import read_classes, read_manifest
from elasticast.data.prepare import prepare
from elasticast.errors import DataError
from elasticast.evaluation.postprocessing import detections
from elasticast.evaluation.psds import StepScores
from tests.complaints import complains

TIMED = Soundscapes(source="soundscapes", clips={"train": 12, "test": 6}, seconds=[0.5, 2.5], event_times=True)


def test_events_are_those_of_the_clips(timed):
    manifest = read_manifest(timed / "manifest.parquet", "test")
    classes = read_classes(timed / "classes.json")["timed_events"]
    assert classes["kind"] == "frames"
    events = read_events(timed, "timed_events", manifest["id"].tolist(), classes["classes"])
    for index, labels in enumerate(manifest["timed_events"]):
        composed, found = soundscapes.compose(TIMED, "test", index).events, events.of_clip(index)
        assert sorted(labels) == sorted({event.kind for event in composed})
        assert [classes["classes"][label] for label in found.label] == [event.kind for event in composed]
        np.testing.assert_allclose(found.onset, [event.start for event in composed])
        np.testing.assert_allclose(found.offset, [event.start + event.seconds for event in composed])


def test_a_changed_table_of_events_is_named_and_repaired(timed, tmp_path):
    folder = tmp_path / "soundscapes"
    shutil.copytree(timed, folder)
    before = file_sha256(folder / EVENTS)
    table = pd.read_parquet(folder / EVENTS)
    table.assign(offset=table["offset"] + 0.01).to_parquet(folder / EVENTS)
    with complains(DataError, folder / EVENTS):
        read_events(folder, "timed_events", ["test_000000"], ["bell"])
    prepare(TIMED, tmp_path, folder)
    assert file_sha256(folder / EVENTS) == before


def test_a_task_with_events_needs_their_table(timed, tmp_path):
    folder = tmp_path / "soundscapes"
    shutil.copytree(timed, folder)
    (folder / EVENTS).unlink()
    with complains(DataError, folder / EVENTS):
        Clips(folder, "train", "timed_events")
    assert Clips(folder, "train", "events").events is None


def test_without_event_times_nothing_of_them_is_prepared(tmp_path):
    prepare(TIMED.model_copy(update={"event_times": False}), tmp_path, tmp_path / "plain")
    assert not (tmp_path / "plain" / EVENTS).exists()
    assert "timed_events" not in read_classes(tmp_path / "plain" / "classes.json")


def checked(*rows, duration=2.0):
    clips = pd.DataFrame([{"id": "a", "status": "ok", "duration": duration}])
    events = events_of([("a", "bell", *row, "events.tsv, line 7") for row in rows])
    return event_table({"t": events}, clips, {"t": "frames"})


@pytest.mark.parametrize("times", [(1.0, 1.0), (1.5, 1.0), (-0.5, 1.0), (2.0, 2.05), (0.5, 2.5)])
def test_impossible_events_are_refused(times):
    with complains(DataError, "events.tsv, line 7", "bell", f"{times[0]:g}", f"{times[1]:g}", "a"):
        checked(times)


def test_an_event_may_reach_a_little_beyond_its_clip():
    assert checked((1.0, 2.04))["offset"].tolist() == [2.0]


def test_events_of_rejected_clips_are_not_checked():
    clips = pd.DataFrame([{"id": "a", "status": "rejected", "duration": 0.1}])
    table = event_table({"t": events_of([("a", "bell", 0.0, 9.0, "x")])}, clips, {"t": "frames"})
    assert table.empty


def test_clips_have_the_classes_of_their_events_as_labels():
    annotations = Annotations(
        pd.DataFrame({"id": ["a", "b"]}),
        events={"t": events_of([("a", "x", 0, 1, ""), ("a", "x", 2, 3, ""), ("a", "c", 0, 1, "")])},
    )
    assert with_clip_labels(annotations, {"t": "frames"}).clips["t"].tolist() == [["c", "x"], []]


def test_overlapping_and_touching_events_are_merged():
    events = Events.of(
        [(0, 0, 0, 2), (0, 0, 1, 1.5), (0, 0, 2, 3), (0, 0, 3.5, 4), (0, 1, 1, 5), (1, 0, 3, 4), (1, 0, 0, 3.2)]
    ).merged()
    rows = list(zip(events.clip, events.label, events.onset, events.offset, strict=True))
    assert rows == [(0, 0, 0, 3), (0, 1, 1, 5), (0, 0, 3.5, 4), (1, 0, 0, 4)]


def test_shares_of_frames_are_those_of_fine_samples():
    rng = np.random.default_rng(0)
    for _ in range(20):
        events = Events.of([(0, rng.integers(3), on, on + rng.uniform(0.01, 0.5)) for on in rng.uniform(0, 1.5, 4)])
        shares = events.merged().shares(3, 20, 0.1)
        time = (np.arange(20000) + 0.5) / 10000
        active = np.zeros((3, len(time)), bool)
        for label, on, off in zip(events.label, events.onset, events.offset, strict=True):
            active[label] |= (time >= on) & (time < off)
        np.testing.assert_allclose(shares, active.reshape(3, 20, -1).mean(2), atol=2e-3)


def test_frames_and_events_round_trip():
    active = np.random.default_rng(0).random((3, 40)) < 0.4
    edges = np.arange(41) * 0.25
    events = detections([StepScores(row[None].astype(float), edges[None]) for row in active], 0.5)
    assert torch.equal(events.shares(3, 40, 0.25).bool(), torch.from_numpy(active))


def test_labels_of_a_cropped_clip_are_the_cropped_labels():
    events = Events.of([(0, 0, 0.3, 1.7), (0, 1, 1.2, 2.0), (0, 2, 1.9, 2.1)])
    whole = events.shares(3, 40, 0.05)
    for frames in (1, 10, 25, 40):
        cropped = events.until(np.array([frames * 0.05])).shares(3, frames, 0.05)
        np.testing.assert_allclose(cropped, whole[:, :frames], atol=1e-6)


def test_labels_of_a_repeated_clip_are_the_repeated_labels():
    events = Events.of([(0, 0, 0.2, 0.5), (0, 1, 0.7, 1.0)])
    once = events.shares(2, 20, 0.05)
    np.testing.assert_allclose(
        events.repeated(1.0, 2.6).shares(2, 60, 0.05)[:, :52], once.repeat(1, 3)[:, :52], atol=1e-6
    )
    assert events.repeated(1.0, 2.6).offset.max() <= 2.6
