"""Published ablations: complete or none, verified when read, and printed in pages as the suite prints them."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

from elasticast.errors import DataError
from elasticast.files import read_json
from elasticast.published import pages
from elasticast.published.ablation_figure import redraw_ablation
from elasticast.published.ablations import check_ablation, publish_ablation, published_variants
from elasticast.reporting.ablation.captions import figure_caption
from elasticast.reporting.ablation.figures import draw
from elasticast.reporting.ablation.read_results import read_results
from elasticast.reporting.ablation.variant_table import compare_variants, markdown, sweep_table
from elasticast.reporting.collect import RUN_COLUMNS
from elasticast.reporting.style import DOUBLE_COLUMN, paper_style, save
from tests.complaints import assert_names, complains
from tests.records import rewrite_record
from tests.unit.reporting.ablation_results import write_results
from tests.unit.reporting.test_ablation_report import GRIDS, ablation, config, folder, quality  # noqa: F401

DRAWN_FROM = ["variants.csv", "scores.csv", "intervals.csv", "ablation.yaml"]
POOLING = {"grid": {"model.pooling": ["attention", "mean"]}}


@pytest.fixture
def trial(ablation, folder, tmp_path, monkeypatch, request):  # noqa: F811
    """A finished ablation; the results are in the current folder."""
    monkeypatch.chdir(tmp_path)
    made = ablation(**getattr(request, "param", POOLING))
    write_results(made, folder, quality)
    (folder / "ablation.yaml").write_text(yaml.safe_dump(made.model_dump(mode="json"), sort_keys=False))
    for path in (tmp_path / "results/toy/runs").rglob("run.json"):
        about = read_json(path)
        rest = {key: 0 for key in RUN_COLUMNS if key not in about}
        rewrite_record(path, versions={"torch": "2"}, files=about["files"], **rest)
    return made


@pytest.fixture
def results(trial, tmp_path):
    return (tmp_path / "results/toy").relative_to(tmp_path)


def test_it_prints_as_the_suite_does(trial, results):
    out = publish_ablation(results, "trial")
    assert out.as_posix() == "docs/results/toy/ablations/trial"
    found = read_results(trial, results / "ablations/trial")
    expected = compare_variants(found)
    table = published_variants("toy", "trial")
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)
    printed = pages.ablation("toy", "trial", "length")
    assert printed == sweep_table(expected, "length")
    assert printed.split("\n", 1)[1] in markdown(found, expected)
    assert set(pd.read_csv(out / "scores.csv")["variant"]) == {"attention", "mean"}
    assert len(pd.read_csv(out / "runs.csv")) == 4
    assert (out / "figure.png").is_file()
    with Image.open(out / "figure.png") as picture:
        assert picture.width == round(DOUBLE_COLUMN * 300)  # in the style of the paper, which has 300 dpi


@pytest.mark.parametrize("trial", [{"plot": plot, **GRIDS[plot]} for plot in GRIDS], ids=GRIDS, indirect=True)
def test_the_figure_is_drawn_from_the_published_files(trial, results):
    """The same picture as from the results, and again without them."""
    found = read_results(trial, results / "ablations/trial")
    table = compare_variants(found)
    with paper_style():
        save(draw(found, table), results / "expected", figure_caption(found, table))
    out = publish_ablation(results, "trial")
    assert (out / "grid.csv").is_file() == (trial.plot == "heat_map")
    shutil.rmtree("results/toy/ablations")
    record = (out / "published.json").read_text()
    for name in ("figure.png", "figure.rst"):
        published = (out / name).read_bytes()
        assert published == (results / "expected").with_suffix(Path(name).suffix).read_bytes()
        (out / name).unlink()
    redraw_ablation(out)
    assert (out / "figure.png").read_bytes() == (results / "expected.png").read_bytes()
    assert (out / "published.json").read_text() == record
    assert check_ablation(out, "toy") == len(read_json(out / "published.json")["files"])


def test_without_intervals_bands_are_the_range_of_seeds(results, caplog):
    out = publish_ablation(results, "trial")
    with_bands = " ".join((out / "figure.rst").read_text().split())
    files = read_json(out / "published.json")["files"]
    rewrite_record(out / "published.json", files={name: files[name] for name in files if name != "intervals.csv"})
    redraw_ablation(out)
    assert_names(caplog.text, out, "intervals.csv", "no intervals")
    assert "minimum and maximum over seeds" not in with_bands
    assert "minimum and maximum over seeds" in " ".join((out / "figure.rst").read_text().split())


@pytest.mark.parametrize("name", DRAWN_FROM)
def test_changed_files_are_not_drawn(results, name):
    out = publish_ablation(results, "trial")
    before = (out / "figure.png").stat().st_mtime_ns
    with (out / name).open("a") as file:
        file.write("\n")
    with complains(DataError, out / name):
        redraw_ablation(out)
    assert (out / "figure.png").stat().st_mtime_ns == before


def test_numbers_of_pages_are_those_of_the_tables(results):
    publish_ablation(results, "trial")
    table = published_variants("toy", "trial").query("variant == 'mean' and quantity == 'worst'").iloc[0]
    assert pages.variant("toy", "trial", "mean", "length", "worst") == f"{100 * table['value']:.1f}"
    low, high = (f"{100 * table[name]:+.1f}".replace("-", "−") for name in ("delta_low", "delta_high"))
    assert pages.delta("toy", "trial", "mean", "length", "worst").endswith(f" [{low}, {high}]")
    with complains(DataError, "docs/results/toy/ablations/trial", "0 rows", "median"):
        pages.variant("toy", "trial", "median", "length", "worst")


def test_scores_at_points_are_means_over_seeds(results):
    publish_ablation(results, "trial")
    scores = pd.read_csv("docs/results/toy/ablations/trial/scores.csv")
    evaluation, metric = scores["evaluation"].iloc[0], published_variants("toy", "trial")["metric"].iloc[0]
    head, _, *rows = pages.ablation_points("toy", "trial", evaluation).splitlines()
    scores = scores[(scores["evaluation"] == evaluation) & (scores["metric"] == metric)]
    labels = list(scores["label"].unique())
    assert [cell.strip() for cell in head.split("|")[2:-1]] == labels
    for row in rows:
        x, *values = (cell.strip() for cell in row.split("|")[1:-1])
        at = scores[scores["x"] == float(x)]
        assert values == [f"{100 * at[at['label'] == label]['value'].mean():.1f}" for label in labels]
    assert len(rows) == scores["x"].nunique() > 1
    with complains(DataError, "docs/results/toy/ablations/trial", "'other'"):
        pages.ablation_points("toy", "trial", "other")


@pytest.mark.parametrize(
    "name", ["variants.csv", "scores.csv", "runs.csv", "ablation.yaml", "intervals.csv", "figure.png"]
)
def test_a_file_was_changed(results, name):
    out = publish_ablation(results, "trial")
    assert check_ablation(out, "toy") == 8
    content = bytearray((out / name).read_bytes())
    content[len(content) // 2] ^= 1
    (out / name).write_bytes(content)
    with complains(DataError, out / name):
        published_variants("toy", "trial")


def test_an_ablation_in_the_place_of_another(results):
    out = publish_ablation(results, "trial")
    out.rename(out.with_name("pooling"))
    with complains(DataError, out.with_name("pooling") / "published.json", "'trial'", "'pooling'"):
        published_variants("toy", "pooling")


def test_a_variant_has_not_run(results):
    (results / "ablations/trial/runs/mean/resampled.h5").unlink()
    with complains(DataError, results / "ablations/trial", "'mean'", "snakemake ablation_trial --config suite=toy"):
        publish_ablation(results, "trial")
    assert not (results.parents[1] / "docs").exists()


def test_an_ablation_that_was_not_run_or_not_published(results):
    with complains(DataError, "ablations/other/ablation.yaml", "snakemake ablation_other"):
        publish_ablation(results, "other")
    with complains(DataError, "docs/results/toy/ablations/trial", "published.json"):
        published_variants("toy", "trial")
