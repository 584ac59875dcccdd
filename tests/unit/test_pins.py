"""environment.yml and pyproject.toml pin the same versions; all files name the same version of the package."""

import tomllib
from pathlib import Path

import yaml
from typer.testing import CliRunner

from elasticast import __version__
from elasticast.cli import app

ROOT = Path(__file__).parents[2]


def test_all_name_the_same_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert __version__ == project["version"] == str(citation["version"])
    printed = CliRunner().invoke(app, ["--version"])
    assert printed.exit_code == 0
    assert printed.output.split(",")[0].split() == ["elasticast", __version__]


def test_both_files_pin_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {*project["dependencies"], *project["optional-dependencies"]["dev"]}
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert set(conda[-1]["pip"]) == wanted
    assert all("==" in pin for extra in project["optional-dependencies"].values() for pin in {*wanted, *extra})
    assert set(project["optional-dependencies"]["timm"]) <= set(project["optional-dependencies"]["equality"])
    lines = [*conda[:-1], *conda[-1]["pip"]]
    assert not any(line.startswith("-e") for line in lines)  # breaks under --sdm conda
