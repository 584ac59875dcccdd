"""Exports for other tools compute what the run computes."""

import json

import pytest
import torch

from elasticast.config.reading import deep_merge
from elasticast.errors import DataError
from elasticast.inference.classifier import AudioClassifier
from elasticast.inference.export import export
from elasticast.models.pretrained import load_model
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import Trainer
from tests.complaints import complains

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
