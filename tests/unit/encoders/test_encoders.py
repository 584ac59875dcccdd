"""Encoders of any origin: the same contract, the weights they were given, and clear refusals."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from elasticast.data.features import log_mel
from elasticast.encoders import Card, open_encoder
from elasticast.encoders.random_weights import KINDS
from elasticast.errors import DataError
from tests.complaints import assert_names, complains

NEEDS = {"naflexvit": "timm", "passt": "hear21passt"} | dict.fromkeys(("hf-ast", "whisper", "wav2vec2"), "transformers")
KIND = [pytest.param(kind, id=kind) for kind in KINDS]


def random_encoder(kind, size="mini"):
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    return open_encoder(f"random:{kind}/{size}")


def waves(encoder, *seconds):
    generator = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(round(s * encoder.card.sample_rate), generator=generator) for s in seconds]


@pytest.mark.parametrize("kind", KIND)
def test_every_kind_gives_one_embedding_and_one_row_of_logits_per_clip(kind):
    encoder = random_encoder(kind)
    found = encoder.encode(waves(encoder, 0.7, 1.3, 0.7))
    assert found.embeddings.shape[0] == 3
    assert found.logits.shape == (3, 527)
    assert found.embeddings.dtype == found.logits.dtype == torch.float32
    assert len(found.embeddings.unique(dim=0)) == 3


@pytest.mark.parametrize("kind", KIND)
def test_clips_of_one_length_do_not_depend_on_each_other_or_their_order(kind):
    encoder = random_encoder(kind)
    clips = waves(encoder, 0.8, 0.8, 0.8)
    together, reverse = encoder.encode(clips), encoder.encode(clips[::-1])
    alone = torch.cat([encoder.encode([clip]).embeddings for clip in clips])
    torch.testing.assert_close(together.embeddings, alone, atol=2e-5, rtol=0)
    torch.testing.assert_close(reverse.logits.flip(0), together.logits, atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "wav2vec2"])
def test_clips_of_other_lengths_change_nothing_unless_the_card_says_padded(kind):
    encoder = random_encoder(kind)
    assert encoder.card.batching != "padded"
    clips = waves(encoder, 0.5, 2.0)
    mixed = encoder.encode(clips).embeddings[:1]
    torch.testing.assert_close(mixed, encoder.encode(clips[:1]).embeddings, atol=2e-5, rtol=0)


def test_padding_without_a_mask_is_declared():
    encoder = random_encoder("wav2vec2")
    assert encoder.card.batching == "padded"
    clips = waves(encoder, 0.5, 2.0)
    assert (encoder.encode(clips).embeddings[0] - encoder.encode(clips[:1]).embeddings[0]).abs().max() > 1e-2


@pytest.mark.parametrize("kind", ["elasticast", "naflexvit"])
def test_the_same_name_gives_the_same_weights_and_leaves_the_random_state(kind):
    first = random_encoder(kind)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    second = random_encoder(kind)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.module.parameters(), second.module.parameters(), strict=True))


def test_a_longer_hop_gives_another_answer_and_only_declared_factors_are_taken():
    encoder = random_encoder("elasticast")
    clips = waves(encoder, 1.0)
    assert not torch.equal(encoder.encode(clips, 2.0).embeddings, encoder.encode(clips).embeddings)
    with complains(DataError, "1.25"):
        encoder.encode(clips, 1.25)


@pytest.mark.parametrize(
    "wave", [torch.zeros(2, 100), torch.zeros(0), torch.zeros(9).long(), torch.full((9,), torch.nan)]
)
def test_what_is_no_waveform_is_refused(wave):
    with complains(DataError, "waveform 1"):
        random_encoder("elasticast").encode([torch.randn(16000), wave])


# ---------------------------------------------------------------------------------------------
# NaFlexVit
# ---------------------------------------------------------------------------------------------


def test_patches_are_those_that_timm_cuts_from_an_image():
    encoder = random_encoder("naflexvit")
    (clip,) = waves(encoder, 1.615)  # 160 frames: 10 patches
    frames = encoder._norm(log_mel(clip, encoder._front_end))
    assert frames.shape == (128, 160)
    with torch.inference_mode():
        expected = encoder.module(frames[None, None])
    torch.testing.assert_close(encoder.encode([clip]).logits, expected, atol=1e-5, rtol=0)


@pytest.fixture
def naflex_folder(tmp_path):
    pytest.importorskip("timm")
    from elasticast.encoders import naflex

    cfg = {"patch_size": [128, 4], "embed_dim": 64, "depth": 1, "num_heads": 2, "class_token": False}
    cfg |= {"pos_embed": "factorized", "pos_embed_grid_size": [1, 256], "global_pool": "map"}
    settings = {"cfg": cfg, "labels": ["dog", "cat"], "kind": "single", "licence": "MIT"}
    torch.manual_seed(1)
    encoder = naflex.build(settings, "a", "b")
    (tmp_path / "config.json").write_text(json.dumps(settings))
    save_file(encoder.module.state_dict(), tmp_path / "model.safetensors")
    return tmp_path, encoder


def test_a_folder_of_naflexvit_is_the_model_it_was_saved_from(naflex_folder):
    folder, expected = naflex_folder
    encoder = open_encoder(f"naflexvit:{folder}")
    clips = waves(encoder, 0.4, 1.1)
    assert torch.equal(encoder.encode(clips).logits, expected.encode(clips).logits)
    assert (encoder.card.labels, encoder.card.kind, encoder.card.licence) == (("dog", "cat"), "single", "MIT")


def test_mistakes_in_a_folder_of_naflexvit_name_the_file(naflex_folder):
    folder, _ = naflex_folder
    config = folder / "config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps(settings | {"cfg": settings["cfg"] | {"depht": 2}}))
    with complains(DataError, folder, "cfg", "depht"):
        open_encoder(f"naflexvit:{folder}")
    config.write_text(json.dumps(settings | {"cfg": settings["cfg"] | {"depth": 2}}))
    with complains(DataError, folder / "model.safetensors", "blocks.1.norm1.weight"):
        open_encoder(f"naflexvit:{folder}")
    config.write_text(json.dumps(settings | {"front_end": {"mel_bins": 96}}))
    with complains(DataError, folder, "mel_bins", 96, 128):
        open_encoder(f"naflexvit:{folder}")
    (folder / "model.safetensors").unlink()
    with complains(DataError, folder, "model.safetensors"):
        open_encoder(f"naflexvit:{folder}")


# ---------------------------------------------------------------------------------------------
# transformers
# ---------------------------------------------------------------------------------------------


def saved(kind, folder):
    """Save a random model of transformers; returns its encoder."""
    encoder = random_encoder(kind)
    encoder.module.save_pretrained(folder)
    encoder._extractor.save_pretrained(folder)
    return encoder


def test_ast_of_a_folder_is_loaded_natively_and_by_transformers_alike(tmp_path):
    saved("hf-ast", tmp_path)
    (tmp_path / "README.md").write_text("---\nlicense: bsd-3-clause\n---\n# AST\n")
    native, theirs = open_encoder(str(tmp_path)), open_encoder(f"transformers:{tmp_path}")
    clips = waves(native, 10.255)  # 1024 frames: neither pads nor cuts
    clips = [(clip * 32767).round() / 32768 for clip in clips]  # prediction rounds to 16 bit
    found, expected = native.encode(clips), theirs.encode(clips)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=0)
    assert theirs.card.licence == "bsd-3-clause"
    assert native.card.native_seconds == theirs.card.native_seconds == 10.24
    assert "cut" in theirs.card.longer
    assert "windows" in native.card.longer


def test_other_models_are_loaded_by_transformers(tmp_path):
    expected = saved("wav2vec2", tmp_path)
    encoder = open_encoder(str(tmp_path))
    clips = waves(encoder, 0.6)
    torch.testing.assert_close(encoder.encode(clips).logits, expected.encode(clips).logits, atol=1e-6, rtol=0)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
def test_code_in_a_repository_is_never_run(tmp_path, file):
    saved("wav2vec2", tmp_path)
    marker = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Model: pass\n")
    content = json.loads((tmp_path / file).read_text())
    names = {
        "AutoModelForAudioClassification": "evil.Model",
        "AutoConfig": "evil.Model",
        "AutoFeatureExtractor": "evil.Model",
    }
    (tmp_path / file).write_text(json.dumps(content | {"auto_map": names}))
    with complains(DataError, tmp_path, file, "auto_map", "FILE.py:CLASS"):
        open_encoder(str(tmp_path))
    assert not marker.exists()


# ---------------------------------------------------------------------------------------------
# Files with a class, and names
# ---------------------------------------------------------------------------------------------

MINE = """
from torch import nn
import torch
from elasticast.data.features import log_mel
from elasticast.encoders import Card, Encoded, Encoder

