"""Tables and figures of ablations: comparisons, their intervals, and missing runs."""

import importlib.util
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from elasticast.config.ablation_sweeps import compared, shared_points
from elasticast.config.load_ablation import Ablation, load_ablation
from elasticast.errors import ConfigError, DataError
from elasticast.evaluation.statistics import Resampled, percentiles
from elasticast.files import read_json
from elasticast.reporting.ablation.captions import figure_caption
from elasticast.reporting.ablation.figures import draw
from elasticast.reporting.ablation.read_results import read_results
from elasticast.reporting.ablation.run_table import run_table
from elasticast.reporting.ablation.scores import native_index, resampled_quantities
from elasticast.reporting.ablation.variant_table import compare_variants, markdown
from elasticast.reporting.style import paper_style
from elasticast.text import one_line
from tests.complaints import complains
from tests.drawn import assert_drawn
from tests.records import rewrite_record
from tests.unit.reporting.ablation_results import write_results

SCRIPT = Path(__file__).parents[3] / "paper_figures" / "ablation.py"
EVALUATIONS = {
    "lengths": {"x_name": "max_frames", "x": [32.0, 64.0, 128.0]},
    "windows": {"x_name": "max_frames", "x": [64.0, 128.0, 256.0], "windows": True},
    "hops": {"x_name": "compression", "x": [1.0, 2.0]},
    "both": {"x_name": "max_frames", "x": [64.0, 128.0], "compression": [1.0, 2.0]},
    "fewer": {"x_name": "token_drop", "x": [0.0, 0.5, 0.8]},
    "merged": {"x_name": "token_merge", "x": [0.0, 0.3, 0.8]},
    "patches": {"x_name": "patch_size", "x": [8, 16, 32], "remainder": "keep"},
    "larger": {"x_name": "patch_size", "x": [32, 48], "remainder": "keep"},
    "held_out": {"x_name": "max_frames", "x": [32.0, 64.0], "split": "dev"},
}
EXPERIMENTS = {
    "elastic": {"label": "ElasticAST", "model": {"kind": "elasticast", "max_frames": 256}, "view": {"max_frames": 128}},
    "fixed": {"label": "AST", "model": {"kind": "ast"}, "view": {"frames": 64}},
}
GRIDS = {
    "curves": {"grid": {"model.pooling": ["attention", "mean"]}},
    "factor": {"grid": {"train.token_dropout": [0.0, 0.2, [0.0, 0.5]], "model.pooling": ["attention", "mean"]}},
    "heat_map": {"grid": {"train.lr": [1.0e-3, 1.0e-4, 1.0e-5]}, "every": {"evaluations": ["both"]}},
    "cost": {"grid": {"train.token_dropout": [0.0, 0.5]}, "every": {"evaluations": ["fewer"]}},
}


@pytest.fixture
def config(tmp_path) -> Path:
    """A folder of settings with a suite, and datasets of one label and of several labels a clip."""
    folder = tmp_path / "config"
    for name in ("suites", "datasets", "ablations"):
        (folder / name).mkdir(parents=True)
    defaults = {"dataset": "toy", "task": "scene", "evaluations": ["lengths"]}
    defaults["train"] = {"steps": 1, "batch": {"clips": 2}, "loss": "bce"}
    suite = {"title": "Toy", "seeds": [0, 1], "defaults": defaults, "experiments": EXPERIMENTS}
    (folder / "suites" / "toy.yaml").write_text(yaml.safe_dump({**suite, "evaluations": EVALUATIONS}))
    for name in ("toy", "other"):
        (folder / "datasets" / f"{name}.yaml").write_text(
            "source: soundscapes\nclips: {train: 8, test: 8}\ndev_share: 0.5\n"
        )
    return folder


@pytest.fixture
def ablation(config):
    """Writes an ablation's file and resolves it."""

    def make(name="trial", **said) -> Ablation:
        file = {"title": "Trial", "base": "elastic", **said}
        (config / "ablations" / f"{name}.yaml").write_text(yaml.safe_dump(file, sort_keys=False))
        return load_ablation(name, "toy", config)

    return make


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "results" / "toy" / "ablations" / "trial"


