"""Figures and tables from synthetic results: what is drawn, what is said of missing runs, and that it repeats."""

import importlib.util
import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from elasticast.config import FrontEnd
from elasticast.config.load_suite import load_beside, load_suite, load_workflow_config
from elasticast.data.store import write_index, writing_part
from elasticast.errors import ConfigError, DataError
from elasticast.reporting.collect import norms
from elasticast.reporting.comparison import comparison_table, latex, markdown
from elasticast.reporting.curves import _spread
from elasticast.reporting.lengths import Grid, read_lengths, token_shares
from elasticast.reporting.packed_batch import attention_mask, pooling_mask
from elasticast.reporting.results import COLUMNS, beside_other, read_metrics, sweep_panels
from elasticast.reporting.style import line_styles

SCRIPTS = Path(__file__).parents[3] / "paper_figures"
SWEEPS = ["fig1_teaser", "fig4_length_curves", "fig5_resolution_curves"]
EVALUATIONS = {
    "lengths": {"x_name": "max_frames", "x": [32.0, 64.0, 128.0, 256.0]},
    "hops": {"x_name": "compression", "x": [1.0, 1.2, 2.0, 4.0]},
}


def experiments() -> dict:
    shared = {"dataset": "toy", "task": "events"}
    lengths, hops = {"evaluations": ["lengths"]}, {"evaluations": ["hops"]}
    return {
        "ast64": {**shared, **lengths, "label": "AST 64", "model": {"kind": "ast"}, "view": {"frames": 64}},
        "ast128": {**shared, **lengths, "label": "AST 128", "model": {"kind": "ast"}, "view": {"frames": 128}},
        "hop20": {
            **shared, **hops, "label": "AST 20 ms", "color": "#123456",
            "model": {"kind": "ast"}, "view": {"frames": 64, "compression": [2.0]},
        },
        "elastic": {
            **shared, "evaluations": ["lengths", "hops"], "label": "ElasticAST",
            "model": {"kind": "elasticast", "max_frames": 256}, "view": {"max_frames": 256},
        },
    }  # fmt: skip


def score(name: str, seed: int, x: float) -> float:
    """AST peaks where it was trained; ElasticAST grows with length and falls with compression."""
    peak = {"ast64": 64, "ast128": 128, "hop20": 2}.get(name)
    base = 0.6 - 0.1 * abs(np.log2(x / peak)) if peak else 0.5 + (x if x > 8 else -20 * x) / 1000
    return base + 0.02 * seed


def metrics_table(skip: tuple[str, ...] = ()) -> pd.DataFrame:
    rows = []
    for name, experiment in experiments().items():
        for evaluation in experiment["evaluations"]:
            sweep = EVALUATIONS[evaluation]
            for seed in () if name in skip else (0, 1):
                for x in sweep["x"]:
                    for metric, value in (("mAP", score(name, seed, x)), ("AUC", 0.9)):
                        about = ["toy_suite", name, seed, evaluation, "toy", "events"]
                        rows.append([*about, sweep["x_name"], x, metric, value, 50])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_grids_and_windows_are_no_points_of_a_curve(project: Path):
    """Rows of another meaning than a curve's change nothing, whatever their x."""
    suite, table = suite_of(project), metrics_table()
    expected = sweep_panels(suite, table, "max_frames")
    path = project / "config" / "suites" / "toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["evaluations"]["windowed"] = {"x_name": "max_frames", "x": [64.0, 512.0], "windows": True}
    raw["evaluations"]["heat"] = {"x_name": "max_frames", "x": [16.0, 64.0], "compression": [1.0, 2.0]}
    raw["experiments"]["ast64"]["evaluations"] += ["windowed", "heat"]
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    own = table[(table["experiment"] == "ast64") & (table["x"] == 64)].assign(value=0.123)
    more = [own.assign(evaluation="heat", compression=c) for c in (1.0, 2.0)] + [own.assign(evaluation="windowed")]
    longer = pd.concat([*more, table], ignore_index=True)
    longer.to_csv(project / "metrics.csv", index=False)
    found = sweep_panels(suite_of(project), read_metrics(project / "metrics.csv", "toy_suite"), "max_frames")
    for a, b in zip(found, expected, strict=True):
        for one, other in zip(a.series, b.series, strict=True):
            pd.testing.assert_frame_equal(one.points, other.points)


