"""`make run` uses the settings in config/config.yaml and those given on the command line."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
        command = ["make", "--dry-run", "run", f"BIN={Path(sys.executable).parent}", *arguments]
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
    assert "--config suite='fsdd' data_root='my data' results='out'" in printed
    assert "--report 'out/fsdd/report.html'" in printed


def test_the_command_line_overrides_the_file(commands):
    printed = commands("suite: fsdd\ndata_root: data\nresults: out\n", "SUITE=mini", "RESULTS=elsewhere")
    assert "--config suite='mini' data_root='data' results='elsewhere'" in printed
    assert "--report 'elsewhere/mini/report.html'" in printed
