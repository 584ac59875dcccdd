"""Classes of a model and of the data it is evaluated on: by name, in any order."""

import shutil

import pytest
import torch
import yaml

from elasticast.data.dataset import Clips
from elasticast.errors import DataError
from elasticast.evaluation.classes import match_classes
from elasticast.evaluation.run import evaluate_run
from elasticast.files import read_json
from elasticast.models import build_model
from elasticast.models.pretrained import load_model
from elasticast.training.checkpoint import save_model
from tests.complaints import complains
from tests.records import rewrite_record
from tests.unit.models import layouts

pytestmark = pytest.mark.usefixtures("cpu")


@pytest.fixture
def save(tiny, norm, tmp_path):
    """Saves a model of some classes, and gives its folder."""

    def run(classes):
        config = tiny()
        torch.manual_seed(0)
        model = build_model(config, len(classes))
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
        save_model(tmp_path / "run", model, config, norm, classes, "multi")
        return tmp_path / "run"

    return run


def logits(model):
    """What the head gives for some features."""
    features = torch.randn(3, model.head.in_features, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return model.head(features)


def test_classes_in_another_order_are_reordered_and_noted(save, caplog):
    names = ["dog", "cat", "car", "bird"]
    weights = load_model(save(names))
    before = logits(weights.model)
    matched = match_classes(weights, sorted(names), "weights.pth", "sounds of data")
    assert matched.classes == sorted(names)
    assert torch.equal(logits(matched.model), before[:, [names.index(name) for name in sorted(names)]])
    assert len(matched.notes) == len(weights.notes) + 1
    assert "weights.pth" in caplog.text
    again = match_classes(matched, sorted(names), "weights.pth", "sounds of data")
    assert (again.notes, again.classes) == (matched.notes, matched.classes)


@pytest.mark.parametrize(
    ("classes", "named"),
    [
        (["bird", "car", "cat", "fox"], ["'dog'", "'fox'"]),
        (["bird", "car", "cat"], ["'dog'", 4, 3]),
        (["bird", "car", "cat", "dog", "emu"], ["'emu'", 4, 5]),
    ],
)
def test_other_classes_are_refused(save, classes, named):
    weights = load_model(save(["dog", "cat", "car", "bird"]))
    with complains(DataError, "weights.pth", "sounds of data", "`id2label`", *named):
        match_classes(weights, classes, "weights.pth", "sounds of data")


def test_a_model_of_reversed_classes_gets_the_scores_of_the_right_order(save, prepared, sweeps, tmp_path):
    """A model whose head and names are reversed is the same model."""
    classes = Clips(prepared, "test", "events").classes
    folder = save(classes)
    evaluate_run(folder, sweeps, prepared, tmp_path / "a")
    model = load_model(folder)
    for parameter in model.model.head.parameters():
        parameter.data = parameter.data.flip(0)
    save_model(folder, model.model, model.config, model.norm, classes[::-1], "multi")
    evaluate_run(folder, sweeps, prepared, tmp_path / "b")
    assert (tmp_path / "a/metrics.csv").read_bytes() == (tmp_path / "b/metrics.csv").read_bytes()
    notes = [read_json(tmp_path / out / "evaluation.json")["notes"] for out in "ab"]
    assert len(notes[1]) == len(notes[0]) + 1


def test_names_of_other_data_are_refused_before_anything_is_evaluated(save, prepared, sweeps, tmp_path):
    classes = Clips(prepared, "test", "events").classes
    folder = save([*classes[:-1], "elsewhere"])
    with complains(DataError, folder, "'elsewhere'", repr(classes[-1])):
        evaluate_run(folder, sweeps, prepared, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_published_weights_without_names_leave_a_note(tiny, prepared, sweeps, tmp_path, caplog):
    config = tiny(model={"dim": 64, "heads": 1, "attention_scale": "none"})
    classes = Clips(prepared, "test", "events").classes
    path = tmp_path / "published.pth"
    torch.save(layouts.released_elastic(build_model(config, len(classes)).state_dict(), 2), path)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tiny().model_dump(mode="json")))
    evaluate_run(path, sweeps, prepared, tmp_path / "out", tmp_path / "run.yaml")
    notes = read_json(tmp_path / "out" / "evaluation.json")["notes"]
    assert any(str(len(classes)) in note and "events of soundscapes" in note for note in notes)
    assert str(path) in caplog.text


# --- the data that a model was trained on ----------------------------------------------------


def test_a_model_of_other_data_is_refused_unless_it_is_asked_for(trained, prepared, sweeps, tmp_path):
    folder = trained()
    evaluate_run(folder, sweeps, prepared, tmp_path / "own")
    theirs, ours = "f" * 64, read_json(prepared / "summary.json")["sha256"]
    rewrite_record(folder / "run.json", data_sha256=theirs)
    with complains(DataError, folder, prepared, theirs[:16], ours[:16], "--other-data"):
        evaluate_run(folder, sweeps, prepared, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    other = tmp_path / "noisy"
    shutil.copytree(prepared, other)
    evaluate_run(folder, sweeps, other, tmp_path / "out", other_data=True)
    record = read_json(tmp_path / "out" / "evaluation.json")
    assert (record["trained_on"], record["data_sha256"], record["dataset"]) == (theirs, ours, "noisy")
    assert any(theirs[:16] in note for note in record["notes"])
    rows = [(tmp_path / out / "metrics.csv").read_text() for out in ("own", "out")]
    assert rows[0].replace("soundscapes", "noisy") == rows[1]
