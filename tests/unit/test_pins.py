"""What is installed: the same in all files, and only what has wheels on each platform; one version of the package."""

import re
import subprocess
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


# ---------------------------------------------------------------------------------------------
# The lock, the image and CI
# ---------------------------------------------------------------------------------------------

LOCKED_EXTRAS = ("dev", "docs", "equality")
LOCK = (ROOT / "requirements.lock").read_text()


def locked() -> dict[str, tuple[Requirement, int]]:
    """Requirement by name, and its number of hashes."""
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE).strip())
    found = [(Requirement(entry.split(" \\")[0]), entry.count("--hash=sha256:")) for entry in entries]
    return {requirement.name.lower().replace("_", "-"): (requirement, hashes) for requirement, hashes in found}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_lock_has_what_is_pinned(platform):
    extras = PROJECT["optional-dependencies"]
    pins = [*PROJECT["dependencies"], *(pin for extra in LOCKED_EXTRAS for pin in extras[extra])]
    for pin in map(Requirement, pins):
        requirement, _ = locked()[pin.name.lower()]
        assert requirement.specifier == pin.specifier, f"{pin}: make requirements.lock again, its first lines say how"
        wanted, given = (r.marker is None or r.marker.evaluate(PLATFORMS[platform]) for r in (pin, requirement))
        assert wanted == given, pin


def test_everything_in_the_lock_has_a_version_and_checksums():
    assert len(locked()) > 100
    for requirement, hashes in locked().values():
        assert [specifier.operator for specifier in requirement.specifier] == ["=="]
        assert hashes, requirement
    assert not re.findall(
        r"://|^-|@|file:|index-url (?!-)", re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE), re.MULTILINE
    )
    assert all(f"--extra {extra}" in LOCK for extra in LOCKED_EXTRAS)


WORKFLOWS = sorted(path.stem for path in (ROOT / ".github/workflows").iterdir())


def steps_of(workflow: str) -> list[dict]:
    """Steps of the one job of a workflow of GitHub Actions."""
    (job,) = yaml.safe_load((ROOT / f".github/workflows/{workflow}.yml").read_text())["jobs"].values()
    return job["steps"]


def test_image_lock_conda_and_ci_have_one_python():
    image = re.search(r"^FROM python:(\d+\.\d+)-slim$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[1]
    conda = next(pin for pin in conda_pins() if isinstance(pin, str) and pin.startswith("python="))
    steps = [step for name in WORKFLOWS for step in steps_of(name)]
    hosted = {step["with"]["python-version"] for step in steps if "python-version" in step.get("with", ())}
    assert {conda.removeprefix("python="), *hosted, re.search(r"--python-version (\S+)", LOCK)[1]} == {image}
    assert PROJECT["requires-python"] == f">={image}"


def test_the_image_installs_the_lock_alone_and_ci_calls_the_same_script():
    installs = re.findall(r"pip install (.*)", (ROOT / "Dockerfile").read_text())
    assert [word for line in installs for word in line.split() if word in ("--require-hashes", "--no-deps")] == [
        "--require-hashes",
        "--no-deps",
    ]
    assert [step["run"] for step in steps_of("ci") if step.get("run", "").startswith(".")] == [".ci/run"]


def test_the_hosted_documentation_is_what_make_docs_builds():
    steps = steps_of("docs")
    assert [step["run"] for step in steps if "run" in step] == ["make docs"]
    (folder,) = (step["with"]["path"] for step in steps if "path" in step.get("with", ()))
    assert f". {folder}\n" in (ROOT / "Makefile").read_text()


def test_a_release_passes_all_checks_and_has_its_section_of_the_changelog():
    commands = [step.get("run", "") for step in steps_of("release")]
    notes, checks, release = (
        next(i for i, command in enumerate(commands) if command.startswith(start))
        for start in (".ci/release-notes", ".ci/run", "gh release create")
    )
    assert notes < checks < release
    notes = subprocess.run([ROOT / ".ci/release-notes", f"v{__version__}"], capture_output=True, text=True, check=True)
    section = (ROOT / "CHANGELOG.md").read_text().split(f"\n## {__version__} ")[1].split("\n## ")[0]
    assert notes.stdout.strip() == section.partition("\n")[2].strip()


def test_a_tag_of_another_version_is_refused():
    found = subprocess.run([ROOT / ".ci/release-notes", "v999.0.0"], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert not found.stdout
    assert all(part in found.stderr for part in ("v999.0.0", "pyproject.toml", "version", f"v{__version__}"))


def test_citation_and_catalog_are_complete():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "abstract", "authors", "license", "version", "keywords"} <= set(citation)
    catalog = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert catalog["report"] is True
    assert catalog["software-stack-deployment"]["conda"] is True
    assert (ROOT / "config/README.md").is_file()
