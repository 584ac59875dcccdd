"""The controls: what a crop contains of a clip, and what that makes of the best score."""

import numpy as np
import pytest
import soundfile as sf

from elasticast.config.dataset import Controls, Soundscapes
from elasticast.data.ceilings import ceilings
from elasticast.data.datasets import controls, soundscapes
from elasticast.data.datasets.controls import LEAD_SECONDS, SLOT_SECONDS, TONES, compose, render

LENGTHS = [k * SLOT_SECONDS for k in (1, 2, 4, 8, 16)]


def settings(tones: str = "once", test: int = 4, **others) -> Controls:
    return Controls(source="controls", clips={"train": 3, "test": test}, tones=tones, **others)


def loudest(wave: np.ndarray) -> float:
    """Frequency (Hz) with most power."""
    return float(np.fft.rfftfreq(len(wave), 1 / 16000)[np.abs(np.fft.rfft(wave)).argmax()])


@pytest.mark.parametrize("tones", ["once", "always"])
def test_the_tone_is_wholly_inside_its_slots(tones):
    config = settings(tones, snr_db=[20.0, 20.0])
    for index in range(12):
        clip, wave = compose(config, "test", index), render(config, "test", index).astype(float)
        assert len(wave) == round(clip.slots * SLOT_SECONDS * 16000)
        slots = wave.reshape(clip.slots, -1)
        margin = round(LEAD_SECONDS * 16000)
        power = (slots**2).mean(1)
        assert set(np.flatnonzero(power > 10 * (slots[:, :margin] ** 2).mean())) == set(clip.sounding)
        for slot in clip.sounding:
            assert abs(np.log2(loudest(slots[slot]) / TONES[clip.tone])) <= 1 / 8 + 0.01


def test_neither_length_nor_slot_depends_on_the_tone():
    clips = [compose(settings(), "train", index) for index in range(3000)]
    for tone in TONES:
        mine = [clip for clip in clips if clip.tone == tone]
        assert len(mine) == pytest.approx(500, abs=70)
        assert np.mean([clip.slots for clip in mine]) == pytest.approx(9, abs=0.7)
        assert np.mean([clip.sounding[0] / clip.slots for clip in mine]) == pytest.approx(4 / 9, abs=0.05)


def test_files_are_those_of_the_annotations(tmp_path):
    config = settings()
    controls.fetch(config, tmp_path, tmp_path)
    rows = controls.annotate(config, tmp_path, tmp_path).clips
    assert rows["split"].value_counts().to_dict() == {"test": 4, "train": 3}
    for row in rows.itertuples():
        split, index = row.id.split("_")
        assert row.tone == [compose(config, split, int(index)).tone]
        assert (sf.read(row.path, dtype="int16")[0] == render(config, split, int(index))).all()


def test_the_ceiling_is_the_share_that_is_heard_and_guesses_for_the_rest():
    """The expected share of clips of n slots whose tone is among the first k is k / n."""
    found = ceilings(settings(test=4000), "tone", "test", LENGTHS)
    heard = [np.mean([min(1, k / n) for n in range(2, 17)]) for k in (1, 2, 4, 8, 16)]
    assert found == pytest.approx([share + (1 - share) / 6 for share in heard], abs=0.02)
    assert found[-1] == 1
    assert ceilings(settings("always"), "tone", "test", LENGTHS) == [1.0] * 5


def test_a_perfect_listener_of_scenes_gains_by_length_up_to_whole_clips():
    config = Soundscapes(source="soundscapes", clips={"train": 1, "test": 300})
    found = ceilings(config, "scene", "test", [0.0, 0.64, 2.56, 8.0])
    assert found[0] == pytest.approx(1 / 6, abs=0.07)
    assert found == sorted(found)
    scores = [soundscapes.compose(config, "test", index) for index in range(300)]
    assert found[-1] == np.mean([soundscapes.bayes_scene(score) == score.scene for score in scores])


def test_no_ceiling_is_known_of_sets_of_events():
    assert ceilings(Soundscapes(source="soundscapes", clips={"test": 5}), "events", "test", [1.0]) is None
