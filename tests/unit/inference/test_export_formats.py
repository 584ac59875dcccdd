"""Exports for other tools compute what the run computes."""

import importlib.util
import json
import re
import sys
from typing import get_args, get_type_hints

import pytest
import torch

from elasticast import cli
from elasticast.config.reading import deep_merge
from elasticast.data.encoder import ClipEncoder
from elasticast.data.packing import pack
from elasticast.data.views import ViewRule
from elasticast.errors import DataError
from elasticast.inference.classifier import AudioClassifier
from elasticast.inference.export import FORMATS, export
from elasticast.inference.frontend import encode
from elasticast.models.pretrained import load_model
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import Trainer
from tests.complaints import complains
from tests.unit.conftest import TIMED

AST = {"kind": "ast", "prefix_tokens": 2, "stride": 10, "norm_eps": 1e-5}


@pytest.fixture
def trained(tiny, train_clips, norm, tmp_path, cpu):
    """Trains a tiny run and gives its weights random values everywhere, so that no part of the model is zero."""

    def train(name="run", **difference):
        config = tiny(**deep_merge({"train": {"steps": 1}}, difference))
        trainer = Trainer(config, RunInputs(train_clips, norm, "data"), tmp_path / name)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in trainer.model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        trainer.fit()
        return tmp_path / name

    return train


def waves(*seconds, rate=16000):
    """Noise of 16 bit, to which prediction rounds."""
    generator = torch.Generator().manual_seed(1)
    noise = [0.1 * torch.randn(round(s * rate), generator=generator) for s in seconds]
    return [(wave * 32767).round() / 32768 for wave in noise]


def logits_of(run, clips):
    return torch.stack([p.logits for p in AudioClassifier(load_model(run)).predict(clips, sample_rate=16000)])


def test_transformers_computes_the_same_logits(trained, tmp_path):
    transformers = pytest.importorskip("transformers")
    run = trained(model=AST, view={"frames": 128})
    export(run, tmp_path / "hf", "huggingface")
    model = transformers.ASTForAudioClassification.from_pretrained(tmp_path / "hf").eval()
    extractor = transformers.ASTFeatureExtractor.from_pretrained(tmp_path / "hf")
    clips = waves(0.2, 0.7, 1.285, 1.295)  # the last two have 127 and 128 frames
    arrays = [clip.numpy() for clip in clips]
    with torch.inference_mode():
        found = model(**extractor(arrays, sampling_rate=16000, return_tensors="pt")).logits
    expected = logits_of(run, clips)
    assert expected.std() > 1e-2
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    classes = load_model(run).classes
    assert [model.config.id2label[i] for i in range(len(classes))] == classes
    assert [model.config.label2id[name] for name in classes] == list(range(len(classes)))
    assert model.config.layer_norm_eps == 1e-5
    assert model.config.problem_type == "multi_label_classification"


def test_an_export_for_transformers_is_read_back(trained, tmp_path):
    run = trained(model=AST, view={"frames": 128})
    export(run, tmp_path / "hf", "huggingface")
    assert torch.equal(logits_of(tmp_path / "hf", waves(0.5, 1.0)), logits_of(run, waves(0.5, 1.0)))
    found, expected = load_model(tmp_path / "hf"), load_model(run)
    assert (found.classes, found.kind, found.norm) == (expected.classes, expected.kind, expected.norm)
    record = json.loads((tmp_path / "hf" / "export.json").read_text())
    assert record["files"].keys() == {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert record["provenance"]["data_sha256"] == "data"
    assert str(tmp_path) not in json.dumps(record)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "preprocessor_config.json", "export.json"])
def test_a_changed_export_for_transformers_is_not_read_back(trained, tmp_path, name):
    export(trained(model=AST, view={"frames": 128}), tmp_path / "hf", "huggingface")
    path = tmp_path / "hf" / name
    content = bytearray(path.read_bytes())
    content[-6 if name == "model.safetensors" else content.index(b"0.")] ^= 1
    path.write_bytes(content)
    with complains(DataError, path, "export.json"):
        load_model(tmp_path / "hf")
    (tmp_path / "hf" / "export.json").unlink()  # files of the user's own
    load_model(tmp_path / "hf")


