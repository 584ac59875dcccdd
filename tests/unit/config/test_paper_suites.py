"""The suites of the paper: the released protocol to the letter, the fair ones fair, and released curves for each."""

import itertools
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from elasticast.config import Suite
from elasticast.config.load_suite import load_suite
from elasticast.errors import DataError
from elasticast.reporting.curves import draw_panel
from elasticast.reporting.panels import sweep_panels
from elasticast.reporting.read_tables import METRICS, read_released
from elasticast.reporting.released_curves import keep_released_weights, released_curves
from elasticast.reporting.style import line_styles
from elasticast.training.optim import learning_rate
from tests.complaints import complains

ROOT = Path(__file__).parents[3]
CURVES = ROOT / "paper_figures" / "reference" / "released_curves.csv"
HOPS = ["ast10", "ast20", "ast30", "ast40"]
LENGTHS = ["ast400", "ast1024", "ast1600"]
REPEATED = [f"{length}_repeat" for length in LENGTHS]
PREFIXES = {"audioset": HOPS, "vggsound": HOPS, "voxceleb1": [*LENGTHS, *REPEATED], "epic": LENGTHS}


def suite_named(name: str) -> Suite:
    return load_suite(name, ROOT / "config")


@pytest.fixture(scope="module")
def paper():
    return suite_named("paper")


def runs_of(suite: Suite, data: str) -> list:
    return [suite.run_config(name, 0) for name in suite.runs if name.startswith(f"{data}_")]


def test_every_experiment_of_the_paper_is_there(paper):
    wanted = [f"{data}_{model}" for data, models in PREFIXES.items() for model in (*models, "elastic")]
    assert list(paper.runs) == wanted
    assert paper.seeds == [0, 1, 2]


@pytest.mark.parametrize("name", ["paper", "paper_fair", "paper_fair_tokens"])
def test_what_all_runs_share(name):
    suite = suite_named(name)
    for run in (suite.run_config(experiment, seed) for experiment in suite.runs for seed in suite.seeds):
        model, train = run.model, run.train
        assert (model.dim, model.depth, model.heads, model.patch, model.stride) == (768, 12, 12, 16, 16)
        assert (train.spec_augment.freq_bins, train.spec_augment.time_frames) == (48, 192)
        assert (train.grad_clip, train.token_dropout) == (None, 0.1 if model.kind == "elasticast" else 0)
        assert (train.sampler, train.mixup) == (("balanced", 0.5) if "audioset" in run.dataset else ("shuffle", 0))
        assert train.loss == ("bce" if run.dataset.startswith(("audioset", "vggsound")) else "ce")
        assert model.init == ("SSAST-Base-Patch-400.pth" if run.dataset == "voxceleb1" else "timm:vit_base_patch16_224")
        # no view has more tokens than the paper's L'
        frames = run.view.max_frames if run.view.frames == "native" else run.view.frames
        assert model.patches(frames) * model.patches(128) <= 2048


# epochs of AST and ElasticAST, learning rates, optimiser, betas, weight decay
RELEASED = {
    "audioset": ((5, 15), (1e-5, 1e-5), ("adam", [0.95, 0.999], 5e-7)),
    "vggsound": ((40, 40), (1e-5, 1e-5), ("adam", [0.95, 0.999], 5e-7)),
    "voxceleb1": ((30, 40), (1e-5, 1e-5), ("adam", [0.95, 0.999], 5e-7)),
    "epic": ((30, 30), (1e-4, 1e-5), ("adamw", [0.9, 0.999], 1e-4)),
}
DECAYS = {"audioset": (0.5, 2), "vggsound": (0.75, 10), "voxceleb1": (0.75, 5)}


@pytest.mark.parametrize("data", RELEASED)
def test_the_released_optimisation(paper, data):
    epochs, rates, optimizer = RELEASED[data]
    for run in runs_of(paper, data):
        which, train = run.model.kind == "elasticast", run.train
        assert (train.epochs, train.lr) == (epochs[which], rates[which])
        assert (train.optimizer, train.betas, train.weight_decay, train.decay) == (*optimizer, "all")
        assert (train.batch.clips, train.batch.last) == (12, "drop" if data == "epic" else "keep")
        assert (train.precision, train.token_rounding) == ("fp16", "down")
        assert (train.select.split, train.select.scores) == ("test", "released_fp16_sigmoid")


