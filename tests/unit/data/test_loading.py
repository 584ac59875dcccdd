"""Data loader processes: what goes wrong in them is one message in the main process, and never a wait without end."""

import errno
import os
import resource
import signal
import subprocess
import sys

import pytest
from torch.utils.data import Dataset

from elasticast.data.loading import load
from elasticast.errors import DataError
from elasticast.faults import message_of
from tests.complaints import assert_names, complains

STAGE = "elasticast stats"


class Items(Dataset):
    """Eight numbers; in place of the sixth, something happens."""

    def __init__(self, happens=lambda: 5):
        self.happens = happens

    def __getitem__(self, index):
        return self.happens() if index == 5 else index


class Unsendable:
    """Cannot be sent to another process."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        raise self.error


def batches(happens=lambda: 5, workers=2):
    return list(load(Items(happens), list, sampler=range(8), batch_size=2, num_workers=workers))


def throw(error):
    raise error


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_batches_come_in_order(workers):
    assert batches(workers=workers) == [[0, 1], [2, 3], [4, 5], [6, 7]]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_an_item_is_raised_as_it_is(workers):
    with complains(DataError, "clip 5") as caught:
        batches(lambda: throw(DataError("clip 5")), workers)
    assert str(caught.value) == "clip 5"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_is_an_error(number):
    with pytest.raises(RuntimeError) as caught:
        batches(lambda: os.kill(os.getpid(), number))
    assert_names(message_of(caught.value, STAGE), "killed", STAGE, "--workers")


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2>: busy (11)"), "/dev/shm"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "ulimit"),
        (MemoryError(), "mem_mb"),
    ],
)
def test_a_batch_that_cannot_be_sent_is_an_error(error, named):
    with pytest.raises(type(error)) as caught:
        batches(lambda: Unsendable(error))
    assert_names(message_of(caught.value, STAGE), STAGE, named)


SCRIPT = """
import torch
from elasticast.faults import one_message
from tests.unit.data.test_loading import Items, load
with one_message("elasticast stats"):
    batches = list(load(Items(), torch.tensor, sampler=[0] * 99, batch_size=1, num_workers=2))
"""


@pytest.mark.parametrize("files", [9, 12, 16, 24])
def test_too_few_open_files_are_one_message(files):
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # noqa: E731
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, preexec_fn=limit, timeout=60)
    assert done.returncode == 1
    assert_names(done.stderr, STAGE, "ulimit", "--workers")
    assert len(done.stderr.splitlines()) == 1


ROOM = """
import resource, torch
from pathlib import Path
from elasticast.faults import one_message
from tests.unit.data.test_loading import Items, load
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
with one_message("elasticast stats"):
    resource.setrlimit(resource.RLIMIT_AS, (size + (24 << 20),) * 2)
    batches = list(load(Items(), torch.tensor, sampler=[0] * 99, batch_size=1, num_workers=2))
"""


def test_too_little_memory_for_a_thread_is_an_error_and_not_an_endless_wait():
    done = subprocess.run([sys.executable, "-c", ROOM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert_names(done.stderr, STAGE, "memory", "--workers")
    assert len(done.stderr.splitlines()) == 1