def test_two_epsilons_become_one_and_the_card_says_so(trained, tmp_path):
    transformers = pytest.importorskip("transformers")
    run = trained(model=AST | {"norm_eps": 1e-6, "head_norm_eps": 1e-5}, view={"frames": 128})
    export(run, tmp_path / "hf", "huggingface")
    model = transformers.ASTForAudioClassification.from_pretrained(tmp_path / "hf").eval()
    extractor = transformers.ASTFeatureExtractor.from_pretrained(tmp_path / "hf")
    clips = waves(1.0)
    with torch.inference_mode():
        found = model(**extractor(clips[0].numpy(), sampling_rate=16000, return_tensors="pt")).logits
    torch.testing.assert_close(found, logits_of(run, clips), atol=1e-4, rtol=0)
    assert "head_norm_eps" in (tmp_path / "hf" / "README.md").read_text()


@pytest.mark.parametrize(
    ("difference", "tokens"),
    [
        ({}, ("model.kind", "elasticast")),
        ({"model": AST | {"prefix_tokens": 1, "pooling": "mean"}}, ("model.prefix_tokens", 1, "model.pooling", "mean")),
        ({"model": AST, "view": {"fill": "repeat"}}, ("view.fill", "repeat")),
        ({"model": AST, "front_end": {"hop_ms": 20}}, ("front_end.hop_ms", 20)),
        (
            {"model": AST, "view": {"frames": "native"}, "train": {"batch": {"buckets": True}}},
            ("view.frames", "native"),
        ),
    ],
)
def test_what_transformers_has_no_model_for_is_refused_with_the_reasons(tiny, trained, tmp_path, difference, tokens):
    run = trained(**difference)
    with complains(DataError, run, *tokens, "torch-export", "onnx"):
        export(run, tmp_path / "hf", "huggingface")
    assert not (tmp_path / "hf").exists()


def test_a_folder_holds_one_format(trained, tmp_path):
    run = trained(model=AST, view={"frames": 128})
    export(run, tmp_path / "out")
    with complains(DataError, tmp_path / "out", "model.json"):
        export(run, tmp_path / "out", "huggingface")
    export(run, tmp_path / "hf", "huggingface")
    export(run, tmp_path / "hf", "huggingface")


# ---------------------------------------------------------------------------------------------
# Graphs
# ---------------------------------------------------------------------------------------------

MODELS = {
    "elastic": {"view": {"min_frames": 32, "max_frames": 112}},
    "chunks": {"model": {"positions": "rotary", "context": {"chunk": 2, "past": 4}}},
    "fixed": {"model": AST, "view": {"frames": 128}},
}


def torch_program(folder):
    return torch.export.load(folder / "model.pt2").module()


def onnx_program(folder):
    session = pytest.importorskip("onnxruntime").InferenceSession(folder / "model.onnx")
    names = [i.name for i in session.get_inputs()]

    def run(*inputs):
        found = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
        return torch.from_numpy(found[0]) if len(found) == 1 else tuple(map(torch.from_numpy, found))

    return run