@pytest.mark.parametrize("data", RELEASED)
def test_the_released_learning_rate(paper, data):
    for run in runs_of(paper, data):
        train, epoch = run.train, 5000
        rates = {step: learning_rate(train, step, 30 * epoch, epoch) / train.lr for step in (0, 49, 50, 120, 999, 1000)}
        if data == "epic":
            assert rates[0] == pytest.approx(0.01)
            assert learning_rate(train, epoch, 30 * epoch, epoch) == pytest.approx(0.505 * train.lr)
            assert learning_rate(train, 2 * epoch, 30 * epoch, epoch) == train.lr
            assert learning_rate(train, 30 * epoch - 1, 30 * epoch, epoch) == train.lr
            continue
        assert rates == pytest.approx({0: 0, 49: 0, 50: 0.05, 120: 0.1, 999: 0.95, 1000: 1})
        gamma, first = DECAYS[data]
        decays = [learning_rate(train, e * epoch, 30 * epoch, epoch) / train.lr for e in (first - 1, first, first + 1)]
        assert decays == pytest.approx([1, gamma, gamma**2])


def longest_masks(run, frames, compression=1.0):
    """Value that the width of a time mask stays below."""
    masks = run.train.spec_augment
    return int(192 * frames / 1024 if masks.scale == "frames" else 192 / compression)


def test_the_released_masks(paper):
    for data in PREFIXES:
        for run in runs_of(paper, data):
            masks = run.train.spec_augment
            law = (2, "nested", "spectrogram_mean") if data == "epic" else (1, "exclusive", "raw_zero")
            assert (masks.masks, masks.widths, masks.fill) == law
            assert (masks.warp and (masks.warp.kind, masks.warp.frames)) == (
                ("released", 5) if data == "epic" else None
            )
    runs = {name: paper.run_config(name, 0) for name in paper.runs}
    hops = [longest_masks(r, r.view.frames, r.view.compression[0]) for r in (runs[f"audioset_{m}"] for m in HOPS)]
    assert hops == [192, 96, 64, 48]
    assert [longest_masks(runs["vggsound_elastic"], 848, q) for q in (1.2, 1.4, 4.0)] == [160, 137, 48]
    assert {longest_masks(runs[f"voxceleb1_{m}"], runs[f"voxceleb1_{m}"].view.frames) for m in LENGTHS} == {192}
    assert longest_masks(runs["voxceleb1_elastic"], 816) == 153
    assert [longest_masks(runs[f"epic_{m}"], runs[f"epic_{m}"].view.frames) for m in LENGTHS] == [75, 192, 300]
    warps = {name: runs[name].train.spec_augment.warp.scale for name in runs if name.startswith("epic")}
    assert warps == {**dict.fromkeys((f"epic_{m}" for m in LENGTHS), "compression"), "epic_elastic": "frames"}


def test_the_released_padding_and_crops(paper):
    views = {name: paper.run_config(name, 0).view for name in paper.runs}
    for data in ("audioset", "vggsound", "voxceleb1"):
        assert {views[f"{data}_{m}"].fill for m in PREFIXES[data] if m not in REPEATED} == {"zeros"}
    assert {views[f"voxceleb1_{m}"].fill for m in REPEATED} == {"repeat"}
    assert {v.crop for name, v in views.items() if name not in {f"epic_{m}" for m in LENGTHS}} == {"start"}
    epic = [views[f"epic_{m}"] for m in LENGTHS]
    assert [(v.crop, v.segment, v.fill) for v in epic] == [("random", n, "edge") for n in (800, 2000, 3200)]
    assert (views["epic_elastic"].tail, views["epic_elastic"].segment) == ("extend", None)
    assert paper.runs["audioset_elastic"].train.mixup_fill == "zeros"


def test_the_released_starting_values(paper):
    for name, run in paper.runs.items():
        assert (run.model.query_init, run.model.head_init) == ("normal", "torch")
        assert run.model.head_norm_init == ("trunk" if name == "voxceleb1_elastic" else "ones")
        assert run.model.pool_init == ("released" if run.model.kind == "elasticast" else "mean")


def test_the_fair_suites_have_no_accident_of_the_released_code():
    for name in ("paper_fair", "paper_fair_tokens"):
        suite = suite_named(name)
        for run in suite.runs.values():
            masks, model = run.train.spec_augment, run.model
            assert (masks.masks, masks.widths, masks.fill) == (1, "inclusive", "mean")
            assert (masks.scale, masks.warp) == ("frames", None)
            assert (model.pool_init, model.query_init, model.head_init) == ("mean", "scaled", "xavier")
            assert (run.norm, run.view.segment, run.train.decay) == (None, None, "matrices")
            assert (run.train.warmup_steps, run.train.warmup_epochs, run.train.warmup_hold) == (1000, None, None)
            assert (run.train.precision, run.train.mixup_fill) == ("bf16", "repeat")
            assert (run.train.select.split, run.train.select.scores) == ("dev", "exact")
            assert run.view.tail != "extend"
        assert {e.scores for e in suite.evaluations.values()} == {"exact"}


