"""Scenes: what a crop contains of a clip, and what that makes of the best score."""

import numpy as np
import pytest
import soundfile as sf
from sklearn.metrics import average_precision_score

from elasticast.config.dataset import Scenes
from elasticast.data.ceilings import Heard, ceilings
from elasticast.data.datasets import scenes
from elasticast.data.datasets.scenes import CLASSES, SCENES, SHARE, SLOT_SECONDS, compose, render, shares

LENGTHS = [k * SLOT_SECONDS for k in (0, 1, 2, 4, 8)]


def settings(test: int = 4, **others) -> Scenes:
    return Scenes(source="scenes", clips={"train": 3, "test": test}, **others)


def test_every_slot_has_one_sound_wholly_inside_it():
    config = settings(snr_db=[30.0, 30.0])
    for index in range(12):
        clip, wave = compose(config, "test", index), render(config, "test", index).astype(float)
        assert len(wave) == round(len(clip.sounds) * SLOT_SECONDS * 16000)
        power = (wave.reshape(-1, 160) ** 2).mean(1)  # every 10 ms
        loud = (power > 10 * np.quantile(power, 0.05)).reshape(len(clip.sounds), -1)
        assert loud.any(1).all()
        edges = np.diff(loud.astype(int), axis=1)
        assert (np.abs(edges).sum(1) > 0).all(), "a slot without a pause"


def test_neither_length_nor_slot_says_anything_about_the_scene():
    clips = [compose(settings(), "train", index) for index in range(3000)]
    for scene, own in SCENES.items():
        mine = [clip for clip in clips if clip.scene == scene]
        assert len(mine) == pytest.approx(500, abs=70)
        assert np.mean([len(clip.sounds) for clip in mine]) == pytest.approx(4.5, abs=0.4)
        assert np.mean([clip.sounds[0] == own for clip in mine]) == pytest.approx(SHARE, abs=0.08)
        assert np.mean([clip.sounds[-1] == own for clip in mine]) == pytest.approx(SHARE, abs=0.08)


def test_files_are_those_of_the_annotations(tmp_path):
    config = settings()
    scenes.fetch(config, tmp_path, tmp_path)
    rows = scenes.annotate(config, tmp_path, tmp_path).clips
    assert rows["split"].value_counts().to_dict() == {"test": 4, "train": 3}
    for row in rows.itertuples():
        split, index = row.id.split("_")
        clip = compose(config, split, int(index))
        assert (row.scene, row.events) == ([clip.scene], sorted(set(clip.sounds)))
        assert (sf.read(row.path, dtype="int16")[0] == render(config, split, int(index))).all()


@pytest.mark.parametrize("task", ["events", "scene"])
def test_longer_crops_allow_more(task):
    found = ceilings(settings(test=600), task, "test", LENGTHS)
    assert (np.diff(found) > 0.01).all() or (task, found[1]) == ("scene", pytest.approx(found[2], abs=0.04))


def test_what_is_known_before_the_first_sound_and_at_the_end():
    config = settings(test=600)
    nothing, all_of_it = (ceilings(config, "events", "test", [seconds])[0] for seconds in (0.0, 5.12))
    occurs = Heard(config, "test", 0.0).occurs
    assert nothing == pytest.approx(occurs.mean())  # all clips are alike
    assert all_of_it == 1
    assert ceilings(config, "scene", "test", [0.0]) == pytest.approx([1 / 6])
    assert ceilings(config, "scene", "test", [0.64]) == pytest.approx([SHARE], abs=0.05)


def test_the_best_answer_is_the_scene_of_the_most_frequent_sound():
    config = settings(test=300)
    heard, right = Heard(config, "test", 5.12), []
    for index, believed in enumerate(heard.scenes):
        clip = compose(config, "test", index)
        counts = {scene: clip.sounds.count(own) for scene, own in SCENES.items()}
        best = [scene for scene, count in counts.items() if count == max(counts.values())]
        assert {list(SCENES)[i] for i in np.flatnonzero(np.isclose(believed, believed.max()))} == set(best)
        right.append((clip.scene in best) / len(best))
    assert ceilings(config, "scene", "test", [5.12]) == pytest.approx([np.mean(right)])


def test_the_probability_of_a_sound_is_how_often_it_occurs():
    """Of many clips of which two slots were heard: those that were given 30-40 % have the sound in about 35 %."""
    heard = Heard(settings(test=4000), "test", 1.28)
    for low in (0.1, 0.2, 0.3, 0.4, 0.5):
        some = (heard.sounds > low) & (heard.sounds <= low + 0.1)
        if some.sum() > 300:
            assert heard.occurs[some].mean() == pytest.approx(heard.sounds[some].mean(), abs=0.04)
    assert not heard.occurs[heard.sounds == 0].any()
    assert heard.occurs[heard.sounds == 1].all()


def test_no_other_ranking_of_the_crops_is_better():
    config = settings(test=2000)
    heard = Heard(config, "test", 1.28)
    best = ceilings(config, "events", "test", [1.28])[0]
    only_heard = (heard.sounds == 1).astype(float)
    assert average_precision_score(heard.occurs, only_heard, average="macro") < best
    assert shares("church")[CLASSES.index("bell")] == SHARE