def test_windows_are_the_curve_of_an_experiment_without_another(project: Path):
    path = project / "config" / "suites" / "toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["evaluations"]["windowed"] = {"x_name": "max_frames", "x": [64.0], "windows": True}
    raw["experiments"]["ast64"]["evaluations"] = ["windowed"]
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    table = metrics_table()
    table.loc[table["experiment"] == "ast64", "evaluation"] = "windowed"
    series = sweep_panels(suite_of(project), table, "max_frames")[0].series[0]
    assert series.experiment == "ast64"
    assert list(series.points.index) == [64.0]
    assert series.seeds_run == 2


@pytest.fixture
def project(tmp_path: Path) -> Path:
    config = tmp_path / "config"
    (config / "suites").mkdir(parents=True)
    (config / "datasets").mkdir()
    defaults = {"train": {"steps": 1, "batch": {"clips": 2}}}
    suite = {"title": "Toy", "seeds": [0, 1], "defaults": defaults, "experiments": experiments()}
    (config / "suites" / "toy_suite.yaml").write_text(
        yaml.safe_dump({**suite, "evaluations": EVALUATIONS}, sort_keys=False)
    )
    (config / "datasets" / "toy.yaml").write_text("source: soundscapes\nclips: {train: 8, test: 8}\n")
    metrics_table().to_csv(tmp_path / "metrics.csv", index=False)
    return tmp_path


def suite_of(project: Path):
    return load_suite("toy_suite", project / "config")


def prepare_data(folder: Path, seconds: np.ndarray) -> Path:
    """A prepared data set as `elasticast prepare` writes it, of noise."""
    folder.mkdir(parents=True)
    samples = np.rint(seconds * 16000).astype(int)
    ids = [f"clip{i}" for i in range(len(seconds))]
    manifest = pd.DataFrame({"id": ids, "split": "train", "duration": seconds, "status": "ok", "reason": ""})
    manifest["events"] = [["a"]] * len(seconds)
    rejected = pd.DataFrame({"id": ["bad"], "split": "train", "duration": 99.0, "status": "rejected", "events": [[]]})
    pd.concat([manifest, rejected]).to_parquet(folder / "manifest.parquet")
    (folder / "classes.json").write_text(json.dumps({"events": {"kind": "multi", "classes": ["a", "b"]}}))
    rng = np.random.default_rng(0)
    with writing_part(folder / "part.h5", 16000) as writer:
        for n in samples:
            writer.append(rng.integers(-9000, 9000, n, dtype=np.int16))
    write_index(folder / "train.h5", [folder / "part.h5"], ids, 16000)
    return folder


def run_script(project: Path, name: str, *extra: str, out: str | None = None) -> Path:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    target = project / "out" / (out or name)
    resolved = project / "suite.yaml"
    resolved.write_text(yaml.safe_dump(load_suite("toy_suite", project / "config").model_dump(mode="json")))
    common = ["--suite", str(resolved), "--out", str(target)]
    script.main([*common, *extra])
    return target


def from_metrics(project: Path) -> list[str]:
    return ["--metrics", str(project / "metrics.csv")]


def assert_figure(out: Path) -> None:
    assert out.with_name(out.name + ".pdf").read_bytes().startswith(b"%PDF")
    assert out.with_name(out.name + ".png").read_bytes().startswith(b"\x89PNG")
    assert not list(out.parent.glob(".*")), "a temporary file was left behind"


# --- scripts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SWEEPS)
def test_sweep_figures_are_drawn(project, name):
    assert_figure(run_script(project, name, *from_metrics(project)))


def test_native_lengths_are_drawn(project):
    data = prepare_data(project / "toy", np.array([0.3, 0.5, 0.8, 1.4, 2.6]))
    assert_figure(run_script(project, "fig2_native_lengths", "--manifests", str(data / "manifest.parquet")))