def quality(variant: str, seed: int, x: float, compression: float) -> float:
    """Better at length, worse when coarse or without tokens; the mean pools worse."""
    length = np.log2(x) / 16 if x > 1 else 0.4 * (1 - x)
    return 0.3 + length - 0.05 * compression - 0.2 * ("mean" in variant) + 0.03 * seed


def run_script(ablation: Ablation, folder: Path) -> Path:
    spec = importlib.util.spec_from_file_location("ablation_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ablation.yaml").write_text(yaml.safe_dump(ablation.model_dump(mode="json")))
    out = folder / "out" / "trial"
    script.main(["--ablation", str(folder / "ablation.yaml"), "--runs", str(folder), "--out", str(out)])
    return out


@pytest.mark.parametrize(("evaluation", "native"), [("lengths", 128), ("fewer", 0), ("patches", 16), ("larger", 32)])
def test_the_native_point(ablation, evaluation, native):
    made = ablation(**(GRIDS["curves"] | {"every": {"evaluations": [evaluation]}}))
    (sweep,) = compared(made)
    assert shared_points(made, sweep)[native_index(made, sweep)] == (native, None)


def rows_of(table: pd.DataFrame, **where) -> pd.DataFrame:
    for key, value in where.items():
        table = table[table[key] == value]
    return table


# ---------------------------------------------------------------------------------------------
# Differences to the base
# ---------------------------------------------------------------------------------------------


def test_each_number_stands_beside_the_base_of_its_seed(ablation, folder):
    trial = ablation(grid={"model.pooling": ["attention", "mean"]})
    write_results(trial, folder, quality)
    table = run_table(read_results(trial, folder))
    measured = [pd.read_csv(file) for file in folder.rglob("metrics.csv")]
    assert len(table) == sum(map(len, measured))
    for _, row in rows_of(table, variant="mean", metric="accuracy").iterrows():
        files = [folder / "runs" / v / f"seed{row['seed']}" / "metrics.csv" for v in ("mean", "attention")]
        values = [rows_of(pd.read_csv(file), x=row["x"], metric="accuracy")["value"].item() for file in files]
        assert (row["value"], row["base_value"]) == tuple(values)
        assert row["delta"] == values[0] - values[1]
    assert (rows_of(table, base=True)["delta"] == 0).all()
    assert set(table["setting"]) == {"as the base", "model.pooling = mean"}
    assert set(table["run"]) == {"elastic", trial.trained["mean"]}


def test_the_base_does_not_differ_from_itself(ablation, folder):
    trial = ablation(grid={"model.pooling": ["attention", "mean"]})
    write_results(trial, folder, quality)
    base = rows_of(compare_variants(read_results(trial, folder)), base=True)
    assert (base[["delta", "delta_low", "delta_high"]] == 0).all(axis=None)
    assert (base["p"] == 1).all()


def test_quantities_and_intervals_are_those_computed_by_hand(ablation, folder):
    """From each clip's predictions, with loops over draws in place of weights and means of draws."""
    trial = ablation(grid={"model.pooling": ["attention", "mean"]})
    write_results(trial, folder, quality, clips=40, draws=50)
    results = read_results(trial, folder)
    found = rows_of(compare_variants(results), variant="mean").set_index("quantity")
    draws = {}
    for variant in ("mean", "attention"):
        resampled = [results.resampled[variant]["lengths", (x, None)] for x in EVALUATIONS["lengths"]["x"]]
        # of two seeds a draw takes one: the second where the mean of 0 and 1 is 1
        taken = resampled[0]._replace(draws=np.tile([0, 1], (50, 1))).means().astype(int)
        scores = np.array([[r.draws[draw, taken[draw]] for r in resampled] for draw in range(50)])
        worst = np.argmin([r.value for r in resampled])  # the same point in every draw
        draws[variant] = {"native": scores[:, -1], "mean": scores.mean(1), "worst": scores[:, worst]}
    for quantity in ("native", "mean", "worst"):
        expected = percentiles(draws["mean"][quantity] - draws["attention"][quantity])
        assert found.loc[quantity, ["delta_low", "delta_high"]].tolist() == pytest.approx(expected, abs=1e-12)
        own = percentiles(draws["mean"][quantity])
        assert found.loc[quantity, ["low", "high"]].tolist() == pytest.approx(own, abs=1e-12)
    files = [pd.read_csv(folder / "runs" / "mean" / f"seed{s}" / "metrics.csv") for s in (0, 1)]
    by_seed = np.array([rows_of(f, metric="accuracy")["value"] for f in files])
    means = by_seed.mean(1)
    assert found.loc["mean", ["value", "sd"]].tolist() == pytest.approx([means.mean(), means.std(ddof=1)])
    assert found.loc["worst", "value"] == pytest.approx(by_seed.mean(0).min())
    assert found.loc["worst", "x"] == EVALUATIONS["lengths"]["x"][by_seed.mean(0).argmin()]
    assert found.loc["native", ["value", "x"]].tolist() == pytest.approx([by_seed[:, -1].mean(), 128])


