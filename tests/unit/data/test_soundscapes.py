import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from elasticast.config.dataset import Soundscapes
from elasticast.data.datasets import soundscapes
from elasticast.data.datasets.soundscapes import CLASSES, SAMPLE_RATE, SCENES, SOUNDS, bayes_scene, compose, render


def settings(train=6, test=4, **others) -> Soundscapes:
    return Soundscapes(source="soundscapes", clips={"train": train, "test": test}, **others)


def wavs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("audio/*.wav"))}


def test_same_seed_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        soundscapes.fetch(settings(), tmp_path, tmp_path / name)
    assert len(wavs(tmp_path / "a")) == 10
    assert wavs(tmp_path / "a") == wavs(tmp_path / "b")


def test_another_seed_gives_other_clips():
    assert compose(settings(seed=1), "train", 0) != compose(settings(seed=2), "train", 0)


def test_a_clip_depends_neither_on_the_number_of_clips_nor_on_the_order(tmp_path):
    few, many = settings(train=3), settings(train=9)
    soundscapes.fetch(few, tmp_path, tmp_path / "few")
    soundscapes.fetch(many, tmp_path, tmp_path / "many")
    of_few, of_many = wavs(tmp_path / "few"), wavs(tmp_path / "many")
    assert of_few == {name: of_many[name] for name in of_few}
    labels = soundscapes.annotate(many, tmp_path, tmp_path / "few").clips.set_index("id")
    for row in soundscapes.annotate(few, tmp_path, tmp_path / "few").clips.itertuples():
        assert labels.loc[row.id, "events"] == row.events
        assert labels.loc[row.id, "scene"] == row.scene


def test_the_splits_share_no_clip():
    config = settings(40, 40)
    train, test = ({compose(config, split, i) for i in range(40)} for split in ("train", "test"))
    assert len(train) == len(test) == 40
    assert not train & test


def test_labels_are_what_is_in_the_clip(tmp_path):
    config = settings(20, 1)
    rows = soundscapes.annotate(config, tmp_path, tmp_path).clips
    assert not rows["id"].duplicated().any()
    for index, row in enumerate(rows[rows["split"] == "train"].itertuples()):
        score = compose(config, "train", index)
        assert row.events == sorted({event.kind for event in score.events})
        assert row.scene == [score.scene]


def test_events_follow_each_other_inside_the_clip():
    config = settings()
    for index in range(300):
        score = compose(config, "train", index)
        assert 0.5 <= score.seconds <= 8.0
        ends = [event.start + event.seconds for event in score.events]
        assert score.events[0].start >= 0
        assert ends[-1] <= score.seconds + 1e-9
        assert all(event.start > end for event, end in zip(score.events[1:], ends[:-1], strict=True))


def test_an_event_is_louder_than_the_background_by_its_level():
    """The power of a clip is higher during its events than in its gaps."""
    config = settings(snr_db=[15.0, 15.0])
    for index in range(10):
        score, wave = compose(config, "train", index), render(config, "train", index).astype(float)
        inside = np.zeros(len(wave), dtype=bool)
        for event in score.events:
            begin = round(event.start * SAMPLE_RATE)
            inside[begin : begin + round(event.seconds * SAMPLE_RATE)] = True
        ratio = 10 * math.log10(np.mean(wave[inside] ** 2) / np.mean(wave[~inside] ** 2))
        assert ratio == pytest.approx(15, abs=4)  # the power of the background varies


def test_lengths_have_a_long_tail_and_labels_are_sets_of_some():
    scores = [compose(settings(), "train", index) for index in range(1000)]
    seconds = np.array([score.seconds for score in scores])
    assert 1.8 < np.median(seconds) < 2.3 < seconds.mean() < 2.7 < 5 < np.percentile(seconds, 99)
    distinct = np.array([len({event.kind for event in score.events}) for score in scores])
    assert distinct.min() == 1
    assert distinct.max() <= 8


def test_evidence_for_the_scene_adds_up_over_the_clip():
    """One event does not determine the scene, many do, and cropping removes labels."""
    scores = [compose(settings(), "train", index) for index in range(1500)]
    right = {n: [] for n in (1, 8)}
    for score in scores:
        for n in right:
            if len(score.events) >= n:
                right[n].append(bayes_scene(score._replace(events=score.events[:n])) == score.scene)
    assert 1 / len(SCENES) < np.mean(right[1]) < 0.5
    assert np.mean(right[8]) > 0.85
    heard = sum(len({e.kind for e in s.events if e.start < 0.64}) for s in scores)
    assert heard < 0.6 * sum(len({e.kind for e in s.events}) for s in scores)


def test_every_class_and_scene_occurs():
    assert set(SOUNDS) == set(CLASSES)
    assert all(sum(shares) == 100 and min(shares) > 0 for shares in SCENES.values())
    scores = [compose(settings(), "train", index) for index in range(500)]
    classes = Counter(event.kind for score in scores for event in score.events)
    assert min(classes[name] for name in CLASSES) > 0.5 * max(classes.values())
    assert set(SCENES) == {score.scene for score in scores}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("samples", [960, 1921, 9600])
def test_every_sound_is_finite_and_audible(name, samples):
    sound = SOUNDS[name](np.random.default_rng(0), np.arange(samples) / SAMPLE_RATE)
    assert sound.shape == (samples,)
    assert np.isfinite(sound).all()
    assert np.ptp(sound) > 0


def test_wavs_are_16_khz_mono_16_bit_and_not_clipped(tmp_path):
    soundscapes.fetch(settings(), tmp_path, tmp_path)
    for path in tmp_path.glob("audio/*.wav"):
        info = sf.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert np.abs(sf.read(path, dtype="int16")[0].astype(int)).max() < 32700


def test_fetch_goes_on_where_it_stopped_and_does_nothing_twice(tmp_path, monkeypatch):
    soundscapes.fetch(settings(), tmp_path, tmp_path)
    whole = wavs(tmp_path)
    (tmp_path / "audio" / "train_000002.wav").unlink()
    rendered = []
    monkeypatch.setattr(soundscapes, "render", lambda *clip: rendered.append(clip[1:]) or render(*clip))
    soundscapes.fetch(settings(), tmp_path, tmp_path)
    assert rendered == [("train", 2)]
    assert wavs(tmp_path) == whole
    soundscapes.fetch(settings(), tmp_path, tmp_path)
    assert len(rendered) == 1


def test_other_settings_replace_the_audio(tmp_path):
    soundscapes.fetch(settings(), tmp_path, tmp_path)
    before = wavs(tmp_path)
    soundscapes.fetch(settings(seed=7), tmp_path, tmp_path)
    assert wavs(tmp_path).keys() == before.keys()
    assert not set(wavs(tmp_path).values()) & set(before.values())


@pytest.mark.parametrize("seconds", [[0.1, 0.1], [0.5, 30.0]])
def test_other_lengths(seconds):
    for index in range(20):
        score = compose(settings(seconds=seconds), "train", index)
        assert seconds[0] - 1e-9 <= score.seconds <= seconds[1] + 1e-9
        assert score.events