def test_packed_batch_is_drawn(project):
    data = prepare_data(project / "toy", np.array([0.3, 0.5, 0.8, 1.4, 2.6]))
    assert_figure(run_script(project, "fig3_packing", "--data", str(data), "--clips", "4"))


def test_table_is_written(project):
    out = run_script(project, "table1", *from_metrics(project))
    tidy = pd.read_csv(f"{out}.csv")
    own = tidy[(tidy["fixed"] == "AST 64") & (tidy["quantity"] == "fixed_own")].iloc[0]
    assert own["mean"] == pytest.approx(0.61, abs=1e-15)
    assert own["sd"] == pytest.approx(np.std([0.60, 0.62], ddof=1))
    assert (own["seeds"], own["clips"], own["x"]) == (2, 50, 64)
    assert "| 61.0 ± 1.4 |" in out.with_suffix(".md").read_text()
    assert r"61.0 $\pm$ 1.4" in out.with_suffix(".tex").read_text()


def test_same_input_gives_the_same_bytes(project):
    outs = []
    for i in range(2):
        outs.append(run_script(project, "fig1_teaser", *from_metrics(project), out=f"run{i}"))
        time.sleep(1.1 * (1 - i))  # a date written into the file has a resolution of seconds
    for kind in ("pdf", "png"):
        first, second = (Path(f"{out}.{kind}").read_bytes() for out in outs)
        assert first == second


def test_pdf_embeds_truetype(project):
    out = run_script(project, "fig1_teaser", *from_metrics(project))
    content = Path(f"{out}.pdf").read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert b"CreationDate" not in content


# --- what is missing -------------------------------------------------------------------------


def test_missing_run_is_said_in_the_table(project):
    table = comparison_table(suite_of(project), metrics_table(skip=("ast128",)))
    row = next(line for line in markdown(table).splitlines() if "AST 128" in line)
    cells = [cell.strip() for cell in row.strip("| ").split("|")]
    assert cells[5] == cells[9] == "not run"
    assert "" not in cells
    assert "0.0" not in cells
    assert "not run" in latex(table)


def test_missing_run_is_said_in_the_csv(project):
    metrics_table(skip=("elastic",)).to_csv(project / "metrics.csv", index=False)
    out = run_script(project, "table1", *from_metrics(project))
    tidy = pd.read_csv(f"{out}.csv", dtype=str, keep_default_na=False)
    assert (tidy.loc[tidy["quantity"] == "flexible_native", "mean"] == "not run").all()
    assert not (tidy == "").to_numpy().any()


@pytest.mark.parametrize("skip", [("ast64",), tuple(experiments())], ids=["one", "all"])
@pytest.mark.parametrize("name", ["fig1_teaser", "fig4_length_curves"])
def test_missing_run_is_said_in_the_figure(project, monkeypatch, name, skip):
    metrics_table(skip).to_csv(project / "metrics.csv", index=False)
    drawn = []
    monkeypatch.setattr("elasticast.reporting.style.save", lambda figure, out: drawn.append(figure))
    run_script(project, name, *from_metrics(project))
    from matplotlib.text import Text

    texts = [t.get_text() for t in drawn[0].findobj(Text)]
    said = "AST 64: not run" if len(skip) == 1 else "not run"
    assert any(line == said for text in texts for line in text.splitlines())


def test_missing_seed_is_counted(project):
    table = metrics_table()
    table = table[(table["experiment"] != "ast64") | (table["seed"] == 0)]
    panel = sweep_panels(suite_of(project), table, "max_frames")[0]
    assert panel.series[0].shortfall == "1 of 2 seeds"
    assert panel.series[1].shortfall == ""


def test_training_length_outside_the_sweep_is_not_called_missing(project):
    path = project / "config" / "suites" / "toy_suite.yaml"
    suite = yaml.safe_load(path.read_text())
    suite["experiments"]["ast64"]["view"]["frames"] = 48
    path.write_text(yaml.safe_dump(suite))
    table = comparison_table(suite_of(project), metrics_table())
    cells = table[table["fixed"] == "AST 64"].set_index("quantity")["status"]
    assert cells["fixed_own"] == cells["flexible_there"] == "not in sweep"
    assert cells["fixed_worst"] == "ok"


