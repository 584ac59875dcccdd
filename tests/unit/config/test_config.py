"""What a suite may say, and the one clear error for everything it may not."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from elasticast.config import digest
from elasticast.config.load_suite import load_run_config, load_suite, load_workflow_config
from elasticast.config.reading import _yaml_float, deep_merge
from elasticast.config.resolving import load_dataset
from elasticast.errors import NO_VALUE, ConfigError
from tests.complaints import complains

ROOT = Path(__file__).parents[3]
SUITE = {
    "title": "a suite",
    "seeds": [0, 1],
    "defaults": {
        "dataset": "tiny",
        "task": "events",
        "evaluations": ["length"],
        "view": {"frames": "native", "max_frames": 256},
        "model": {"dim": 32, "depth": 1, "heads": 2},
        "train": {"steps": 4, "batch": {"clips": 2}},
    },
    "experiments": {
        "elastic": {"label": "ElasticAST", "model": {"kind": "elasticast", "max_frames": 256}},
        "dropout": {"base": "elastic", "train": {"token_dropout": 0.1}},
        "ast64": {"label": "AST", "model": {"kind": "ast"}, "view": {"frames": 64}},
    },
    "evaluations": {
        "length": {"x_name": "max_frames", "x": [64, 128]},
        "hop": {"x_name": "compression", "x": [1, 2.5]},
    },
}
DATASET = {"source": "soundscapes", "clips": {"train": 4, "test": 2}}
DELETED = object()
NAN = float("nan")
E = "experiments.elastic"


def changed(*changes) -> dict:
    """The suite with each (dotted key, value) set."""
    suite = copy.deepcopy(SUITE)
    for key, value in changes:
        *path, last = key.split(".")
        place = suite
        for part in path:
            place = place.setdefault(part, {})
        if value is DELETED:
            del place[last]
        else:
            place[last] = value
    return suite


def keys(problems) -> list[str]:
    """The keys of problems, with dots."""
    return [".".join(problem.key) for problem in problems]


@pytest.fixture
def load(tmp_path):
    """Load a suite given as a mapping or as text."""

    def run(suite, dataset=DATASET):
        for folder, name, value in (("suites", "s", suite), ("datasets", "tiny", dataset)):
            (tmp_path / folder).mkdir(exist_ok=True)
            text = value if isinstance(value, str) else yaml.safe_dump(value, sort_keys=False)
            (tmp_path / folder / f"{name}.yaml").write_text(text)
        return load_suite("s", tmp_path)

    return run


@pytest.fixture
def problems(load, tmp_path):
    """The problems of a wrong suite, all of the file given."""

    def run(suite, dataset=DATASET, file="suites/s.yaml"):
        with pytest.raises(ConfigError) as caught:
            load(suite, dataset)
        found = caught.value.problems
        assert {problem.file for problem in found} == {str(tmp_path / file)}, found
        assert all(str(problem) in str(caught.value) for problem in found)
        return found

    return run


WRONG_VALUES = [
    # key that is set, its value; key of the problem, its value, and what the message suggests
    (f"{E}.train.lr", "1e-5", f"{E}.train.lr", "1e-5", "1.0e-5"),
    (f"{E}.train.grad_clip", "1E3", f"{E}.train.grad_clip", "1E3", "1.0e+3"),
    (f"{E}.train.steps", "100", f"{E}.train.steps", "100", "100"),
    (f"{E}.train.warmup_steps", "1e3", f"{E}.train.warmup_steps", "1e3", "1000"),
    (f"{E}.train.weight_decay", "small", f"{E}.train.weight_decay", "small", ""),
    (f"{E}.train.weight_decay", NAN, f"{E}.train.weight_decay", NAN, ""),
    (f"{E}.train.schedule", {"kind": "cos"}, f"{E}.train.schedule.kind", "cos", ""),
    (f"{E}.train.spec_augment", {"freq": 4}, f"{E}.train.spec_augment.freq", NO_VALUE, "freq_bins"),
    (f"{E}.train.learning_rate", 0.1, f"{E}.train.learning_rate", NO_VALUE, ""),
    (f"{E}.train.token_dropout", 1.5, f"{E}.train.token_dropout", 1.5, ""),
    (f"{E}.train.token_dropout", 1.0, f"{E}.train.token_dropout", 1.0, ""),
    (f"{E}.train.token_dropout", "0.5", f"{E}.train.token_dropout", "0.5", "0.5"),
    (f"{E}.train.token_dropout", [0.0, 1.0], f"{E}.train.token_dropout", [0.0, 1.0], ""),
    (f"{E}.train.token_dropout", [0.5, 0.1], f"{E}.train.token_dropout", [0.5, 0.1], ""),
    (f"{E}.train.token_dropout", [0.5], f"{E}.train.token_dropout", [0.5], ""),
    (f"{E}.train.token_dropout", [0.1, "1e-1"], f"{E}.train.token_dropout.1", "1e-1", "1.0e-1"),
    (f"{E}.model.merge", {"share": 1.0}, f"{E}.model.merge.share", 1.0, "below 1"),
    (f"{E}.model.merge", {"share": 1.5}, f"{E}.model.merge.share", 1.5, ""),
    (f"{E}.model.merge", {"share": 0.5, "tokens": 8}, f"{E}.model.merge.share", 0.5, "tokens = 8"),
    (f"{E}.model.merge", {"schedule": "falling"}, f"{E}.model.merge", NO_VALUE, "share"),
    (f"{E}.model.merge", {"tokens": -1}, f"{E}.model.merge.tokens", -1, ""),
    (f"{E}.model.merge", {"tokens": 8, "schedule": "rising"}, f"{E}.model.merge.schedule", "rising", ""),
    (f"{E}.model.merge", 0.5, f"{E}.model.merge", 0.5, ""),
    (f"{E}.train.sampler", "weighted", f"{E}.train.sampler", "weighted", ""),
    (f"{E}.train.log_every", True, f"{E}.train.log_every", True, ""),
    (f"{E}.train.batch.buckets", True, f"{E}.train.batch.buckets", True, ""),
    ("experiments.ast64.train", {"batch": {"buckets": True}}, "experiments.ast64.train.batch.buckets", True, ""),
    (f"{E}.train.betas", [0.9], f"{E}.train.betas", [0.9], ""),
    (f"{E}.train.epochs", 3, f"{E}.train", NO_VALUE, ""),
    (f"{E}.train.flops", 1e9, f"{E}.train", NO_VALUE, ""),
    (f"{E}.train.flops", 0, f"{E}.train.flops", 0, ""),
    (f"{E}.train.batch", {"tokens": 64}, f"{E}.train.batch", NO_VALUE, ""),
    (f"{E}.train.loss", "ce", f"{E}.train.loss", "ce", ""),
    (f"{E}.model", None, f"{E}.model", None, ""),
    (f"{E}.model.dim", 32.5, f"{E}.model.dim", 32.5, ""),
    (f"{E}.model.heads", 3, f"{E}.model.dim", 32, ""),
    (f"{E}.model.max_frames", 264, f"{E}.model.max_frames", 264, ""),
    (f"{E}.model.attention_scale", "sqr", f"{E}.model.attention_scale", "sqr", ""),
    (f"{E}.model.positions", "learned", f"{E}.model.positions", "learned", ""),
    (f"{E}.model.pooling", "max", f"{E}.model.pooling", "max", ""),
    (f"{E}.front_end", {"mel_bins": 100}, f"{E}.front_end.mel_bins", 100, ""),
    (f"{E}.front_end", {"n_fft": 512}, f"{E}.front_end", NO_VALUE, ""),
    (f"{E}.front_end", {"kind": "stft"}, f"{E}.front_end", NO_VALUE, ""),
    (f"{E}.front_end", {"kind": "stft", "n_fft": 399}, f"{E}.front_end.n_fft", 399, ""),
    (f"{E}.front_end", {"kind": "stft", "n_fft": 398}, f"{E}.front_end.n_fft", 398, ""),
    (f"{E}.front_end", {"kind": "fft"}, f"{E}.front_end.kind", "fft", ""),
    (f"{E}.front_end", {"hop_ms": 2.5}, f"{E}.front_end.hop_ms", 2.5, ""),
    (f"{E}.view", None, f"{E}.view", None, ""),
    (f"{E}.view.frames", "nativ", f"{E}.view.frames", "nativ", ""),
    (f"{E}.view.frames", -16, f"{E}.view.frames", -16, ""),
    (f"{E}.view.frames", 320, f"{E}.view.frames", 320, ""),
    (f"{E}.view.max_frames", 512, f"{E}.view.max_frames", 512, ""),
    (f"{E}.view.max_frames", 250, f"{E}.view.max_frames", 250, ""),
    (f"{E}.view.min_frames", 100, f"{E}.view.min_frames", 100, ""),
    (f"{E}.view.min_frames", 272, f"{E}.view.min_frames", 272, ""),
    (f"{E}.view.min_frames", 96, f"{E}.evaluations.length.x", [64.0], ""),
    (f"{E}.view.cut_from", 100, f"{E}.view.cut_from", 100, ""),
    (f"{E}.view.cut_from", 272, f"{E}.view.cut_from", 272, ""),
    (f"{E}.view", {"min_frames": 64, "cut_from": 48}, f"{E}.view.cut_from", 48, ""),
    ("experiments.ast64.view.cut_from", 32, "experiments.ast64.view.cut_from", 32, ""),
    ("experiments.ast64.view.segment", 48, "experiments.ast64.view.segment", 48, ""),
    (
        "experiments.ast64.view",
        {"frames": 64, "segment": 80, "crop": "start"},
        "experiments.ast64.view.segment",
        80,
        "",
    ),
    (f"{E}.view.segment", 512, f"{E}.view.segment", 512, ""),
    (f"{E}.model.head_norm_init", "trunk", f"{E}.model.head_norm_init", "trunk", ""),
    (f"{E}.train.spec_augment", {"warp": {"kind": "specaugment"}}, f"{E}.train.spec_augment.warp.frames", NO_VALUE, ""),
    (f"{E}.view.fill", "ones", f"{E}.view.fill", "ones", ""),
    (f"{E}.view.fill", "mask", f"{E}.view.fill", "mask", ""),
    (f"{E}.view.compression", [1.0, 1.25], f"{E}.view.compression", [1.25], ""),
    (f"{E}.view.compression", 2.0, f"{E}.view.compression", 2.0, ""),
    (f"{E}.view.compression", [1.0, "1e0"], f"{E}.view.compression.1", "1e0", "1.0e+0"),
    (f"{E}.task", "speaker", f"{E}.task", "speaker", ""),
    (f"{E}.dataset", "tinny", f"{E}.dataset", "tinny", ""),
    (f"{E}.evaluations", ["lenght"], f"{E}.evaluations", "lenght", ""),
    (f"{E}.label", 128, f"{E}.label", 128, ""),
    (f"{E}.label", DELETED, f"{E}.label", NO_VALUE, ""),
    (f"{E}.modle", {}, f"{E}.modle", NO_VALUE, "model"),
    (f"{E}.seed", 3, f"{E}.seed", NO_VALUE, ""),
    (E, None, E, None, ""),
    ("experiments.a/b", {"base": "elastic"}, "experiments.a/b", "a/b", ""),
    ("experiments.dropout.base", "elsatic", "experiments.dropout.base", "elsatic", ""),
    ("experiments.dropout.base", ["elastic"], "experiments.dropout.base", ["elastic"], ""),
    ("experiments.dropout.base", "dropout", "experiments.dropout.base", "dropout", ""),
    ("experiments.ast64.model.kind", "asst", "experiments.ast64.model.kind", "asst", ""),
    ("experiments.ast64.model.kind", DELETED, "experiments.ast64.model.kind", NO_VALUE, ""),
    ("experiments.ast64.model.prefix_tokens", 3, "experiments.ast64.model.prefix_tokens", 3, ""),
    ("experiments.ast64.view.frames", "native", "experiments.ast64.view.frames", "native", ""),
    ("experiments.ast64.view.frames", 100, "experiments.ast64.view.frames", 100, ""),
    ("experiments.ast64.view.compression", [1.0, 2.0], "experiments.ast64.view.compression", [1.0, 2.0], ""),
    ("experiments.ast64.train", {"token_dropout": [0.0, 0.1]}, "experiments.ast64.train.token_dropout", [0.0, 0.1], ""),
    ("experiments.ast64.model.time_offset", True, "experiments.ast64.model.time_offset", True, ""),
    (f"{E}.model.time_offset", True, f"{E}.model.time_offset", NO_VALUE, ""),
    ("experiments", {}, "experiments", {}, ""),
    ("experiments", ["a"], "experiments", ["a"], ""),
    ("evaluations", None, "evaluations", None, ""),
    ("evaluations.length", None, "evaluations.length", None, ""),
    ("evaluations.length.x_name", "frames", "evaluations.length.x_name", "frames", ""),
    ("evaluations.length.x", [0, 64], "evaluations.length.x", [0.0, 64.0], ""),
    ("evaluations.length.windows", True, f"{E}.evaluations.length.windows", True, ""),
    ("evaluations.hop.windows", True, "evaluations.hop.windows", True, ""),
    ("evaluations.hop.compression", [1], "evaluations.hop.compression", [1.0], ""),
    ("evaluations.length.compression", [0.5], "evaluations.length.compression.0", 0.5, ""),
    ("evaluations.drop", {"x_name": "token_drop", "x": [0, 1]}, "evaluations.drop.x", [0.0, 1.0], ""),
    ("evaluations.merge", {"x_name": "token_merge", "x": [0.5, 1]}, "evaluations.merge.x", [0.5, 1.0], ""),
    ("evaluations.rate", {"x_name": "sample_rate", "x": [8000.5]}, "evaluations.rate.x", [8000.5], ""),
    ("evaluations.rate", {"x_name": "sample_rate", "x": [500]}, "evaluations.rate.x", [500.0], ""),
    ("evaluations.length.x", [], "evaluations.length.x", [], ""),
    ("evaluations.length.x", [64.5], "evaluations.length.x", [64.5], ""),
    ("evaluations.hop.x", ["1e0"], "evaluations.hop.x.0", "1e0", "1.0e+0"),
    ("defaults", None, "defaults", None, ""),
    ("defaults", DELETED, "defaults", NO_VALUE, ""),
    ("defaults.view", None, "defaults.view", None, ""),
    ("defaults.train.lr", "1e-5", "defaults.train.lr", "1e-5", "1.0e-5"),
    ("defaults.view.compression", ["2"], "defaults.view.compression.0", "2", "2"),
    ("defaults.dataset", "tinny", "defaults.dataset", "tinny", ""),
    ("defaults.modle", {}, "defaults.modle", NO_VALUE, "model"),
    ("defaults.seed", 3, "defaults.seed", NO_VALUE, ""),
    ("defaults.base", "elastic", "defaults.base", NO_VALUE, ""),
    ("experimets", {}, "experimets", NO_VALUE, "experiments"),
    (f"{E}.norm", {"mean": 1.0}, f"{E}.norm.std", NO_VALUE, ""),
    (f"{E}.norm", {"mean": 1, "std": 2, "sdt": 1}, f"{E}.norm.sdt", NO_VALUE, "std"),
    (f"{E}.norm", {"mean": -5, "std": 0}, f"{E}.norm.std", 0, ""),
    ("defaults.train.select", {"split": "train"}, "defaults.train.select.split", "train", ""),
    ("evaluations.length.split", "train", "evaluations.length.split", "train", ""),
    ("seeds", [0, 0], "seeds", [0, 0], ""),
    ("seeds", [-1], "seeds.0", -1, ""),
    ("seeds", 3, "seeds", 3, ""),
    ("title", None, "title", None, ""),
]


@pytest.mark.parametrize(("key", "value", "named", "shown", "hint"), WRONG_VALUES)
def test_a_wrong_value_is_one_problem_that_names_it(problems, key, value, named, shown, hint):
    (problem,) = problems(changed((key, value)))
    assert ".".join(problem.key) == named
    assert problem.value == shown or (problem.value is not NO_VALUE and problem.value != problem.value)  # NaN
    assert hint in problem.message


@pytest.mark.parametrize("key", ["defaults.train.select", "evaluations.length"])
def test_a_split_has_to_be_there(load, problems, key):
    value = SUITE["evaluations"]["length"] if key == "evaluations.length" else {}
    suite = changed((key, value | {"split": "dev"}))
    assert load(suite, DATASET | {"dev_share": 0.1})
    found = problems(suite)
    where = f"{key.removeprefix('defaults.')}.split"
    assert keys(found) == [f"experiments.{name}.{where}" for name in ("elastic", "ast64")]
    assert all(p.value == "dev" and "dev_share" in p.message and "tiny.yaml" in p.message for p in found)


@pytest.mark.parametrize(
    ("settings", "splits"),
    [
        ({"source": "esc50"}, {"train", "test"}),
        ({"source": "esc50", "dev_fold": 2}, {"train", "dev", "test"}),
        ({"source": "speech_commands"}, {"train", "dev", "test"}),
        ({"source": "voxceleb1"}, {"train", "dev", "test"}),
        ({"source": "vggsound"}, {"train", "test"}),
        ({"source": "audioset", "segments": {"train": ["a.csv"], "test": ["b.csv"]}}, {"train", "test"}),
        ({"source": "epic_sounds", "annotations": {"train": ["a.csv"], "dev": ["b.csv"]}}, {"train", "dev"}),
    ],
)
def test_splits_that_a_dataset_has_of_its_own(tmp_path, settings, splits):
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(settings))
    assert load_dataset(tmp_path / "d.yaml").splits() == splits


def test_stride_is_the_patch_unless_given_and_never_more(load, problems):
    assert load(SUITE).run_config("ast64", 0).model.stride == 16
    model = load(changed(("experiments.ast64.model.stride", 10))).run_config("ast64", 0).model
    assert (model.patches(128), model.patches(1024)) == (12, 101)  # AST's grid
    (problem,) = problems(changed(("experiments.ast64.model.stride", 17)))
    assert (keys([problem]), problem.value) == (["experiments.ast64.model.stride"], 17)


def test_lengths_are_whole_patches_or_with_overlap_at_least_one(load, problems):
    overlap = ("experiments.ast64.model.stride", 10)
    assert load(changed(overlap, ("experiments.ast64.view.frames", 70)))
    (problem,) = problems(changed(overlap, ("experiments.ast64.view.frames", 12)))
    assert (keys([problem]), problem.value) == (["experiments.ast64.view.frames"], 12)
    (problem,) = problems(changed(("experiments.ast64.view.frames", 70)))
    assert (keys([problem]), problem.value) == (["experiments.ast64.view.frames"], 70)


def test_cls_pooling_needs_a_prefix_token(load, problems):
    none = ("experiments.ast64.model.prefix_tokens", 0)
    (problem,) = problems(changed(none))
    assert (keys([problem]), problem.value) == (["experiments.ast64.model.pooling"], "cls")
    assert "model.prefix_tokens" in problem.message
    assert load(changed(none, ("experiments.ast64.model.pooling", "mean")))


def test_the_suite_of_these_tests_is_right(load):
    suite = load(SUITE)
    assert list(suite.runs) == ["elastic", "dropout", "ast64"]
    assert suite.run_config("dropout", 1).train.token_dropout == 0.1
    assert suite.task_kind("ast64") == "multi"
    assert list(suite.sweep("elastic")) == ["length"]


@pytest.mark.parametrize("key", ["dataset", "task", "evaluations"])
def test_a_key_missing_everywhere_is_said_of_each_experiment_without_a_base(problems, key):
    found = problems(changed((f"defaults.{key}", DELETED)))
    assert keys(found) == [f"experiments.{name}.{key}" for name in ("elastic", "ast64")]


def test_a_sweep_must_fit_the_models_that_run_it(problems):
    (problem,) = problems(changed(("evaluations.length.x", [64, 512])))
    assert (keys([problem]), problem.value) == (["experiments.elastic.evaluations.length.x"], [512.0])
    assert "model.max_frames = 256" in problem.message
    found = problems(changed(("evaluations.length.x", [64, 100])))
    assert keys(found) == [f"experiments.{name}.evaluations.length.x" for name in ("elastic", "ast64")]
    assert all(p.value == [100.0] and "model.patch = 16" in p.message for p in found)


@pytest.mark.parametrize("positions", ["interpolated", "fractional", "sinusoidal", "rotary"])
def test_positions_of_any_length_have_no_limit(load, positions):
    only = changed((f"{E}.model.positions", positions), ("evaluations.length.x", [64, 1024]))
    only["experiments"] = {"elastic": only["experiments"]["elastic"]}
    run = load(deep_merge(only, {"defaults": {"evaluations": ["length", "hop"]}})).run_config("elastic", 0)
    assert (run.model.max_frames, run.model.limit) == (256, None)
    assert load(deep_merge(only, {"defaults": {"view": {"max_frames": 512}}}))


def test_positions_of_pairs_of_channels_need_their_number(problems):
    for positions, settings, got in (("sinusoidal", {"dim": 30}, "30"), ("rotary", {"heads": 16}, "2")):
        model = {"kind": "elasticast", "max_frames": 256, "positions": positions, **settings}
        (problem,) = problems(changed((f"{E}.model", model)))
        assert (keys([problem]), problem.value) == ([f"{E}.model.positions"], positions)
        assert problem.message.endswith(got)


def test_hops_of_a_sweep_are_whole_ms(load, problems):
    sweep = (("defaults.evaluations", ["hop"]), ("evaluations.hop.x", [1.0, 1.1, 1.2]))
    assert load(changed(*sweep))
    (problem,) = problems(changed(*sweep, (f"{E}.front_end", {"hop_ms": 5})))
    assert (keys([problem]), problem.value) == ([f"{E}.evaluations.hop.x"], [1.1])
    assert "front_end.hop_ms = 5" in problem.message


def test_an_ast_takes_native_lengths_in_buckets(load, problems):
    native = ("experiments.ast64.view.frames", "native"), ("experiments.ast64.train", {"batch": {"buckets": True}})
    run = load(changed(*native)).run_config("ast64", 0)
    assert (run.view.longest, run.train.batch.buckets) == (256, True)
    assert load(changed(*native, ("experiments.ast64.model.time_offset", True)))
    (problem,) = problems(changed(*native, ("experiments.ast64.view.cut_from", 64)))
    assert (keys([problem]), problem.value) == (["experiments.ast64.view.cut_from"], 64)
    (problem,) = problems(changed(*native, ("evaluations.length.windows", True), (f"{E}.evaluations", ["hop"])))
    assert keys([problem]) == ["experiments.ast64.evaluations.length.windows"]


def test_masks_have_no_mean_to_be_filled_with_if_the_log_mel_is_not_normalised(load, problems):
    identity = (f"{E}.norm", {"mean": 0.0, "std": 0.5})
    load(changed(identity))  # no masks
    for masks in ({"freq_bins": 8}, {"time_frames": 8}):
        (problem,) = problems(changed(identity, (f"{E}.train.spec_augment", masks)))
        assert (keys([problem]), problem.value) == ([f"{E}.train.spec_augment.fill"], "mean")
        load(changed((f"{E}.train.spec_augment", masks)))
        for fill in ("spectrogram_mean", "raw_zero"):
            load(changed(identity, (f"{E}.train.spec_augment", {**masks, "fill": fill})))


@pytest.mark.parametrize("bands", [[5, 3], [3, 22]])
def test_bands_that_do_not_fit_are_named(load, problems, bands):
    key = f"{E}.train.filter_augment"
    load(changed((key, {"bands": [3, 21]})))  # of 6 bins each
    (problem,) = problems(changed((key, {"bands": bands})))
    assert (keys([problem]), problem.value) == ([f"{key}.bands"], bands)


def test_grids_of_length_and_resolution(load, problems):
    grid = {"x_name": "max_frames", "x": [64, 256], "compression": [1.0, 2.0]}
    only = changed(("evaluations.length", grid), (f"{E}.view.compression", [2.0]))
    only["experiments"] = {"elastic": only["experiments"]["elastic"]}
    suite = load(only)  # a plain sweep over lengths would be refused
    assert suite.curve("elastic", "max_frames") == {}
    assert len(problems(deep_merge(only, {"evaluations": {"length": {"compression": None}}}))) == 1
    two = {"evaluations": {"length": {"windows": True}}}
    (problem,) = problems(deep_merge(only, two))
    assert (keys([problem]), problem.value) == (["evaluations.length.compression"], [1.0, 2.0])
    (problem,) = problems(deep_merge(only, {"evaluations": {"length": {"compression": [1.0, 1.25]}}}))
    assert (keys([problem]), problem.value) == ([f"{E}.evaluations.length.compression"], [1.25])
    (problem,) = problems(deep_merge(only, {"evaluations": {"length": {"x": [512], "compression": [1.0, 2.0]}}}))
    assert (keys([problem]), problem.value) == ([f"{E}.evaluations.length.x"], [512.0])
    assert load(deep_merge(only, {"evaluations": {"length": {"x": [512], "compression": [2.0]}}}))


@pytest.mark.parametrize("evaluation", ["length", "hop"])
def test_experiments_of_one_panel_have_the_same_hop(load, problems, evaluation):
    """Otherwise the same x is another number of seconds, or another resolution."""
    finer = ("experiments.ast64.front_end", {"hop_ms": 4})
    suite = changed(("defaults.evaluations", [evaluation]), finer)
    (problem,) = problems(suite)
    assert (keys([problem]), problem.value) == (["experiments.ast64.front_end.hop_ms"], 4)
    assert load(changed(("defaults.evaluations", [evaluation]), finer, ("experiments.ast64.task", "scene")))
    shares = {"x_name": "token_drop", "x": [0.0, 0.5]}
    assert load(changed(("evaluations.length", shares), ("defaults.evaluations", ["length"]), finer))


def test_suites_with_another_hop_share_no_curve(load):
    suite, finer = load(changed()), load(changed(("defaults.front_end", {"hop_ms": 4})))
    assert suite.shares_curve(suite, "elastic", "max_frames")
    assert not suite.shares_curve(finer, "elastic", "max_frames")


def test_a_curve_is_of_plain_sweeps_and_of_windows_without_any(load):
    suite = changed(
        ("evaluations.windowed", {"x_name": "max_frames", "x": [64, 512], "windows": True}),
        ("evaluations.heat", {"x_name": "max_frames", "x": [64], "compression": [1, 2]}),
        ("experiments.ast64.evaluations", ["windowed", "heat", "length"]),
    )
    suite["experiments"]["alone"] = {"base": "ast64", "evaluations": ["windowed", "heat"]}
    found = load(suite)
    assert list(found.curve("ast64", "max_frames")) == ["length"]
    assert list(found.curve("alone", "max_frames")) == ["windowed"]
    assert found.curve("alone", "compression") == {}


def test_tokens_are_dropped_at_a_length_the_model_takes(load, problems):
    drop = ("evaluations.drop", {"x_name": "token_drop", "x": [0, 0.5]}), ("defaults.evaluations", ["drop"])
    assert load(changed(*drop))
    compressed = (f"{E}.view", {"max_frames": 512, "compression": [2.0, 4.0]})
    (problem,) = problems(changed(*drop, compressed))
    assert keys([problem]) == [f"{E}.evaluations.drop.x"]
    assert "model.max_frames = 256" in problem.message


def test_a_pooled_resolution_takes_whole_numbers_only(load, problems):
    pooled = ("defaults.view.resolution", "max_pool"), ("defaults.evaluations", ["hop"])
    assert load(changed(*pooled, ("evaluations.hop.x", [1, 2]), (f"{E}.view.compression", [1.0, 3.0])))
    found = problems(changed(*pooled))
    assert keys(found) == [f"experiments.{name}.evaluations.hop.x" for name in ("elastic", "ast64")]
    assert all(p.value == [2.5] and "max_pool" in p.message for p in found)
    (problem,) = problems(changed(*pooled, ("evaluations.hop.x", [2]), (f"{E}.view.compression", [1.0, 1.2])))
    assert (keys([problem]), problem.value) == ([f"{E}.view.compression"], [1.2])


def test_the_front_end_of_epic_sounds(load):
    front_end = {"kind": "stft", "sample_rate": 24000, "n_fft": 2048, "window_ms": 10.0, "hop_ms": 5}
    suite = changed((f"{E}.front_end", front_end), (f"{E}.view.min_frames", 64), (f"{E}.view.fill", "edge"))
    suite["experiments"] = {"elastic": suite["experiments"]["elastic"]}
    run = load(suite, DATASET | {"store_rate": 24000}).run_config("elastic", 0)
    assert run.front_end.model_dump() == front_end | {"mel_bins": 128}
    assert (run.view.min_frames, run.view.fill) == (64, "edge")


def test_bases_in_a_circle(problems):
    suite = changed(("experiments.elastic.base", "ast64"), ("experiments.ast64.base", "dropout"))
    found = problems(suite)
    assert sorted(keys(found)) == [f"experiments.{n}.base" for n in ("ast64", "dropout", "elastic")]


def test_all_problems_of_all_experiments_are_said_at_once(problems):
    wrong = [(f"{E}.train.lr", "1e-5"), (f"{E}.view", {"frames": 100}), (f"{E}.label", 3)]
    wrong += [("experiments.ast64.model.dim", "32"), ("experiments.dropout.train.mixup", 2.0)]
    wrong += [("seeds", []), ("evaluations.hop.x", [-1])]
    found = problems(changed(*wrong))
    assert keys(found) == [
        "seeds",
        "evaluations.hop.x.0",
        "experiments.elastic.label",
        "experiments.elastic.train.lr",
        "experiments.dropout.train.mixup",
        "experiments.ast64.model.dim",
    ]


@pytest.mark.parametrize("order", [("elastic", "dropout", "ast64"), ("dropout", "ast64", "elastic")])
def test_a_mistake_in_a_base_is_said_once_whatever_the_order(problems, order):
    suite = changed((f"{E}.train.lr", "1e-5"), ("experiments.third", {"base": "dropout"}))
    suite["experiments"] = {"third": suite["experiments"]["third"]} | {n: suite["experiments"][n] for n in order}
    (problem,) = problems(suite)
    assert keys([problem]) == ["experiments.elastic.train.lr"]


def test_a_mistake_that_an_experiment_adds_to_its_base_is_said(problems):
    found = problems(changed((f"{E}.train.lr", "1e-5"), ("experiments.dropout.train.lr", "2e-5")))
    assert [(*keys([p]), p.value) for p in found] == [
        ("experiments.elastic.train.lr", "1e-5"),
        ("experiments.dropout.train.lr", "2e-5"),
    ]


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("", "NoneType"),
        ("- a\n- b\n", "list"),
        ("a: [1, 2\nb: 3\n", "line 2"),
        ("a:\n\tb: 1\n", "line 2"),
        ("a: 1\nb: {c: 1, c: 2}\n", "'c'"),
    ],
)
def test_a_file_that_is_no_mapping(problems, text, token):
    (problem,) = problems(text)
    assert problem.key == ()
    assert token in problem.message


def test_anchors_and_merge_keys_of_yaml_still_work(load):
    text = yaml.safe_dump(SUITE, sort_keys=False)
    text = text.replace("  elastic:\n", "  elastic: &a\n", 1) + "# end\n"
    text = text.replace("  dropout:\n    base: elastic\n", "  dropout:\n    <<: *a\n    label: Other\n")
    assert load(text).experiments["dropout"].label == "Other"


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ({"source": "fsd"}, "source", "fsd"),
        ({"second": [1.0, 2.0]}, "second", NO_VALUE),
        ({"seconds": ["1e-1", 2.0]}, "seconds.0", "1e-1"),
        ({"seconds": [2.0, 1.0]}, "seconds", [2.0, 1.0]),
        ({"clips": {"train": 4, "tset": 2}}, "clips.tset", "tset"),
        ({"clips": None}, "clips", None),
        ({"max_rejected": 2.0}, "max_rejected", 2.0),
    ],
)
def test_a_wrong_dataset_file_is_one_problem_of_that_file(problems, change, key, value):
    (problem,) = problems(SUITE, DATASET | change, file="datasets/tiny.yaml")
    assert (keys([problem]), problem.value) == ([key], value)


def test_an_unknown_suite_names_those_there_are(load, tmp_path):
    load(SUITE)
    with complains(ConfigError, tmp_path / "suites/mni.yaml", "s"):
        load_suite("mni", tmp_path)


def test_the_workflows_own_configuration():
    good = {"suite": "mini", "data_root": "data", "results": "results"}
    assert load_workflow_config(good).train_threads == 1
    for key, value in {"siute": NO_VALUE, "suite": 3, "train_threads": "2", "train_gpus": -1}.items():
        with complains(ConfigError, "config/config.yaml", key) as caught:
            load_workflow_config(good | {key: value})
        assert [problem.value for problem in caught.value.problems] == [value]
    with pytest.raises(ConfigError) as caught:
        load_workflow_config({})
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("number", [1e-5, 2.5e-4, 1e3, 1.0, 123456.0, 6.02e23])
def test_the_hinted_number_is_one_to_yaml(number):
    assert yaml.safe_load(_yaml_float(number)) == pytest.approx(number, rel=1e-6)


def test_deep_merge():
    a, b = {"x": 1, "y": {"z": 2, "w": [1, 2]}, "m": {"k": 1}}, {"y": {"w": [3], "v": {"q": 1}}, "m": 5}
    before = copy.deepcopy((a, b))
    merged = deep_merge(a, b)
    assert merged == {"x": 1, "y": {"z": 2, "w": [3], "v": {"q": 1}}, "m": 5}  # lists and scalars are replaced whole
    assert deep_merge(a, {}) == deep_merge({}, a) == deep_merge(a, a) == a
    assert deep_merge(merged, b) == merged
    c = {"y": {"z": 9}, "n": {"k": {"j": 1}}}
    assert deep_merge(deep_merge(a, b), c) == deep_merge(a, deep_merge(b, c))
    merged["y"]["v"]["q"], merged["y"]["w"][0] = 7, 7  # nothing is shared
    assert (a, b) == before


def digests(suite) -> dict[str, str]:
    return {name: digest(suite.run_config(name, 0)) for name in suite.runs}


def test_labels_and_colours_are_no_part_of_a_run(load):
    before = digests(load(SUITE))
    suite = load(
        changed((f"{E}.label", "other"), ("experiments.ast64.color", "#ff0000"), ("defaults.color", "#0000FF"))
    )
    assert suite.experiments["elastic"].label == "other"
    assert digests(suite) == before
    more = load(changed(("title", "other"), ("evaluations.hop.x", [1]), ("defaults.evaluations", ["length", "hop"])))
    assert digests(more) == before


def test_a_new_default_changes_only_the_runs_that_use_it(load):
    own = changed(("experiments.ast64.train", {"lr": 0.01}))
    before, after = digests(load(own)), digests(load(deep_merge(own, {"defaults": {"train": {"lr": 0.02}}})))
    assert {name for name in before if before[name] != after[name]} == {"elastic", "dropout"}


def test_a_base_passes_its_changes_on(load):
    before, after = digests(load(SUITE)), digests(load(changed((f"{E}.train", {"lr": 0.02}))))
    assert {name for name in before if before[name] != after[name]} == {"elastic", "dropout"}


def test_a_new_experiment_and_a_setting_spelled_out_change_no_run(load):
    before = digests(load(SUITE))
    same = {"lr": 1.0e-3, "optimizer": "adamw", "schedule": {"kind": "cosine"}}  # the defaults of the code
    after = digests(load(changed(("experiments.new", {"base": "ast64"}), ("defaults.train.lr", same["lr"]))))
    assert {name: after[name] for name in before} == before


def test_a_run_config_survives_its_own_file(load, tmp_path):
    run = load(SUITE).run_config("dropout", 1)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(json.loads(run.model_dump_json())))
    again = load_run_config(tmp_path / "config.yaml")
    assert again == run
    assert digest(again) == digest(run)


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "suites").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_committed_suite_is_valid(path):
    suite = load_suite(path.stem, ROOT / "config")
    for name in suite.runs:
        assert len({digest(suite.run_config(name, seed)) for seed in suite.seeds}) == len(suite.seeds)


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "datasets").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_committed_dataset_is_valid(path):
    assert load_dataset(path).max_rejected <= 0.25  # what YouTube has lost of AudioSet, and some room


def test_the_committed_workflow_config_is_valid():
    path = ROOT / "config" / "config.yaml"
    settings = load_workflow_config(yaml.safe_load(path.read_text()), str(path))
    assert (ROOT / "config" / "suites" / f"{settings.suite}.yaml").is_file()


def test_reading_a_suite_needs_neither_torch_nor_pandas():
    code = (
        "import sys; from elasticast.config.load_suite import load_suite; import elasticast.provenance as p;"
        "load_suite('mini');"
        "[p.code_digest(s) for s in p.STAGES]; print([m for m in ('torch', 'pandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
