import pytest

from elasticast.config import RunConfig
from elasticast.config.reading import deep_merge
from tests.workflow.conftest import Project

ELASTIC = {"kind": "elasticast", "dim": 32, "depth": 2, "heads": 2, "max_frames": 256}
FIXED = {"kind": "ast", "dim": 32, "depth": 2, "heads": 2}


def make_config(**difference) -> RunConfig:
    """A tiny run; `difference` is laid over it."""
    base = {
        "experiment": "tiny",
        "seed": 0,
        "dataset": "soundscapes",
        "task": "events",
        "view": {"frames": "native", "max_frames": 256},
        "model": ELASTIC,
        "train": {"steps": 4, "batch": {"clips": 4}, "lr": 1.0e-3, "log_every": 1, "checkpoint_every": 2},
    }
    if difference.get("model", {}).get("kind") == "ast":
        base["model"], base["view"]["frames"] = FIXED, 64
    return RunConfig.model_validate(deep_merge(base, difference))


@pytest.fixture(scope="session")
def tiny():
    return make_config


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The tiny suite, run from nothing to figures."""
    project = Project(tmp_path_factory.mktemp("finished"))
    done = project.snakemake("all", "--cores", "all")
    assert done.returncode == 0, done.stderr[-4000:]
    return project


def pytest_terminal_summary(terminalreporter):
    """Largest error of each comparison with an independent implementation."""
    rows = [v for r in terminalreporter.getreports("passed") for k, v in r.user_properties if k == "equality"]
    if rows:
        terminalreporter.section("equality, float32: largest error (of values up to)")
    for what, error, size in rows:
        terminalreporter.line(f"{error:.1e} ({size:.2g})  {what}")