def test_audioset_is_evaluated_on_the_released_list(paper):
    dataset = paper.datasets["audioset_released"]
    assert dataset.id_files() == {"audioset/released_test_ids.txt": ("test",)}
    assert {e.scores for e in paper.evaluations.values()} == {"released_fp16_sigmoid"}


def test_lengths_and_hops(paper):
    views = {name: paper.run_config(name, 0).view for name in paper.runs}
    for data in ("audioset", "vggsound"):
        hops = [(views[f"{data}_{m}"].frames, views[f"{data}_{m}"].compression) for m in HOPS]
        assert hops == [(1024, [1.0]), (512, [2.0]), (336, [3.0]), (256, [4.0])]
        drawn = views[f"{data}_elastic"]
        assert [round(10 * c) for c in drawn.compression] == list(range(10, 41, 2))
        assert (drawn.frames, drawn.fill) == (1024, "zeros")
    for data in ("voxceleb1", "epic"):
        for names in (PREFIXES[data][:3], PREFIXES[data][3:]):
            assert [views[f"{data}_{m}"].frames for m in names] in ([400, 1024, 1600], [])
        assert (views[f"{data}_elastic"].frames, views[f"{data}_elastic"].max_frames) == ("native", 3072)
    assert views["voxceleb1_elastic"].tail == "drop"
    epic = paper.run_config("epic_elastic", 0)
    assert (epic.view.min_frames, epic.view.fill) == (192, "edge")
    assert (epic.front_end.kind, epic.front_end.hop_ms, epic.front_end.sample_rate) == ("stft", 5, 24000)


def test_the_sweeps_are_those_of_the_released_curves(paper):
    table = read_released(CURVES)
    for x_name, name, count in (("max_frames", "length", 25), ("compression", "resolution", 16)):
        assert len(paper.evaluations[name].x) == count
        curves = released_curves(paper, table, x_name)
        assert set(curves) == {n for n, e in paper.experiments.items() if e.evaluations == [name]}
        assert all(list(curve.index) == paper.evaluations[name].x for curve in curves.values())
    own = [e.released.model_dump_json() for name, e in paper.experiments.items() if not name.endswith("repeat")]
    of_paper = table[table["source"].str.startswith("JiuFengSC/ElasticAST@")]
    assert len(set(own)) == len(own) == len(of_paper[["dataset", "series"]].drop_duplicates())
    weights = {n: e.released.weights for n, e in paper.experiments.items() if e.released.weights}
    assert set(weights) == {"audioset_elastic", "vggsound_elastic", "voxceleb1_elastic", "epic_elastic"}
    assert len(set(weights.values())) == 4


def test_an_ast_and_elasticast_train_alike_in_the_fair_suite():
    suite = suite_named("paper_fair")
    for data in PREFIXES:
        for a, b in itertools.pairwise(runs_of(suite, data)):
            same = a.train.model_dump(exclude={"token_dropout"}), b.train.model_dump(exclude={"token_dropout"})
            assert same[0] == same[1], (a.experiment, b.experiment)
            assert (a.dataset, a.front_end, a.view.crop) == (b.dataset, b.front_end, b.view.crop)
            # on VoxCeleb1, ASTs pad in both ways, and there is nothing to pad for a model of native length
            assert a.view.fill == b.view.fill or data == "voxceleb1"
            assert a.model.init == b.model.init


def test_every_dataset_of_the_fair_suites_has_a_split_dev():
    for name in ("paper_fair", "paper_fair_tokens"):
        for dataset, config in suite_named(name).datasets.items():
            assert config.dev_share > 0 or dataset == "voxceleb1"


def test_the_same_tokens_are_the_same_budget_and_steps():
    suite = suite_named("paper_fair_tokens")
    for data in PREFIXES:
        trained = {
            (r.train.steps, r.train.epochs, r.train.batch.tokens, r.train.batch.clips) for r in runs_of(suite, data)
        }
        assert len(trained) == 1
        assert next(iter(trained))[1:] == (None, 12 * 512, None)
        assert {r.train.schedule.kind for r in runs_of(suite, data)} == {"cosine"}


