"""What a suite cost, from the benchmark files of its jobs."""

import math

import pandas as pd
import pytest

from elasticast.errors import DataError
from elasticast.published.costs import (
    CORE_HOUR,
    GPU_HOUR,
    by_stage,
    core_minutes,
    describe,
    dollars,
    job_table,
    read_jobs,
)
from tests.complaints import complains


def test_every_job_of_the_suite_has_a_row(finished, suite):
    jobs = job_table(suite, finished.parent)
    runs = len(suite.runs) * len(suite.seeds)
    assert jobs["job"].value_counts().to_dict() == {"train": runs, "evaluate": runs, "prepare": 1, "stats": 1}
    trained = jobs[jobs["job"] == "train"]
    assert set(trained["processor"]) == {"Some CPU"}
    assert trained["weights_sha256"].nunique() == runs
    assert trained["cpu_seconds"].notna().sum() == len(suite.runs)  # the other seed has no benchmark file


def test_core_minutes_are_those_of_the_jobs_that_were_measured(finished, suite):
    jobs = job_table(suite, finished.parent)
    assert core_minutes(jobs) == pytest.approx(2 * len(suite.runs) * 12 / 60)
    assert f"{jobs['cpu_seconds'].isna().sum()} of {len(jobs)} jobs" in describe(jobs)
    assert "Some CPU" in describe(jobs)


def test_nothing_was_measured(finished, suite):
    for path in (finished / "benchmarks").iterdir():
        path.unlink()
    assert "core-minutes" not in describe(job_table(suite, finished.parent))


def test_shares_of_a_dataset_are_its_own(finished, suite):
    folder = finished.parent / "data/benchmarks"
    folder.mkdir(parents=True)
    for name in (
        "prepare_toy",
        "prepare_toy_1-of-2",
        "prepare_toy_2-of-2",
        "prepare_toy_noisy",
        "prepare_toy_noisy_1-of-2",
    ):
        (folder / f"{name}.tsv").write_text("s\tmax_rss\tcpu_time\n1.0\t10\t1.0\n")
    jobs = job_table(suite, finished.parent)
    assert (jobs["job"] == "prepare").sum() == 3


def test_a_run_that_does_not_exist_has_no_row(finished, suite):
    (finished / "runs/ast64/seed1/run.json").unlink()
    jobs = job_table(suite, finished.parent)
    assert (jobs["job"] == "train").sum() == len(suite.runs) * 2 - 1


def test_dollars_are_core_time_or_gpu_time_at_the_stated_prices():
    jobs = pd.DataFrame({"device": [None, "cpu", "NVIDIA H200", "cpu"], "seconds": [3600.0, 7200, 1800, math.nan]})
    jobs["cpu_seconds"] = [3600.0, 3600, 36000, math.nan]
    assert dollars(jobs) == pytest.approx(2 * CORE_HOUR + GPU_HOUR / 2)
    assert math.isnan(dollars(jobs.iloc[3:]))


def test_processor_time_by_stage_by_hand():
    jobs = pd.DataFrame(
        {
            "job": ["prepare", "train", "train", "evaluate"],
            "seconds": [1.0, 10.0, 20.0, math.nan],
            "cpu_seconds": [2.0, 8.0, 30.0, math.nan],
            "peak_mib": [5.0, 7.0, 6.0, math.nan],
        }
    )
    table = by_stage(jobs, {"prepare": 0.5, "train": 2.0, "evaluate": 1.0}).set_index("job")
    assert table["jobs"].to_dict() == {"prepare": 1, "train": 2, "evaluate": 1}
    assert table["measured"].to_dict() == {"prepare": 1, "train": 2, "evaluate": 0}
    assert table.loc["train", ["seconds", "cpu_seconds", "import_seconds", "peak_mib"]].tolist() == [30, 38, 4, 7]
    assert table["share"].tolist() == pytest.approx([2 / 40, 38 / 40, 0])


def test_a_table_that_is_not_one_of_jobs_is_named(tmp_path):
    path = tmp_path / "metrics.csv"
    with complains(DataError, path):
        read_jobs(path)
    path.write_text("job,score\ntrain,1\n")
    with complains(DataError, path, "dataset"):
        read_jobs(path)
