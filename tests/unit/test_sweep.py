"""Sweeps: however clips are grouped, each gets the logits it gets alone."""

import itertools
import json

import pandas as pd
import pytest
import torch
import yaml

from elasticast.config import Evaluation
from elasticast.data.dataset import ClipDataset
from elasticast.data.features import log_mel
from elasticast.data.packing import PackedClip, grid_positions, pack
from elasticast.data.views import ViewRule, crop_or_pad, native_frames
from elasticast.errors import ConfigError
from elasticast.evaluation import sweep as module
from elasticast.evaluation.metrics import metrics
from elasticast.evaluation.run import evaluate_run
from elasticast.evaluation.sweep import evaluate, sweep, view_rules
from elasticast.models import build_model
from elasticast.progress import Progress
from elasticast.training.checkpoint import save_model

pytestmark = pytest.mark.usefixtures("cpu")

LENGTH = Evaluation(x_name="max_frames", x=[16, 48, 64, 128, 240, 256])
RESOLUTION = Evaluation(x_name="compression", x=[1.0, 1.2, 2.3, 4.0])
KINDS = {
    "elasticast": {},
    "elasticast_hops": {"view": {"max_frames": 192, "compression": [1.0, 2.0]}},
    "ast": {"model": {"kind": "ast"}},
    "ast_masked": {"model": {"kind": "ast"}, "view": {"frames": 128, "fill": "mask"}},
    "ast_hop20": {"model": {"kind": "ast"}, "view": {"frames": 64, "compression": [2.0]}},
}


def model_of(config, classes):
    model = build_model(config, classes)
    for parameter in model.parameters():  # zero biases and near-zero weights would hide mistakes
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


@pytest.fixture(params=KINDS)
def setting(request, tiny, test_clips):
    config = tiny(**KINDS[request.param])
    return model_of(config, len(test_clips.classes)), config


def run(model, clips, config, norm, evaluation):
    with Progress("test", len(clips)) as log:
        return sweep(model, clips, config, norm, evaluation, log)


