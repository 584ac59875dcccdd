"""A fault of the machine is one message that names file, stage and remedy; a fault of the program is not."""

import contextlib
import errno
import resource
import subprocess
import sys
import threading
from concurrent.futures.process import BrokenProcessPool

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from elasticast import cli, faults
from elasticast.errors import DataError
from elasticast.faults import REMEDIES, message_of, one_message
from elasticast.files import replacing, write_text
from elasticast.hdf5 import open_hdf5, writing
from tests.complaints import assert_names

STAGE = "elasticast evaluate"
VALUES = np.random.default_rng(0).random(50_000)


@contextlib.contextmanager
def small_files(size):
    """No file may become larger than `size` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_hdf5(path):
    with writing(path) as file:
        file["values"] = VALUES


def write_with(write):
    def into(path):
        with replacing(path) as temporary:
            write(temporary)

    return into


def draw(path):
    figure, axes = plt.subplots()
    axes.plot(VALUES[:9000])
    figure.savefig(path, format="pdf")
    plt.close(figure)


def plain_hdf5(path):
    with h5py.File(path, "w") as file:
        file["values"] = VALUES


WRITERS = {
    "text": lambda path: write_text(path, "x" * 400_000),
    "hdf5": write_hdf5,
    "h5py": write_with(plain_hdf5),
    "parquet": write_with(lambda path: pd.DataFrame({"x": VALUES}).to_parquet(path)),
    "csv": write_with(lambda path: pd.DataFrame({"x": VALUES}).to_csv(path)),
    "safetensors": write_with(lambda path: save_file({"x": torch.from_numpy(VALUES)}, path)),
    "torch": write_with(lambda path: torch.save({"x": torch.from_numpy(VALUES)}, path)),
    "numpy": write_with(lambda path: np.save(path.open("wb"), VALUES)),
    "figure": write_with(draw),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_library_names_the_file_that_could_not_be_written(tmp_path, kind):
    path = tmp_path / "out.bin"
    path.write_text("before")
    with small_files(50_000), pytest.raises(OSError, match="out") as caught:
        WRITERS[kind](path)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert [file.name for file in tmp_path.iterdir()] == ["out.bin"]
    assert path.read_text() == "before"
    assert_names(message_of(caught.value, STAGE), path, STAGE, "ulimit")


@pytest.mark.parametrize("number", REMEDIES)
def test_what_the_system_reports_has_a_remedy(number):
    assert_names(message_of(OSError(number, "", "file"), STAGE), "file", STAGE)
    assert REMEDIES[number] in message_of(OSError(number, "", "file"), STAGE)


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), errno.ENOSPC),
        (OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"), errno.ENOSPC),
        (OSError("Unable to create file (errno = 30, error message = 'Read-only file system')"), errno.EROFS),
        (RuntimeError("PytorchStreamWriter failed writing file: Disk quota exceeded"), errno.EDQUOT),
    ],
)
def test_a_fault_that_a_library_gives_as_text_is_recognised(error, number):
    assert REMEDIES[number] in message_of(error, STAGE)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES, errno.ENOMEM])
def test_a_fault_while_reading_is_not_taken_for_a_damaged_file(tmp_path, monkeypatch, number):
    path = tmp_path / "part.h5"
    plain_hdf5(path)

    def fail(*_):
        raise OSError(number, "Unable to synchronously open file")

    monkeypatch.setattr(h5py, "File", fail)
    with pytest.raises(OSError, match="part") as caught:
        open_hdf5(path, "delete it")
    assert_names(message_of(caught.value, STAGE), STAGE, *([] if number == errno.ENOMEM else [path]))
    assert "delete it" not in str(caught.value)


class Failing(torch.utils.data.Dataset):
    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 1

    def __getitem__(self, _):
        raise self.error


def allocate():
    return torch.empty(2**60)


def allocate_array():
    return np.empty(2**58)


@pytest.mark.parametrize(
    "allocation", [allocate, allocate_array, lambda: next(iter(DataLoader(Failing(MemoryError()), num_workers=1)))]
)
def test_too_little_memory_says_what_lowers_it(allocation):
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        allocation()
    text = message_of(caught.value, "elasticast train")
    assert_names(text, "elasticast train", "train.batch", "mem_mb")
    assert "Traceback" not in text
    assert_names(message_of(caught.value, "elasticast resample"), "--draws")


def test_an_error_that_hides_a_lack_of_memory_says_so(monkeypatch):
    hiding = OSError("cannot load library 'libsndfile.so': no such file")
    hiding.__context__ = OSError("libsndfile_x86_64.so: failed to map segment from shared object")
    for error in (hiding, RuntimeError("could not create a primitive")):
        assert_names(message_of(error, STAGE), STAGE, "memory", "mem_mb")
    advice = ImportError("\n\nIMPORTANT: READ THIS\n\nOriginal error: libx.so: failed to map segment\nand so on\n")
    assert "libx.so: failed to map segment)" in message_of(advice, STAGE)
    unexplained = SystemError("error return without exception set")
    assert message_of(unexplained, STAGE) is None
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 30, 1 << 30))
    assert_names(message_of(unexplained, STAGE), STAGE, "memory", "mem_mb")


def test_lack_of_memory_is_not_taken_for_a_damaged_file():
    try:
        try:
            raise MemoryError
        except MemoryError:
            raise DataError("model.safetensors: cannot be loaded") from None
    except DataError as error:
        assert_names(message_of(error, STAGE), STAGE, "memory", "mem_mb")


@pytest.mark.parametrize(
    "error",
    [
        BrokenProcessPool("A process in the process pool was terminated abruptly"),
        RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly"),
        RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "),
    ],
)
def test_a_killed_process_is_said_to_be_killed(error):
    assert_names(message_of(error, "elasticast stats"), "killed", "elasticast stats", "--workers")


def test_an_error_of_a_worker_is_its_message_alone():
    with pytest.raises(DataError) as caught:
        next(iter(DataLoader(Failing(DataError("a.wav: damaged\nrun again")), num_workers=1)))
    assert message_of(caught.value, STAGE) == "a.wav: damaged\nrun again"


def run_watched(body):
    script = (
        f"import os, signal, sys, threading\nfrom elasticast.faults import one_message\nwith one_message({STAGE!r}):\n"
    )
    lines = [f"    {line}" for line in body.splitlines()]
    command = [sys.executable, "-c", script + "\n".join(lines)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


NO_MEMORY = """
def fail(*_):
    raise MemoryError
