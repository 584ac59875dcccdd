"""`elasticast verify` says what agrees, what differs and what could not be checked."""

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from elasticast.checksums import write_record
from elasticast.cli import app
from elasticast.errors import ConfigError, DataError
from elasticast.evaluation.records import write_table
from elasticast.published import checks, repeat
from elasticast.published.checks import AGREES, DIFFERS, NOT_CHECKED
from elasticast.published.layout import FIGURES, JOBS, RECORD, read_published
from elasticast.published.repeat import TOLERANCE, choose, compare
from elasticast.published.verify import verify
from elasticast.reporting.comparison import comparison_table
from elasticast.reporting.comparison import write_table as write_table1
from tests.complaints import assert_names, complains
from tests.records import rewrite_record

RUN = "elastic/seed1"


def outcomes(folder, **options) -> dict[str, str]:
    return {finding.what: finding.outcome for finding in verify(folder, None, None, **options)}


def details(folder) -> dict[str, str]:
    return {finding.what: finding.detail for finding in verify(folder, None, None)}


def test_what_there_is_agrees(published):
    found = outcomes(published)
    assert found["files"] == found["settings"] == found["means"] == AGREES
    assert found["data toy"] == found["figures"] == NOT_CHECKED
    assert DIFFERS not in found.values()


def test_results_are_checked_like_published_ones(finished):
    found = outcomes(finished)
    assert found["files"] == found["means"] == AGREES
    assert not (finished.parents[1] / "docs").exists()


@pytest.mark.parametrize("name", ["metrics.csv", "suite.yaml", "jobs.csv"])
def test_a_file_was_edited(published, name):
    (published / name).write_text((published / name).read_text() + "\n")
    assert outcomes(published) == {"files": DIFFERS}
    assert name in details(published)["files"]


def test_a_folder_without_results(tmp_path):
    assert outcomes(tmp_path) == {"files": DIFFERS}


def test_an_absent_folder_is_an_error_that_names_the_published_ones(published):
    absent = published.with_name(f"{published.name}s")
    with complains(DataError, absent.name, "no such folder", f"`{published.name}`"):
        outcomes(absent)


def test_the_suite_changed(published, finished):
    path = finished.parents[1] / "config/suites/toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["experiments"]["ast64"]["view"] = {"frames": 80}
    raw["experiments"]["added"] = {"base": "ast64"}
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    assert outcomes(published)["settings"] == DIFFERS
    assert all(name in details(published)["settings"] for name in ("ast64", "added"))
    assert "ast128" not in details(published)["settings"]


def test_a_label_is_no_setting_of_a_run(published, finished):
    path = finished.parents[1] / "config/suites/toy_suite.yaml"
    path.write_text(path.read_text().replace("AST 64", "AST, short"))
    assert outcomes(published)["settings"] == AGREES


def test_there_is_no_such_suite_here(published, finished):
    (finished.parents[1] / "config/suites/toy_suite.yaml").unlink()
    assert outcomes(published)["settings"] == NOT_CHECKED


def test_code_that_changed_is_no_fault(published, monkeypatch):
    assert outcomes(published)["code of train"] == NOT_CHECKED
    monkeypatch.setattr(checks, "_code", lambda *_: "c0de")
    assert outcomes(published)["code of train"] == outcomes(published)["code of evaluate"] == AGREES


@pytest.mark.parametrize(("sha256", "outcome"), [("d" * 64, AGREES), ("e" * 64, DIFFERS)])
def test_prepared_data_are_compared(published, finished, sha256, outcome):
    folder = finished.parent / "data/toy"
    folder.mkdir(parents=True)
    write_record(folder / "summary.json", {"sha256": sha256})
    assert outcomes(published)["data toy"] == outcome


def test_means_are_those_of_the_metrics(published):
    table = pd.read_csv(published / "intervals.csv")
    table.loc[2, ["low", "value"]] -= 0.004
    write_table(published / "intervals.csv", table, {})
    rewrite_record(published / RECORD)
    assert outcomes(published)["means"] == DIFFERS


def test_table_1_follows_from_the_metrics(published):
    read = read_published(published)
    write_table1(comparison_table(read.suite, read.metrics), published / FIGURES / "table1")
    assert outcomes(published)["table 1"] == AGREES
    path = published / FIGURES / "table1.csv"
    path.write_text(path.read_text().replace("0.5", "0.6", 1))
    assert outcomes(published)["table 1"] == DIFFERS


# ---- repeating a run


def repeated(published, shift=0.0):
    """The published scores of a run, as a repetition would write them, plus `shift`."""
    table = published.metrics
    rows = table[(table["experiment"] == "elastic") & (table["seed"] == 1)]
    rows = rows[["evaluation", "x", "metric", "value"]].reset_index(drop=True)
    return rows.assign(value=rows["value"] + shift)


@pytest.fixture
def read(published):
    return read_published(published)


