"""Predictions: the same as evaluation's, whatever the form, length, company and order of the audio."""

import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf
import torch
import torchaudio

import elasticast
from elasticast.config import Evaluation
from elasticast.data.audio import decode
from elasticast.data.features import log_mel
from elasticast.data.norm import Norm
from elasticast.data.packing import pack, pack_clip
from elasticast.data.views import ViewRule
from elasticast.data.windows import window_starts, window_weights
from elasticast.errors import DataError, ElasticASTError
from elasticast.evaluation.sweep import sweep
from elasticast.models import build_model
from elasticast.training.checkpoint import save_model
from tests.complaints import complains, names

TOLERANCE = {"atol": 1e-5, "rtol": 0}
LABELS = [f"label {i}" for i in range(10)]


class Quiet:
    def update(self, done):
        pass


def trained(folder, config, kind="multi"):
    """A model whose logits differ from clip to clip, saved and loaded again."""
    model = build_model(config, len(LABELS))
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    save_model(folder, model, config, Norm(-5.0, 3.0), LABELS, kind)
    return elasticast.load_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def classifier(tiny, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("elastic"), tiny())


@pytest.fixture(scope="module")
def fixed(tiny, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("ast"), tiny(model={"kind": "ast"}))


def noise(seconds, rate=16000):
    """Noise whose level and colour wander, int16."""
    samples = round(seconds * rate)
    wave = np.random.default_rng().standard_normal(samples) * np.interp(
        np.arange(samples), np.linspace(0, max(samples, 1), 9), np.random.default_rng().uniform(0, 0.2, 9)
    )
    return (wave * 32767).clip(-32768, 32767).astype(np.int16)


def kinds(flags):
    """What each flag says: its first word, and the number of frames where it names one."""
    return [" ".join(re.findall(r"^\w+|\d+", flag)) for flag in flags]


def logits(predictions):
    return torch.stack([p.logits for p in predictions])


@pytest.mark.parametrize(
    "difference",
    [
        {},
        {"view": {"compression": [2.0]}},
        {"view": {"compression": [1.0, 1.5]}},
        {"model": {"kind": "ast"}, "view": {"frames": 256}},
        {"model": {"kind": "ast"}, "view": {"frames": 128, "compression": [2.0]}},
        {"model": {"kind": "ast", "stride": 10}, "view": {"frames": 256}},
        {"model": {"kind": "ast"}, "view": {"frames": 256, "fill": "mask"}},
        {"model": {"kind": "ast"}, "view": {"frames": 256, "fill": "repeat"}},
        {"model": {"kind": "ast"}, "view": {"frames": "native"}, "train": {"batch": {"clips": 4, "buckets": True}}},
        {"model": {"positions": "rotary", "pooling": "cls"}},
        {"model": {"positions": "fractional", "max_frames": 128}},
        {"view": {"compression": [2.0], "resolution": "max_pool"}},
    ],
)
def test_a_test_clips_prediction_is_evaluations(tiny, tmp_path, prepared, test_clips, difference):
    config = tiny(**difference)
    found = trained(tmp_path, config)
    # x counts frames at compression 1
    fixed = config.view.frames != "native"
    x = config.view.frames * config.default_compression if fixed else config.view.max_frames
    evaluation = Evaluation(x_name="max_frames", x=[x])
    expected = sweep(found.model, test_clips, config, found.encoder.norm, evaluation, Quiet())[x]
    predictions = found.predict([prepared / "audio" / f"{name}.wav" for name in test_clips.ids])
    assert [p.windows for p in predictions] == [1] * len(test_clips)
    torch.testing.assert_close(logits(predictions), expected, **TOLERANCE)
    assert expected.std(0).min() > 1e-3


@pytest.mark.parametrize("name", ["classifier", "fixed"])
def test_company_and_order_change_nothing(name, request):
    found = request.getfixturevalue(name)
    waves = [noise(seconds) for seconds in (0.03, 7.3, 0.4, 2.5, 0.17, 3.1, 0.64)]
    together = found.predict(waves, sample_rate=16000)
    alone = [found.predict(wave, sample_rate=16000)[0] for wave in waves]
    torch.testing.assert_close(logits(together), logits(alone), **TOLERANCE)
    assert [p.seconds for p in together] == [len(wave) / 16000 for wave in waves]
    order = torch.randperm(len(waves)).tolist()
    for budget in (1, 100, 10**6):
        mixed = found.predict([waves[i] for i in order], sample_rate=16000, token_budget=budget)
        torch.testing.assert_close(logits(mixed), logits(together)[order], **TOLERANCE)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
