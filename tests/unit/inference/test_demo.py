"""The trained model that is part of the package."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from elasticast import load_pretrained
from elasticast.config.dataset import Soundscapes
from elasticast.data.datasets.soundscapes import CLASSES, SAMPLE_RATE, compose, render
from elasticast.errors import DataError
from elasticast.models.pretrained import load_model
from elasticast.models.weights.sources import DEMO_FOLDER
from tests.complaints import complains


def test_it_hears_the_sounds_of_clips_it_has_not_seen(tmp_path):
    """Other clips than those of suite `soundscapes`; its mAP there is above 80, chance about 30."""
    config, model = Soundscapes(source="soundscapes", clips={"test": 12}, seed=7), load_pretrained("demo")
    heard, silent = [], []
    for index in range(12):
        path = tmp_path / f"{index}.wav"
        sf.write(path, render(config, "test", index), SAMPLE_RATE)
        (prediction,) = model.predict([path], top_k=len(CLASSES))
        scores, kinds = dict(prediction.scores), {event.kind for event in compose(config, "test", index).events}
        heard += [score for kind, score in scores.items() if kind in kinds]
        silent += [score for kind, score in scores.items() if kind not in kinds]
    higher = np.mean([high > low for high in heard for low in silent])
    assert higher > 0.85


def test_a_misspelt_name_is_refused_with_the_name():
    with complains(DataError, "dmeo", "`demo`"):
        load_model("dmeo")


def test_a_folder_of_the_name_is_named_as_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("demo").mkdir()
    assert load_model("demo").config.experiment == "events_elastic"
    for path in ("./demo", Path("demo")):
        with complains(DataError, "demo", "model.json"):
            load_model(path)


def test_it_is_small_and_names_nothing_of_the_machine_it_was_made_on():
    files = {path.name: path for path in DEMO_FOLDER.iterdir()}
    assert sorted(files) == ["README.md", "model.json", "model.safetensors"]
    assert sum(path.stat().st_size for path in files.values()) <= 2e6
    text = files["README.md"].read_text() + files["model.json"].read_text()
    assert '"/' not in text
    assert "licence https://www.apache.org/licenses/LICENSE-2.0" in text


@pytest.mark.parametrize("words", ["mAP over max_frames", "83.8 at 768", "(500 clips)", "synthetic"])
def test_the_card_says_scores_and_data(words):
    assert words in (DEMO_FOLDER / "README.md").read_text()
