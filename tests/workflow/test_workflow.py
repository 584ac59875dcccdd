"""The whole workflow on tiny data: from raw audio to figures, and which jobs each change re-runs."""

import copy
import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from tests.complaints import assert_names
from tests.drawn import assert_drawn
from tests.workflow.conftest import DATASET, TINY, Project

RUN = "results/tiny/runs/elastic/seed0"


def changed(**experiments):
    """The tiny suite with experiments added or replaced."""
    suite = copy.deepcopy(TINY)
    suite["experiments"].update(experiments)
    return suite


def test_raw_audio_to_figures(finished):
    figures = finished.folder / "paper_figures" / "tiny"
    paper = ("fig1_teaser", "fig2_native_lengths", "fig3_packing", "fig4_length_curves", "fig5_resolution_curves")
    for name in (*paper, "learning_curves", "zoo"):
        assert_drawn(figures / name)
    assert "AST 64" in (figures / "table1.md").read_text()
    assert not list(figures.glob("verdict*"))  # the suite has no claims
    table = pd.read_csv(finished.folder / "results/tiny/summary/metrics.csv")
    assert " ".join(table) == "suite experiment seed evaluation dataset task x_name x compression metric value n listed"
    assert set(table["experiment"]) == set(TINY["experiments"])
    assert (table["n"] == DATASET["clips"]["test"]).all()
    assert not table.duplicated(["experiment", "seed", "evaluation", "x", "compression", "metric"]).any()
    assert set(table["evaluation"]) == set(TINY["evaluations"])
    grid = table[(table["evaluation"] == "grid") & (table["metric"] == "mAP")]
    assert sorted(zip(grid["x"], grid["compression"], strict=True)) == [(64, 1), (64, 2), (256, 1), (256, 2)]
    assert (table.loc[table["metric"] == "gflops_per_clip", "x_name"] == "token_drop").all()
    intervals = pd.read_csv(finished.folder / "results/tiny/summary/intervals.csv")
    assert len(intervals) == len(table[table["metric"] == "mAP"])
    pairs = pd.read_csv(finished.folder / "results/tiny/summary/pairs.csv")
    against = set(zip(pairs["experiment"], pairs["against"], pairs["evaluation"], strict=True))
    assert against == {("elastic", "ast64", "length"), ("elastic_resolution", "hop20", "resolution")}


def test_every_number_can_be_traced(finished):
    run = json.loads((finished.folder / RUN / "run.json").read_text())
    data = json.loads((finished.folder / "results/data/tiny/summary.json").read_text())
    runs = pd.read_csv(finished.folder / "results/tiny/summary/runs.csv").set_index("run")
    assert run["data_sha256"] == data["sha256"] == runs.loc[RUN, "data_sha256"]
    assert run["versions"]["torch"] == runs.loc[RUN, "version_torch"]
    assert yaml.safe_load((finished.folder / RUN / "config.yaml").read_text())["view"]["max_frames"] == 256


def test_a_second_run_does_nothing(finished):
    assert finished.planned() == {}


def test_the_same_seed_gives_the_same_numbers(project):
    before = (project.folder / RUN / "metrics.csv").read_bytes()
    result = project.snakemake(f"{RUN}/metrics.csv", "--forcerun", "train")
    assert result.returncode == 0, result.stderr
    assert "Training elastic" in result.stderr + result.stdout
    assert (project.folder / RUN / "metrics.csv").read_bytes() == before


def test_touching_files_re_runs_nothing(project):
    project.write()
    for name in ("config/suites/tiny.yaml", "config/datasets/tiny.yaml", f"{RUN}/config.yaml"):
        os.utime(project.folder / name)
    assert project.planned() == {}