@torch.inference_mode()
def alone(model, clips, config, norm, index, frames, compression):
    """Logits of one clip shown at `frames` frames, from first principles."""
    spectrogram = log_mel(clips.waveform(index), config.front_end, compression)
    spectrogram = norm(crop_or_pad(spectrogram, frames))
    patches = spectrogram.unfold(0, 16, 16).unfold(1, 16, 16).reshape(-1, 256)
    freq, time = grid_positions(8, frames // 16)
    clip = PackedClip(0, patches, freq, time, clips.targets[index])
    if config.view.fill == "mask":  # tokens of padding alone are not there, the others are where they were
        native = native_frames(int(clips.samples[index]), config.front_end, 16)
        clip = clip.only((time < max(1, int(native / compression / 16 + 1e-9))).nonzero().flatten())
    return model.eval()(pack([clip]))[0]


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def assert_same(one, other):
    assert one.keys() == other.keys()
    for x in one:
        assert_close(one[x], other[x])


def test_a_length_sweep_of_elasticast_is_each_clip_alone(tiny, test_clips, norm):
    config = tiny()
    model = model_of(config, len(test_clips.classes))
    found = run(model, test_clips, config, norm, LENGTH)
    for x, i in itertools.product(LENGTH.x, range(len(test_clips))):
        native = native_frames(int(test_clips.samples[i]), config.front_end, 16)
        assert_close(found[x][i], alone(model, test_clips, config, norm, i, min(int(x), native), 1.0))
    assert (found[16.0] - found[256.0]).abs().max() > 1e-2


@pytest.mark.parametrize("fill", ["zeros", "mask"])
@pytest.mark.parametrize("compression", [1.0, 2.0])
def test_a_length_sweep_of_ast_is_each_clip_at_that_length_and_its_own_hop(tiny, test_clips, norm, compression, fill):
    config = tiny(model={"kind": "ast"}, view={"frames": 64, "compression": [compression], "fill": fill})
    model = model_of(config, len(test_clips.classes))
    found = run(model, test_clips, config, norm, LENGTH)
    for x, i in itertools.product(LENGTH.x, range(len(test_clips))):
        assert_close(found[x][i], alone(model, test_clips, config, norm, i, int(x), compression))


def test_a_resolution_sweep_is_each_clip_alone(setting, test_clips, norm):
    model, config = setting
    found = run(model, test_clips, config, norm, RESOLUTION)
    for x, i in itertools.product(RESOLUTION.x, range(len(test_clips))):
        native = min(config.view.max_frames, native_frames(int(test_clips.samples[i]), config.front_end, 16))
        span = native if config.view.frames == "native" else config.view.frames * config.view.compression[0]
        frames = max(1, int(span / x / 16 + 1e-9)) * 16
        assert_close(found[x][i], alone(model, test_clips, config, norm, i, frames, x))


def test_ast_at_its_own_length_and_hop_is_the_plain_model(tiny, test_clips, norm):
    config = tiny(model={"kind": "ast"}, view={"frames": 64, "compression": [2.0]})
    model = model_of(config, len(test_clips.classes)).eval()
    items = []
    for i in range(len(test_clips)):
        spectrogram = norm(crop_or_pad(log_mel(test_clips.waveform(i), config.front_end, 2.0), 64))
        freq, time = grid_positions(8, 4)
        patches = spectrogram.unfold(0, 16, 16).unfold(1, 16, 16).reshape(-1, 256)
        items.append(PackedClip(i, patches, freq, time, test_clips.targets[i]))
    with torch.inference_mode():
        expected = model(pack(items))
    assert_close(run(model, test_clips, config, norm, Evaluation(x_name="max_frames", x=[64]))[64.0], expected)
    assert_close(run(model, test_clips, config, norm, Evaluation(x_name="compression", x=[2.0]))[2.0], expected)


@pytest.mark.parametrize("evaluation", [LENGTH, RESOLUTION], ids=["length", "resolution"])
def test_chunks_and_budgets_change_nothing(setting, test_clips, norm, monkeypatch, evaluation):
    model, config = setting
    expected = run(model, test_clips, config, norm, evaluation)
    for clips, budget in ((1, 16384), (4, 16384), (256, 1), (4, 200)):
        monkeypatch.setattr(module, "CHUNK_CLIPS", clips)
        monkeypatch.setattr(module, "TOKEN_BUDGET", budget)
        assert_same(run(model, test_clips, config, norm, evaluation), expected)


def test_views_that_are_alike_run_once_and_that_changes_nothing(tiny, test_clips, norm, monkeypatch):
    config = tiny()
    model = model_of(config, len(test_clips.classes))
    together = run(model, test_clips, config, norm, LENGTH)
    single = [run(model, test_clips, config, norm, LENGTH.model_copy(update={"x": [x]}))[x] for x in LENGTH.x]
    assert_same(together, dict(zip(LENGTH.x, single, strict=True)))
    seen, run_views = [], module._run_views
    monkeypatch.setattr(module, "_run_views", lambda m, d, views: seen.append(views) or run_views(m, d, views))
    run(model, test_clips, config, norm, LENGTH)
    natives = [native_frames(int(n), config.front_end, 16) for n in test_clips.samples]
    assert len(seen[0]) == sum(len({min(int(x), native) for x in LENGTH.x}) for native in natives)
    assert len(seen[0]) < len(LENGTH.x) * len(test_clips)


def test_each_log_mel_is_made_once(setting, test_clips, norm, monkeypatch):
    model, config = setting
    made = []
    plain = ClipDataset.spectrogram
    monkeypatch.setattr(ClipDataset, "spectrogram", lambda d, w, c: made.append((len(w), c)) or plain(d, w, c))
    run(model, test_clips, config, norm, RESOLUTION)
    assert len(made) == len(set(made)) == len(RESOLUTION.x) * len(test_clips)


def test_a_sweep_leaves_no_gradients_and_draws_no_random_numbers(setting, test_clips, norm):
    model, config = setting
    state = torch.get_rng_state()
    first = run(model.train(), test_clips, config, norm, RESOLUTION)
    assert torch.equal(torch.get_rng_state(), state)
    again = run(model, test_clips, config, norm, RESOLUTION)
    assert all(torch.equal(first[x], again[x]) for x in RESOLUTION.x)
    assert not any(logits.requires_grad for logits in first.values())


def test_a_model_of_several_hops_is_swept_over_length_at_the_finest(tiny):
    rules = view_rules(tiny(view={"compression": [2.0, 4.0]}), LENGTH)
    assert {rule(64000).compression for rule in rules.values()} == {1.0}
    rules = view_rules(tiny(view={"compression": [2.0]}), LENGTH)
    assert {rule(64000).compression for rule in rules.values()} == {2.0}
    assert isinstance(rules[64.0], ViewRule)


def test_the_table_is_tidy_and_holds_the_metrics_of_the_logits(setting, test_clips, prepared, norm):
    model, config = setting
    table = evaluate(model, prepared, config, norm, {"length": LENGTH, "hop": RESOLUTION})
    assert list(table.columns) == [
        *("experiment", "seed", "evaluation", "dataset", "task", "x_name", "x", "metric", "value", "n")
    ]
    assert not table.duplicated(["evaluation", "x", "metric"]).any()
    assert len(table) == (len(LENGTH.x) + len(RESOLUTION.x)) * 3
    assert set(table["n"]) == {6}
    logits = run(model, test_clips, config, norm, RESOLUTION)
    for x, scores in logits.items():
        rows = table[(table["evaluation"] == "hop") & (table["x"] == x)].set_index("metric")["value"]
        assert rows.to_dict() == pytest.approx(metrics(scores.numpy(), test_clips.targets.numpy(), "multi"))


def test_an_evaluation_job(tiny, test_clips, prepared, norm, tmp_path):
    config = tiny()
    model = model_of(config, len(test_clips.classes))
    save_model(tmp_path / "run", model, config, norm, test_clips.classes, test_clips.kind)
    sweeps = {"suite": "s", "evaluations": {"length": LENGTH.model_dump(mode="json")}}
    (tmp_path / "sweeps.yaml").write_text(yaml.safe_dump(sweeps))
    for out in ("a", "b"):
        evaluate_run(tmp_path / "run", tmp_path / "sweeps.yaml", prepared, tmp_path / out)
    assert (tmp_path / "a" / "metrics.csv").read_bytes() == (tmp_path / "b" / "metrics.csv").read_bytes()
    table = pd.read_csv(tmp_path / "a" / "metrics.csv")
    assert set(table["suite"]) == {"s"}
    expected = evaluate(model, prepared, config, norm, {"length": LENGTH})
    assert table["value"].tolist() == pytest.approx(expected["value"].tolist())
    record = json.loads((tmp_path / "a" / "evaluation.json").read_text())
    assert {"config_digest", "code_digest", "data_sha256", "attention_backend", "versions", "seconds"} <= set(record)


def test_a_wrong_sweeps_file_is_one_clear_error(tiny, test_clips, prepared, norm, tmp_path):
    config = tiny()
    save_model(tmp_path, model_of(config, len(test_clips.classes)), config, norm, test_clips.classes, "multi")
    (tmp_path / "sweeps.yaml").write_text("suite: s\nevaluations: {length: {x_name: frames, x: [64]}}\n")
    with pytest.raises(ConfigError, match=r"sweeps\.yaml: evaluations\.length: x_name: Input should be 'max_frames'"):
        evaluate_run(tmp_path, tmp_path / "sweeps.yaml", prepared, tmp_path / "out")
