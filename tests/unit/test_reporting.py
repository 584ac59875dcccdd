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
from elasticast.data.store import PartWriter, write_index
from elasticast.errors import DataError
from elasticast.reporting.comparison import compare, latex, markdown
from elasticast.reporting.curves import _spread
from elasticast.reporting.lengths import Grid, read_lengths, token_shares
from elasticast.reporting.packing import attention_mask, pooling_mask
from elasticast.reporting.results import COLUMNS, read_metrics, sweep_panels
from elasticast.reporting.style import line_styles
from elasticast.suites import load_suite

SCRIPTS = Path(__file__).parents[2] / "paper_figures"
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
    with PartWriter(folder / "part.h5", 16000) as writer:
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
    table = compare(suite_of(project), metrics_table(skip=("ast128",)))
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
    table = compare(suite_of(project), metrics_table())
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
    row = next(line for line in markdown(compare(suite_of(project), metrics_table())).splitlines() if "AST 64" in line)
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
    from elasticast.data.views import native_frames

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
