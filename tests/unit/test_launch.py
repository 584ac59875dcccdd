import subprocess
import sys

import pytest

from elasticast.launch import command


@pytest.mark.parametrize("gpus", [0, 1])
def test_one_process_is_plain_elasticast(gpus):
    line = command(gpus, 1, ["train", "--threads", "2"])
    assert line == [sys.executable, "-m", "elasticast", "train", "--threads", "2"]


def test_several_gpus_are_one_process_each(tmp_path):
    """torchrun takes the command line as it is built here, and leaves the options of `train` to `train`."""
    package = tmp_path / "elasticast"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import os, sys; open('rank' + os.environ['RANK'], 'w').write(' '.join(sys.argv[1:]))"
    )
    subprocess.run(command(2, 1, ["train", "--out", "x"]), cwd=tmp_path, check=True, capture_output=True)
    assert [(tmp_path / f"rank{i}").read_text() for i in range(2)] == ["train --out x"] * 2
