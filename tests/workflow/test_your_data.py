"""The page docs/your_data.md: its five commands lead from recordings with odd names to figure 4."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import yaml

from tests.complaints import assert_names
from tests.drawn import assert_drawn
from tests.workflow.conftest import HOSTILE_FOLDER, ROOT, Project

PAGE = ROOT / "docs/your_data.md"
CLASSES = ("bird, large", "Hund", "rain & wind", 'kettle\'s "whistle"')

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")]


def recordings(folder: Path, clips: int = 40) -> None:
    """Tones of a pitch per class, of 0.4-3 s, with odd names, channels and sample rates, in a folder with a table."""
    rng, rows = np.random.default_rng(0), []
    for i in range(clips):
        rate, seconds = (22050, 16000, 44100, 8000)[i % 4], float(rng.uniform(0.4, 3))
        label = i // 4 % len(CLASSES)
        wave = 0.3 * np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * (300 + 300 * label) / rate)
        wave += 0.02 * rng.standard_normal(len(wave))
        name = f"{('a b', 'Möwe', 'c,d', 'sub dir/ß')[i % 4]} {i} (1).{('wav', 'flac')[i % 2]}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(folder / name, wave if i % 3 else np.stack([wave, wave], axis=1), rate)
        rows.append((name, CLASSES[label], f"Anna Bö {i % 10}"))
    pd.DataFrame(rows, columns=["filename", "Category", "Speaker"]).to_csv(folder / "my table.csv", index=False)


def environment(project: Path, home: Path, preloaded: Path) -> dict[str, str]:
    """What `make setup` leaves: programs in .venv, here those of the tests, and a mark that nothing is to be done."""
    programs = project / ".venv/bin"
    programs.mkdir(parents=True)
    python = f'#!/bin/sh\nexec "{preloaded / "python"}" "$@"\n'
    scripts = {"python": python, "snakemake": "", "elasticast": python.replace('"$@"', '-m elasticast "$@"')}
    for name, text in scripts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (project / ".venv/.ready").touch()
    path = f"{ROOT}:{ROOT}/workflow/plugin:{os.environ.get('PYTHONPATH', '')}"
    return {**os.environ, "HOME": str(home), "PYTHONPATH": path, "MAKEFLAGS": ""}


@pytest.fixture(scope="module")
def page(tmp_path_factory, programs):
    """The folder of a project in which the first block of commands of the page has run, and their outputs."""
    home = tmp_path_factory.mktemp("home")
    project = home / HOSTILE_FOLDER
    project.mkdir()
    Project(project)
    for name in ("pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, project)
    recordings(home / "recordings")
    env, outputs = environment(project, home, programs), []
    block = re.search(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    commands = [line.split("  #")[0].strip() for line in block.splitlines()]
    for command in commands:
        if command.startswith(
            "make run"
        ):  # with fewer steps than the suite has, so that the test takes minutes at most
            suite = project / "config/suites/birds.yaml"
            suite.write_text(re.sub(r"steps: \d+", "steps: 20", suite.read_text()))
        result = subprocess.run(["bash", "-c", command], cwd=project, env=env, capture_output=True, text=True)
        assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
        outputs.append(result.stdout + result.stderr)
    return project, commands, outputs


def test_the_page_leads_to_figure_4_in_five_commands(page):
    project, commands, _ = page
    assert len(commands) == 5
    assert_drawn(project / "paper_figures/birds/fig4_length_curves")
    assert not list(project.rglob("pwned"))


def test_what_was_written_is_commented_and_names_what_was_found(page):
    project, _, outputs = page
    assert_names(outputs[1], "40", "'Category'", "'Speaker'", "config/datasets/birds.yaml", "config/suites/birds.yaml")
    text = (project / "config/datasets/birds.yaml").read_text()
    assert text.count("#") > 5
    settings = yaml.safe_load(text)
    assert settings["columns"] == {"path": "filename", "group": "Speaker"}
    assert settings["labels"] == {"Category": {"kind": "single", "columns": ["Category"]}}
    suite = yaml.safe_load((project / "config/suites/birds.yaml").read_text())
    kinds = [
        (run["model"]["kind"], run.get("view", {}).get("frames", "native")) for run in suite["experiments"].values()
    ]
    assert kinds[0] == ("elasticast", "native")
    assert kinds[-1] == ("ast", "native")
    assert [kind for kind, frames in kinds[1:-1]] == ["ast"] * 3
    assert all(frames % 16 == 0 for _, frames in kinds[1:-1])


def test_every_recording_is_used_and_no_speaker_is_divided(page):
    project, _, _ = page
    data = project / "results/data/birds"
    manifest = pd.read_parquet(data / "manifest.parquet")
    assert (manifest["status"] == "ok").sum() == len(manifest) == 40
    assert set(manifest["sample_rate"]) == {8000, 16000, 22050, 44100}
    assert set(manifest["channels"]) == {1, 2}
    speakers = pd.read_csv(project.parent / "recordings/my table.csv").set_index("filename")["Speaker"]
    splits = manifest["split"].groupby(manifest["id"].map(speakers)).nunique()
    assert (splits == 1).all()
    assert_names(json.loads((data / "summary.json").read_text())["notes"]["tables"][0]["split"], "hash", "'Speaker'")
    assert_drawn(data / "overview")


def test_a_corrected_label_prepares_the_data_again_and_nothing_else_does(page):
    project, _, _ = page

    def planned():
        command = [sys.executable, "-m", "snakemake", "-n", "all", "--cores", "2", "--config", "suite=birds"]
        env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/workflow/plugin"}
        result = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=True)
        return result.stdout + result.stderr

    assert "prepare" not in planned()
    table = project.parent / "recordings/my table.csv"
    before = table.read_text()
    try:
        table.write_text(before.replace("Hund", "Katze", 1))
        assert "prepare" in planned()
    finally:
        table.write_text(before)
