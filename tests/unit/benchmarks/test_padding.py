"""`elasticast bench packing`: what is compared is the same, what is counted is what runs."""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from elasticast.benchmarks import timing
from elasticast.benchmarks.batching import all_ways, count_costs, select_ways
from elasticast.benchmarks.padding import TOLERANCE, differences, half_differences, measure_packing
from elasticast.benchmarks.passes import AttentionAlone, WholeModel
from elasticast.benchmarks.rows import RowIndices, RowMask
from elasticast.benchmarks.setup import MODELS, batch_tokens, build_ways, model_config, resolve_device
from elasticast.benchmarks.timing import has_instructions, large_product, saved_bytes, time_alternately
from elasticast.config.load_suite import load_suite
from elasticast.errors import DataError, ElasticASTError
from tests.complaints import complains
from tests.gpu import gpu

CPU = torch.device("cpu")
TOKENS = [8, 24, 16, 40]
SPANS = {
    "packed-sdpa": [[8, 24, 16, 40]],
    "packed-dense": [[88]],
    "padded-longest": [[40] * 4],
    "padded-limit": [[64] * 4],
    "one-by-one": [[8], [24], [16], [40]],
    "bucketed": [[16, 16], [40, 40]],
    "rows-40": [[40, 40, 40]],  # 8 + 24, 16, 40
    "rows-64": [[48, 48]],  # 8 + 24 + 16, 40
}
OPTIONS = {"backends": ["sdpa", "dense"], "bucket": 2, "row_tokens": [32, 40, 64]}


@pytest.fixture
def ways():
    return all_ways(TOKENS, 64, **OPTIONS)[0]


def subject(measure, config, device=CPU):
    if measure == "model":
        return WholeModel(config, TOKENS, device, "fp32", 0)
    return AttentionAlone(config, TOKENS, device, torch.float32, 0)


def test_every_way_spans_what_it_should(ways):
    _, left_out = all_ways(TOKENS, 64, **OPTIONS)
    assert left_out == {"rows-32": "the longest clip has 40 tokens"}
    assert {name: [layout.spans(TOKENS) for layout in way] for name, way in ways.items()} == SPANS
    for way in ways.values():
        assert sorted(i for layout in way for i in layout.clips) == [0, 1, 2, 3]


def test_counts_by_hand(tiny, ways):
    found = {name: count_costs(way, TOKENS, tiny(), "attention", False) for name, way in ways.items()}
    flop = {name: 4 * 32 * sum(s**2 for spans in SPANS[name] for s in spans) for name in SPANS}
    assert {name: round(1e9 * row["attention_gflop"]) for name, row in found.items()} == flop
    assert flop["packed-sdpa"] == 4 * 32 * 2496
    assert {name: row["tokens_computed"] for name, row in found.items()} == {
        name: sum(map(sum, spans)) for name, spans in SPANS.items()
    }
    assert found["padded-longest"]["padding_share"] == pytest.approx(72 / 160)
    masks = {name: row["mask_mib"] * 2**20 for name, row in found.items() if row["mask_mib"]}
    expected = {"packed-dense": 88**2, "padded-longest": 160, "padded-limit": 256, "bucketed": 80}
    assert masks == expected | {"rows-40": 3 * 40**2, "rows-64": 2 * 48**2}


@pytest.mark.parametrize("measure", ["attention", "model"])
def test_what_is_counted_is_what_runs(tiny, ways, measure):
    config = tiny()
    held = subject(measure, config)
    for name, way in ways.items():
        passes = [held.prepare(layout) for layout in way]
        with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), FlopCounterMode(display=False) as counter:
            for one in passes:
                one.forward()
        ran, said = counter.get_total_flops(), 1e9 * count_costs(way, TOKENS, config, measure, False)["total_gflop"]
        if measure == "attention":
            assert ran == round(said)
        else:  # queries and heads of clips that share a span are not counted
            assert ran == pytest.approx(said, rel=0.03), name
            if name == "one-by-one":
                assert ran == round(said)
    both = count_costs(ways["bucketed"], TOKENS, config, measure, True)["total_gflop"]
    assert both == pytest.approx(3 * count_costs(ways["bucketed"], TOKENS, config, measure, False)["total_gflop"])


SETTINGS = [{}, {"attention_scale": "none"}, {"attention_scale": "qk_norm", "positions": "rotary"}]
SETTINGS += [{"positions": kind} for kind in ("sinusoidal", "fractional")]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_all_ways_compute_the_same(tiny, ways, settings):
    for measure in ("attention", "model"):
        errors = differences(subject(measure, tiny(model=settings)), ways)
        assert errors.keys() == SPANS.keys()
        assert max(errors.values()) <= TOLERANCE


@gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_all_ways_compute_the_same_on_a_gpu(tiny, precision):
    device = resolve_device("cuda")
    ways, _ = build_ways(tiny(), TOKENS, device, bucket=2, row_tokens=[40, 64], precision=precision)
    results = measure_packing(tiny(), TOKENS, ways, device=device, precision=precision, rounds=1)
    assert set(results["way"]) >= SPANS.keys()
    assert (results["error"] <= (TOLERANCE if precision == "fp32" else 0.1)).all()


@pytest.mark.parametrize("measure", ["attention", "model"])
def test_a_way_that_computes_something_else_is_an_error(tiny, ways, measure, monkeypatch):

    def see_all(places):
        return RowMask(torch.ones(len(places.owner), 1, 1, places.owner.shape[1], dtype=torch.bool))

    monkeypatch.setattr(RowIndices, "mask", see_all)
    with complains(ElasticASTError, "padded-longest", "packed-sdpa"):
        differences(subject(measure, tiny()), ways)


def test_ways_in_bf16_are_compared_with_the_error_of_rounding(tiny, ways, monkeypatch):
    exact, half = (WholeModel(tiny(), TOKENS, CPU, precision, 0) for precision in ("fp32", "bf16"))
    some = {name: ways[name] for name in ("packed-dense", "padded-longest", "bucketed")}
    errors = half_differences(exact, half, some, len(TOKENS))
    assert errors.keys() == some.keys()
    assert 0 < max(errors.values()) < 0.1

    def see_all(places):
        return RowMask(torch.ones(len(places.owner), 1, 1, places.owner.shape[1], dtype=torch.bool))

    monkeypatch.setattr(RowIndices, "mask", see_all)
    with complains(ElasticASTError, "padded-longest", "float32"):
        half_differences(exact, half, some, len(TOKENS))


def test_places_in_rows(ways):
    places = RowIndices.from_layout(ways["rows-40"][0], TOKENS)
    assert places.owner.tolist() == [[0] * 8 + [1] * 24 + [-1] * 8, [2] * 16 + [-1] * 24, [3] * 40]
    assert places.tokens.tolist() == [*range(32), *range(40, 56), *range(80, 120)]
    assert places.queries.tolist() == [[0, 1], [2, -1], [3, -1]]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_measures_everything(tiny, ways, precision):
    found = measure_packing(tiny(), TOKENS, ways, device=CPU, precision=precision, rounds=3)
    assert len(found) == 5 * len(SPANS)
    assert (found[["peak_share", "cpu_peak_share"]] > 0).all(axis=None)
    table = found.set_index(["measure", "pass", "way"]).sort_index()
    assert (table[["seconds", "ratio", "cpu_ratio"]] > 0).all(axis=None)
    assert (table["seconds_q1"] <= table["seconds"]).all()
    assert (table["seconds"] <= table["seconds_q3"]).all()
    assert np.allclose(table["tokens_per_s"] * table["seconds"], sum(TOKENS))
    assert np.allclose(table["clips_per_s"] * table["seconds"], len(TOKENS))
    assert (table.xs("packed-sdpa", level="way")["ratio"] == 1).all()
    assert table["peak_mib"].isna().all()
    assert (table.xs("forward", level="pass")["saved_mib"] == 0).all()
    saved = table.loc[("model", "forward+backward"), "saved_mib"]
    assert saved["one-by-one"] < saved["packed-sdpa"] < saved["padded-longest"] < saved["padded-limit"]


def test_saved_bytes_by_hand():
    weight = torch.randn(6, 4, requires_grad=True)
    x = torch.randn(10, 4)
    # the input for the weight's gradient, the product for the square's
    assert saved_bytes(lambda: (x @ weight.T) ** 2, [weight]) == 4 * (10 * 4 + 10 * 6)
    assert saved_bytes(lambda: (x @ weight.T) ** 2, []) == 4 * (10 * 4 + 10 * 6)  # x needs none: the weight is not kept
    inputs = x.clone().requires_grad_()
    assert saved_bytes(lambda: inputs @ weight.T, []) - saved_bytes(lambda: inputs @ weight.T, [weight]) == 4 * 24


@pytest.mark.parametrize(("instructions", "size"), [(True, 2048), (False, 256)])
def test_the_product_is_small_where_it_would_take_long(monkeypatch, instructions, size):
    monkeypatch.setattr(timing, "has_instructions", lambda precision: instructions)
    _, operations = large_product(CPU, "bf16")
    assert operations == 2 * size**3


def test_every_cpu_multiplies_in_float32():
    assert has_instructions("fp32")
    assert isinstance(has_instructions("bf16"), bool)


def test_steps_take_turns():
    said = []
    seconds = time_alternately({name: lambda name=name: said.append(name) for name in "abc"}, 3, CPU)
    assert "".join(said) == "abccbaabc"
    assert {name: found.shape for name, found in seconds.items()} == dict.fromkeys("abc", (3, 2))