def test_the_legend_of_a_factor_is_in_the_order_of_its_numbers(ablation, folder):
    grid = {"model.pooling": ["attention"], "train.token_dropout": [0.0, 0.5, 0.1, [0.0, 0.5]]}
    trial = ablation(plot="factor", grid=grid)
    write_results(trial, folder, quality)
    results = read_results(trial, folder)
    texts = [text.get_text() for text in draw(results, compare_variants(results)).legends[0].get_texts()]
    assert [t.removeprefix("token dropout ") for t in texts if t.startswith("token dropout")] == [
        "0",
        "0.1",
        "0.5",
        "0–0.5",
    ]


def test_resampled_scores_of_earlier_runs_are_refused_or_left_out(ablation, folder):
    trial = ablation(grid={"model.pooling": ["attention", "mean"]})
    write_results(trial, folder, quality)
    file = folder / "runs" / "mean" / "seed1" / "metrics.csv"
    table = pd.read_csv(file)
    table.loc[table["x"] == 64, "value"] -= 0.1
    table.to_csv(file, index=False)
    predictions = file.with_name("predictions.h5")
    predictions.write_bytes(predictions.read_bytes() + b"new")
    rewrite_record(file.with_name("evaluation.json"))
    with complains(DataError, "mean/resampled.h5", file.with_name("evaluation.json")):
        read_results(trial, folder)
    found = rows_of(compare_variants(read_results(trial, folder, partial=True)), variant="mean")
    assert found["delta"].notna().all()
    assert found[["low", "delta_low", "p"]].isna().all(axis=None)


def test_rows_of_an_evaluation_that_is_no_more_are_left_out(ablation, folder):
    trial = ablation(grid={"model.pooling": ["attention", "mean"]})
    write_results(trial, folder, quality)
    before = run_table(read_results(trial, folder))
    for file in folder.rglob("metrics.csv"):
        table = pd.read_csv(file)
        pd.concat([table, table.assign(evaluation="renamed")]).to_csv(file, index=False)
        source = file.with_name("evaluation.json")
        evaluations = read_json(source)["evaluations"]
        rewrite_record(source, evaluations=evaluations | {"renamed": evaluations["lengths"]})
    pd.testing.assert_frame_equal(run_table(read_results(trial, folder)), before)


def test_the_worst_is_one_point_in_all_draws():
    """A flat curve and a peaked one of the same worst: their intervals hold what was measured, of two seeds too."""
    rng = np.random.default_rng(0)
    outside = 0
    for _ in range(200):
        seeds = rng.normal(0.5, 0.005, (25, 2)) + np.linspace(0, 0.3, 25)[:, None] * rng.integers(2)
        draws = seeds[:, None] + rng.normal(0, 0.01, (25, 300, 1))
        scores = [Resampled("run", values, draw) for values, draw in zip(seeds, draws, strict=True)]
        worst = resampled_quantities(scores, 0)["worst"]
        low, high = worst.interval()
        outside += not low <= min(s.value for s in scores) <= high
    assert outside <= 10


