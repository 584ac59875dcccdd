"""Sweeps: however clips are grouped, each gets the logits it gets alone."""

import itertools
import json
import zlib

import h5py
import pandas as pd
import pytest
import torch
import yaml

from elasticast.config import Evaluation, PatchSize, TokenMerging
from elasticast.config.evaluation import REDUCING, sweep_problems
from elasticast.config.frames import native_frames
from elasticast.data.bandwidth import band_limited
from elasticast.data.dataset import Clips
from elasticast.data.encoder import ClipEncoder, crop_or_pad
from elasticast.data.features import log_mel, patchify
from elasticast.data.packing import PackedClip, grid_positions, pack
from elasticast.data.views import ViewRule
from elasticast.data.windows import window_views
from elasticast.errors import ConfigError, DataError
from elasticast.evaluation import passes
from elasticast.evaluation import sweep as module
from elasticast.evaluation.metrics import metrics
from elasticast.evaluation.run import evaluate_run
from elasticast.evaluation.saved_predictions import points, saving
from elasticast.evaluation.sweep import evaluate, sweep, view_rules
from elasticast.models import build_model
from elasticast.models.pretrained import load_model
from elasticast.models.token_merging import with_merging
from elasticast.progress import Progress
from elasticast.training.checkpoint import save_model
from tests.complaints import assert_names, complains
from tests.unit.models import layouts

pytestmark = pytest.mark.usefixtures("cpu")

