import functools
import os
import signal
from pathlib import Path

# one thread per process, also in processes that tests start, because tests run in parallel
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from elasticast.config import RunConfig
from elasticast.config.reading import deep_merge
from tests.fuzz import tries
from tests.workflow.conftest import HOSTILE_FOLDER, Project
from tests.workflow.preloaded import preloaded

# no deadline: it would depend on what else this machine does
hypothesis.settings.register_profile("project", deadline=None, max_examples=tries(60), derandomize=True)
hypothesis.settings.load_profile("project")

ELASTIC = {"kind": "elasticast", "dim": 32, "depth": 2, "heads": 2, "max_frames": 256}
CNN = {"kind": "cnn", "width": 8, "stages": 2}
AUM = {"kind": "aum", "dim": 32, "depth": 2, "d_state": 4}
FIXED = {"kind": "ast", "dim": 32, "depth": 2, "heads": 2}


def make_config(**difference) -> RunConfig:
    """Settings of a tiny run, with `difference` merged into them."""
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
    if (kind := difference.get("model", {}).get("kind")) in ("aum", "cnn"):
        base["model"] = {"aum": AUM, "cnn": CNN}[kind]
    return RunConfig.model_validate(deep_merge(base, difference))


@pytest.fixture(scope="session")
def tiny():
    return make_config


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """A folder with a `python` for `Project` whose commands share their imports."""
    with preloaded(tmp_path_factory.mktemp("preloaded")) as folder:
        yield folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory, programs):
    """A project in which the tiny suite has run completely, from raw audio to figures, in a folder with an odd name."""
    folder = tmp_path_factory.mktemp("finished") / HOSTILE_FOLDER
    folder.mkdir()
    project = Project(folder, programs)
    result = project.snakemake("all", "--cores", "all")
    assert result.returncode == 0, result.stderr[-4000:]
    return project


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
HANDLERS = {number: signal.getsignal(number) for number in SIGNALS}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    """Restore signal handlers after each test: training sets some, and processes inherit signals that are ignored."""
    result = yield
    for number, handler in HANDLERS.items():
        signal.signal(number, handler)
    return result


def pytest_addoption(parser):
    share = "share of the tries of each attack that its mark gives; default: one try"
    parser.addoption("--attacks", type=float, metavar="SHARE", help=share)


MOST_WORKERS = 8
"""Each worker imports torch, and so does the server of `programs`: together, they need about 1 GB of memory."""


def pytest_xdist_auto_num_workers(config):
    """One worker per core, or no workers if tests are named one by one or `-s` is given."""
    cores = len(os.sched_getaffinity(0))
    if cores == 1 or config.option.capture == "no" or all("::" in argument for argument in config.args):
        return 0
    return min(cores, MOST_WORKERS)


class Groups(LoadScopeScheduling):
    """Scheduler that runs tests which share an expensive fixture in one worker, and all other tests one by one.

    Groups of tests come first, the largest group first. `--dist loadgroup` of pytest-xdist 3.8 is not used, because it
    does not recognise groups with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return _group(self.config.rootpath / file) or nodeid


@functools.cache
def _group(file: Path) -> str | None:
    """Name of the group of a file's tests. None if each test can run in any worker."""
    if file.parent.name == "slurm":
        return "slurm"  # these tests share one cluster and count the jobs on it
    if 'scope="module"' in file.read_text():
        return str(file)
    return "finished" if file.parent.name in ("workflow", "attacks") else None


def pytest_xdist_make_scheduler(config, log):
    return Groups(config, log) if config.option.dist == "load" else None


def pytest_terminal_summary(terminalreporter):
    """Print the largest error of each comparison with an independent implementation."""
    rows = [v for r in terminalreporter.getreports("passed") for k, v in r.user_properties if k == "equality"]
    if rows:
        terminalreporter.section("equality, float32: largest error (of values up to)")
    for what, error, size in rows:
        terminalreporter.line(f"{error:.1e} ({size:.2g})  {what}")
    attacks = [v for r in _ended(terminalreporter) for k, v in r.user_properties if k == "attack"]
    if attacks:
        terminalreporter.section("attacks: tries and how they ended")
    for attack, case, outcomes in attacks:
        ended = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        terminalreporter.line(f"| {attack} | {case} | {sum(outcomes.values())} | {ended} |")


def _ended(terminalreporter):
    """Reports of the last phase of each test: properties recorded in fixtures are only complete there."""
    reports = [r for found in terminalreporter.stats.values() for r in found]
    return [r for r in reports if getattr(r, "when", "") == "teardown"]