def test_a_clear_difference_is_marked_and_none_is_not(ablation, folder):
    trial = ablation(variants={"mean": {"label": "mean", "model": {"pooling": "mean"}}, "same": {"train": {"lr": 0.5}}})
    write_results(trial, folder, lambda v, s, x, c: 0.3 if v == "mean" else 0.8, clips=200)
    results = read_results(trial, folder)
    scores = markdown(results, compare_variants(results)).split("Cost")[0]
    rows = {line.split("|")[1].strip(): line for line in scores.splitlines() if line.startswith("|")}
    assert rows["mean"].count("**−") == 3
    assert "**" not in rows["same"]
    assert "**base**" in rows  # the variant's own name: the label of its experiment is that of `same` too


def test_labels_of_markup_change_no_table_and_no_figure(ablation, folder):
    labels = {"one": "=1|2 & $x_1$ \\", "two": "a\n| **b** | [c]", "three": "[<i>] #1 % {x} ~^"}
    changes = {"one": {"pooling": "mean"}, "two": {"depth": 1}, "three": {"depth": 2}}
    variants = {name: {"label": label, "model": changes[name]} for name, label in labels.items()}
    trial = ablation(title="T | $1$\n% **x**", variants=variants)
    write_results(trial, folder, lambda v, s, x, c: 0.3 if v == "two" else 0.8, clips=200)
    out = run_script(trial, folder)
    table = pd.read_csv(f"{out}_table.csv").drop_duplicates("variant").set_index("variant")["label"]
    assert {name: table[name].removeprefix("'") for name in labels} == {k: one_line(v) for k, v in labels.items()}
    text = Path(f"{out}_table.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row.replace(r"\\\\", ""))) for row in rows if "±" in row} == {9}
    assert "**ElasticAST**" in text
    lines = Path(f"{out}_table.tex").read_text().splitlines()
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines if "pm" in line} == {7}
    assert not [line for line in lines if line.startswith(("[", "*"))]
    assert r"\textbf{ElasticAST}" in "".join(lines)
    assert "".join(lines).count(r"\textbf{$-$") == text.count("**−") == 3
    assert_drawn(out)


def test_windows_are_compared_with_the_base_over_common_points(ablation, folder):
    variants = {"long": {"label": "windows", "evaluations": ["windows"]}}
    trial = ablation(base="fixed", variants=variants)
    assert len(set(trial.trained.values())) == 1
    write_results(trial, folder, quality)
    results = read_results(trial, folder)
    table = compare_variants(results)
    assert set(table["sweep"]) == {"length"}
    native = rows_of(table, variant="long", quantity="native").iloc[0]
    assert (native["x"], native["evaluation"]) == (128, "windows")
    assert "2 points that all variants have" in markdown(results, table)
    beside = rows_of(run_table(results), variant="long", metric="accuracy")
    assert beside.loc[beside["x"] == 256, "delta"].isna().all()
    assert beside.loc[beside["x"] < 256, "delta"].notna().all()


# ---------------------------------------------------------------------------------------------
# What is missing
# ---------------------------------------------------------------------------------------------


def cells_of(path: str) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.mark.parametrize(
    ("plot", "missing"),
    [*((plot, "all") for plot in GRIDS), ("curves", "a seed"), ("curves", "the base"), ("cost", "a seed")],
)
def test_missing_runs_are_said(ablation, folder, plot, missing):
    trial = ablation(plot=plot, **GRIDS[plot])
    absent = next(v for v in trial.trained if v != trial.base)
    gone = {"a seed": [(absent, 1)], "the base": [(trial.base, s) for s in trial.seeds]}
    gone["all"] = [(v, s) for v in trial.trained for s in trial.seeds]
    write_results(trial, folder, quality, missing=tuple(gone[missing]), draws=20)
    out = run_script(trial, folder)
    table, numbers = cells_of(f"{out}_table.csv"), cells_of(f"{out}.csv")
    for cells in (table, numbers):
        assert not (cells == "").to_numpy().any()
    variant = {"a seed": absent, "the base": trial.base}.get(missing, absent)
    own = rows_of(table, variant=variant)
    assert (own["delta_low"] == "not run").all()
    if missing == "a seed":
        assert (own["seeds"] == "1").all()
        assert (own["value"] != "not run").all()
        assert (rows_of(numbers, variant=variant, seed="1")[["value", "n", "delta"]] == "not run").all(axis=None)
    else:
        assert (own[["value", "delta", "status"]] == "not run").all(axis=None)
        assert (table["delta"] == "not run").all()
    text = Path(f"{out}_table.md").read_text()
    assert "not run" in text
    assert "nan" not in text
    assert_drawn(out)


