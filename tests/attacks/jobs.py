"""The jobs of the tiny suite: the commands that Snakemake runs, and what they read and write."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd

from tests.attacks.forked import Ended, elasticast, inside
from tests.workflow.conftest import Project

LAUNCH = ["-m", "elasticast.jobs.launch", "--gpus", "0", "--nodes", "1"]


class Job(NamedTuple):
    """A job of the workflow.

    Attributes
    ----------
    rule : str
        Name of its rule.
    arguments : list of str
        Arguments of `elasticast`, or path and arguments of a script.
    outputs : list of str
        Files that it writes, relative to the project.
    """

    rule: str
    arguments: list[str]
    outputs: list[str]

    def run(self, folder: Path, prepare: Callable[[], object] | None = None, **options: Any) -> Ended:
        """Run the job in the project `folder`; see `tests.attacks.forked.elasticast`."""
        with inside(folder):
            return elasticast(*self.arguments, prepare=prepare, **{"log": folder / "attack.log", **options})

    def clear(self, folder: Path) -> None:
        """Delete its outputs in the project `folder`."""
        for output in self.outputs:
            (folder / output).unlink(missing_ok=True)

    def gives(self, folder: Path, reference: Path) -> bool:
        """Whether its outputs in the project `folder` hold the same as those in `reference`."""
        return all(content(folder / output) == content(reference / output) for output in self.outputs)


def long_training(jobs: list[Job]) -> Job:
    """The training of `elastic`, with the settings in its config.yaml only: a test changes them."""
    job = next(job for job in jobs if job.rule == "train" and any("/elastic/" in output for output in job.outputs))
    place = job.arguments.index("--also")
    return job._replace(arguments=job.arguments[:place] + job.arguments[place + 2 :])


def read_jobs(project: Project) -> list[Job]:
    """All jobs of the suite, as Snakemake lists them: one line per output."""
    result = project.snakemake("--dry-run", "--detailed-summary", "all")
    assert result.returncode == 0, result.stderr
    rows = [line.split("\t") for line in result.stdout.splitlines() if line.count("\t") >= 6]
    outputs: dict[tuple[str, str], list[str]] = {}
    for output, _, rule, _, _, command, *_ in rows[1:]:
        outputs.setdefault((rule, command), []).append(output)
    return [Job(rule, _arguments(command), files) for (rule, command), files in outputs.items() if command]


def _arguments(command: str) -> list[str]:
    words = shlex.split(re.split(r" 2>&1 | 2> ", command)[0])
    assert words.pop(0) == "python"
    if words[: len(LAUNCH)] == LAUNCH:
        return words[len(LAUNCH) :]
    return words[2:] if words[:2] == ["-m", "elasticast"] else words


def content(path: Path) -> object:
    """What matters of a result file: not times, versions, and the layout of the file."""
    if not path.is_file():
        return None
    if path.suffix == ".h5":
        return _hdf5(path)
    if path.suffix == ".csv":
        table = pd.read_csv(path, dtype=str)
        varying = [c for c in table if re.search(r"seconds|_per_s|restarts|memory|version_|git_commit", c)]
        return table.drop(columns=varying).to_csv()
    if path.suffix == ".parquet":
        return pd.read_parquet(path).drop(columns="path").to_csv()  # the path depends on the folder of the project
    if path.suffix in (".pdf", ".json"):  # hold times and versions; the PNG and the tables are compared
        return True
    return path.read_bytes()


def _hdf5(path: Path) -> dict[str, object]:
    values: dict[str, object] = {}
    with h5py.File(path) as file:
        values["/"] = {key: np.asarray(value).tolist() for key, value in file.attrs.items()}

        def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if name in ("parts", "sha256"):  # the names of parts depend on the times of audio files
                return
            values[name] = {key: np.asarray(value).tolist() for key, value in item.attrs.items()}
            if isinstance(item, h5py.Dataset):
                values[f"{name} values"] = item[:].tolist()

        file.visititems(add)
    return values


def copied(source: Path, folder: Path) -> Path:
    """A copy of a finished project; replaces `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns(".snakemake", "audio", "logs", "benchmarks", ".git")
    return Path(shutil.copytree(source, folder, ignore=ignored, symlinks=True))
