"""Full disks, too little memory, and long runs."""

import contextlib
import copy
import os
import re
import resource
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from elasticast.config import RunConfig, deciding, digest
from elasticast.config.load_suite import load_suite
from elasticast.data.packing import pack, pack_clip
from elasticast.models import build_model
from tests.attacks.forked import SECONDS
from tests.attacks.jobs import copied, long_training
from tests.attacks.test_files import RUN, job_of
from tests.unit.inference.test_inference import trained
from tests.workflow.conftest import TINY, Project

STAGES = ("prepare", "stats", "train", "evaluate", "resample", "intervals", "collect_metrics", "table1", "fig4")


def is_root() -> bool:
    return os.geteuid() == 0


def limit_memory(more: int) -> None:
    """Let this process use `more` bytes of address space than now, and no more."""
    resource.setrlimit(resource.RLIMIT_AS, (memory()[0] + more,) * 2)


def memory() -> list[int]:
    """Address space and resident memory of this process in bytes."""
    pages = Path("/proc/self/statm").read_text().split()
    return [int(count) * resource.getpagesize() for count in pages[:2]]


@contextlib.contextmanager
def small_disk(folder: Path):
    """A disk of 64 MB at `folder`."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def project_before(job, finished, scratch) -> Path:
    """A copy of the finished project without the outputs of a job."""
    project = copied(finished.folder, scratch / "project")
    job.clear(project)
    if job.rule == "prepare":
        shutil.rmtree(project / "results/data")
    return project


def space_needed(job, finished, scratch, log) -> int:
    """Bytes that a job adds to a disk."""
    with small_disk(scratch):
        project = project_before(job, finished, scratch)
        before = shutil.disk_usage(scratch).used
        ended = job.run(project, log=log)
        assert ended.status == 0, ended.text
        return shutil.disk_usage(scratch).used - before


@pytest.mark.skipif(not is_root(), reason="mounting a small disk needs root")
@pytest.mark.tries(12)
@pytest.mark.parametrize("rule", STAGES)
def test_a_full_disk(rule, finished, jobs, scratch, tmp_path, tries):
    """the disk is full: one message that names a file, and the results after space is free again"""
    job = job_of(jobs, rule)
    needed = space_needed(job, finished, scratch, tmp_path / "log")
    for random in tries:
        with small_disk(scratch):
            project = project_before(job, finished, scratch)
            ballast = scratch / "ballast"
            with ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(scratch).free - random.randrange(needed))
            ended = job.run(project, log=tmp_path / "log")
            ballast.unlink()
            if ended.crashed or ended.status < 0 or (ended.status and not re.search(r"/|standard output", ended.text)):
                tries.add("traceback", ended.text[-3000:])
            elif ended.status:
                again = job.run(project)
                assert again.status == 0, again.text
            if job.gives(project, finished.folder):
                tries.add("error, then same result" if ended.status else "same result")
            else:
                tries.add("wrong", ended.text[-2000:])


@pytest.mark.tries(10)
@pytest.mark.parametrize("rule", STAGES)
def test_too_little_memory(rule, finished, jobs, tmp_path, tries):
    """less memory than the job needs: one message that names the job, and the results with more memory"""
    job = job_of(jobs, rule)
    for random in tries:
        project = project_before(job, finished, tmp_path)
        more = int(2 ** random.uniform(16, 28))  # with 2**28 bytes, most jobs come to their end
        ended = job.run(project, partial(limit_memory, more))
        if ended.crashed or (ended.status and not re.search(r"error: .*memory", ended.text)):
            tries.add("traceback", f"{rule} with {more} bytes more, status {ended.status}\n{ended.text[-2500:]}")
            continue
        outcome = "same result"
        if ended.status:
            outcome = f"{'error' if ended.status > 0 else 'crash with a message'}, then same result"
            again = job.run(project)
            assert again.status == 0, again.text
        tries.add(outcome if job.gives(project, finished.folder) else "wrong", ended.text[-2000:])


@pytest.mark.tries(20)
@pytest.mark.parametrize("positions", ["table", "fractional", "rotary"])
def test_ragged_batches(positions, tries, tiny):
    """packed clips of any length and resolution equal one clip at a time; each try has 170 batches"""
    config: RunConfig = tiny(model={"positions": positions})
    torch.manual_seed(0)
    model = build_model(config, 7).eval()
    for random in tries:
        for _ in range(170):
            clips = []
            for index in range(random.randint(1, 12)):
                time = random.randint(1, 16)
                clips.append(pack_clip(index, torch.randn(128, 16 * time), torch.zeros(7), config.model))
            with torch.inference_mode():
                together = model(pack(clips))
                alone = torch.cat([model(pack([clip])) for clip in clips])
            torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-5)
        tries.add("same result")


@pytest.mark.slow
@pytest.mark.tries(24)
def test_a_long_stream(tries, tiny, tmp_path):
    """an hour of noise per try, as one stream in chunks that attend to earlier ones: memory stays as it is"""
    model = {"positions": "rotary", "depth": 1, "dim": 16, "heads": 1, "context": {"chunk": 16, "past": 32}}
    classifier = trained(tmp_path, tiny(model=model, view={"max_frames": 1024}, front_end={"mel_bins": 16}))
    second = 0.1 * torch.randn(16000).clamp(-5, 5)
    stream = classifier.stream((second for _ in range(3600 * tries.count)), sample_rate=16000)
    used = [memory()[1] for number, _ in enumerate(stream) if number % 100 == 0]  # a longer list would need memory
    assert stream.seconds == 3600 * tries.count
    settled = used[len(used) // 8 :]
    assert max(settled[-5:]) <= min(settled[:5]) + (4 << 20)
    for _ in tries:
        tries.add("memory flat")


@pytest.mark.tries(20)
def test_a_long_run(finished, jobs, scratch, tries):
    """1,000 steps per try: memory and open files stay as they are"""
    project = copied(finished.folder, scratch)
    path = project / RUN / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["train"] |= {"steps": 1000 * tries.count, "checkpoint_every": 500, "log_every": 100, "workers": 0}
    config["train"] |= {"mixup": 0.5, "token_dropout": 0.2, "batch": {"clips": 4}}
    path.write_text(yaml.safe_dump(config))
    (project / RUN / "model.safetensors").unlink()
    log = project / "resources.log"
    ended = long_training(jobs).run(project, lambda: _watch(log), seconds=SECONDS * tries.count)
    assert ended.status == 0, ended.text
    rows = [tuple(map(int, line.split())) for line in log.read_text().splitlines()]
    settled = rows[len(rows) // 4 :]
    for value, (name, allowed) in enumerate((("memory", 8 << 20), ("open files", 2))):
        first, last = settled[0][value], settled[-1][value]
        assert last <= first + allowed, f"{name}: {first} after a quarter of the steps, {last} at the end"
    for _ in tries:
        tries.add("memory and handles flat")


@pytest.mark.tries(50)
def test_a_large_suite(scratch, programs, tries):
    """A suite of 100 experiments per try: each is planned once, with the settings of its own"""
    scratch.mkdir()
    project, count = Project(scratch, programs), 100 * tries.count
    project.suite = copy.deepcopy(TINY)
    for number in range(count - len(TINY["experiments"])):
        added = {"base": "elastic", "label": f"Model {number}", "train": {"lr": 0.01 + 1.0e-6 * number}}
        project.suite["experiments"][f"model{number}"] = added
    jobs = project.planned("all")
    assert (jobs["configure"], jobs["train"], jobs["evaluate"], jobs["resample"]) == (count,) * 4
    runs = load_suite("tiny", scratch / "config").runs
    assert len({digest(deciding(run)) for run in runs.values()}) == count
    for _ in tries:
        tries.add("planned")


def _watch(log) -> None:
    """Write memory in bytes and open files to `log` at every checkpoint."""
    from elasticast.training.loop import Trainer

    save = Trainer._save

    def watched(self):
        save(self)
        with log.open("a") as file:
            file.write(f"{memory()[1]} {len(os.listdir('/proc/self/fd'))}\n")

    Trainer._save = watched
