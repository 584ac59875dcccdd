"""What is installed: the same in all files, and only what has wheels on each platform; one version of the package."""

import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from typer.testing import CliRunner

from elasticast import __version__
from elasticast.cli import app

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PLATFORMS = {
    "Linux x86-64": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    "Linux aarch64": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    "macOS arm64": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
}
ONLY_ON = {"xformers": {"Linux x86-64"}}
"""Packages with wheels for some of these platforms only (checked in the registry)."""


def conda_pins():
    return yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


def test_all_name_the_same_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert __version__ == project["version"] == str(citation["version"])
    printed = CliRunner().invoke(app, ["--version"])
    assert printed.exit_code == 0
    assert printed.output.split(",")[0].split() == ["elasticast", __version__]


def test_both_files_pin_the_same():
    wanted = {*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]}
    conda = conda_pins()
    assert set(conda[-1]["pip"]) == wanted
    assert all("==" in pin for extra in PROJECT["optional-dependencies"].values() for pin in {*wanted, *extra})
    assert set(PROJECT["optional-dependencies"]["timm"]) <= set(PROJECT["optional-dependencies"]["equality"])
    lines = [*conda[:-1], *conda[-1]["pip"]]
    assert not any(line.startswith("-e") for line in lines)  # breaks under --sdm conda


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("file", ["pyproject.toml", "environment.yml"])
def test_each_platform_installs_what_it_has_wheels_for(file, platform):
    pins = PROJECT["dependencies"] if file == "pyproject.toml" else conda_pins()[-1]["pip"]
    requirements = [Requirement(pin) for pin in pins]
    installed = {r.name for r in requirements if r.marker is None or r.marker.evaluate(PLATFORMS[platform])}
    left_out = {r.name for r in requirements} - installed
    assert left_out == {name for name, platforms in ONLY_ON.items() if platform not in platforms}


@pytest.mark.parametrize("extra", PROJECT["optional-dependencies"])
def test_extras_are_for_every_platform(extra):
    assert not [pin for pin in PROJECT["optional-dependencies"][extra] if Requirement(pin).marker]
