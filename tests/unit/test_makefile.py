"""`make run` uses the settings in config/config.yaml and those given on the command line."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def commands(tmp_path):
    """The commands that `make run` would call, with `content` as config/config.yaml."""

    def run(content, *arguments):
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, tmp_path)
        (tmp_path / "config").mkdir()
        (tmp_path / "config/config.yaml").write_text(content)
        # inside `make test`, make would also say which directory it is in
        command = ["make", "--no-print-directory", "--dry-run", "run", f"BIN={Path(sys.executable).parent}", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    return run


@pytest.mark.parametrize(
    "content",
    [
        "suite: fsdd\ndata_root: my data\nresults: out\n",
        "suite: fsdd  # mine\ndata_root: my data # all of it\nresults:   out   \n",
        'suite: \'fsdd\'\ndata_root: "my data"  # quoted\n"results": out\n',
        "# suite: mini\n{suite: fsdd, data_root: my data, results: out}\n",
    ],
)
def test_settings_are_read_as_yaml(commands, content):
    printed = commands(content)
    assert "--config 'suite=fsdd' 'data_root=my data' 'results=out'" in printed
    assert "--report 'out/fsdd/report.html'" in printed


def test_the_command_line_overrides_the_file(commands):
    printed = commands("suite: fsdd\ndata_root: data\nresults: out\n", "SUITE=mini", "RESULTS=elsewhere")
    assert "--config 'suite=mini' 'data_root=data' 'results=elsewhere'" in printed
    assert "--report 'elsewhere/mini/report.html'" in printed


def test_a_shell_reads_every_folder_as_it_is_named(commands):
    name = """it's "a" `touch pwned` $(touch pwned) é"""
    printed = commands(yaml.safe_dump({"suite": "fsdd", "data_root": name, "results": name}))
    words = [shlex.split(line) for line in printed.splitlines() if "snakemake" in line or line.startswith("echo")]
    assert [f"data_root={name}" in line for line in words] == [True, True, *[False] * (len(words) - 2)]
    assert [f"{name}/fsdd/report.html" in line for line in words] == [False, True, *[False] * (len(words) - 2)]
    assert words[-1] == ["echo", f"report   {name}/fsdd/report.html"]


def test_make_run_ends_with_the_results(commands):
    *_, last = commands("suite: fsdd\ndata_root: data\nresults: my results\n").splitlines()
    words = shlex.split(last)
    assert words[words.index("headline") + 1 :] == [
        "paper_figures/fsdd/table1.csv",
        "--results",
        "my results",
        "--activate",
        ". .venv/bin/activate",
    ]


def test_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = next(line for line in makefile.splitlines() if line.startswith(".PHONY: ")).split()[1:]
    printed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not [target for target in targets if f"make {target} " not in printed]
    assert "make   " in printed  # without a target