def test_damaged_data_stop_a_job_and_their_repair_re_runs_nothing(project):
    data = project.folder / "results/data/tiny"
    times = {path: path.stat().st_mtime_ns for path in data.glob("*.*") if path.is_file()}
    for name in ("manifest.parquet", "classes.json", "test.h5"):
        content = bytearray((data / name).read_bytes())
        content[len(content) // 2] ^= 1
        (data / name).write_bytes(content)
    evaluate = ["evaluate", "--model", RUN, "--config", f"{RUN}/sweeps.yaml", "--data", "results/data/tiny"]
    stopped = project.elasticast(*evaluate, "--out", "out")
    assert stopped.returncode == 1
    assert_names(stopped.stderr, "results/data/tiny/classes.json", "elasticast prepare")
    assert "Traceback" not in stopped.stderr
    again = project.elasticast("prepare", "--dataset", "tiny", "--root", "data", "--out", "results/data/tiny")
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert project.planned() == {}


def test_a_label_redraws_and_trains_nothing(project):
    project.suite = changed(ast64={**TINY["experiments"]["ast64"], "label": "AST sixty-four"})
    jobs = project.planned()
    assert not {"train", "evaluate", "prepare", "stats", "configure", "resample"} & set(jobs)
    assert {"resolved_suite", "fig4", "table1"} <= set(jobs)


def test_a_new_experiment_adds_its_own_runs_only(project):
    project.suite = changed(ast128={"base": "ast64", "label": "AST 128", "view": {"frames": 128}})
    jobs = project.planned()
    assert (jobs["train"], jobs["evaluate"]) == (1, 1)
    assert not {"prepare", "stats"} & set(jobs)


def test_a_changed_default_re_runs_the_runs_that_use_it(project):
    project.suite = copy.deepcopy(TINY)
    project.suite["experiments"]["ast64"]["train"] = {"lr": 1.0e-3}
    assert project.planned() == {}, "spelling out a default changes nothing"
    project.suite["defaults"]["train"]["lr"] = 2.0e-3
    assert project.planned()["train"] == len(TINY["experiments"]) - 1


def test_settings_that_change_no_weights_run_nothing_again(project):
    """And a run that has to be trained has them."""
    project.suite = copy.deepcopy(TINY)
    without_effect = {"log_every": 2, "checkpoint_every": 3, "workers": 1}
    project.suite["defaults"]["train"] |= without_effect
    assert not {"train", "evaluate", "resample", "configure"} & set(project.planned())
    (project.folder / RUN / "run.json").unlink()
    result = project.snakemake(f"{RUN}/run.json")
    assert result.returncode == 0, result.stderr
    train = json.loads((project.folder / RUN / "model.json").read_text())["config"]["train"]
    assert without_effect.items() <= train.items()


def test_a_changed_sweep_evaluates_and_trains_nothing(project):
    project.suite = copy.deepcopy(TINY)
    project.suite["evaluations"]["resolution"]["x"] = [1.0, 2.0, 3.0]
    jobs = project.planned()
    assert "train" not in jobs
    assert jobs["evaluate"] == 2


def test_runs_with_their_own_norm_need_no_statistics(project):
    project.suite = copy.deepcopy(TINY)
    project.suite["defaults"]["norm"] = {"mean": -5.0, "std": 4.5}
    for path in (project.folder / "results/data/tiny").glob("norm-*.json"):
        path.unlink()
    jobs = project.planned()
    assert jobs["train"] == len(TINY["experiments"])
    assert "stats" not in jobs
    result = project.snakemake(f"{RUN}/model.json", "results/tiny/summary/norms.csv")
    assert result.returncode == 0, result.stderr
    assert json.loads((project.folder / RUN / "model.json").read_text())["norm"] == {"mean": -5.0, "std": 4.5}
    norms = pd.read_csv(project.folder / "results/tiny/summary/norms.csv")
    assert norms["source"].tolist() == [f"`norm` of {', '.join(TINY['experiments'])}"]
    assert norms[["mean", "std"]].to_numpy().tolist() == [[-5.0, 4.5]]
    project.suite["experiments"]["hop20"]["norm"] = None  # uses the statistics of its dataset
    assert project.planned()["stats"] == 1


def test_selection_and_evaluation_use_the_configured_split(project):
    project.dataset = {**DATASET, "dev_share": 0.4}
    project.suite = changed()
    project.suite["defaults"]["train"]["select"] = {"split": "dev"}
    project.suite["evaluations"]["held_out"] = {"x_name": "max_frames", "x": [64], "split": "dev"}
    project.suite["experiments"]["elastic"]["evaluations"] = ["length", "held_out"]
    (project.folder / "results/data/tiny/dev.h5").unlink()
    result = project.snakemake(f"{RUN}/metrics.csv")
    assert result.returncode == 0, result.stderr
    assert json.loads((project.folder / RUN / "run.json").read_text())["selection"]["split"] == "dev"
    clips = pd.read_csv(project.folder / RUN / "metrics.csv").groupby("evaluation")["n"].unique()
    used = pd.read_parquet(project.folder / "results/data/tiny/manifest.parquet")["split"].value_counts()
    assert used["dev"] + used["train"] == DATASET["clips"]["train"]
    assert {name: n.tolist() for name, n in clips.items()} == {"held_out": [used["dev"]], "length": [used["test"]]}


def test_editing_a_figure_redraws_that_figure(project):
    script = project.folder / "paper_figures" / "fig4_length_curves.py"
    script.write_text(script.read_text() + "\n# a remark\n")
    assert set(project.planned()) - {"figures"} == {"fig4"}


def test_one_figure_by_name(project):
    for path in (project.folder / "paper_figures" / "tiny").glob("fig[45]*"):
        path.unlink()
    assert set(project.planned("fig4")) == {"fig4"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"suite": "mimi"}, ["config/suites/mimi.yaml", "tiny", "`mini`"]),
        ({"suite": "tiny", "beside": "mimi"}, ["config/config.yaml", "beside", "'mimi'", "tiny"]),
        ({"suit": "tiny"}, ["config/config.yaml", "--config", "suit", "`suite`"]),
        ({"train_threads": 0}, ["config/config.yaml", "train_threads", 0]),
    ],
)
def test_bad_settings_are_one_clear_error(project, settings, expected):
    result = project.snakemake("-n", "all", config=settings)
    output = result.stderr + result.stdout
    assert result.returncode != 0
    assert_names(output, *expected)
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["fig6"], ["fig6", "fig5"]),
        (["all", "results/tiny/sumary/metrics.csv"], ["results/tiny/summary/metrics.csv"]),
        (["suite=mini"], ["--config suite=mini"]),
        (["results/other/summary/metrics.csv"], ["results/other/summary/metrics.csv", "'tiny'"]),
        (["results/tiny/runs/elastik/seed0/model.safetensors"], ["elastik", "elastic"]),
    ],
)
def test_an_unknown_target_is_one_clear_error(finished, targets, expected):
    result = finished.snakemake("-n", *targets)
    assert result.returncode != 0
    output = result.stderr + result.stdout
    assert_names(output, *expected)
    assert "Traceback" not in output


