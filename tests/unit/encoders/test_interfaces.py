"""Encoders behind the interfaces of benchmarks: their checks, written anew, and what embeddings mean."""

import importlib.util
import sys

import numpy as np
import pytest
import torch

from elasticast.data.encoder import ClipEncoder
from elasticast.data.packing import pack
from elasticast.data.views import ViewRule
from elasticast.encoders import open_encoder
from elasticast.encoders.interfaces import Embedder, Hear, Maeb, XAres, XAresLLM
from elasticast.encoders.native import NativeEncoder
from elasticast.encoders.random_weights import _shake
from elasticast.errors import DataError
from elasticast.inference import encoder_files
from elasticast.inference.classifier import AudioClassifier
from elasticast.inference.export import export
from elasticast.models import build_model
from elasticast.models.pretrained import Pretrained
from tests.complaints import complains

MODELS = {
    "elastic": {},
    "CLS": {"model": {"pooling": "cls"}},
    "fixed": {"model": {"kind": "ast", "prefix_tokens": 2}},
    "overlapping patches": {"model": {"kind": "ast", "stride": 10}},
    "Audio Mamba": {"model": {"kind": "aum", "order": "time"}},
    "8 kHz": {"front_end": {"sample_rate": 8000}},
}


@pytest.fixture
def encoder(tiny, norm):
    def build(name="elastic", **difference):
        config = tiny(**(difference or MODELS[name]))
        torch.manual_seed(0)
        net, classes = build_model(config, 3).eval(), ["a", "b", "c"]
        about = {"description": name, "notes": [], "sha256": "", "classes_known": True}
        found = NativeEncoder(AudioClassifier(Pretrained(net, config, norm, classes, "multi", **about)), name, "")
        _shake(found)
        return found

    return build


def noise(*seconds, rate=16000):
    generator = torch.Generator().manual_seed(0)
    return [(0.1 * torch.randn(round(s * rate), generator=generator)).clamp(-1, 1) for s in seconds]


# ---------------------------------------------------------------------------------------------
# Embeddings over time
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seconds", [0.02, 0.2, 1.07, 1.98, 6.3])
def test_times_are_the_middles_of_patches_within_the_clip(encoder, name, seconds):
    embedder = Embedder(encoder(name))
    config = embedder.encoder._plain.config
    (found,) = embedder.frames(noise(seconds), 16000)
    hop, lead = config.model.stride * 0.01, (config.model.patch - config.model.stride) // 2 * 0.01
    expected = lead + (np.arange(len(found.seconds)) + 0.5) * hop
    length = max(seconds, 0.025)
    np.testing.assert_allclose(found.seconds, np.minimum(expected, length), atol=1e-3)
    assert found.seconds[-1] > length - hop - lead - 0.03  # a frame more would be after the end
    assert found.embeddings.shape == (len(found.seconds), config.model.dim)
    assert found.embeddings.isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_embeddings_do_not_depend_on_other_clips(encoder, name):
    embedder = Embedder(encoder(name))
    clips = noise(0.6, 3.3, 0.2, 0.6)
    together = embedder.frames(clips, 16000)
    for clip, found in zip(clips, together, strict=True):
        torch.testing.assert_close(embedder.frames([clip], 16000)[0].embeddings, found.embeddings, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["elastic", "CLS", "fixed", "overlapping patches"])
def test_an_embedding_is_the_mean_over_frequency_of_the_last_states(encoder, name):
    found = encoder(name)
    (clip,) = noise(0.655)  # 64 frames: one pass
    clip = (clip * 32767).round() / 32768
    config, model = found._plain.config, found._plain.model
    packed = ClipEncoder(config, found._plain.encoder.norm)
    batch = pack([packed.encode(packed.spectrogram(clip), ViewRule(config)(len(clip)))])
    states = []
    model.trunk.register_forward_hook(lambda _, __, output: states.append(output))
    with torch.inference_mode():
        model(batch)
    tokens = states[0][-len(batch.patches) :]  # prefix tokens come first
    expected = torch.stack([tokens[batch.time == t].mean(0) for t in range(batch.time_patches)])
    embeddings = found.frames([clip])[0].embeddings
    assert expected.std() > 1e-2
    torch.testing.assert_close(embeddings, expected[: len(embeddings)], atol=1e-5, rtol=0)


def test_where_windows_overlap_an_embedding_is_their_mean(encoder):
    embedder = Embedder(encoder("elastic"))
    (clip,) = noise((383 * 160 + 400) / 16000)  # 384 frames: two windows of 256 frames, the second from frame 128 on
    long, first, second = (part.embeddings for part in embedder.frames([clip, clip[:41200], clip[128 * 160 :]], 16000))
    expected = torch.cat([first[:8], (first[8:] + second[:8]) / 2, second[8:]])
    assert expected.std() > 1e-2
    torch.testing.assert_close(long, expected, atol=1e-5, rtol=0)


def test_encoders_without_embeddings_over_time_say_so(encoder):
    embedder = Embedder(encoder(model={"kind": "cnn"}))
    assert embedder.clips(noise(0.5), 16000).shape == (1, embedder.clip_dim)
    with complains(DataError, "elastic"):
        embedder.frames(noise(0.5), 16000)