@pytest.mark.parametrize("column", COLUMNS)
def test_missing_column_names_file_and_column(project, column):
    path = project / "metrics.csv"
    metrics_table().drop(columns=column).to_csv(path, index=False)
    with pytest.raises(DataError) as error:
        read_metrics(path, "toy_suite")
    assert str(path) in str(error.value)
    assert f"missing column {column};" in str(error.value)


def test_a_script_ends_with_one_line_on_bad_input(project):
    metrics_table().assign(value="high").to_csv(project / "metrics.csv", index=False)
    with pytest.raises(SystemExit) as stop:
        run_script(project, "fig1_teaser", *from_metrics(project))
    assert str(stop.value) == f"error: {project / 'metrics.csv'}: line 2: value = 'high' is not a number"


def test_results_of_another_suite_are_refused(project):
    with pytest.raises(DataError, match="holds results of suite 'toy_suite', expected only 'fsdd'"):
        read_metrics(project / "metrics.csv", "fsdd")


def test_a_suite_without_the_sweep_is_refused(project):
    suite = suite_of(project).model_copy(update={"evaluations": {}, "runs": {}})
    with pytest.raises(DataError, match="no experiment has an evaluation with x_name: compression"):
        sweep_panels(suite, metrics_table(), "compression")


# --- numbers ---------------------------------------------------------------------------------


def test_table_bolds_the_best_and_names_the_worst_point(project):
    row = next(
        line for line in markdown(comparison_table(suite_of(project), metrics_table())).splitlines() if "AST 64" in line
    )
    assert "**76.6 ± 1.4**" in row  # ElasticAST at native length beats 61.0 and 57.4
    assert "41.0 ± 1.4 (at 256) | **54.2 ± 1.4** (at 32)" in row


def test_compression_survives_float_noise(project):
    noisy = metrics_table().assign(x=lambda t: t["x"].replace(1.2, 1.2000000000000002))
    panel = sweep_panels(suite_of(project), noisy, "compression")[0]
    assert panel.series[0].shortfall == ""
    assert panel.series[0].at(1.2).status == "ok"


def test_native_is_the_longest_length_and_the_finest_hop(project):
    suite = suite_of(project)
    assert sweep_panels(suite, metrics_table(), "max_frames")[0].native_x == 256
    assert sweep_panels(suite, metrics_table(), "compression")[0].native_x == 1


def test_styles_belong_to_labels(project):
    styles = line_styles(suite_of(project))
    assert styles["AST 20 ms"].color == "#123456"
    looks = [(s.color, s.dashes, s.marker) for s in styles.values()]
    assert len(set(looks)) == len(looks)
    assert styles["ElasticAST"].width > styles["AST 64"].width


def test_names_of_curves_keep_their_distance():
    wanted = np.array([10.0, 11.0, 80.0, 10.5])
    placed = _spread(wanted, gap=9, height=100)
    assert (np.diff(np.sort(placed)) >= 9 - 1e-3).all()
    assert (np.argsort(placed) == np.argsort(wanted)).all()
    assert placed[2] == 80


def test_token_shares_by_hand():
    grid = Grid()
    # 16,000 samples: 1 + (16000 - 400) // 160 = 98 frames, 7 patches = 112; 0.01 s: one patch; 2 s: 198 -> 208
    frames = grid.frames(np.array([1.0, 0.01, 2.0]))
    assert frames.tolist() == [112, 16, 208]
    shares = token_shares(frames, 112, grid)
    assert (shares.kept, shares.discarded, shares.added) == ((112 + 16 + 112) / 2, 96 / 2, 96 / 2)


