"""Files that a later job reads: flipped bits, truncation, edited digits, and files of another run in their place."""

import re
import shutil
from pathlib import Path
from random import Random

import pytest

from tests.attacks.jobs import Job, copied

RUN = "results/tiny/runs/elastic/seed0"
DATA = "results/data/tiny"
SUMMARY = "results/tiny/summary"
READERS = {
    f"{DATA}/parts/train-*.h5": ["train"],
    f"{DATA}/parts/test-*.h5": ["evaluate"],
    f"{DATA}/train.h5": ["stats", "train"],
    f"{DATA}/test.h5": ["evaluate"],
    f"{DATA}/manifest.parquet": ["train", "evaluate"],
    f"{DATA}/classes.json": ["train", "evaluate"],
    f"{DATA}/summary.json": ["evaluate", "collect_data"],
    f"{DATA}/summary.csv": ["collect_data"],
    f"{DATA}/norm-*.json": ["train", "collect_norms"],
    f"{RUN}/config.yaml": ["train"],
    f"{RUN}/model.safetensors": ["evaluate"],
    f"{RUN}/model.json": ["evaluate"],
    f"{RUN}/run.json": ["evaluate", "collect_runs", "collect_history"],
    f"{RUN}/sweeps.yaml": ["evaluate"],
    f"{RUN}/metrics.csv": ["collect_metrics"],
    f"{RUN}/evaluation.json": ["collect_metrics", "resample"],
    f"{RUN}/predictions.h5": ["resample"],
    "results/tiny/runs/elastic/resampled.*": ["intervals"],
    f"{SUMMARY}/metrics.*": ["table1", "fig4"],
    f"{SUMMARY}/intervals.*": ["fig4"],
    f"{SUMMARY}/runs.*": ["overview"],
    f"{SUMMARY}/history.*": ["overview"],
    f"{SUMMARY}/suite.yaml": ["table1", "fig4"],
}
"""Files, and the rules of the jobs that read them."""
TEXT = {".json", ".csv", ".yaml"}


def flip(path: Path, random: Random) -> str:
    """Flip a bit."""
    data = bytearray(path.read_bytes())
    position, bit = random.randrange(len(data)), random.randrange(8)
    data[position] ^= 1 << bit
    path.write_bytes(bytes(data))
    return f"{path}: bit {bit} of byte {position}"


def truncate(path: Path, random: Random) -> str:
    """Cut the end off."""
    size = random.randrange(path.stat().st_size)
    path.write_bytes(path.read_bytes()[:size])
    return f"{path}: the first {size} bytes"


def edit(path: Path, random: Random) -> str:
    """Change a digit of a text file, or a letter if it has no digits."""
    text = path.read_text()
    digit = random.choice(list(re.finditer(r"\d", text)) or list(re.finditer(r"[a-z]", text)))
    other = random.choice([d for d in ("0123456789" if digit[0].isdigit() else "abcdefg") if d != digit[0]])
    path.write_text(f"{text[: digit.start()]}{other}{text[digit.end() :]}")
    return f"{path}: {digit[0]} at {digit.start()} is now {other}"


def job_of(jobs: list[Job], rule: str) -> Job:
    """The job of a rule; of those of all experiments, the one of `elastic`."""
    found = [job for job in jobs if job.rule == rule]
    return next((job for job in found if any("/elastic/" in output for output in job.outputs)), found[0])


def attack(project: Path, finished: Path, job: Job, damage: str, tries) -> None:
    """Run a job that reads a damaged file, and count how that ended."""
    for output in job.outputs:
        if not damage.startswith(str(project / output)):
            (project / output).unlink(missing_ok=True)
    tries.judge(job.run(project), job, project, finished, f"{damage}; {job.rule}")


def damaged(pattern: str, harm, finished, jobs, scratch, tries) -> None:
    for random in tries:
        for rule in READERS[pattern]:
            files = sorted(copied(finished.folder, scratch).glob(pattern))
            attack(scratch, finished.folder, job_of(jobs, rule), harm(random.choice(files), random), tries)


@pytest.mark.tries(100)
@pytest.mark.parametrize("pattern", READERS)
def test_a_flipped_bit(pattern, finished, jobs, scratch, tries):
    """a bit is flipped"""
    damaged(pattern, flip, finished, jobs, scratch, tries)


@pytest.mark.tries(30)
@pytest.mark.parametrize("pattern", READERS)
def test_a_truncated_file(pattern, finished, jobs, scratch, tries):
    """the end is cut off"""
    damaged(pattern, truncate, finished, jobs, scratch, tries)


@pytest.mark.tries(50)
@pytest.mark.parametrize("pattern", [p for p in READERS if Path(p).suffix in TEXT])
def test_an_edited_digit(pattern, finished, jobs, scratch, tries):
    """a digit is changed"""
    damaged(pattern, edit, finished, jobs, scratch, tries)


@pytest.mark.tries(1)
@pytest.mark.parametrize("pattern", [p for p in READERS if p.startswith("results/tiny/runs")])
def test_a_file_of_another_run(pattern, finished, jobs, scratch, tries):
    """the file of another experiment is in its place"""
    for _ in tries:
        for other in ("ast64", "hop20", "elastic_resolution"):
            for rule in READERS[pattern]:
                copied(finished.folder, scratch)
                for path in scratch.glob(pattern):
                    shutil.copy(str(path).replace("/elastic/", f"/{other}/"), path)
                attack(scratch, finished.folder, job_of(jobs, rule), f"{pattern} of {other}", tries)
