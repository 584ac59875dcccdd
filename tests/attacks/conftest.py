"""Attacks: what is damaged, exchanged, killed or full must never give a wrong number, and never a traceback.

A test run tries each attack once. ``make attacks`` (``pytest tests/attacks --attacks 1``) tries it as often as its mark
`tries` says, and prints the table of docs/reliability.md.
"""

import random
from collections import Counter
from pathlib import Path

import pytest

from elasticast.provenance import STAGES, code_digest
from tests.attacks.forked import Ended
from tests.attacks.jobs import Job, read_jobs


class Tries:
    """The tries of an attack, and how they ended.

    Parameters
    ----------
    count : int
        Number of tries.
    name : str
        Name of the test, which seeds the random numbers.
    """

    def __init__(self, count: int, name: str):
        self.count, self.name, self.outcomes = count, name, Counter()
        self.unsafe: list[str] = []

    def __iter__(self):
        """Random numbers of each try."""
        for number in range(self.count):
            yield random.Random(f"{self.name} {number}")

    def add(self, outcome: str, detail: str = "") -> None:
        """Count a try. `wrong` and `traceback` fail the test at its end, with `detail`."""
        self.outcomes[outcome] += 1
        if outcome in ("wrong", "traceback"):
            self.unsafe.append(f"{outcome}: {detail}")

    def judge(self, ended: Ended, job: Job, project: Path, reference: Path, detail: str = "") -> None:
        """Count how a job ended in `project`; what it wrote is compared with the project `reference`."""
        detail = f"{detail}\n{ended.text[-2500:]}"
        if ended.crashed:
            self.add("traceback", detail)
        elif ended.status:
            self.add("error")
        else:
            self.add("same result" if job.gives(project, reference) else "wrong", detail)

    def check(self) -> None:
        """Fail if any try gave a wrong number or a traceback."""
        assert self.outcomes or not self.count
        assert not self.unsafe, f"{len(self.unsafe)} of {self.outcomes.total()}\n" + "\n".join(self.unsafe[:10])


@pytest.fixture
def tries(request, record_property):
    """The tries of a test; see `Tries`. The outcomes are printed at the end of the test run."""
    (count,) = request.node.get_closest_marker("tries").args
    found = Tries(max(1, round(count * (request.config.getoption("attacks") or 0))), request.node.name)
    yield found
    case = request.node.callspec.id if hasattr(request.node, "callspec") else ""
    record_property("attack", (request.function.__doc__, case, dict(found.outcomes)))
    found.check()


@pytest.fixture(scope="session")
def jobs(finished):
    """All jobs of the finished project."""
    for stage in STAGES:
        code_digest(stage)  # parses the whole package; forks inherit the result
    return read_jobs(finished)


@pytest.fixture
def scratch(tmp_path) -> Path:
    """Folder for copies of the finished project."""
    return tmp_path / "project"