@pytest.mark.parametrize("length", [16, 64, 256, 1024])
def test_tokens_are_conserved(length):
    frames = Grid().frames(np.random.default_rng(0).lognormal(0.7, 0.8, 200))
    shares = token_shares(frames, length, Grid())
    assert shares.kept + shares.discarded == frames.sum() / 2
    assert shares.kept + shares.added == len(frames) * length / 2
    cropped = token_shares(frames, length, Grid(), least=0)
    assert (cropped.kept, cropped.discarded, cropped.added) == (shares.kept, shares.discarded, 0)


def test_frames_are_those_of_the_models():
    from elasticast.config.frames import native_frames

    samples = [1, 399, 400, 560, 2799, 2800, 2960, 16000, 128000]
    assert Grid().frames(np.array(samples) / 16000).tolist() == [native_frames(s, FrontEnd(), 16) for s in samples]
    epic = FrontEnd(kind="stft", sample_rate=24000, n_fft=2048, window_ms=10, hop_ms=5)
    samples = [1, 1799, 1800, 1919, 1920, 24000]
    found = Grid(24000, 10.0, 5, centred=True).frames(np.array(samples) / 24000)
    assert found.tolist() == [native_frames(s, epic, 16) for s in samples]


def test_clips_filled_up_to_the_fewest_frames_have_tokens_added():
    shares = token_shares(np.array([16, 112, 208]), 160, Grid(), least=64)
    assert (shares.kept, shares.discarded, shares.added) == ((16 + 112 + 160) / 2, 48 / 2, 48 / 2)


def test_lengths_come_from_the_suite(project):
    data = prepare_data(project / "toy", np.array([0.3, 2.6]))
    lengths = read_lengths(data / "manifest.parquet", suite_of(project))
    assert lengths.seconds.tolist() == [0.3, 2.6]  # without the rejected clip
    assert (lengths.fixed, lengths.longest) == ([64, 128], 256)  # not the AST of another hop
    os.rename(data, project / "other")
    with pytest.raises(DataError, match="has no dataset 'other'"):
        read_lengths(project / "other" / "manifest.parquet", suite_of(project))


def test_masks_are_block_diagonal():
    mask = attention_mask([2, 1])
    assert mask.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 2]]
    assert pooling_mask([2, 1]).tolist() == [[1, 1, 0], [0, 0, 2]]


# ---------------------------------------------------------------------------------------------
# Splits and statistics
# ---------------------------------------------------------------------------------------------


def test_curves_are_of_the_test_split_alone(project):
    """Another split's scores at the same x would be of other clips."""
    file = project / "config" / "suites" / "toy_suite.yaml"
    suite = yaml.safe_load(file.read_text())
    suite["evaluations"]["held_out"] = {"x_name": "max_frames", "x": [64.0, 512.0], "split": "dev"}
    suite["experiments"]["elastic"]["evaluations"].insert(0, "held_out")
    suite["experiments"]["elastic"]["model"]["max_frames"] = 512
    file.write_text(yaml.safe_dump(suite, sort_keys=False))
    (project / "config" / "datasets" / "toy.yaml").write_text(
        "source: soundscapes\nclips: {train: 8, test: 8}\ndev_share: 0.3\n"
    )
    metrics = metrics_table()
    (before,) = sweep_panels(suite_of(project), metrics, "max_frames")
    of_dev = metrics[(metrics["experiment"] == "elastic") & (metrics["x"] == 64)].assign(
        evaluation="held_out", value=0.01
    )
    (panel,) = sweep_panels(suite_of(project), pd.concat([of_dev, metrics]), "max_frames")
    for one, other in zip(panel.series, before.series, strict=True):
        pd.testing.assert_frame_equal(one.points, other.points)
    assert 512 not in panel.series[-1].points.index