class Item:
    __del__ = fail
"""


@pytest.mark.parametrize(
    ("death", "status"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("os.abort()", -6),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -11),
        (f"{NO_MEMORY}threading.Thread(target=fail).start()\nthreading.Event().wait()", 1),
        (f"{NO_MEMORY}item = Item()\ndel item\nthreading.Event().wait()", 1),
    ],
)
def test_another_process_tells_of_a_crash(death, status):
    done = run_watched(death)
    assert done.returncode == status
    assert_names(done.stderr, STAGE, "memory", "mem_mb")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("end", "status"),
    [("pass", 0), ("sys.exit(3)", 3), ("if not os.fork():\n    os.kill(os.getpid(), 9)\nos.wait()", 0)],
)
def test_nothing_is_told_of_a_process_that_ends_by_itself(end, status):
    done = run_watched(end)
    assert (done.returncode, done.stderr) == (status, "")


def test_a_rank_of_several_is_not_watched(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = run_watched("os.kill(os.getpid(), 9)")
    assert (done.returncode, done.stderr) == (-9, "")


def test_hooks_are_as_before_after_a_command():
    before = threading.excepthook, sys.unraisablehook
    with one_message(STAGE):
        assert threading.excepthook is not before[0]
    assert (threading.excepthook, sys.unraisablehook) == before


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("x"), RuntimeError("shape mismatch"), AssertionError()])
def test_a_fault_of_the_program_keeps_its_traceback(error):
    assert message_of(error, STAGE) is None
    with pytest.raises(type(error)), one_message(STAGE):
        raise error


def test_the_command_names_itself(monkeypatch, capsys):
    def app():
        raise OSError(errno.ENOSPC, "", "metrics.csv")

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(sys, "argv", ["elasticast", "evaluate", "--out", "x"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert_names(caught.value.code, "metrics.csv", STAGE, faults.PLACE)
