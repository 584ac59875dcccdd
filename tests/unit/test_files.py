"""Files that are there whole or not at all, and errors that name the file."""

import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from elasticast import cli, files
from elasticast.data.store import writing_part
from elasticast.errors import DataError
from elasticast.files import LEFTOVER, no_stderr, replacing, write_json, write_text
from elasticast.hdf5 import open_hdf5, read_text, reading, write_column, writing
from tests.complaints import complains


def write_hdf5(path: Path) -> None:
    with writing(path) as file:
        file["numbers"] = np.arange(1000)


def write_part(path: Path) -> None:
    with writing_part(path, 16000) as part:
        part.append(np.arange(1000, dtype=np.int16))


WRITERS = {"text": lambda path: write_text(path, "text"), "hdf5": write_hdf5, "part": write_part}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_file_is_on_disk_before_it_gets_its_name_and_its_name_after(tmp_path, monkeypatch, write):
    events = []
    fsync, replace = os.fsync, Path.replace

    def flushed(file):
        name = os.readlink(f"/proc/self/fd/{file}")
        events.append(("flush", name, os.path.getsize(name)))
        fsync(file)

    def renamed(old, new):
        events.append(("rename", str(old), new.exists()))
        return replace(old, new)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    path = tmp_path / "new" / "file"
    write(path)
    temporary = events[0][1]
    assert [(kind, name) for kind, name, _ in events] == [
        ("flush", temporary),
        ("rename", temporary),
        ("flush", str(path.parent)),
    ]
    assert events[0][2] == path.stat().st_size > 0
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_file_that_cannot_reach_the_disk_leaves_the_old_one(tmp_path, monkeypatch, write):
    def full(_):
        raise OSError(28, "No space left on device")

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write(tmp_path / "file")
    assert Path(caught.value.filename).parent == tmp_path
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def dead_process() -> int:
    """Number of a process that has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


@pytest.mark.parametrize(
    ("host", "process", "days", "kept"),
    [
        ("here", "dead", 0, False),
        ("here", "alive", 30, True),  # for example stopped by the scheduler
        ("elsewhere", "dead", 6, True),
        ("elsewhere", "dead", 8, False),
    ],
)
def test_temporary_files_of_dead_processes_are_deleted(tmp_path, host, process, days, kept):
    written = (
        f"{files._host() if host == 'here' else '0123abcd'}.{dead_process() if process == 'dead' else os.getppid()}"
    )
    leftover = tmp_path / f".model.safetensors.{written}.part"
    leftover.write_bytes(b"half")
    os.utime(leftover, (time.time() - 86400 * days,) * 2)
    others = [tmp_path / name for name in (".lock", "data.part", ".data.part", "a.0123abcd.1.part", ".left.wav.1.part")]
    for path in others:
        path.write_bytes(b"")
    write_text(tmp_path / "other", "text")
    assert leftover.exists() == kept
    assert all(path.exists() for path in others)


def test_a_killed_writer_leaves_nothing_for_long(tmp_path):
    script = f"""
import os, signal
from pathlib import Path
from elasticast.files import replacing
with replacing(Path({str(tmp_path)!r}) / "model") as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    write_text(tmp_path / "other", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_folder_is_listed_once_for_many_files(tmp_path, monkeypatch):
    listed = []
    monkeypatch.setattr(files, "remove_leftovers", listed.append)
    for number in range(5):
        write_text(tmp_path / f"{number}.wav", "")
    assert listed == [tmp_path]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_json_holds_finite_numbers_only(tmp_path, wrong):
    with complains(DataError, tmp_path / "norm.json", "rows.1.std", wrong):
        write_json(tmp_path / "norm.json", {"mean": 1.0, "rows": [{}, {"std": wrong}]})
    assert list(tmp_path.iterdir()) == []


def test_every_flipped_byte_of_an_hdf5_file_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "file.h5"
    with writing(path) as file:
        write_column(file, "text", ["é", "", "a\udcff"] * 30)
        write_column(file, "numbers", np.arange(90))
        write_column(file, "none", [])
        file.attrs["rate"] = 16000

    def read():
        with reading(path, "make it again") as file:
            texts = [read_text(file[name]) for name in ("text", "none")]
            return texts, file["numbers"][:].tolist(), int(file.attrs["rate"])

    assert read() == ([["é", "", "a\udcff"] * 30, []], list(range(90)), 16000)
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :])
        with complains(DataError, path, "make it again"):
            read()


def test_a_folder_that_cannot_be_flushed_is_no_error(tmp_path, monkeypatch):
    fsync = os.fsync

    def files_only(file):
        if os.path.isdir(f"/proc/self/fd/{file}"):
            raise OSError(22, "Invalid argument")
        fsync(file)

    monkeypatch.setattr(os, "fsync", files_only)
    write_text(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


@pytest.mark.parametrize("damage", ["missing", "truncated", "text", "empty"])
def test_an_hdf5_file_that_cannot_be_read_is_named(tmp_path, damage):
    path = tmp_path / "file.h5"
    write_hdf5(path)
    content = {"truncated": path.read_bytes()[:-100], "text": b"text" * 1000, "empty": b""}
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[damage])
    with pytest.raises(DataError) as caught:
        open_hdf5(path, "make it again")
    assert str(path) in str(caught.value)


def test_an_hdf5_file_is_opened_for_reading(tmp_path):
    write_hdf5(tmp_path / "file.h5")
    with open_hdf5(tmp_path / "file.h5", "") as file:
        assert (file.mode, file["numbers"][:].sum()) == ("r", 499500)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("Can't synchronously read data"), "error: Can't synchronously read data"),
        (FileNotFoundError(2, "No such file or directory", "a.csv"), "error: a.csv: No such file or directory"),
    ],
)
def test_the_command_names_the_file_where_there_is_one(monkeypatch, error, said):
    def app():
        raise error

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == said


def test_a_part_that_cannot_be_read_is_named(tmp_path, write_store, monkeypatch):
    def unreadable(*_):
        raise OSError("Can't synchronously read data")

    store = write_store(tmp_path / "s.h5", [{"a": np.arange(1000, dtype=np.int16)}])
    with monkeypatch.context() as patched:
        patched.setattr(h5py.Dataset, "__getitem__", unreadable)
        with pytest.raises(DataError, match=r"s-0\.h5.*elasticast prepare"):
            store[0]
    store.close()
    store.parts[0].write_bytes(store.parts[0].read_bytes()[:1000])
    with pytest.raises(DataError, match=r"s-0\.h5.*elasticast prepare"):
        store[0]


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, "한" * 85, "\udcff" * 255, "new\nline", "-lead", " "])
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_names_that_a_file_may_have_can_be_written(tmp_path, write, name):
    if write is not WRITERS["text"] and "\udcff" in name:
        name = name.replace("\udcff", "x")  # HDF5 takes names in UTF-8
    for _ in range(2):
        write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_long_names_with_the_same_start_have_different_temporary_files(tmp_path):
    with replacing(tmp_path / ("a" * 254 + "b")) as one, replacing(tmp_path / ("a" * 254 + "c")) as other:
        assert one != other
        assert LEFTOVER.fullmatch(one.name)


def test_what_c_libraries_print_is_discarded_for_a_moment(capfd):
    with no_stderr():
        os.write(2, b"of a library\n")
    os.write(2, b"of ours\n")
    assert capfd.readouterr().err == "of ours\n"
