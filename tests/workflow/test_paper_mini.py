"""The suite `paper_mini`, reduced further: from raw files of the four datasets to the verdict."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from elasticast.config.load_suite import load_suite
from elasticast.files import read_json
from tests.drawn import assert_drawn
from tests.workflow.conftest import ROOT, Project

REDUCED = {
    "extends": "paper_mini",
    "title": "The paper in small, of the tests",
    "every": {"model": {"dim": 32, "depth": 1}, "train": {"steps": 3, "warmup_steps": 1}},
    "evaluations": {
        "length": {"x": [256, 400, 1024, 1600, 3072]},
        "resolution": {"x": [1.0, 2.0, 3.0, 4.0]},
    },
}
CLIPS = {"train": 32, "dev": 16, "test": 24}
# for each dataset, a file of the published layout, and the extensions of the files from which clips are read
LAYOUTS = {
    "audioset_twin": ("audioset/balanced_train_segments.csv", {".wav", ".flac"}),
    "vggsound_twin": ("vggsound/vggsound.csv", {".wav", ".flac"}),
    "voxceleb1_twin": ("voxceleb1/iden_split.txt", {".wav"}),
    "epic_sounds_twin": ("epic_sounds/EPIC_audio.hdf5", {".hdf5"}),
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory, programs):
    """A project in which the reduced suite has run, from raw files to the verdict."""
    project = Project(tmp_path_factory.mktemp("paper_mini"), programs)
    project.suite = REDUCED
    for name in LAYOUTS:
        path = project.folder / f"config/datasets/{name}.yaml"
        dataset = yaml.safe_load(path.read_text())
        dataset["twin"]["clips"] = {split: CLIPS[split] for split in dataset["twin"]["clips"]}
        path.write_text(yaml.safe_dump(dataset, sort_keys=False))
    result = project.snakemake("all", "--cores", "all")
    assert result.returncode == 0, result.stderr[-4000:]
    return project


@pytest.fixture(scope="module")
def paper():
    return load_suite("paper", ROOT / "config")


def table(project, path):
    return pd.read_csv(project.folder / path, keep_default_na=False)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_published_files_are_written_and_read(judged, name):
    published, extensions = LAYOUTS[name]
    folder = judged.folder / "results/data" / name
    assert (folder / "audio" / published).is_file()
    clips = pd.read_parquet(folder / "manifest.parquet")
    used = clips[clips["status"] == "ok"]
    assert {Path(path).suffix for path in used["path"]} == extensions
    annotated = CLIPS if name == "voxceleb1_twin" else {**CLIPS, "dev": 0}
    assert read_json(folder / "summary.json")["annotated"] == annotated
    assert all(sum(used["split"] == split) >= 0.6 * count for split, count in annotated.items())


def test_every_experiment_of_the_paper_has_run(judged, paper):
    curves = table(judged, "paper_figures/tiny/verdict.csv").set_index("experiment")
    assert sorted(curves.index) == sorted(paper.experiments)
    assert set(curves["status"]) == {"ok"}
    assert set(curves["dataset"]) == set(LAYOUTS)
    runs = table(judged, "results/tiny/summary/runs.csv")
    assert runs["run"].tolist() == [f"results/tiny/runs/{name}/seed0" for name in paper.experiments]


def test_every_score_is_a_number(judged, paper):
    metrics = pd.read_csv(judged.folder / "results/tiny/summary/metrics.csv")
    scores = metrics[metrics["metric"].isin(["accuracy", "mAP", "AUC"])]
    assert np.isfinite(scores["value"]).all()
    assert scores["value"].between(0, 1).all()
    primary = scores[scores["metric"] == scores["dataset"].map(lambda d: "mAP" if "audioset" in d else "accuracy")]
    points = primary.groupby("experiment")["x"].apply(list).to_dict()
    expected = {name: REDUCED["evaluations"][e.evaluations[0]]["x"] for name, e in paper.experiments.items()}
    assert points == expected


def test_every_claim_is_judged(judged, paper):
    claims = table(judged, "paper_figures/tiny/verdict_claims.csv")
    assert claims["claim"].drop_duplicates().tolist() == list(paper.claims)
    assert set(claims["outcome"]) <= {"holds", "does not hold"}
    for name, claim in paper.claims.items():
        rows = claims[claims["claim"] == name]
        assert rows["against"].drop_duplicates().tolist() == claim.against
        assert set(rows["model"]) == {claim.model}
        assert rows["p"].astype(float).between(0, 1).all()
    text = (judged.folder / "paper_figures/tiny/verdict.md").read_text()
    assert all(claim.says in text for claim in paper.claims.values())
    assert "not run" not in text


def test_every_cell_can_be_traced_to_its_run_and_data(judged):
    cells = table(judged, "paper_figures/tiny/table1.csv")
    assert set(cells["dataset"]) == set(LAYOUTS)
    for cell in cells.itertuples():
        run = judged.folder / "results/tiny/runs" / cell.experiment / "seed0"
        metrics = pd.read_csv(run / "metrics.csv")
        value = metrics.loc[(metrics["metric"] == cell.metric) & (metrics["x"] == cell.x), "value"]
        assert value.tolist() == [pytest.approx(cell.mean)]
        assert yaml.safe_load((run / "config.yaml").read_text())["dataset"] == cell.dataset
        data = read_json(judged.folder / "results/data" / cell.dataset / "summary.json")
        assert read_json(run / "run.json")["data_sha256"] == read_json(run / "evaluation.json")["data_sha256"]
        assert read_json(run / "run.json")["data_sha256"] == data["sha256"]


@pytest.mark.parametrize("name", ["fig1_teaser", "fig4_length_curves", "fig5_resolution_curves"])
def test_figures_are_drawn(judged, name):
    assert_drawn(judged.folder / "paper_figures/tiny" / name)