@pytest.fixture
def same(monkeypatch):
    """The code, the machine and PyTorch are those of the published run."""
    monkeypatch.setattr(repeat, "_changed", lambda *_: [])


@pytest.fixture
def another(monkeypatch):
    """Another kind of CPU."""
    monkeypatch.setattr(repeat, "_changed", lambda *_: ["processor"])


@pytest.mark.parametrize("what", ["evaluation", "training"])
def test_equal_scores_agree(read, what):
    finding, table = compare(read, what, choose(read, what, RUN), repeated(read))
    assert finding.outcome == AGREES
    assert (table["difference"] == 0).all()
    assert RUN in finding.what


@pytest.mark.parametrize("what", ["evaluation", "training"])
def test_on_the_same_kind_of_machine_a_last_digit_differs(read, same, what):
    finding, _ = compare(read, what, choose(read, what, RUN), repeated(read, 1e-9))
    assert finding.outcome == DIFFERS


def test_on_another_machine_a_training_is_within_the_interval(read, another):
    """The scores of seed 1 are 1 point above the mean, the intervals 2 points wide on each side."""
    job = choose(read, "training", RUN)
    assert compare(read, "training", job, repeated(read, 0.009))[0].outcome == AGREES
    finding, table = compare(read, "training", job, repeated(read, 0.011))
    assert finding.outcome == DIFFERS
    assert "processor" in finding.detail
    assert table["difference"].max() == pytest.approx(1.1)


@pytest.mark.parametrize(("shift", "outcome"), [(0.9, AGREES), (1.1, DIFFERS)])
def test_on_another_machine_an_evaluation_is_closer(read, another, shift, outcome):
    finding, _ = compare(read, "evaluation", choose(read, "evaluation", RUN), repeated(read, shift * TOLERANCE / 100))
    assert finding.outcome == outcome


def test_only_the_main_metric_has_a_tolerance(read, another):
    scores = repeated(read)
    scores.loc[scores["metric"] == "AUC", "value"] -= 0.5
    finding, _ = compare(read, "training", choose(read, "training", RUN), scores)
    assert finding.outcome == AGREES


def test_a_point_that_is_missing_differs(read, another):
    finding, _ = compare(read, "training", choose(read, "training", RUN), repeated(read).iloc[2:])
    assert finding.outcome == DIFFERS


def test_the_cheapest_run_is_the_default(read):
    jobs = read.jobs
    jobs.loc[(jobs["job"] == "train") & (jobs["experiment"] == "hop20") & (jobs["seed"] == 0), "cpu_seconds"] = 1.0
    jobs.to_csv(read.folder / JOBS, index=False)
    assert choose(read, "training", None).name == "hop20/seed0"


def test_no_such_run(read):
    with complains(ConfigError, "--run", "elastic/seed7", "elastic/seed1"):
        choose(read, "training", "elastic/seed7")


def test_what_is_missing_for_a_repetition_is_named(published):
    (*_, finding) = verify(published, None, "evaluation", RUN)
    assert finding.outcome == NOT_CHECKED
    assert "results/data/toy" in finding.detail


@pytest.mark.parametrize("name", ["run.json", "model.safetensors"])
def test_weights_are_not_published(published, finished, name):
    folder = finished.parent / "data/toy"
    folder.mkdir(parents=True)
    write_record(folder / "summary.json", {"sha256": "d" * 64})
    (folder / "test.h5").touch()
    (finished / f"runs/{RUN}/{name}").unlink(missing_ok=True)
    (*_, finding) = verify(published, None, "evaluation", RUN)
    assert finding.outcome == NOT_CHECKED
    assert RUN in finding.detail


@pytest.mark.parametrize(("repeat", "stores"), [("evaluation", ["test.h5"]), ("training", ["test.h5", "train.h5"])])
def test_an_archive_has_records_of_data_and_no_clips(published, finished, repeat, stores):
    folder = finished.parent / "data/toy"
    folder.mkdir(parents=True)
    write_record(folder / "summary.json", {"sha256": "d" * 64})
    (*_, finding) = verify(published, None, repeat, RUN)
    assert finding.outcome == NOT_CHECKED
    assert_names(finding.detail, "results/data/toy", *stores, "elasticast prepare")


def test_the_exit_status_says_whether_anything_differs(published):
    agrees = CliRunner().invoke(app, ["verify", str(published), "--repeat", "nothing"])
    (published / "runs.csv").write_text("")
    differs = CliRunner().invoke(app, ["verify", str(published), "--repeat", "nothing"])
    assert (agrees.exit_code, differs.exit_code) == (0, 1)
    assert "runs.csv" in differs.output


def test_a_table_that_is_no_text_differs(published):
    folder = published / FIGURES
    folder.mkdir()
    (folder / "table1.csv").write_bytes(b"\xc1\xff")
    assert outcomes(published)["table 1"] == DIFFERS