def front_end(folder):
    """`encode` of the file in an export, which needs nothing of this package."""
    spec = importlib.util.spec_from_file_location("frontend_of_export", folder / "frontend.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert "elasticast" not in {name.partition(".")[0] for name in module.__dict__}
    return module.encode


@pytest.fixture(params=["torch-export", "onnx"])
def graph(request, tmp_path):
    """Exports a run in a format, and returns the folder and the program."""
    if request.param == "onnx":
        pytest.importorskip("onnxruntime")

    def write(run):
        export(run, tmp_path / "graph", request.param)
        return tmp_path / "graph", (torch_program if request.param == "torch-export" else onnx_program)(
            tmp_path / "graph"
        )

    return write


@torch.inference_mode()
def evaluated(run, clips):
    """Logits as in evaluation: a clip longer than the view is cut."""
    p = load_model(run)
    encoder, rule = ClipEncoder(p.config, p.norm), ViewRule(p.config)
    return p.model(pack([encoder.encode(encoder.spectrogram(clip), rule(len(clip))) for clip in clips]))


@pytest.mark.parametrize("name", MODELS)
def test_a_graph_computes_the_same_logits_of_any_lengths(trained, graph, name):
    run = trained(**MODELS[name])
    folder, program = graph(run)
    clips = waves(0.2, 0.01, 0.18, 1.0, 0.335, 0.345, 2.7)
    expected, encode = evaluated(run, clips), front_end(folder)
    assert expected.std() > 1e-2
    torch.testing.assert_close(program(*encode(clips)), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(program(*encode(clips[:1])), expected[:1], atol=1e-4, rtol=0)
    record = json.loads((folder / "export.json").read_text())
    assert record["largest_difference"] < 1e-4
    assert record["classes"] == load_model(run).classes


@pytest.mark.parametrize(
    ("difference", "tokens"),
    [
        ({"model": {"kind": "aum"}}, ("model.kind", "aum")),
        ({"model": {"merge": {"share": 0.1}}}, ("model.merge",)),
        (
            {"model": AST, "view": {"frames": "native"}, "train": {"batch": {"buckets": True}}},
            ("view.frames", "native"),
        ),
    ],
)
def test_what_is_no_graph_is_refused_with_the_reasons(trained, tmp_path, difference, tokens):
    run = trained(**difference)
    with complains(DataError, run, *tokens, "elasticast"):
        export(run, tmp_path / "graph", "torch-export")
    assert not (tmp_path / "graph").exists()


def test_without_the_packages_of_onnx_the_extra_is_named(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with complains(DataError, "onnxruntime", "pip install 'elasticast[onnx]'"):
        export(trained(), tmp_path / "graph", "onnx")


@pytest.mark.parametrize("name", ["export.json", "model.pt2", "frontend.py"])
def test_a_changed_file_of_a_graph_is_named(trained, tmp_path, name):
    export(trained(), tmp_path / "graph", "torch-export")
    encode, path = front_end(tmp_path / "graph"), tmp_path / "graph" / name
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"mean": -', b'"mean": -1', 1) if name == "export.json" else content + b" ")
    with complains(ValueError, path):
        encode(waves(0.3))


@pytest.mark.parametrize(
    "wave",
    [
        torch.zeros(1, 8000),
        torch.zeros(8000, dtype=torch.int16),
        torch.zeros(0),
        torch.full((8000,), 300.0),
        torch.full((8000,), torch.nan),
    ],
    ids=["channels", "integers", "empty", "not scaled", "NaN"],
)
def test_what_is_no_waveform_is_refused_by_the_front_end(wave):
    with complains(ValueError, "waveforms[1]"):
        encode([torch.zeros(8000), wave], {})


def test_a_front_end_that_the_file_does_not_compute_is_not_written(trained, tmp_path):
    export(trained(view={"fill": "edge"}), tmp_path / "graph", "torch-export")
    assert sorted(p.name for p in (tmp_path / "graph").iterdir()) == ["README.md", "export.json", "model.pt2"]
    assert "ClipEncoder" in (tmp_path / "graph" / "README.md").read_text()


@pytest.mark.parametrize("to", ["huggingface", "torch-export", "onnx"])
def test_the_code_on_the_card_runs(trained, tmp_path, monkeypatch, to):
    pytest.importorskip({"huggingface": "transformers", "onnx": "onnxruntime"}.get(to, "torch"))
    run = trained(model=AST, view={"frames": 128})
    export(run, tmp_path / "out", to)
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path / "out")
    monkeypatch.syspath_prepend(tmp_path / "out")
    monkeypatch.delitem(sys.modules, "frontend", raising=False)
    (waveform,) = waves(1.0)
    names = {"waveform": waveform.numpy() if to == "huggingface" else waveform}
    exec(code.replace("this folder", "."), names)
    found = torch.as_tensor(names["logits"]).detach()
    torch.testing.assert_close(found, evaluated(run, [waveform]), atol=1e-4, rtol=0)


def test_a_graph_of_a_frame_head_has_both_outputs(timed_clips, tiny, norm, tmp_path, graph, cpu):
    config = tiny(**TIMED, train={"steps": 1, "loss": "bce"})
    Trainer(config, RunInputs(timed_clips, norm, "data"), tmp_path / "run").fit()
    folder, program = graph(tmp_path / "run")
    patches, freq, time, seqlens = front_end(folder)(waves(0.2, 0.7))
    clips, frames = program(patches, freq, time, seqlens)
    assert clips.shape == (2, len(timed_clips.classes))
    assert frames[freq == 0].shape == (2 + 5, len(timed_clips.classes))
    assert "frame_logits = " in (folder / "README.md").read_text()


def test_the_command_offers_all_formats():
    assert get_args(get_type_hints(cli.export)["to"]) == tuple(FORMATS)
