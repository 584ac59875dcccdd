"""Figures and tables of published results are drawn without data and runs, and equal those of the run."""

import shutil

from elasticast.published.ablations import check_ablation
from elasticast.published.pictures import changes
from tests.complaints import assert_names
from tests.workflow.test_ablations import add_ablation  # noqa: F401


def test_a_published_suite_is_drawn_without_its_results(project):
    published = project.elasticast("publish", "results/tiny")
    assert published.returncode == 0, published.stderr
    shutil.rmtree(project.folder / "results")
    jobs = project.planned("redraw")
    names = ("fig1", "fig2", "fig4", "fig5", "learning_curves", "table1", "zoo")
    assert jobs == dict.fromkeys((*(f"redraw_{name}" for name in names), "redraw_record", "redraw"), 1)
    result = project.snakemake("redraw")
    assert result.returncode == 0, result.stderr
    published = project.folder / "docs/results/tiny"
    for name in (
        "fig1_teaser.png",
        "fig2_native_lengths.png",
        "fig4_length_curves.png",
        "learning_curves.png",
        "table1.csv",
    ):
        drawn = (published / "figures" / name).read_bytes()
        assert drawn == (project.folder / "paper_figures/tiny" / name).read_bytes()
    assert changes(published, project.folder) == []
    assert project.planned("redraw") == {}
    # in a new checkout, which has neither PDFs nor Snakemake's memory of the code, all is drawn again
    shutil.rmtree(project.folder / ".snakemake")
    for path in (*published.glob("figures/*.pdf"), *published.glob("figures/*.tex")):
        path.unlink()
    assert project.planned("redraw") == jobs


def test_results_that_are_not_published_cannot_be_drawn(finished):
    result = finished.snakemake("-n", "redraw")
    assert result.returncode != 0
    assert_names(result.stdout + result.stderr, "docs/results/tiny/published.json", "elasticast publish results/tiny")


def test_a_published_ablation_is_drawn_without_its_results(project, add_ablation):  # noqa: F811
    add_ablation()
    for command in (project.snakemake("ablation_mine"), project.elasticast("publish", "results/tiny")):
        assert command.returncode == 0, command.stderr
    published = project.elasticast("publish", "results/tiny", "--ablation", "mine")
    assert published.returncode == 0, published.stderr
    shutil.rmtree(project.folder / "results")
    folder = project.folder / "docs/results/tiny/ablations/mine"
    figure = (folder / "figure.png").read_bytes()
    for path in folder.glob("figure.*"):
        path.unlink()
    assert project.planned("redraw")["redraw_ablation"] == 1
    result = project.snakemake("redraw")
    assert result.returncode == 0, result.stderr
    assert (folder / "figure.png").read_bytes() == figure
    assert check_ablation(folder, "tiny")
    assert project.planned("redraw") == {}
    # a damaged ablation takes no other figure with it
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    with (folder / "scores.csv").open("a") as file:
        file.write("\n")
    result = project.snakemake("redraw")
    assert result.returncode != 0
    assert_names(result.stdout + result.stderr, folder.relative_to(project.folder) / "scores.csv")
    assert (other / "figure.png").read_bytes() == figure
