"""Scenes: what a crop contains of a clip, and what that makes of the best score."""

import numpy as np
import pytest
import soundfile as sf
from sklearn.metrics import average_precision_score

from elasticast.config.dataset import Scenes
from elasticast.data.ceilings import Heard, ceilings, expected_precision
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
    for scene, frequent in SCENES.items():
        mine = [clip for clip in clips if clip.scene == scene]
        assert len(mine) == pytest.approx(500, abs=70)
        assert np.mean([len(clip.sounds) for clip in mine]) == pytest.approx(4.5, abs=0.4)
        for sound in frequent:
            assert np.mean([clip.sounds[0] == sound for clip in mine]) == pytest.approx(SHARE, abs=0.08)
            assert np.mean([clip.sounds[-1] == sound for clip in mine]) == pytest.approx(SHARE, abs=0.08)


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
    assert (np.diff(ceilings(settings(test=800), task, "test", LENGTHS)) > 0.01).all()


def test_what_is_known_before_the_first_sound_and_at_the_end():
    config = settings(test=800)
    nothing, all_of_it = (ceilings(config, "events", "test", [seconds])[0] for seconds in (0.0, 5.12))
    assert nothing == pytest.approx(Heard(config, "test", 0.0).occurs.mean(), abs=0.01)  # all clips are alike
    assert all_of_it == 1
    assert ceilings(config, "scene", "test", [0.0]) == pytest.approx([1 / 6])
    assert ceilings(config, "scene", "test", [0.64]) == pytest.approx([SHARE], abs=0.05)


def test_a_slot_of_which_a_part_is_in_the_crop_counts():
    seconds = [0.65, 2 * SLOT_SECONDS]
    assert len({ceilings(settings(test=50), "scene", "test", [length])[0] for length in seconds}) == 1


def test_the_best_answer_is_the_scene_that_most_sounds_are_frequent_in():
    config = settings(test=300)
    heard, right = Heard(config, "test", 5.12), []
    for index, believed in enumerate(heard.scenes):
        clip = compose(config, "test", index)
        counts = {scene: sum(map(clip.sounds.count, frequent)) for scene, frequent in SCENES.items()}
        best = [scene for scene, count in counts.items() if count == max(counts.values())]
        assert {list(SCENES)[i] for i in np.flatnonzero(np.isclose(believed, believed.max()))} == set(best)
        right.append((clip.scene in best) / len(best))
    assert ceilings(config, "scene", "test", [5.12]) == pytest.approx([np.mean(right)])


def test_the_probability_of_a_sound_is_how_often_it_occurs():
    """Sounds with a probability of 30-40 % occur in about 35 % of the clips."""
    heard = Heard(settings(test=4000), "test", 1.28)
    for low in np.arange(0.0, 1.0, 0.1):
        some = (heard.sounds > low) & (heard.sounds <= low + 0.1) & (heard.sounds < 1)
        if some.sum() > 300:
            assert heard.occurs[some].mean() == pytest.approx(heard.sounds[some].mean(), abs=0.04)
    assert not heard.occurs[heard.sounds == 0].any()
    assert heard.occurs[heard.sounds == 1].all()


def test_no_other_ranking_of_the_crops_is_better():
    config = settings(test=2000)
    heard = Heard(config, "test", 1.28)
    only_heard = (heard.sounds == 1).T.astype(float)
    others = [expected_precision(*column) for column in zip(only_heard, heard.occurs.T, strict=True)]
    assert np.mean(others) < ceilings(config, "events", "test", [1.28])[0] - 0.02


def test_clips_of_equal_scores_count_as_in_random_order():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, 200)
    positives = rng.random(200) < 0.2 + 0.15 * scores
    drawn = [average_precision_score(positives, scores + 0.5 * rng.random(200)) for _ in range(300)]
    assert expected_precision(scores, positives) == pytest.approx(np.mean(drawn), abs=0.005)
    distinct = rng.random(200)
    assert expected_precision(distinct, positives) == pytest.approx(average_precision_score(positives, distinct))


def test_the_sounds_of_a_scene_are_as_frequent_as_stated():
    assert sum(shares("kitchen")) == pytest.approx(1)
    assert {name for name, share in zip(CLASSES, shares("kitchen"), strict=True) if share == SHARE} == {
        "bell",
        "click_train",
    }


def test_a_sound_that_no_test_clip_has_does_not_count():
    """Of one clip, every sound is in no clip or in all, so no mAP is defined; of four, those that differ have one."""
    assert np.isnan(ceilings(settings(1), "events", "test", [5.12])).all()
    heard = Heard(settings(4), "test", 5.12)
    counted = [0 < column.sum() < 4 for column in heard.occurs.T]
    assert any(counted)
    assert not all(counted)
    assert ceilings(settings(4), "events", "test", [5.12]) == pytest.approx([1.0])