def test_costs_are_those_of_the_records(ablation, folder):
    trial = ablation(plot="cost", **GRIDS["cost"])
    write_results(trial, folder, quality, draws=20)
    table = compare_variants(read_results(trial, folder)).drop_duplicates("variant").set_index("variant")
    assert table["parameters"].tolist() == [1e6 * (1 + i) for i in range(len(table))]
    assert (table["trained_parameters"] == 1e6).all()
    assert (table["train_seconds"] == 100.5).all()
    assert (table["tokens_seen"] == 502_500).all()
    assert table["training_flops"].tolist() == [2e12 * (1 + i) for i in range(len(table))]
    assert table["gflops_per_clip"].tolist() == pytest.approx([2.2] * len(table))


def test_a_cost_figure_has_a_row_for_tokens_left_out_and_one_for_merged_ones(ablation, folder):
    trial = ablation(plot="cost", grid={"model.merge.share": [0.5]}, every={"evaluations": ["fewer", "merged"]})
    write_results(trial, folder, quality, draws=20)
    results = read_results(trial, folder)
    figure = draw(results, compare_variants(results))
    left = figure.axes[::2][:2]
    for ax, x_name in zip(left, ("fewer", "merged"), strict=True):
        expected = [2 * (1 - x) + 0.2 * (1 - x) ** 2 for x in EVALUATIONS[x_name]["x"]]
        assert all(line.get_xdata().tolist() == pytest.approx(expected) for line in ax.get_lines()[:2])


def test_one_seed_says_so(ablation, folder):
    trial = ablation(seeds=[3], grid={"model.pooling": ["attention", "mean"]})
    write_results(trial, folder, quality)
    results = read_results(trial, folder)
    table = compare_variants(results)
    assert "one seed" in markdown(results, table)
    assert table["sd"].isna().all()
    assert table["delta_low"].notna().all()


# ---------------------------------------------------------------------------------------------
# Figures
# ---------------------------------------------------------------------------------------------


def drawn_texts(figure: Figure, monkeypatch) -> list[tuple[str, Bbox]]:
    """Every text that is drawn, and where; ticks outside of an axis are not."""
    drawn, draw_text = {}, Text.draw

    def record(text, renderer):
        drawn[id(text)] = text
        draw_text(text, renderer)

    figure.draw_without_rendering()  # places are right from the second time on
    monkeypatch.setattr(Text, "draw", record)
    figure.draw_without_rendering()
    return [(t.get_text(), t.get_window_extent()) for t in drawn.values() if t.get_text().strip()]


@pytest.mark.parametrize("plot", GRIDS)
def test_no_two_texts_of_a_figure_overlap(ablation, folder, plot, monkeypatch):
    """With names that are long and many."""
    names = {f"v{i}": {"label": f"a name of several words, and of many {i}"} for i in range(7)}
    variants = {name: {**label, "train": {"lr": 0.1 / (1 + i)}} for i, (name, label) in enumerate(names.items())}
    said = {"every": GRIDS[plot].get("every", {}), "variants": variants} if plot != "factor" else GRIDS[plot]
    trial = ablation(plot=plot, **said)
    write_results(trial, folder, quality, draws=20)
    results = read_results(trial, folder)
    with paper_style():
        figure = draw(results, compare_variants(results))
        texts = drawn_texts(figure, monkeypatch)
    assert any("several words" in text or "0–0.5" in text for text, _ in texts)
    width, height = figure.bbox.size
    for i, (text, box) in enumerate(texts):
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -1, f"{text!r} is cut off"
        for other, beside in texts[i + 1 :]:
            wide = min(box.x1, beside.x1) - max(box.x0, beside.x0)
            high = min(box.y1, beside.y1) - max(box.y0, beside.y0)
            assert wide < 1.5 or high < 1.5, f"{text!r} and {other!r}"


