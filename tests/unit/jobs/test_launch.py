import subprocess
import sys

import pytest

from elasticast.jobs.launch import command


@pytest.mark.parametrize("gpus", [0, 1])
def test_one_process_is_plain_elasticast(gpus):
    line = command(gpus, 1, ["train", "--threads", "2"])
    assert line == [sys.executable, "-m", "elasticast", "train", "--threads", "2"]


def test_several_gpus_are_one_process_each():
    """torchrun takes the command line as it is built here, and leaves the options of `elasticast` to `elasticast`."""
    done = subprocess.run(command(2, 1, ["train", "--help"]), capture_output=True, text=True, check=True)
    assert done.stdout.count("Usage: ") == 2
    assert "--norm" in done.stdout