class Mine(Encoder):
    def __init__(self):
        self.module = nn.Linear(1, 3)
        self.card = Card("mine", __file__, 8000, "grouped", licence="MIT")

    def _encode(self, waveforms, compression):
        return Encoded(torch.stack([self.module(wave[:, None]).mean(0) for wave in waveforms]))

class Other:
    pass

class Broken:
    def __init__(self):
        raise RuntimeError("no weights")
"""


def test_a_class_in_a_file_is_an_encoder(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    encoder = open_encoder(f"{path}:Mine")
    assert encoder.card.name == "mine"
    found = encoder.encode(waves(encoder, 0.1, 0.2))
    assert found.embeddings.shape == (2, 3)
    assert found.logits is None
    with complains(DataError, path, "Other", "Encoder"):
        open_encoder(f"{path}:Other")
    with complains(DataError, path, "Broken", "no weights"):
        open_encoder(f"{path}:Broken")
    with complains(DataError, path, "Missing"):
        open_encoder(f"{path}:Missing")
    with complains(DataError, tmp_path / "none.py"):
        open_encoder(f"{tmp_path}/none.py:Mine")


def test_the_class_on_the_page_is_an_encoder(tmp_path):
    page = (Path(__file__).parents[3] / "docs/audit.md").read_text()
    (code,) = re.findall(r"```python\n# my_encoder\.py\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "my_encoder.py"
    path.write_text(code)
    encoder = open_encoder(f"{path}:Mine")
    assert encoder.encode(waves(encoder, 0.1, 0.3)).embeddings.shape == (2, 16)


@pytest.mark.parametrize(
    ("source", "tokens"),
    [
        ("random:resnet", ("resnet", "elasticast")),
        ("random:ast/huge", ("huge", "tiny")),
        ("nothing", ("nothing", "hf:")),
    ],
)
def test_unknown_sources_say_what_is_known(source, tokens):
    with complains(DataError, *tokens):
        open_encoder(source)


def test_a_missing_package_is_named(monkeypatch):
    for module in ("hear21passt.models.passt", "hear21passt", "timm.models.naflexvit"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with complains(DataError, "passt:arch", "hear21passt", "pip install 'elasticast[passt]'"):
        open_encoder("passt:arch")
    with complains(DataError, "random:naflexvit/mini", "timm", "pip install 'elasticast[timm]'"):
        open_encoder("random:naflexvit/mini")


def test_a_card_refuses_an_unknown_kind_of_batching():
    with pytest.raises(DataError) as caught:
        Card("mine", "", 16000, "stacked")
    assert_names(str(caught.value), "mine", "stacked", "packed")
