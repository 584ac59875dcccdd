"""Copies of the workflow with a tiny suite, in which tests run Snakemake as a user would."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
COPIED = ("Snakefile", "workflow", "profiles", "slurm", "config", "paper_figures", "environment.yml")

TINY = {
    "title": "Tiny suite of the tests",
    "seeds": [0],
    "defaults": {
        "dataset": "tiny",
        "task": "events",
        "evaluations": ["length"],
        "view": {"frames": "native", "max_frames": 256},
        "model": {"dim": 16, "depth": 1, "heads": 2},
        "train": {"steps": 3, "batch": {"clips": 4}, "log_every": 1},
    },
    "experiments": {
        "ast64": {
            "label": "AST 64",
            "model": {"kind": "ast"},
            "view": {"frames": 64},
            "evaluations": ["length", "windowed", "cost"],
        },
        "elastic": {"label": "ElasticAST", "model": {"kind": "elasticast", "max_frames": 256}},
        "hop20": {
            "label": "AST hop 20",
            "model": {"kind": "ast"},
            "view": {"frames": 64, "compression": [2.0]},
            "evaluations": ["resolution"],
        },
        "elastic_resolution": {
            "base": "elastic",
            "view": {"compression": [1.0, 2.0]},
            "evaluations": ["resolution", "grid"],
        },
    },
    "evaluations": {
        "length": {"x_name": "max_frames", "x": [32, 64, 128, 256]},
        "resolution": {"x_name": "compression", "x": [1.0, 2.0]},
        "windowed": {"x_name": "max_frames", "x": [64, 128, 512], "windows": True},
        "cost": {"x_name": "token_drop", "x": [0, 0.5]},
        "grid": {"x_name": "max_frames", "x": [64, 256], "compression": [1.0, 2.0]},
    },
}
DATASET = {"source": "soundscapes", "clips": {"train": 12, "test": 6}}

HOSTILE_FOLDER = """a b's "é" %d %(x)s 100% $(touch pwned) `touch pwned`;touch pwned"""
"""A name of a folder of which a shell runs a part unless it is quoted, and formatting replaces a part."""


class Project:
    """A copy of the workflow in a folder.

    `suite` and `dataset` are written to its configuration before each call of Snakemake. Snakemake and the shell
    commands of the workflow run in the `python` of the folder `programs`, by default in that of the tests.
    """

    def __init__(self, folder: Path, programs: Path = PROGRAMS):
        self.folder, self.programs = folder, programs
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("*.png", "*.pdf", "custom"))
            else:
                shutil.copy(source, folder / name)
        self.suite, self.dataset = TINY, DATASET

    def write(self) -> None:
        """Write the suite and the dataset to the configuration, if they have changed."""
        for name, value in (("suites/tiny", self.suite), ("datasets/tiny", self.dataset)):
            path = self.folder / "config" / f"{name}.yaml"
            text = yaml.safe_dump(value, sort_keys=False)
            if not path.is_file() or path.read_text() != text:
                path.write_text(text)

    def snakemake(self, *arguments: str, config: dict | None = None) -> subprocess.CompletedProcess:
        """Run Snakemake with these arguments and `--config` settings."""
        command, settings = self._command(self.programs, arguments, config)
        return subprocess.run(command, **settings, capture_output=True)

    def elasticast(self, *arguments: object) -> subprocess.CompletedProcess:
        """Run `elasticast` with these arguments."""
        command = [str(self.programs / "python"), "-m", "elasticast", *map(str, arguments)]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True)

    def start(self, *arguments: str, session: bool = False) -> subprocess.Popen:
        """Start Snakemake, in a new session if asked to, and return at once; stdout and stderr are one stream.

        It and its commands run in the Python of the tests, so that signals to them have the usual effects.
        """
        command, settings = self._command(PROGRAMS, arguments, None)
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, **settings, **streams, start_new_session=session)

    def _command(self, programs: Path, arguments: tuple[str, ...], config: dict | None) -> tuple[list[str], dict]:
        self.write()
        overrides = [f"{k}={v}" for k, v in (config or {"suite": "tiny"}).items()]
        command = [str(programs / "python"), "-m", "snakemake", "--cores", "2", *arguments, "--config", *overrides]
        env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
        return command, {"cwd": self.folder, "env": env, "text": True}

    def planned(self, *arguments: str, config: dict | None = None) -> dict[str, int]:
        """Number of jobs per rule that a dry run lists; empty if there is nothing to do."""
        result = self.snakemake("-n", *(arguments or ("all",)), config=config)
        assert result.returncode == 0, result.stderr + result.stdout
        lines = (result.stdout + result.stderr).split("Job stats:")[-1].splitlines()
        counts = (line.split() for line in lines)
        return {c[0]: int(c[1]) for c in counts if len(c) == 2 and c[1].isdigit() and c[0] not in ("total", "all")}


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the finished project that a test may change."""
    shutil.copytree(finished.folder, tmp_path / "project", dirs_exist_ok=True)
    copy = Project.__new__(Project)
    copy.folder, copy.programs = tmp_path / "project", finished.programs
    copy.suite, copy.dataset = TINY, DATASET
    return copy