def test_statistics_that_runs_set_stand_beside_those_of_their_data(tmp_path, tiny):
    front_end = FrontEnd().model_dump()
    stats = {"mean": -4.0, "std": 3.0, "mean_error": 0.0, "std_error": 0.0, "clips": 2, "of": 2, "front_end": front_end}
    (tmp_path / "soundscapes").mkdir()
    statistics = tmp_path / "soundscapes" / "norm-a.json"
    statistics.write_text(json.dumps(stats | {"module": None}))
    runs = []
    for name, difference in {"one": {}, "two": {}, "three": {"front_end": {"hop_ms": 20}}}.items():
        config = tiny(experiment=name, norm={"mean": -4.5, "std": 5}, **difference)
        runs.append(tmp_path / f"{name}.yaml")
        runs[-1].write_text(yaml.safe_dump(config.model_dump(mode="json")))
    norms([statistics, *runs], tmp_path / "norms.csv")
    table = pd.read_csv(tmp_path / "norms.csv").set_index("source")
    assert list(table.index) == ["this data", "`norm` of one, two", "`norm` of three"]
    assert table.loc["`norm` of one, two", ["mean", "std", "mean_difference", "std_difference"]].tolist() == [
        -4.5,
        5,
        -0.5,
        2,
    ]
    assert table.loc["`norm` of three", ["mean_difference", "clips"]].isna().all()
    norms(runs[:1], tmp_path / "norms.csv")
    assert pd.read_csv(tmp_path / "norms.csv")["source"].tolist() == ["`norm` of one"]


# ---------------------------------------------------------------------------------------------
# Two suites in one figure
# ---------------------------------------------------------------------------------------------