def test_datasets_with_a_split_dev_are_the_published_ones_but_for_it():
    for name, published in (("audioset", "audioset_released"), ("vggsound",) * 2, ("epic_sounds",) * 2):
        plain, dev = (suite_named(s).datasets[d] for s, d in (("paper", published), ("paper_fair", f"{name}_dev")))
        changed = {"dev_share", "ids"}
        assert dev.model_dump(exclude=changed) == plain.model_dump(exclude=changed)
        assert dev.ids is None


# --- released curves -------------------------------------------------------------------------


def test_the_patch_sizes_are_those_of_the_released_curve():
    suite = suite_named("paper_flexi")
    curves = released_curves(suite, read_released(CURVES), "patch_size")
    assert list(curves) == ["vggsound_flexi"]
    assert list(curves["vggsound_flexi"].index) == suite.evaluations["patch_size"].x
    assert released_curves(suite, read_released(CURVES), "patch_width") == {}


def test_the_scores_of_audio_mamba_are_points_of_the_sweeps():
    suite, table = load_suite("paper_zoo", ROOT / "config"), read_released(CURVES)
    found = {x_name: released_curves(suite, table, x_name) for x_name in ("compression", "max_frames")}
    points = {name: dict(curve) for curves in found.values() for name, curve in curves.items()}
    assert points["audioset_aum"] == {1.0: 0.3274}
    assert points["epic_aum"] == {1024.0: 0.4492}
    assert len(points) == 4


def test_released_curves_are_complete_fractions():
    table = read_released(CURVES)
    assert len(table) == 4 * (25 + 25) + 5 * (16 + 16) + 10 + 2 * 4
    assert table["value"].between(0, 1).all()
    repositories = {"JiuFengSC/ElasticAST", "JiuFengSC/FlexiAST_INTERSPEECH23", "kaistmm/Audio-Mamba-AuM"}
    assert set(table["source"].str.split("@").str[0]) == repositories


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: t.drop(columns="series"), ["series"]),
        (lambda t: t.assign(value="high"), ["line 2", "value", "'high'"]),
        (lambda t: pd.concat([t, t.head(1)]), ["line 380", "x"]),
    ],
)
def test_a_damaged_reference_file_is_one_clear_error(tmp_path, change, named):
    path = tmp_path / "curves.csv"
    change(pd.read_csv(CURVES)).to_csv(path, index=False)
    with complains(DataError, path, *named):
        read_released(path)


@pytest.mark.parametrize(("key", "value"), [("series", "ast_hop50"), ("dataset", "esc50"), ("dataset", "audioset")])
def test_a_curve_that_was_not_released_is_an_error_that_lists_those_that_were(paper, key, value):
    experiment = paper.experiments["vggsound_ast10"]
    other = experiment.model_copy(update={"released": experiment.released.model_copy(update={key: value})})
    suite = paper.model_copy(update={"experiments": paper.experiments | {"vggsound_ast10": other}})
    with complains(DataError, "experiments.vggsound_ast10.released", value, "vggsound ast_hop40"):
        released_curves(suite, read_released(CURVES), "compression")


def test_the_authors_weights_stand_for_one_run_of_each_elasticast(paper):
    cut = keep_released_weights(paper)
    assert (
        list(cut.runs)
        == list(cut.experiments)
        == ["audioset_elastic", "vggsound_elastic", "voxceleb1_elastic", "epic_elastic"]
    )
    assert (cut.seeds, cut.claims) == ([0], {})
    panels = sweep_panels(cut, pd.DataFrame(columns=list(METRICS)), "compression")
    assert [p.dataset for p in panels] == ["audioset_released", "vggsound"]
    assert [p.title for p in panels] == ["AudioSet · events", "VGGSound · sound"]


def test_every_released_curve_is_drawn_once(paper):
    """The ASTs of VoxCeleb1 with zeros and with repeated clips name the same curves."""
    expected = {
        "max_frames": {"voxceleb1": 4, "epic_sounds": 4},
        "compression": {"audioset_released": 5, "vggsound": 5},
    }
    for x_name, curves in expected.items():
        released = released_curves(paper, read_released(CURVES), x_name)
        panels = sweep_panels(paper, pd.DataFrame(columns=list(METRICS)), x_name, released=released)
        for panel in panels:
            axes = Figure().subplots()
            draw_panel(axes, panel, line_styles(paper), logarithmic=False)
            named = [paper.experiments[s.experiment].released for s in panel.series]
            assert len(axes.get_lines()) == len({curve.series for curve in named}) == curves[panel.dataset]
