"""Jobs that are killed at random moments and started again give the results of jobs that were never killed."""

import os
import shutil
import signal
import time
from pathlib import Path
from random import Random

import pytest
import yaml

from tests.attacks.forked import Command, inside
from tests.attacks.jobs import Job, content, copied, long_training
from tests.attacks.test_files import RUN, flip, job_of, truncate
from tests.workflow.conftest import Project

STEPS = 100
"""Steps of a run that is killed: enough for several checkpoints."""
MOST_STARTS = 60


def seconds_of(job: Job, project: Path) -> float:
    """Run the job to its end, for its results; returns how long it took."""
    with inside(project):
        command = Command(job.arguments, project / "attack.log")
        ended = command.wait()
    assert ended.status == 0, ended.text
    return command.seconds


def killed(job: Job, project: Path, seconds: float, kills: int, random: Random) -> str:
    """Start a job, kill it at random moments `kills` times, and let it run to its end. Returns what it printed."""
    text = ""
    with inside(project):
        for _ in range(kills):
            command = Command(job.arguments, project / "attack.log")
            command.kill_after(random.uniform(0, seconds))
            text += command.wait().text
        text += (ended := Command(job.arguments, project / "attack.log").wait()).text
    assert ended.status == 0, text
    return text


def check(job: Job, project: Path, reference: Path, text: str, tries) -> None:
    """Compare with the results of a job that was never killed."""
    if "Traceback" in text:
        tries.add("traceback", text[-2000:])
    else:
        tries.add("same result" if job.gives(project, reference) else "wrong", f"{job.rule}\n{text[-2000:]}")
    leftovers = [str(path) for output in job.outputs for path in (project / output).parent.glob(".*.part")]
    assert not leftovers


def slow_run(project: Path, **train) -> None:
    """Make the run of `elastic` long, with augmentation and workers."""
    path = project / RUN / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["train"] |= {"steps": STEPS, "checkpoint_every": 5, "log_every": 50, "mixup": 0.5, "token_dropout": 0.2}
    config["train"] |= train
    path.write_text(yaml.safe_dump(config))
    for name in ("model.safetensors", "model.json", "run.json"):
        (project / RUN / name).unlink()


@pytest.fixture(scope="module", params=[{}, {"workers": 1}], ids=["", "workers"])
def trained(request, finished, jobs, tmp_path_factory):
    """A project before a long run, the results of the run, and its duration."""
    before = copied(finished.folder, tmp_path_factory.mktemp("kills") / "before")
    slow_run(before, **request.param)
    reference = before.with_name("reference")
    shutil.copytree(before, reference, symlinks=True)
    return before, reference, seconds_of(long_training(jobs), reference)


@pytest.mark.tries(30)
def test_killed_training(trained, jobs, scratch, tries):
    """training is killed three times"""
    before, reference, seconds = trained
    for random in tries:
        project = copied(before, scratch)
        text = killed(long_training(jobs), project, seconds, 3, random)
        check(long_training(jobs), project, reference, text, tries)


@pytest.fixture(scope="module")
def stopped(trained, jobs):
    """A project whose long run was stopped after some checkpoints."""
    project = trained[0].with_name("stopped")
    shutil.copytree(trained[0], project, symlinks=True)
    saved = (project / RUN / "checkpoint").glob
    with inside(project):
        command = Command(long_training(jobs).arguments, project / "attack.log")
        command.kill_when(lambda: len(list(saved("step-*"))) > 1)
        command.wait()
    assert len(list(saved("step-*"))) > 1
    return project


@pytest.mark.tries(60)
@pytest.mark.parametrize("harm", [flip, truncate])
def test_damaged_checkpoint(harm, stopped, trained, jobs, scratch, tries):
    """the last checkpoint of a run is damaged"""
    for random in tries:
        project = copied(stopped, scratch)
        last = max((project / RUN / "checkpoint").glob("step-*"), key=lambda folder: int(folder.name[5:]))
        damage = harm(random.choice(sorted(last.iterdir())), random)
        ended = long_training(jobs).run(project)
        assert ended.status == 0, f"the checkpoint before is not used: {damage}\n{ended.text}"
        check(long_training(jobs), project, trained[1], ended.text, tries)


@pytest.mark.tries(30)
@pytest.mark.parametrize("rule", ["evaluate", "resample", "intervals", "collect_metrics", "fig4"])
def test_killed_job(rule, finished, jobs, scratch, tries):
    """a job is killed twice"""
    job = job_of(jobs, rule)
    seconds = seconds_of(job, copied(finished.folder, scratch))
    for random in tries:
        project = copied(finished.folder, scratch)
        job.clear(project)
        check(job, project, finished.folder, killed(job, project, seconds, 2, random), tries)


@pytest.mark.tries(30)
def test_killed_prepare(finished, jobs, scratch, tries):
    """preparing the dataset is killed three times"""
    job = job_of(jobs, "prepare")
    for random in tries:
        project = copied(finished.folder, scratch)
        shutil.rmtree(project / "results/data")
        check(job, project, finished.folder, killed(job, project, 3.0, 3, random), tries)


@pytest.mark.tries(10)
def test_killed_snakemake(request, finished, scratch, tries):
    """Snakemake is killed twice with all its jobs, unlocked and started again"""
    if not request.config.getoption("attacks"):
        tries.count = 0
        pytest.skip("takes minutes; only with --attacks")
    for random in tries:
        copy = Project.__new__(Project)
        copy.folder, copy.programs = copied(finished.folder, scratch), finished.programs
        copy.suite, copy.dataset = finished.suite, finished.dataset
        shutil.rmtree(copy.folder / "results")
        for _ in range(2):
            process = copy.start("all", session=True)
            time.sleep(random.uniform(1, 30))
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            copy.snakemake("--unlock", "all")
        result = copy.snakemake("all", "--rerun-incomplete", "--cores", "2")
        assert result.returncode == 0, result.stderr[-3000:]
        files = [p.relative_to(finished.folder) for p in finished.folder.glob("results/tiny/summary/*.csv")]
        files += [p.relative_to(finished.folder) for p in finished.folder.glob("results/tiny/runs/*/*/*.safetensors")]
        same = all(content(copy.folder / file) == content(finished.folder / file) for file in files)
        tries.add("same result" if same else "wrong")