def test_lengths_are_log_uniform_and_repeatable():
    config = model_config("tiny", 3072)
    tokens = batch_tokens(config, 4000, 1, shortest=64)
    assert tokens == batch_tokens(config, 4000, 1, shortest=64) != batch_tokens(config, 4000, 2, shortest=64)
    assert min(tokens) >= 32
    assert max(tokens) <= 1536
    assert {n % 8 for n in tokens} == {0}
    below = [np.mean(np.array(tokens) < 8 * frames / 16) for frames in (128, 768)]
    assert below == pytest.approx([np.log(2) / np.log(48), np.log(12) / np.log(48)], abs=0.03)
    with complains(ElasticASTError, "--shortest", 8, 16, "--max-frames", 3072):
        batch_tokens(config, 4, 0, shortest=8)


def test_lengths_of_a_dataset(prepared, train_clips, tiny):
    config = tiny(view={"max_frames": 128}, model={"max_frames": 128})
    every = batch_tokens(config, 12, 0, prepared=prepared)
    frames = [min(128, -(-(1 + (samples - 400) // 160) // 16) * 16) for samples in train_clips.samples]
    assert sorted(every) == sorted(frames[i] // 2 for i in range(12))
    assert max(every) == 64 > min(every)
    with complains(DataError, prepared, "train", 12, "--clips", 13):
        batch_tokens(config, 13, 0, prepared=prepared)


def test_models_are_those_of_the_suites(tmp_path):
    for name, (dim, depth, heads) in {"tiny": (96, 3, 3), "ti": (192, 12, 3), "base": (768, 12, 12)}.items():
        suite, experiment = MODELS[name].split("/")
        config = model_config(name, 2048)
        own = load_suite(suite).run_config(experiment, 0).model
        assert config.model == own.model_copy(update={"max_frames": 2048, "dim": dim, "heads": heads})
        assert (config.model.dim, config.model.depth, config.model.heads) == (dim, depth, heads)
    for name, named in {
        "huge": ["tiny", "base", "SUITE/EXPERIMENT"],
        "mini/none": ["events_ast64"],
        "mini/events_ast64": ["elasticast", "attention"],
        str(tmp_path / "config.yaml"): [],
    }.items():
        with complains(ElasticASTError, name, *named):
            model_config(name, 1024)
    with complains(ElasticASTError, "view.max_frames", 100, "model.patch", 16):
        model_config("tiny", 100)


def test_what_is_not_there_cannot_be_chosen(ways, cpu):
    assert list(select_ways(ways, {}, ["bucketed"])) == ["packed-sdpa", "bucketed"]
    assert select_ways(ways, {}, []) == ways
    with complains(ElasticASTError, "--way", "rows-8", "too long", "packed-sdpa", "rows-40"):
        select_ways(ways, {"rows-8": "too long"}, ["rows-8"])
    with complains(ElasticASTError, "--device", "cuda"):
        resolve_device("cuda")
    found, _ = build_ways(model_config("tiny", 64), [8, 32], resolve_device("auto"), bucket=1, row_tokens=[])
    assert list(found) == ["packed-sdpa", "packed-dense", "padded-longest", "padded-limit", "one-by-one", "bucketed"]


def test_the_command_writes_what_it_measured(programs, tmp_path):
    out = tmp_path / "new" / "packing.csv"
    line = "bench packing --clips 3 --max-frames 96 --row-tokens 64 --way rows-64 --way bucketed --rounds 2"
    done = subprocess.run(
        [programs / "python", "-m", "elasticast", *line.split(), "--out", out], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "model, forward+backward" in done.stdout
    assert torch.cuda.is_available() or "peak memory: measured on a GPU only" in done.stdout
    found = pd.read_csv(out)
    assert set(found["way"]) == {"packed-sdpa", "bucketed", "rows-64"}
    columns = (
        "measure pass way passes tokens tokens_computed padding_share attention_gflop total_gflop mask_mib saved_mib"
    )
    columns += " peak_mib error seconds seconds_q1 seconds_q3 tokens_per_s clips_per_s ratio cpu_ratio"
    columns += " peak_share cpu_peak_share lengths clips model"
    columns += " precision rounds seed device threads python elasticast torch xformers git_commit command"
    assert list(found) == columns.split()
    own = found.iloc[0]
    assert (own["model"], own["lengths"], own["clips"]) == ("tiny", "log-uniform 64-96", 3)
    assert (own["threads"], own["seed"], own["rounds"], own["torch"]) == (1, 0, 2, torch.__version__.split("+")[0])
    assert line in own["command"]
    assert list(Path(out).parent.iterdir()) == [out]
