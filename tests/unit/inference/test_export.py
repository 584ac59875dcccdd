"""An exported run is complete by itself."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from markdown_it import MarkdownIt
from safetensors.torch import load_file

from elasticast.errors import DataError
from elasticast.inference.card import model_card
from elasticast.inference.export import export, run_card
from elasticast.models.pretrained import load_model
from elasticast.text import one_line
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import Trainer
from tests.complaints import complains

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(tiny, train_clips, norm, tmp_path, cpu):
    Trainer(tiny(train={"steps": 2}), RunInputs(train_clips, norm, "data"), tmp_path / "run").fit()
    return tmp_path / "run"


def test_an_export_holds_labels_front_end_norm_training_and_provenance(run, train_clips, norm, tmp_path):
    export(run, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["README.md", "model.json", "model.safetensors"]
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    assert about["classes"] == train_clips.classes
    assert about["norm"] == {"mean": norm.mean, "std": norm.std}
    assert about["config"]["front_end"]["mel_bins"] == 128
    assert about["config"]["train"]["steps"] == 2
    assert about["provenance"]["data_sha256"] == "data"
    assert "torch" in about["provenance"]["versions"]
    assert not {"command", "machine"} & about["provenance"].keys()
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("# tiny\n")
    assert about["files"]["model.safetensors"] in card
    assert str(tmp_path) not in card + json.dumps(about)


def test_labels_of_markup_are_text_in_the_card(run):
    labels = ["a|b", "two\nlines", "**x**", "$x$", "[link](http://x)", "<b>", "=1+2"]
    card = model_card(replace(load_model(run), classes=labels), {}, "digest", {})
    tokens = MarkdownIt("commonmark").enable("table").parse(card)
    inline = [token.children for token in tokens if token.type == "inline"]
    assert f"several labels a clip: {', '.join(map(one_line, labels))}" in [
        "".join(child.content for child in children) for children in inline
    ]
    assert {child.type for children in inline for child in children} <= {"text", "text_special", "code_inline"}


def test_the_card_says_how_weights_were_chosen(run, tiny, train_clips, test_clips, norm, tmp_path, cpu):
    export(run, tmp_path / "out")
    assert "| training | 2 steps, seed 0, from scratch |" in (tmp_path / "out" / "README.md").read_text()
    config = tiny(train={"steps": 6, "select": {"split": "test"}})
    Trainer(config, RunInputs(train_clips, norm, "data", test_clips), tmp_path / "chosen").fit()
    chosen = json.loads((tmp_path / "chosen" / "run.json").read_text())["selection"]
    export(tmp_path / "chosen", tmp_path / "out")
    said = f"; weights of step {chosen['step']}, the best of 2 by mAP {chosen['value']:.4f} on split test |"
    assert f"from scratch{said}" in (tmp_path / "out" / "README.md").read_text()


def test_the_card_has_scores_and_licence_where_they_are_known(run, tmp_path):
    export(run, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| test scores | not evaluated |" in card
    assert "licence not known" in card
    assert run_card(run) == card


def test_a_fresh_process_loads_it_without_the_suite(run, tmp_path):
    expected = load_model(run).model.state_dict()
    export(run, tmp_path / "out")
    shutil.rmtree(run)
    moved = shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    code = "from elasticast.models.pretrained import load_model; p = load_model('elsewhere'); "
    code += "print(len(p.classes), p.kind)"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "multi"
    assert all(torch.equal(v, expected[k]) for k, v in load_file(Path(moved) / "model.safetensors").items())


def test_what_cannot_be_exported_is_one_clear_error(run, tmp_path):
    with complains(DataError, tmp_path / "run"):
        export(run, run)
    with complains(DataError, "run.json"):
        export(tmp_path, tmp_path / "out")
    (run / "model.safetensors").write_bytes(b"")
    with complains(DataError, "model.safetensors"):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