# ---------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------

REFUSED = {
    "another dataset": ({"variants": {"a": {"dataset": "other"}}}, ["dataset", "'other'", "'toy'"]),
    "another task": ({"variants": {"a": {"task": "events"}}}, ["task", "'events'", "'scene'"]),
    "another sweep": ({"variants": {"a": {"evaluations": ["hops"]}}}, ["a", "evaluations"]),
    "another split": ({"variants": {"a": {"evaluations": ["held_out"]}}}, ["a", "evaluations"]),
    "no test split": ({"grid": {"train.lr": [1.0]}, "every": {"evaluations": ["held_out"]}}, ["test"]),
    "factor without grid": ({"variants": {"a": {"train": {"lr": 1.0}}}, "plot": "factor"}, ["plot", "factor", "grid"]),
    "map without a grid": ({"grid": {"train.lr": [1.0]}, "plot": "heat_map"}, ["plot", "heat_map"]),
    "cost without operations": ({"grid": {"train.lr": [1.0]}, "plot": "cost"}, ["plot", "cost"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_refused_before_anything_runs(ablation, case):
    settings, named = REFUSED[case]
    with complains(ConfigError, "ablations/trial.yaml", *named):
        ablation(**settings)


def test_results_of_another_run_are_refused(ablation, folder):
    trial = ablation(grid={"model.pooling": ["attention", "mean"]})
    write_results(trial, folder, quality, draws=20)
    (folder / "runs" / "mean").rename(folder / "runs" / "old")
    (folder / "runs" / "attention").rename(folder / "runs" / "mean")
    with complains(SystemExit, "mean/seed0/evaluation.json", "'elastic'"):
        run_script(trial, folder)


def test_the_settings_of_another_ablation_are_refused(ablation, folder):
    trial = ablation(grid={"model.pooling": ["attention", "mean"]})
    write_results(trial, folder, quality, draws=20)
    with complains(DataError, folder / "ablation.yaml", "'other'"):
        read_results(trial.model_copy(update={"name": "other"}), folder)


def test_different_clips_are_refused(ablation, folder):
    trial = ablation(grid={"model.pooling": ["attention", "mean"]})
    write_results(trial, folder, quality, draws=20)
    other = folder.parents[3] / "more_clips" / Path(*folder.parts[-3:])
    write_results(trial, other, quality, draws=20, clips=61)
    shutil.rmtree(folder / "runs" / "mean")
    (other / "runs" / "mean").rename(folder / "runs" / "mean")
    with complains(SystemExit, "attention/resampled.h5", "mean/resampled.h5"):
        run_script(trial, folder)


# ---------------------------------------------------------------------------------------------
# Captions
# ---------------------------------------------------------------------------------------------


def bands(figure: Figure) -> int:
    """Bands that can be seen, of all curves."""
    collections = [c for ax in figure.axes for c in ax.findobj(PolyCollection)]
    return sum(len(path.vertices) > 0 for c in collections for path in c.get_paths())


@pytest.mark.parametrize("seeds", [[3], [0, 1]], ids=["one seed", "two seeds"])
@pytest.mark.parametrize("resampled", [True, False])
@pytest.mark.parametrize("plot", GRIDS)
def test_caption_says_what_is_drawn(ablation, folder, plot, resampled, seeds):
    trial = ablation(plot=plot, seeds=seeds, **GRIDS[plot])
    write_results(trial, folder, quality, draws=20)
    for file in folder.rglob("resampled.h5") if not resampled else ():
        file.unlink()
    results = read_results(trial, folder)
    table = compare_variants(results)
    with paper_style():
        figure = draw(results, table)
    caption = figure_caption(results, table)
    assert "toy (synthetic) 60 of 1,000" in caption
    assert any("60 of 1,000 test clips" in text.get_text() for text in figure.findobj(Text))
    assert "60 of 1,000 test clips" in markdown(results, table)
    assert ("one seed" in caption) == (len(seeds) == 1)
    assert ("2 seeds" in caption) == (len(seeds) == 2)
    assert ("bootstrap over test clips and seeds" in caption) == (resampled and len(seeds) == 2)
    comparisons = {"heat_map": "8 comparisons", "factor": None}.get(plot, "3 comparisons")  # 2 variants x 4 points
    assert comparisons is None or (comparisons in caption) == resampled
    if plot == "heat_map":
        bold = [t for ax in figure.axes for t in ax.texts if t.get_fontweight() == "bold"]
        assert ("bold" in caption) == resampled
        assert resampled or not bold
        return
    assert ("95 % interval" in caption) == resampled
    assert ("no bands" in caption) == (bands(figure) == 0)
    ranges = not resampled and len(seeds) == 2 and plot != "factor"
    assert ("minimum and maximum" in caption) == ranges
    assert ranges == any("min–max" in t.get_text() for t in figure.findobj(Text))


@pytest.mark.parametrize("plot", GRIDS)
def test_marks_are_of_p_values_corrected_for_all_differences_shown_together(ablation, folder, plot):
    """Whatever is bold or starred is so because of its corrected p-value, not because its interval excludes 0."""
    variants = {f"v{i}": {"label": f"v{i}", "train": {"lr": 0.1 * (1 + i)}} for i in range(6)}
    said = {"every": GRIDS[plot].get("every", {}), "variants": variants} if plot != "factor" else GRIDS[plot]
    trial = ablation(plot=plot, **said)
    others = [v for v in trial.trained if v != trial.base]
    lower = dict(zip(others, (0.3, 0.05, 0.06, 0.065, 0.07, 0.075), strict=False))  # from clear to hardly
    write_results(trial, folder, lambda v, s, x, c: 0.9 - lower.get(v, 0) - 0.03 * (x < 100) * (x > 1), clips=120)
    results = read_results(trial, folder)
    table = compare_variants(results)
    found = table[~table["base"]]
    assert (found["p_corrected"] >= found["p"]).all()
    clear, excluded = found["p_corrected"] <= 0.05, (found["delta_low"] > 0) | (found["delta_high"] < 0)
    assert clear.any()
    assert (clear != excluded).any()  # otherwise this would test nothing
    text = markdown(results, table)
    assert f"{len(found)} comparisons" in text
    assert text.count("**+") + text.count("**−") == clear.sum()
    with paper_style():
        figure = draw(results, table)
    if plot == "heat_map":
        tests = [test for of_variant in results.grid_tests.values() for test in of_variant]
        bold = [t.get_text() for ax in figure.axes for t in ax.texts if t.get_fontweight() == "bold"]
        assert len(bold) == sum(test.p_corrected <= 0.05 for test in tests) > 0
        assert f"{len(tests)} comparisons" in figure_caption(results, table)
    elif plot != "factor":
        stars = [t for ax in figure.axes for t in ax.texts if t.get_text() == "*"]
        assert len(stars) == clear[found["quantity"].isin(["native", "mean"])].sum() > 0
        assert any("corrected" in t.get_text() for t in figure.findobj(Text))
        assert f"{len(found)} comparisons" in figure_caption(results, table)


def test_curves_without_a_band_are_not_said_to_have_one(ablation, folder):
    """Of many variants the base alone has a band."""
    trial = ablation(variants={f"v{i}": {"label": f"v{i}", "train": {"lr": 0.1 * (1 + i)}} for i in range(4)})
    write_results(trial, folder, quality, draws=20)
    results = read_results(trial, folder)
    table = compare_variants(results)
    with paper_style():
        assert bands(draw(results, table)) == 1
    caption = figure_caption(results, table)
    assert all(token in caption for token in ("(ElasticAST)", "other curves"))
