"""`snakemake audits`: the suite's own runs by default, or the encoders in the setting."""

from elasticast.checksums import read_record
from tests.complaints import assert_names
from tests.workflow.conftest import TINY


def test_by_default_the_first_run_of_every_experiment_is_audited_and_nothing_is_trained(finished):
    assert set(finished.planned("audits")) == {"audits"}
    result = finished.snakemake("-n", "audits")
    assert_names(result.stdout, *(f"results/tiny/runs/{name}/seed0" for name in TINY["experiments"]))


def test_an_experiment_that_does_not_exist_is_named(finished):
    result = finished.snakemake("-n", "audits", config={"suite": "tiny", "audits": ["run:nothing"]})
    assert result.returncode
    assert_names(result.stdout + result.stderr, "config/config.yaml", "audits", "run:nothing", "run:elastic")


def test_a_listed_run_is_audited(project):
    result = project.snakemake("audits", config={"suite": "tiny", "audits": ["run:elastic"]})
    assert result.returncode == 0, result.stderr
    record = read_record(project.folder / "results/tiny/audits/audit.json", "")
    assert [encoder["card"]["name"] for encoder in record["encoders"]] == ["elastic/seed0"]
    assert set(project.planned("audits", config={"suite": "tiny", "audits": ["run:elastic"]})) == set()