def test_a_file_is_its_waveform_in_any_form(classifier, tmp_path, rate):
    stereo = np.stack([noise(6, rate), noise(6, rate)], axis=1)
    sf.write(tmp_path / "clip.wav", stereo, rate)
    path = tmp_path / "clip.wav"
    scaled = torch.from_numpy(stereo.T / np.float32(32768))
    forms = [stereo.T, scaled, scaled.double(), scaled.mean(0)]
    files = classifier.predict([str(path), path])
    found = classifier.predict(forms, sample_rate=rate)
    assert {p.path for p in files} == {str(path)}
    torch.testing.assert_close(logits(found), logits(files)[:1].expand(4, -1), **TOLERANCE)
    as_stored = classifier.predict(decode(path, rate=16000).samples, sample_rate=16000)
    torch.testing.assert_close(logits(as_stored), logits(files)[:1], atol=1e-4, rtol=0)


EPIC = {
    "front_end": {"kind": "stft", "sample_rate": 24000, "n_fft": 2048, "window_ms": 10, "hop_ms": 5},
    "view": {"max_frames": 256, "min_frames": 96, "fill": "edge"},
}


@pytest.fixture(scope="module")
def epic(tiny, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("epic"), tiny(**EPIC))


@pytest.mark.parametrize(
    ("samples", "windows", "flags"),
    [
        (700, 1, {"padded 16"}),  # a patch
        (15 * 120, 1, {"padded 96"}),
        (80 * 120 - 1, 1, {"padded 96"}),
        (80 * 120, 1, set()),  # 81 frames fill the last patch
        (256 * 120 - 1, 1, set()),
        (256 * 120, 2, {"windowed"}),
        (700 * 120 + 7, 5, {"windowed"}),
    ],
)
def test_windows_of_frames_around_every_hop_are_those_of_the_whole_clip(epic, samples, windows, flags):
    wave = noise(samples / 24000, 24000)
    found = epic.predict(wave, sample_rate=24000, timeline=True)[0]
    assert (found.windows, set(kinds(found.flags))) == (windows, flags)
    assert found.timeline.start[0] == 0
    assert -1e-9 < found.seconds - found.timeline.end[-1].item() < 0.005
    whole = log_mel(torch.from_numpy(wave / np.float32(32768)), epic.config.front_end)
    starts = window_starts(whole.shape[1], 256, 0.5) if windows > 1 else [0]
    weights = window_weights(starts, 256) if windows > 1 else [1.0]
    view = ViewRule(epic.config)(samples)
    parts = [epic.encoder.encode(whole[:, s:], view) for s in starts]
    with torch.inference_mode():
        expected = sum(w * epic.model(pack([part]))[0] for w, part in zip(weights, parts, strict=True))
    torch.testing.assert_close(found.logits, expected.float(), atol=1e-4, rtol=0)


def samples_of(frames):
    return (frames - 1) * 160 + 400


@pytest.mark.parametrize(
    ("samples", "windows", "flags"),
    [
        (400, 1, {"padded 16"}),
        (480, 1, {"padded 16"}),
        (samples_of(16) - 1, 1, {"padded 16"}),
        (samples_of(16), 1, set()),
        (samples_of(256), 1, set()),
        (samples_of(256) + 1, 1, set()),
        (samples_of(257), 2, {"windowed"}),
        (samples_of(384), 2, {"windowed"}),
        (samples_of(512), 3, {"windowed"}),
        (samples_of(512) + 160, 4, {"windowed"}),
    ],
)
def test_lengths_at_every_boundary(classifier, samples, windows, flags):
    found = classifier.predict(noise(samples / 16000), sample_rate=16000, timeline=True)[0]
    assert (found.windows, set(kinds(found.flags))) == (windows, flags)
    assert found.timeline.scores.shape == (windows, 10)
    assert found.timeline.start[0] == 0
    assert -1e-9 < found.seconds - found.timeline.end[-1].item() < 0.01
    assert found.logits.isfinite().all()