LENGTH = Evaluation(x_name="max_frames", x=[16, 48, 64, 128, 240, 256])
RESOLUTION = Evaluation(x_name="compression", x=[1.0, 1.2, 2.3, 4.0])
KINDS = {
    "elasticast": {},
    "elasticast_hops": {"view": {"max_frames": 192, "compression": [1.0, 2.0]}},
    "ast": {"model": {"kind": "ast"}},
    "ast_masked": {"model": {"kind": "ast"}, "view": {"frames": 128, "fill": "mask"}},
    "ast_native": {
        "model": {"kind": "ast"},
        "view": {"frames": "native", "max_frames": 192},
        "train": {"batch": {"clips": 4, "buckets": True}},
    },
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
        clip = clip.select((time < max(1, int(native / compression / 16 + 1e-9))).nonzero().flatten())
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
def test_a_length_sweep_of_ast_is_each_clip_at_that_length_in_seconds(tiny, test_clips, norm, compression, fill):
    config = tiny(model={"kind": "ast"}, view={"frames": 64, "compression": [compression], "fill": fill})
    model = model_of(config, len(test_clips.classes))
    found = run(model, test_clips, config, norm, LENGTH)
    for x, i in itertools.product(LENGTH.x, range(len(test_clips))):
        frames = max(16, int(x / compression) // 16 * 16)
        assert_close(found[x][i], alone(model, test_clips, config, norm, i, frames, compression))


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
    assert_close(run(model, test_clips, config, norm, Evaluation(x_name="max_frames", x=[128]))[128.0], expected)
    assert_close(run(model, test_clips, config, norm, Evaluation(x_name="compression", x=[2.0]))[2.0], expected)


@pytest.mark.parametrize("evaluation", [LENGTH, RESOLUTION], ids=["length", "resolution"])
def test_chunks_and_budgets_change_nothing(setting, test_clips, norm, monkeypatch, evaluation):
    model, config = setting
    expected = run(model, test_clips, config, norm, evaluation)
    for clips, budget in ((1, 16384), (4, 16384), (256, 1), (4, 200)):
        monkeypatch.setattr(module, "CHUNK_CLIPS", clips)
        monkeypatch.setattr(passes, "TOKEN_BUDGET", budget)
        assert_same(run(model, test_clips, config, norm, evaluation), expected)


def test_views_that_are_alike_run_once_and_that_changes_nothing(tiny, test_clips, norm, monkeypatch):
    config = tiny()
    model = model_of(config, len(test_clips.classes))
    together = run(model, test_clips, config, norm, LENGTH)
    single = [run(model, test_clips, config, norm, LENGTH.model_copy(update={"x": [x]}))[x] for x in LENGTH.x]
    assert_same(together, dict(zip(LENGTH.x, single, strict=True)))
    seen, run_passes = [], module.run_passes
    monkeypatch.setattr(
        module, "run_passes", lambda *args, **options: seen.append(args[-1]) or run_passes(*args, **options)
    )
    run(model, test_clips, config, norm, LENGTH)
    natives = [native_frames(int(n), config.front_end, 16) for n in test_clips.samples]
    assert len(seen[0]) == sum(len({min(int(x), native) for x in LENGTH.x}) for native in natives)
    assert len(seen[0]) < len(LENGTH.x) * len(test_clips)


def test_each_log_mel_is_made_once(setting, test_clips, norm, monkeypatch):
    model, config = setting
    made = []
    plain = ClipEncoder.spectrogram
    monkeypatch.setattr(ClipEncoder, "spectrogram", lambda d, w, c: made.append((len(w), c)) or plain(d, w, c))
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
        *("experiment", "seed", "evaluation", "dataset", "task", "x_name", "x", "compression", "metric", "value"),
        *("n", "listed"),
    ]
    own = config.view.compression[0] if len(config.view.compression) == 1 else 1.0
    assert set(table.loc[table["x_name"] == "max_frames", "compression"]) == {own}
    hops = table[table["x_name"] == "compression"]
    assert (hops["compression"] == hops["x"]).all()
    assert not table.duplicated(["evaluation", "x", "metric"]).any()
    assert len(table) == (len(LENGTH.x) + len(RESOLUTION.x)) * 3
    assert set(table["n"]) == set(table["listed"]) == {6}
    logits = run(model, test_clips, config, norm, RESOLUTION)
    for x, scores in logits.items():
        rows = table[(table["evaluation"] == "hop") & (table["x"] == x)].set_index("metric")["value"]
        assert rows.to_dict() == pytest.approx(metrics(scores.numpy(), test_clips.targets.numpy(), "multi"))


def test_a_constant_per_clip_changes_no_result_of_a_run_with_cross_entropy(tiny, prepared, norm, monkeypatch, tmp_path):
    clips = Clips(prepared, "test", "scene")
    config = tiny(task="scene", train={"loss": "ce"})
    model = model_of(config, len(clips.classes))

    def evaluated(name):
        with saving(tmp_path / name, "suite", config) as saved:
            table = evaluate(model, prepared, config, norm, {"hop": RESOLUTION}, saved)
        with h5py.File(tmp_path / name) as file:
            return table, [(x["predicted"][:].tolist(), x["scores"][:]) for x in points(file["hop"])]

    def shifted(*args, **kwargs):
        logits = sweep(*args, **kwargs)
        for x in logits.values():
            x += 100 * torch.arange(len(x))[:, None].float()
        return logits

    table, predictions = evaluated("before.h5")
    monkeypatch.setattr(module, "sweep", shifted)
    table_after, predictions_after = evaluated("after.h5")
    pd.testing.assert_frame_equal(table, table_after, atol=1e-3)
    for (predicted, score), (predicted_after, score_after) in zip(predictions, predictions_after, strict=True):
        assert predicted == predicted_after
        assert score == pytest.approx(score_after, rel=2e-3, abs=2e-3)


# ---------------------------------------------------------------------------------------------
# Windows, tokens left out, grids of length and resolution
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ast", "ast_masked", "ast_hop20"])
def test_windows_are_the_mean_of_their_logits_alone(tiny, test_clips, norm, kind):
    config = tiny(**KINDS[kind])
    model, own = model_of(config, len(test_clips.classes)), config.view.frames
    hop = int(config.view.compression[0])
    x = [32 * hop, own * hop, (own + 16) * hop, 2 * own * hop, 208 * hop, 256 * hop]
    found = run(model, test_clips, config, norm, Evaluation(x_name="max_frames", x=x, windows=True))
    plain = run(model, test_clips, config, norm, Evaluation(x_name="max_frames", x=x[:2]))
    assert_same({n: found[n] for n in plain}, plain)  # windows begin beyond the model's own length
    several = 0
    for i in range(len(test_clips)):
        spectrogram = norm(log_mel(test_clips.waveform(i), config.front_end, config.view.compression[0]))
        for frames in x[2:]:
            heard = spectrogram[:, : frames // hop]
            if heard.shape[1] <= own:
                assert_close(found[frames][i], plain[own * hop][i])
                continue
            starts = [*range(0, heard.shape[1] - own, own // 2), heard.shape[1] - own]  # each half over the one before
            patches = [patchify(heard[:, s : s + own], 16) for s in starts]
            clips = [PackedClip(0, p, *grid_positions(8, own // 16), test_clips.targets[i]) for p in patches]
            with torch.inference_mode():
                logits = torch.cat([model(pack([clip])) for clip in clips])
            count = sum(torch.nn.functional.one_hot(torch.arange(s, s + own), heard.shape[1]).sum(0) for s in starts)
            weights = torch.tensor([(1 / count[s : s + own]).sum() / heard.shape[1] for s in starts])
            assert_close(found[frames][i], (weights[:, None] * logits).sum(0))  # every frame counts the same
            several += len(starts) > 1
    assert several


def test_two_windows_side_by_side_are_their_plain_mean(tiny, test_clips):
    config = tiny(model={"kind": "ast"}, view={"frames": 64})
    i = int(test_clips.samples.argmax())
    views = window_views(int(test_clips.samples[i]), ViewRule(config), 1.0, 128, overlap=0.0)
    assert [(view.first, view.frames, weight) for view, weight in views] == [(0, 64, 0.5), (64, 64, 0.5)]


def test_windows_of_a_pooled_resolution(tiny, test_clips, norm):
    config = tiny(model={"kind": "ast"}, view={"frames": 32, "compression": [2.0], "resolution": "max_pool"})
    model = model_of(config, len(test_clips.classes)).eval()
    found = run(model, test_clips, config, norm, Evaluation(x_name="max_frames", x=[128], windows=True))[128.0]
    i = int(test_clips.samples.argmax())
    pooled = torch.nn.functional.max_pool1d(log_mel(test_clips.waveform(i), config.front_end), 2)[:, :64]
    clips = [
        PackedClip(0, patchify(norm(pooled[:, s : s + 32]), 16), *grid_positions(8, 2), test_clips.targets[i])
        for s in (0, 16, 32)
    ]
    with torch.inference_mode():
        logits = model(pack(clips))
    assert_close(found[i], logits[0] * 24 / 64 + logits[1] * 16 / 64 + logits[2] * 24 / 64)


def test_at_a_lower_sample_rate_clips_are_reduced_before_anything_else(setting, test_clips, norm):
    model, config = setting
    rates = Evaluation(x_name="sample_rate", x=[4000, 8000, config.front_end.sample_rate])
    found = run(model, test_clips, config, norm, rates)
    own = config.default_compression
    whole = run(model, test_clips, config, norm, Evaluation(x_name="compression", x=[own]))[own]
    assert_close(found[config.front_end.sample_rate], whole)
    encoder, rule = ClipEncoder(config, norm), ViewRule(config, compression=own)
    for i in range(3):
        wave = band_limited(test_clips.waveform(i), config.front_end.sample_rate, 4000)
        view = rule(len(wave))
        with torch.inference_mode():
            expected = model.eval()(pack([encoder.encode(encoder.spectrogram(wave, own), view, index=i)]))
        assert_close(found[4000][i], expected[0])
    for one, other in ((found[4000], whole), (found[8000], whole), (found[4000], found[8000])):
        assert (one - other).abs().max() > 1e-4


def test_a_sample_rate_above_that_of_the_front_end_is_refused(tiny):
    config = tiny()
    (problem,) = sweep_problems(config, Evaluation(x_name="sample_rate", x=[8000, 48000]))
    assert_names(str(problem), "x", 48000.0, "front_end.sample_rate", config.front_end.sample_rate)


DROP = Evaluation(x_name="token_drop", x=[0.0, 0.3, 0.5, 0.9])


def test_tokens_left_out_are_the_same_every_time_and_nested(setting, test_clips, norm, monkeypatch):
    model, config = setting
    seen = {}
    plain = passes._encode

    def encoded(clips, encoder, shown, spectrogram):
        clip = plain(clips, encoder, shown, spectrogram)
        seen.setdefault((shown.clip, shown.dropped), []).append(
            set(zip(clip.freq.tolist(), clip.time.tolist(), strict=True))
        )
        return clip

    monkeypatch.setattr(passes, "_encode", encoded)
    found = run(model, test_clips, config, norm, DROP)
    assert_same(run(model, test_clips, config, norm, DROP), found)
    for i in range(len(test_clips)):
        (first, again), *_ = [seen[i, x] for x in DROP.x]
        assert first == again
        kept = [seen[i, x][0] for x in DROP.x]
        assert all(kept[k + 1] < kept[k] or len(kept[k]) == 1 for k in range(3))
        assert [len(k) for k in kept] == [max(1, round((1 - x) * len(first))) for x in DROP.x]
    own = Evaluation(x_name="compression", x=[config.default_compression])
    assert_close(found[0.0], run(model, test_clips, config, norm, own)[config.default_compression])  # the plain view
    monkeypatch.setattr(passes, "TOKEN_BUDGET", 1)
    assert_same(run(model, test_clips, config, norm, DROP), found)


def test_tokens_left_out_are_those_of_each_clip_alone(tiny, test_clips, norm):
    config = tiny(model={"kind": "ast"}, view={"frames": 64})
    model = model_of(config, len(test_clips.classes)).eval()
    found = run(model, test_clips, config, norm, DROP)[0.5]
    for i in range(len(test_clips)):
        patches = patchify(norm(crop_or_pad(log_mel(test_clips.waveform(i), config.front_end), 64)), 16)
        clip = PackedClip(0, patches, *grid_positions(8, 4), test_clips.targets[i])
        generator = torch.Generator().manual_seed(zlib.crc32(test_clips.ids[i].encode()))
        keep = torch.randperm(32, generator=generator)[:16].sort().values
        with torch.inference_mode():
            assert_close(found[i], model(pack([clip.select(keep)]))[0])


def test_leaving_tokens_out_costs_less_and_says_how_much(setting, test_clips, prepared, norm):
    model, config = setting
    table = evaluate(model, prepared, config, norm, {"drop": DROP})
    assert set(table["metric"]) == {"mAP", "AUC", "d_prime", "gflops_per_clip"}
    costs = table[table["metric"] == "gflops_per_clip"].set_index("x")["value"]
    assert costs.is_monotonic_decreasing
    rule, expected = ViewRule(config, compression=config.default_compression), []
    for samples in test_clips.samples:
        tokens = 8 * rule(int(samples)).frames // 16
        expected.append(config.model.flops(max(1, round(0.7 * tokens)), len(test_clips.classes)))
    assert costs[0.3] == pytest.approx(sum(expected) / len(expected) / 1e9)


def test_a_grid_is_every_length_at_every_resolution(tiny, test_clips, prepared, norm):
    config = tiny(view={"max_frames": 192, "compression": [1.0, 2.0]})
    model = model_of(config, len(test_clips.classes))
    grid = Evaluation(x_name="max_frames", x=[64, 192], compression=[1.0, 2.0, 3.0])
    table = evaluate(model, prepared, config, norm, {"grid": grid}).query("metric == 'mAP'")
    assert sorted(zip(table["x"], table["compression"], strict=True)) == sorted(
        itertools.product(grid.x, grid.compression)
    )
    whole = evaluate(model, prepared, config, norm, {"hop": Evaluation(x_name="compression", x=[1.0, 2.0, 3.0])})
    column = table[table["x"] == 192].set_index("compression")["value"]
    assert column.to_dict() == pytest.approx(whole.query("metric == 'mAP'").set_index("x")["value"].to_dict())
    row = evaluate(model, prepared, config, norm, {"length": Evaluation(x_name="max_frames", x=[64, 192])})
    finest = table[table["compression"] == 1.0].set_index("x")["value"]
    assert finest.to_dict() == pytest.approx(row.query("metric == 'mAP'").set_index("x")["value"].to_dict())
    with Progress("test", 6) as log:
        logits = sweep(model, test_clips, config, norm, grid, log, 2.0)
    for i in range(len(test_clips)):
        native = native_frames(int(test_clips.samples[i]), config.front_end, 16)
        frames = max(16, min(64, native) // 2 // 16 * 16)
        assert_close(logits[64.0][i], alone(model, test_clips, config, norm, i, frames, 2.0))


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
    with complains(ConfigError, "sweeps.yaml", "evaluations.length", "x_name", "'frames'", "'max_frames'"):
        evaluate_run(tmp_path, tmp_path / "sweeps.yaml", prepared, tmp_path / "out")


# --- weights from elsewhere ------------------------------------------------------------------


@pytest.fixture
def published(tiny, tmp_path):
    """A file in the layout of the released ElasticASTs, of as many classes as asked for."""

    def write(classes):
        config = tiny(model={"dim": 64, "heads": 1, "attention_scale": "none"})
        torch.save(layouts.released_elastic(model_of(config, classes).state_dict(), 2), tmp_path / "published.pth")
        return tmp_path / "published.pth"

    return write


@pytest.fixture
def asked(tiny, tmp_path):
    """The files of an evaluation: sweeps, and settings of the run that is stood for."""

    def write(**difference):
        sweeps = {"suite": "s", "evaluations": {"length": {"x_name": "max_frames", "x": [64, 256]}}}
        (tmp_path / "sweeps.yaml").write_text(yaml.safe_dump(sweeps))
        run = tiny(experiment="elastic", seed=3, **difference)
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(json.loads(run.model_dump_json())))
        return run, tmp_path / "sweeps.yaml", tmp_path / "run.yaml"

    return write


def test_published_weights_stand_for_a_run(asked, published, prepared, test_clips, tmp_path):
    """The run's clips, views and name; the weights' own model and normalisation."""
    run, sweeps, settings = asked(view={"min_frames": 32})
    path = published(len(test_clips.classes))
    evaluate_run(path, sweeps, prepared, tmp_path / "out", settings)
    table = pd.read_csv(tmp_path / "out" / "metrics.csv")
    assert set(zip(table["suite"], table["experiment"], table["seed"], strict=True)) == {("s", "elastic", 3)}
    weights = load_model(path)
    config = run.model_copy(update={"model": weights.config.model})
    own = Evaluation(x_name="max_frames", x=[64, 256])
    expected = evaluate(weights.model, prepared, config, weights.norm, {"length": own})
    pd.testing.assert_frame_equal(table.drop(columns="suite"), expected, check_exact=False, rtol=1e-6)
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert record["experiment"] == "elastic"


def test_published_weights_of_other_data_are_refused(asked, published, prepared, test_clips, tmp_path):
    _, sweeps, settings = asked()
    path = published(len(test_clips.classes) + 1)
    with complains(DataError, path, "events", "soundscapes", len(test_clips.classes) + 1, len(test_clips.classes)):
        evaluate_run(path, sweeps, prepared, tmp_path / "out", settings)
    _, sweeps, settings = asked(front_end={"window_ms": 20.0})
    path = published(len(test_clips.classes))
    with complains(DataError, path, "front_end", "elastic", "'window_ms': 25.0", "'window_ms': 20.0"):
        evaluate_run(path, sweeps, prepared, tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


MERGE = Evaluation(x_name="token_merge", x=[0.0, 0.3, 0.9])
PRUNE = Evaluation(x_name="token_prune", x=[0.0, 0.3, 0.9])


@pytest.mark.parametrize("evaluation", [MERGE, PRUNE], ids=["merge", "prune"])
def test_tokens_are_merged_in_evaluation_whatever_training_did(setting, test_clips, norm, monkeypatch, evaluation):
    model, config = setting
    found = run(model, test_clips, config, norm, evaluation)
    own = Evaluation(x_name="compression", x=[config.default_compression])
    plain = run(model, test_clips, config, norm, own)[config.default_compression]
    assert_close(found[0.0], plain)
    assert (found[0.9] - plain).abs().max() > (found[0.3] - plain).abs().max() > 1e-4
    merging = with_merging(model, TokenMerging(share=0.3, method=REDUCING[evaluation.x_name]))
    assert_close(run(merging, test_clips, config, norm, own)[config.default_compression], found[0.3])
    assert_close(run(merging, test_clips, config, norm, evaluation), found)
    monkeypatch.setattr(passes, "TOKEN_BUDGET", 1)
    assert_close(run(model, test_clips, config, norm, evaluation)[0.9], found[0.9])


def test_merging_tokens_costs_less_and_says_how_much(setting, test_clips, prepared, norm):
    model, config = setting
    table = evaluate(model, prepared, config, norm, {"merge": MERGE, "drop": DROP, "prune": PRUNE})
    costs = table[table["metric"] == "gflops_per_clip"].set_index(["evaluation", "x"])["value"]
    assert costs["merge"].is_monotonic_decreasing
    assert costs["merge", 0.0] == costs["drop", 0.0]
    assert costs["prune", 0.9] > costs["merge", 0.9] > costs["drop", 0.9]
    assert costs["prune", 0.9] < costs["prune", 0.0] == costs["drop", 0.0]
    rule, merging = ViewRule(config, compression=config.default_compression), TokenMerging(share=0.3)
    cost = config.model.model_copy(update={"merge": merging}).flops
    expected = [cost(8 * rule(int(n)).frames // 16, len(test_clips.classes)) for n in test_clips.samples]
    assert costs["merge", 0.3] == pytest.approx(sum(expected) / len(expected) / 1e9)


PATCHES = Evaluation(x_name="patch_size", x=[8, 16, 48], remainder="keep")


def test_patches_of_other_sizes_in_evaluation_of_any_model(setting, test_clips, norm, monkeypatch):
    model, config = setting
    found = run(model, test_clips, config, norm, PATCHES)
    own = Evaluation(x_name="compression", x=[config.default_compression])
    assert torch.equal(found[16], run(model, test_clips, config, norm, own)[config.default_compression])
    encoder, rule = ClipEncoder(config, norm), ViewRule(config, compression=config.default_compression)
    for x in (8, 48):
        size = PatchSize(x, x, 16, keep=True)
        for i in range(len(test_clips)):
            view = rule(int(test_clips.samples[i]))
            spectrogram = encoder.spectrogram(test_clips.waveform(i), view.compression)
            target = test_clips.targets[i]
            clip = encoder.encode(spectrogram, view, index=i, target=target, patch_size=size)
            assert_close(model(pack([clip]))[0].detach(), found[x][i])
    monkeypatch.setattr(passes, "TOKEN_BUDGET", 1)
    assert_close(run(model, test_clips, config, norm, PATCHES)[48], found[48])


def test_smaller_patches_cost_more(setting, test_clips, prepared, norm):
    model, config = setting
    widths = Evaluation(x_name="patch_width", x=[8, 16, 32])
    table = evaluate(model, prepared, config, norm, {"size": PATCHES, "width": widths})
    costs = table[table["metric"] == "gflops_per_clip"].set_index(["evaluation", "x"])["value"]
    assert costs["size"].is_monotonic_decreasing
    assert costs["width"].is_monotonic_decreasing
    assert costs["size", 16] == costs["width", 16]
    assert costs["size", 8] > costs["width", 8]