@pytest.mark.parametrize("kind", ["passt", "whisper", "wav2vec2"])
def test_any_encoder_embeds_clips_of_any_rate(kind):
    pytest.importorskip({"passt": "hear21passt"}.get(kind, "transformers"))
    embedder = Embedder(open_encoder(f"random:{kind}/mini"))
    assert embedder.clips(noise(0.5, 0.9, rate=8000), 8000).shape == (2, embedder.clip_dim)


# ---------------------------------------------------------------------------------------------
# The checks of the benchmarks
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_check_of_x_ares(encoder, name):
    class MyEncoder(XAres):
        pass

    model = MyEncoder(encoder(name))
    found = model(torch.randn(2, 50000))
    assert found.shape[::2] == (2, model.output_dim)
    assert model.sampling_rate == model.encoder.card.sample_rate
    expected = 50000 / model.sampling_rate * 1000 / model.hop_size_in_ms
    assert abs(found.shape[1] - expected) < 2
    assert not model.train().training


def test_ten_minutes(encoder):
    model = XAres(encoder("elastic"))
    audio = torch.randn(1, 600 * 16000, generator=torch.Generator().manual_seed(0)).mul_(0.1)
    assert model(audio).shape == (1, 3750, model.output_dim)


@pytest.mark.parametrize("name", ["elastic", "8 kHz"])
def test_the_contract_of_xares_llm(encoder, name):
    model = XAresLLM(encoder(name), some_option=1)
    audio = torch.randn(3, 50000).mul_(0.1)
    features, mask = model(audio, None)
    assert features.shape == (*mask.shape, model.output_dim)
    assert mask.all()
    kept = torch.zeros(3, 50000, dtype=torch.long)
    for row, samples in enumerate((50000, 16000, 100)):
        kept[row, :samples] = 1
    masked, mask = model(audio, kept)
    torch.testing.assert_close(masked[0], features[0], atol=1e-5, rtol=0)
    assert mask.sum(1).tolist() == [
        len(f.embeddings) for f in model.frames([audio[0], audio[1, :16000], audio[2, :100]], 16000)
    ]
    assert not masked[mask == 0].any()
    torch.nn.Linear(model.output_dim, 2)(masked).sum().backward()  # what follows can learn


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seconds", [1.07, 1.98, 4.0])
def test_the_checks_of_hear(encoder, name, seconds):
    from elasticast.encoders import interfaces

    model = Hear(encoder(name))
    assert model.sample_rate in (16000, 22050, 44100, 48000)
    audio = torch.rand(2, int(seconds * model.sample_rate)) * 2 - 1
    embeddings, times = interfaces.get_timestamp_embeddings(audio, model)
    assert embeddings.dtype == torch.float32
    assert embeddings.shape == (*times.shape, model.timestamp_embedding_size)
    steps = times.diff()
    assert (steps - steps.mean()).abs().max() <= 1
    assert times.max() <= 1000 * seconds
    assert times.max() >= 1000 * seconds - 2 * steps.mean()
    scenes = interfaces.get_scene_embeddings(audio, model)
    assert scenes.shape == (2, model.scene_embedding_size)
    assert scenes.dtype == torch.float32
    assert type(model.scene_embedding_size) is type(model.timestamp_embedding_size) is int


def test_cosines_of_maeb(encoder):
    model = Maeb(encoder("elastic"))
    embeddings = model.clips(noise(0.3, 0.4, 0.5), 16000).numpy()
    found = model.similarity(embeddings, embeddings)
    torch.testing.assert_close(found.diagonal(), torch.ones(3))
    torch.testing.assert_close(model.similarity_pairwise(embeddings, embeddings[::-1].copy()), found.flip(1).diagonal())


# ---------------------------------------------------------------------------------------------
# The files of an export
# ---------------------------------------------------------------------------------------------


def load_file(path):
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_export_has_the_files_of_all_benchmarks(tiny, train_clips, norm, tmp_path, monkeypatch, cpu):
    from elasticast.training.inputs import RunInputs
    from elasticast.training.loop import Trainer

    Trainer(tiny(train={"steps": 1}), RunInputs(train_clips, norm, "data"), tmp_path / "run").fit()
    export(tmp_path / "run", tmp_path / "out", "encoders")
    (clip,) = noise(0.7)
    expected = Embedder(str(tmp_path / "run"))
    for file in ("xares_encoder", "xares_llm_encoder"):
        module = load_file(tmp_path / "out" / f"{file}.py")
        (name,) = [n for n in dir(module) if n.endswith("Encoder")]  # as X-ARES finds it
        model = getattr(module, name)()
        assert torch.equal(model.frames([clip], 16000)[0].embeddings, expected.frames([clip], 16000)[0].embeddings)
    with monkeypatch.context() as patched, complains(DataError, tmp_path / "run", "model.kind", "elasticast"):
        patched.setattr(encoder_files, "code_sha256", lambda _: "of a file of the user")
        export(tmp_path / "run", tmp_path / "mine", "encoders")
    assert not (tmp_path / "mine").exists()
    module = load_file(tmp_path / "out" / "hear_model.py")
    assert module.get_scene_embeddings(clip[None], module.load_model()).equal(expected.clips([clip], 16000))
    assert load_file(tmp_path / "out" / "maeb_model.py").model.clips([clip], 16000).equal(expected.clips([clip], 16000))