def test_flags_of_an_ast_and_of_silence(fixed):
    waves = [noise(0.03), noise(0.5), noise(samples_of(64) / 16000), noise(1.0), np.zeros(20_000)]
    expected = [["padded 16"], ["padded 64"], [], ["windowed"], ["windowed", "silent"]]
    assert [kinds(p.flags) for p in fixed.predict(waves, sample_rate=16000)] == expected


def test_windows_are_pooled_by_the_frames_they_speak_for(classifier):
    wave = noise(4.0)  # 398 frames: windows from 0, 128, and 142
    parts = [wave[s * 160 : s * 160 + samples_of(256)] for s in (0, 128, 142)]
    alone = logits(classifier.predict(parts, sample_rate=16000))
    coverage = np.zeros((3, 398))
    for row, start in zip(coverage, (0, 128, 142), strict=True):
        row[start : start + 256] = 1
    weights = torch.tensor((coverage / coverage.sum(0)).sum(1) / 398)
    mean, most = (classifier.predict(wave, sample_rate=16000, pooling=p, timeline=True)[0] for p in ("mean", "max"))
    torch.testing.assert_close(mean.logits.double(), weights @ alone.double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(most.logits, alone.max(0).values, atol=1e-4, rtol=0)
    torch.testing.assert_close(mean.timeline.scores, alone.sigmoid(), atol=1e-4, rtol=0)
    torch.testing.assert_close(mean.timeline.start, torch.tensor([0, 1.28, 1.42]).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("kind", "loss"), [("multi", "bce"), ("single", "bce"), ("single", "ce")])
def test_scores_are_the_probabilities_of_the_loss(kind, loss, tiny, tmp_path):
    found = trained(tmp_path, tiny(train={"loss": loss}), kind=kind)
    everything = found.predict(noise(4.0), sample_rate=16000, timeline=True)[0]
    scores = torch.sigmoid if loss == "bce" else lambda logits: logits.softmax(-1)
    expected = scores(everything.logits)
    assert everything.scores == {LABELS[i]: expected[i].item() for i in expected.argsort(descending=True)}
    sums = everything.timeline.scores.sum(1)
    assert torch.allclose(sums, torch.ones_like(sums)) == (loss == "ce")


def test_the_best_scores(classifier):
    everything = classifier.predict(noise(1.0), sample_rate=16000)[0]
    assert list(everything.scores.values()) == sorted(everything.scores.values(), reverse=True)
    wave = noise(1.0)
    best = classifier.predict(wave, sample_rate=16000, top_k=3)[0].scores
    assert list(best.items()) == list(classifier.predict(wave, sample_rate=16000)[0].scores.items())[:3]


@pytest.fixture(scope="module")
def ten_minutes(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "clip.wav"
    sf.write(path, noise(600, 22050), 22050)
    return path


def test_a_stream_equals_the_whole_file(classifier, ten_minutes):
    wave, rate = sf.read(ten_minutes, dtype="float32")
    whole = torchaudio.transforms.Resample(rate, 16000)(torch.from_numpy(wave))
    whole = (whole * 32768).round().clamp(-32768, 32767) / 32768
    spectrogram = classifier.encoder.norm(log_mel(whole, classifier.config.front_end))
    frames = spectrogram.shape[1]
    starts = [*range(0, frames - 256, 128), frames - 256]
    model = classifier.config.model
    clips = [pack_clip(i, spectrogram[:, s : s + 256], torch.zeros(0), model) for i, s in enumerate(starts)]
    with torch.inference_mode():
        expected = torch.cat([classifier.model(pack(clips[i : i + 20])) for i in range(0, len(clips), 20)])
    found = classifier.predict(ten_minutes, timeline=True)[0]
    assert found.windows == len(starts) == 468
    torch.testing.assert_close(found.timeline.scores, expected.sigmoid(), atol=1e-4, rtol=0)
    shares = torch.full((len(starts),), 128 / frames)
    assert (found.logits - (shares[:, None] * expected)[1:-1].sum(0)).abs().max() < 0.05  # the ends weigh more


MEMORY = """
import resource, sys, torch
torch.set_num_threads(1)
import elasticast
model = elasticast.load_pretrained(sys.argv[1], device="cpu")
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
model.predict(torch.randn(16000 * 60) / 9, sample_rate=16000)
before = peak()
model.predict(sys.argv[2])
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_file(tiny, tmp_path, ten_minutes):
    trained(tmp_path, tiny())
    command = [sys.executable, "-c", MEMORY, str(tmp_path), str(ten_minutes)]
    grown = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 20  # MiB; the waveform alone has 53, its frames at 16 kHz 123


def test_the_window_can_be_chosen(classifier, fixed):
    wave = noise(2.0)
    assert [classifier.predict(wave, sample_rate=16000, window=w)[0].windows for w in (None, 2.56, 1.0, 0.16)] == [
        1,
        1,
        4,
        24,
    ]
    assert classifier.predict(wave, sample_rate=16000, window=0.64, overlap=0)[0].windows == 4
    assert fixed.predict(wave, sample_rate=16000, window=1.28)[0].windows == 3
    with complains(ElasticASTError, "window", "3.0", 304, 256, "2.56"):
        classifier.predict(wave, sample_rate=16000, window=3.0)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"overlap": 1.0}, ["1.0"]),
        ({"pooling": "median"}, ["'median'", "mean", "max"]),
        ({"top_k": 0}, [0]),
        ({"sample_rate": -1}, ["-1"]),
        ({"sample_rate": None}, []),
        ({"window": 0.0}, ["0.0"]),
        ({"on_error": "ignore"}, ["'ignore'", "raise", "keep"]),
    ],
)
def test_impossible_arguments_are_said(classifier, wrong, named):
    with complains(ElasticASTError, *wrong, *named):
        classifier.predict(noise(1.0), **{"sample_rate": 16000, **wrong})


def test_broken_audio_costs_the_others_nothing(classifier, tmp_path):
    waves = [noise(1.0), noise(6.0)]
    late = np.append(np.zeros(100_000, np.float32), np.nan)
    items = [waves[0], tmp_path / "none.wav", late, [1.0, 2.0], waves[1], np.zeros(3)]
    found = classifier.predict(items, sample_rate=16000, on_error="keep", token_budget=600)
    for prediction, reason in zip(found, [None, "missing", "non-finite", "list", None, "too short"], strict=True):
        assert reason is prediction.error is None or names(prediction.error, reason)
    expected = logits(classifier.predict(waves, sample_rate=16000))
    torch.testing.assert_close(logits([found[0], found[4]]), expected, **TOLERANCE)
    with complains(DataError, tmp_path / "none.wav", "missing"):
        classifier.predict([waves[0], tmp_path / "none.wav"], sample_rate=16000)
    with complains(DataError, "waveform 1", "non-finite"):
        classifier.predict([waves[0], late], sample_rate=16000)


def test_nothing_in_nothing_out(classifier):
    assert classifier.predict([]) == []


def test_importing_the_package_does_not_import_torch():
    code = "import elasticast, sys; assert 'torch' not in sys.modules; elasticast.load_pretrained"
    subprocess.run([sys.executable, "-c", code], check=True)
    with complains(AttributeError, "nothing"):
        _ = elasticast.nothing


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_an_error_of_their_clip_only(classifier, monkeypatch, bad):
    clips = [noise(1.0), noise(2.0), noise(30.0)]
    expected = classifier.predict(clips, sample_rate=16000)
    forward = classifier.model.forward

    def broken(batch):
        scores = forward(batch).clone()
        scores[1, 3] = bad
        return scores

    monkeypatch.setattr(classifier.model, "forward", broken)
    found = classifier.predict(clips, sample_rate=16000, on_error="keep", token_budget=10**6)
    assert found[0].scores == expected[0].scores
    assert names(found[1].error, "NaN")
    assert not found[1].scores
    with complains(DataError, "waveform 1", "NaN"):
        classifier.predict(clips, sample_rate=16000, token_budget=10**6)


@pytest.mark.parametrize("name", ["sample_rate", "top_k"])
@pytest.mark.parametrize("value", [0, -1, 1.5, float("nan"), float("inf"), "16000"])
def test_arguments_that_are_no_whole_numbers(classifier, name, value):
    with complains(ElasticASTError, name, value):
        classifier.predict(noise(1.0), **{"sample_rate": 16000, name: value})