def test_jobs_of_a_cluster_that_ask_for_no_gpu_are_a_warning(tmp_path, programs):
    result = Project(tmp_path, programs).snakemake("--list", "--profile", "slurm", config={"suite": "paper_flexi"})
    assert result.returncode == 0, result.stderr
    assert_names(result.stderr, "'paper_flexi'", "train.precision: fp16", "--config train_gpus=1")


def test_unusable_clips_are_an_error_and_are_listed(project):
    audio = project.folder / "results/data/tiny/audio"
    clip = sorted(audio.rglob("*.wav"))[0]
    clip.write_bytes(b"")
    result = project.snakemake("--forcerun", "prepare", "--until", "prepare")
    assert result.returncode != 0
    assert_names(result.stderr, "max_rejected", "rejected.csv")
    rejected = pd.read_csv(project.folder / "results/data/tiny/rejected.csv")
    assert rejected["reason"].tolist() == ["empty"]
    assert (project.folder / RUN / "model.safetensors").is_file()
    project.dataset = {**DATASET, "max_rejected": 0.1}
    result = project.snakemake("--until", "collect_data")
    assert result.returncode == 0, result.stderr
    data = pd.read_csv(project.folder / "results/tiny/summary/data.csv")
    assert data["split"].tolist() == ["train", "test"]
    assert (data["annotated"] - data["used"]).sum() == data["empty"].sum() == 1


def test_changing_the_number_of_shards_trains_nothing(project):
    project.dataset = {**DATASET, "shards": 2}
    assert project.planned()["prepare_shard"] == 2
    result = project.snakemake("--until", "prepare")
    assert result.returncode == 0, result.stderr
    project.snakemake("all", "--touch")
    project.dataset = {**DATASET, "shards": 3}
    assert not {"prepare", "stats", "train", "evaluate"} & set(project.planned())
    project.dataset = {**DATASET, "shards": 2, "clips": {"train": 12, "test": 7}}
    jobs = project.planned()
    assert jobs["prepare"] == jobs["stats"] == 1, "other changes of the dataset do"
    assert {"train", "evaluate"} <= set(jobs)


def test_moving_the_data_root_prepares_nothing_again(project):
    (project.folder / "ids.txt").write_text((project.folder / "results/data/tiny/ids.txt").read_text())
    project.dataset = {**DATASET, "ids": "ids.txt"}
    result = project.snakemake("--until", "prepare", config={"suite": "tiny", "data_root": "."})
    assert result.returncode == 0, result.stderr
    project.snakemake("all", "--touch", config={"suite": "tiny", "data_root": "."})
    (project.folder / "moved").mkdir()
    (project.folder / "ids.txt").rename(project.folder / "moved/ids.txt")
    settings = {"suite": "tiny", "data_root": "moved"}
    result = project.snakemake("-n", "all", config=settings)
    assert "Nothing to be done" in result.stdout + result.stderr
    (project.folder / "moved/ids.txt").write_text("train_000001\n")
    result = project.snakemake("-n", "all", config=settings)
    assert "prepare" in result.stdout + result.stderr


def test_the_report_is_built(project):
    result = project.snakemake("--report", "report.html")
    assert result.returncode == 0, result.stderr
    text = (project.folder / "report.html").read_text()
    assert all(
        name in text for name in ("fig4_length_curves", "table1", "runs.csv", "norms.csv", "pairs.csv", "suite.yaml")
    )


def test_the_dry_run_does_not_import_torch(finished):
    code = (
        "import sys; from snakemake.cli import main\n"
        "try: main(['-n', 'all', '--config', 'suite=tiny', '--quiet'])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=finished.folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