def write_other(project: Path, change) -> None:
    """Another suite on a dataset of another name; `change` alters its experiments in place."""
    raw = yaml.safe_load((project / "config" / "suites" / "toy_suite.yaml").read_text())
    raw["title"] = "Toy, otherwise"
    for experiment in raw["experiments"].values():
        experiment["dataset"] = "toy_dev"
    change(raw["experiments"])
    (project / "config" / "suites" / "other.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    dataset = "source: soundscapes\nclips: {train: 8, test: 8}\n"
    (project / "config" / "datasets" / "toy_dev.yaml").write_text(dataset)


def other_metrics() -> pd.DataFrame:
    """AST 128 lacks its points beyond 100 frames, ElasticAST a seed; all else is 5 points above the suite at hand."""
    table = metrics_table(skip=("hop20",)).assign(suite="other", dataset="toy_dev")
    table["value"] += 0.05
    gone = (table["experiment"] == "ast128") & (table["x"] > 100)
    return table[~gone & ((table["experiment"] != "elastic") | (table["seed"] == 0))]


def without_ast64(experiments: dict) -> None:
    del experiments["ast64"]


@pytest.fixture
def two(project):
    """Arguments of a script that draws the two suites."""
    write_other(project, without_ast64)
    other_metrics().to_csv(project / "other.csv", index=False)
    resolved = load_suite("other", project / "config").model_dump(mode="json")
    (project / "other.yaml").write_text(yaml.safe_dump(resolved))
    return [*from_metrics(project), "--beside", str(project / "other.yaml"), str(project / "other.csv")]


def drawn_texts(project, monkeypatch, name: str, arguments: list[str]):
    """A figure, and each of its lines of text."""
    from matplotlib.text import Text

    drawn = []
    monkeypatch.setattr("elasticast.reporting.style.save", lambda figure, out: drawn.append(figure))
    run_script(project, name, *arguments)
    return drawn[0], [" ".join(t.get_text().split()) for t in drawn[0].findobj(Text)]


def both_panels(project: Path, x_name: str, metrics: pd.DataFrame) -> list:
    suite, other = suite_of(project), load_suite("other", project / "config")
    return beside_other(sweep_panels(suite, metrics_table(), x_name), suite, other, metrics)


def test_curves_of_two_suites_meet_by_experiment_whatever_the_datasets_name(project, two):
    (panel,) = both_panels(project, "max_frames", other_metrics())
    ours = {s.experiment: s for s in panel.series}
    assert (panel.dataset, panel.beside) == ("toy", "Toy, otherwise")
    assert ours["ast64"].other is None
    assert ours["ast128"].other.shortfall == "sweep incomplete"
    assert ours["elastic"].other.shortfall == "1 of 2 seeds"
    assert ours["elastic"].other.points["mean"].tolist() == [
        pytest.approx(score("elastic", 0, x) + 0.05) for x in EVALUATIONS["lengths"]["x"]
    ]


def test_the_other_suites_points_are_shown_where_ours_are(project, two):
    more = other_metrics().query("experiment == 'elastic' and x == 256").assign(x=16.0)
    path = project / "config" / "suites" / "other.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["evaluations"]["lengths"]["x"] = [16, 128, 256]
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    (panel,) = both_panels(project, "max_frames", pd.concat([other_metrics(), more]))
    found = panel.series[-1].other
    assert found.points.index.tolist() == EVALUATIONS["lengths"]["x"]
    assert found.points["mean"].dropna().index.tolist() == [128, 256]
    assert found.shortfall == "sweep incomplete"


def test_both_suites_are_drawn_and_what_is_missing_is_said(project, two, monkeypatch):
    figure, texts = drawn_texts(project, monkeypatch, "fig4_length_curves", two)
    assert "Toy, otherwise" in texts
    said = "“Toy, otherwise”: AST 128 (sweep incomplete), AST 64 (not in suite), ElasticAST (1 of 2 seeds)"
    assert any(said in text for text in texts)
    lines = figure.axes[0].get_lines()
    dotted = [line for line in lines if line.get_marker() == "None" and len(line.get_xdata()) > 1]
    assert [line.get_xdata().tolist() for line in dotted] == [[32, 64], [32, 64, 128, 256]]
    colors = [line.get_color() for line in lines if line not in dotted]
    assert all(line.get_color() in colors for line in dotted)
    _, alone = drawn_texts(project, monkeypatch, "fig4_length_curves", from_metrics(project))
    assert not any("Toy, otherwise" in text for text in alone)


def test_a_suite_that_has_not_run_is_said_once(project, two, monkeypatch):
    other_metrics().query("experiment == 'ast128'").to_csv(project / "other.csv", index=False)
    _, texts = drawn_texts(project, monkeypatch, "fig5_resolution_curves", two)
    assert "Toy, otherwise" not in texts  # there is no such line
    assert any(text.endswith("“Toy, otherwise”: not run") for text in texts)


def test_runs_of_the_other_suite_alone_are_drawn(project, two, monkeypatch):
    metrics_table(skip=tuple(experiments())).to_csv(project / "metrics.csv", index=False)
    _, texts = drawn_texts(project, monkeypatch, "fig4_length_curves", two)
    assert "Toy, otherwise" in texts
    assert any("this suite: not run" in text for text in texts)


def of_one_label(experiments: dict) -> None:
    for experiment in experiments.values():
        experiment.update(dataset="speech", task="word")


def renamed(experiments: dict) -> None:
    for name in list(experiments):
        experiments[f"{name}_2"] = experiments.pop(name)


@pytest.mark.parametrize("change", [of_one_label, renamed])
def test_suites_without_a_common_curve_are_refused(project, change):
    (project / "config" / "datasets" / "speech.yaml").write_text("source: speech_commands\n")
    write_other(project, change)
    with pytest.raises(ConfigError) as error:
        load_beside(workflow("other"), suite_of(project), project / "config")
    said = "config/config.yaml: beside: suite 'other' has no experiment of the same name, metric and sweep as one of"
    assert str(error.value).startswith(said)


def workflow(beside: str | None):
    return load_workflow_config({"suite": "toy_suite", "data_root": "d", "results": "r", "beside": beside})


def test_the_suite_beside_ours_has_to_be_another_one(project):
    write_other(project, without_ast64)
    suite, config = suite_of(project), project / "config"
    assert load_beside(workflow("other"), suite, config).name == "other"
    for none in (None, "null"):  # the second is what `--config beside=null` comes to
        assert load_beside(workflow(none), suite, config) is None
    with pytest.raises(ConfigError, match=r"^config/config\.yaml: beside: 'toy_suite' is the suite itself"):
        load_beside(workflow("toy_suite"), suite, config)
    with pytest.raises(ConfigError, match=r"^config/config\.yaml: beside: 'oter' is unknown .*other, toy_suite"):
        load_beside(workflow("oter"), suite, config)
