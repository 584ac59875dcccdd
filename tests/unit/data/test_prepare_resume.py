"""`prepare` resumes after a kill, does not repeat work, can be divided into shards, and fails cleanly."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from elasticast.config.dataset import Soundscapes
from elasticast.data import parts as parts_module
from elasticast.data import prepare as prepare_module
from elasticast.data.annotations import Annotations
from elasticast.data.datasets import reader_of
from elasticast.data.manifest import read_manifest
from elasticast.data.prepare import prepare, prepare_shard
from elasticast.data.recordings import UnusableAudioError
from elasticast.data.store import Store
from elasticast.errors import DataError, ElasticASTError
from tests.complaints import assert_names, complains

DONE = "complete, nothing to do"


def soundscapes(**others) -> Soundscapes:
    settings = {"clips": {"train": 10, "test": 4}, "seconds": [0.3, 0.6]} | others
    return Soundscapes(source="soundscapes", **settings)


def summary(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


def content(out: Path) -> dict[str, bytes]:
    """The content of all files that a run or a reader could depend on."""
    files = {p.name: p.read_bytes() for p in out.iterdir() if p.suffix in (".json", ".csv", ".txt", ".parquet")}
    for split in ("train", "dev", "test"):
        store = Store(out / f"{split}.h5")
        files[split] = b"".join(store[i].tobytes() for i in range(len(store)))
    return files


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(parts_module, "PART_CLIPS", 3)


@pytest.fixture
def decoded(monkeypatch):
    """The paths of the decoded files, in order."""
    seen, decode = [], parts_module.decode

    def spy(path, **options):
        seen.append(path.stem)
        return decode(path, **options)

    monkeypatch.setattr(parts_module, "decode", spy)
    return seen


def test_twice_does_nothing(tmp_path, decoded, caplog):
    caplog.set_level("INFO")
    out = tmp_path / "out"
    prepare(soundscapes(), tmp_path, out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.*") if "lock" not in p.name}
    assert len(decoded) == 14
    prepare(soundscapes(), tmp_path, out)
    assert len(decoded) == 14
    assert DONE in caplog.text
    after = {p: p.stat().st_mtime_ns for p in out.rglob("*.*") if "lock" not in p.name}
    assert {p for p in before if before[p] != after.get(p)} <= {out / "audio" / "recipe.json"}


def test_it_goes_on_after_any_number_of_clips(tmp_path, monkeypatch):
    prepare(soundscapes(), tmp_path, tmp_path / "whole")
    for stop in (0, 1, 3, 7, 13):
        out, seen, decode = tmp_path / str(stop), [], parts_module.decode

        def failing(path, stop=stop, seen=seen, decode=decode, **options):
            if len(seen) == stop:
                raise KeyboardInterrupt
            seen.append(path)
            return decode(path, **options)

        with monkeypatch.context() as patch:
            patch.setattr(parts_module, "decode", failing)
            with pytest.raises(KeyboardInterrupt):
                prepare(soundscapes(), tmp_path, out)
        assert not (out / "summary.json").exists()
        assert len(list((out / "parts").glob("*.h5"))) == {0: 0, 1: 0, 3: 1, 7: 2, 13: 5}[stop]
        prepare(soundscapes(), tmp_path, out)
        assert summary(out)["sha256"] == summary(tmp_path / "whole")["sha256"]
        assert list((out / "parts").glob(".*")) == []


def test_a_process_that_is_killed_leaves_its_finished_parts(tmp_path):
    """A real SIGKILL while decoding; the worker processes must end, too."""
    out = tmp_path / "out"
    script = f"""
from pathlib import Path
import elasticast.data.parts as parts
from elasticast.data.prepare import prepare
from elasticast.config.dataset import Soundscapes
parts.PART_CLIPS = 3
settings = {{"clips": {{"train": 150, "test": 4}}, "seconds": [0.3, 0.6]}}
prepare(Soundscapes(source="soundscapes", **settings), Path({str(tmp_path)!r}), Path({str(out)!r}))
"""
    victim = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL, start_new_session=True)
    while len(list(out.glob("parts/train*.h5"))) < 3:
        assert victim.poll() is None
        time.sleep(0.005)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    kept = {p: p.stat().st_mtime_ns for p in out.glob("parts/train*.h5")}
    assert not (out / "summary.json").exists()
    prepare(soundscapes(clips={"train": 150, "test": 4}), tmp_path, out)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    prepare(soundscapes(clips={"train": 150, "test": 4}), tmp_path, tmp_path / "whole", workers=2)
    assert summary(out)["sha256"] == summary(tmp_path / "whole")["sha256"]


def test_a_changed_file_is_decoded_anew_and_the_rest_is_not(tmp_path, decoded):
    out = tmp_path / "out"
    prepare(soundscapes(), tmp_path, out)
    before, decoded[:] = summary(out)["sha256"], []
    path = out / "audio" / "train_000004.wav"
    samples, rate = sf.read(path, dtype="int16")
    sf.write(path, samples[::-1], rate)
    prepare(soundscapes(), tmp_path, out)
    assert decoded == ["train_000003", "train_000004", "train_000005"]
    assert summary(out)["sha256"] != before
    np.testing.assert_array_equal(Store(out / "train.h5")[4], samples[::-1])
    assert len(list((out / "parts").iterdir())) == 6  # the outdated part was deleted


def test_two_at_once_refuse(tmp_path):
    out = tmp_path / "out"
    prepare(soundscapes(), tmp_path, out)
    before = content(out)
    script = f"""
from pathlib import Path
from elasticast.files import locked
with locked(Path({str(out)!r}) / ".lock", ""):
    print("held", flush=True)
    input()
"""
    holder = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    for work in (prepare, lambda *where: prepare_shard(*where, 1, 2, workers=1)):
        with complains(ElasticASTError, out):
            work(soundscapes(), tmp_path, out)
    holder.communicate("\n")
    assert content(out) == before
    prepare(soundscapes(), tmp_path, out)


@pytest.mark.parametrize("shards", [2, 4, 9])
def test_shards_give_what_one_run_gives(tmp_path, decoded, shards):
    prepare(soundscapes(dev_share=0.3), tmp_path, tmp_path / "whole")
    whole, decoded[:] = content(tmp_path / "whole"), []
    shutil.copytree(tmp_path / "whole" / "audio", tmp_path / "out" / "audio")
    for shard in range(1, shards + 1):
        prepare_shard(soundscapes(dev_share=0.3), tmp_path, tmp_path / "out", shard, shards, workers=1)
    assert len(decoded) == 14
    prepare(soundscapes(dev_share=0.3), tmp_path, tmp_path / "out")
    assert len(decoded) == 14  # nothing was left to decode
    found = content(tmp_path / "out")
    differ = {name for name in whole if found[name] != whole[name]}
    assert differ <= {"summary.json", "manifest.parquet", "rejected.csv"}  # these contain paths and modification times
    assert summary(tmp_path / "out")["sha256"] == summary(tmp_path / "whole")["sha256"]


def test_a_share_of_recordings_becomes_the_dev_split(tmp_path):
    ids = {}
    for share in (0.2, 0.5):
        config = soundscapes(clips={"train": 60, "test": 4}, dev_share=share)
        prepare(config, tmp_path, tmp_path / str(share))
        splits = read_manifest(tmp_path / str(share) / "manifest.parquet").groupby("split")["id"].agg(set)
        assert len(splits["dev"]) == pytest.approx(60 * share, abs=10)
        assert len(splits["train"] | splits["dev"]) == 60
        assert len(splits["test"]) == 4
        ids[share] = splits["dev"]
        assert Store(tmp_path / str(share) / "dev.h5").ids == sorted(splits["dev"])
    assert ids[0.2] < ids[0.5]  # a larger share adds recordings and keeps the others


def test_a_list_of_ids_restricts_to_a_common_subset(tmp_path, caplog):
    prepare(soundscapes(), tmp_path, tmp_path / "all")
    listed = (tmp_path / "all" / "ids.txt").read_text().splitlines()
    assert listed == sorted([f"train_{i:06d}" for i in range(10)] + [f"test_{i:06d}" for i in range(4)])
    chosen = [listed[0], listed[1], *listed[7:]]
    # as a spreadsheet program on Windows writes it
    text = "\r\n".join([*chosen, "", "of another world", chosen[0], ""])
    (tmp_path / "ours.txt").write_bytes(text.encode("utf-8-sig"))
    prepare(soundscapes(ids="ours.txt"), tmp_path, tmp_path / "some")
    assert (tmp_path / "some" / "ids.txt").read_text().splitlines() == chosen
    assert_names(caplog.text, 1, 10, "of another world")
    train = "".join(f"{name}\n" for name in chosen if name.startswith("train"))
    assert summary(tmp_path / "some")["ids_sha256"]["train"] == hashlib.sha256(train.encode()).hexdigest()
    (tmp_path / "ours.txt").write_text("nothing\n")
    with complains(DataError, "ours.txt", 1, "nothing"):
        prepare(soundscapes(ids="ours.txt"), tmp_path, tmp_path / "none")
    with complains(DataError, "absent.txt"):
        prepare(soundscapes(ids="absent.txt"), tmp_path, tmp_path / "none")


def test_a_list_of_ids_for_one_split_leaves_the_others_alone(tmp_path):
    (tmp_path / "test.txt").write_text("test_000001\ntest_000003\n")
    prepare(soundscapes(ids={"test": "test.txt"}), tmp_path, tmp_path / "out")
    assert summary(tmp_path / "out")["clips"] == {"train": 10, "dev": 0, "test": 2}
    with complains(DataError, "test.txt", 2):
        prepare(soundscapes(ids={"train": "test.txt", "dev": "test.txt"}, seed=1), tmp_path, tmp_path / "none")


def test_nothing_of_another_result_is_taken_for_whole(tmp_path, monkeypatch):
    """Kill `prepare` between two files of the result, then prepare the previous dataset again."""
    out = tmp_path / "out"
    prepare(soundscapes(), tmp_path, out)
    before = content(out)
    (tmp_path / "ours.txt").write_text("train_000001\ntest_000001\n")
    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "write_manifest", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(soundscapes(ids="ours.txt"), tmp_path, out)
    assert len(Store(out / "train.h5")) == 1
    prepare(soundscapes(), tmp_path, out)
    assert content(out) == before


def _interrupt(*_):
    raise KeyboardInterrupt


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """Settings of a dataset of eight files in ``tmp_path/audio``, one of them perhaps in another format."""
    rng = np.random.default_rng(0)

    def make(other: str = "b2.wav", **settings) -> Soundscapes:
        (tmp_path / "audio").mkdir(exist_ok=True)
        names = [other if name == "b2" else f"{name}.wav" for name in ("a1", "a2", "a3", "b1", "b2", "c1", "c2", "c3")]
        for name in names:
            wav = tmp_path / "audio" / f"{Path(name).stem}.wav"
            if not wav.exists():
                sf.write(wav, (rng.standard_normal(8000) * 3000).astype(np.int16), 16000)
        if other.endswith("m4a"):
            command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "audio" / "b2.wav")]
            subprocess.run([*command, str(tmp_path / "audio" / other)], check=True)
        rows = [
            {"id": Path(n).stem, "path": str(tmp_path / "audio" / n), "events": ["x"], "scene": ["x"]} for n in names
        ]
        table = pd.DataFrame(rows).assign(split=["train"] * 6 + ["test"] * 2)
        config = soundscapes(**settings)
        monkeypatch.setattr(reader_of(config), "fetch", lambda *_: None)
        monkeypatch.setattr(reader_of(config), "annotate", lambda *_: Annotations(table.copy()))
        return config

    return make


def test_files_that_are_away_and_come_back(tmp_path, listed, decoded):
    """A failure writes a list of missing files. When they are back, the result is as before and nothing is decoded."""
    out, config = tmp_path / "out", listed()
    prepare(config, tmp_path, out)
    before, decoded[:] = content(out), []
    (tmp_path / "audio" / "b2.wav").rename(tmp_path / "b2.wav")
    with complains(DataError, 1, 8):
        prepare(config, tmp_path, out)
    assert "b2" in (out / "rejected.csv").read_text()
    assert content(out) | {"rejected.csv": b""} == before | {"rejected.csv": b""}
    (tmp_path / "b2.wav").rename(tmp_path / "audio" / "b2.wav")
    prepare(config, tmp_path, out)
    assert content(out) == before


def test_how_much_may_be_missing_is_looked_at_every_time(tmp_path, listed):
    config = listed()
    (tmp_path / "audio" / "b2.wav").unlink()
    prepare(config.model_copy(update={"max_rejected": 0.2}), tmp_path, tmp_path / "out")
    with complains(DataError, 1, 8):
        prepare(config, tmp_path, tmp_path / "out")


def test_a_file_that_is_away_for_a_moment_is_decoded_the_next_time(tmp_path, listed, monkeypatch):
    """The file is missing only while it is decoded, so its size and modification time do not change."""
    victim, decode, config = tmp_path / "audio" / "b2.wav", parts_module.decode, listed()

    def outage(path, **options):
        if path == victim:
            raise UnusableAudioError("missing")
        return decode(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(parts_module, "decode", outage)
        with complains(DataError, "1 × missing"):
            prepare(config, tmp_path, tmp_path / "out")
    prepare(config, tmp_path, tmp_path / "out")
    assert summary(tmp_path / "out")["rejected"] == 0


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_ffmpeg_installed_later_is_used(tmp_path, listed, monkeypatch):
    config = listed("b2.m4a")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        with complains(DataError, "1 × needs ffmpeg"):
            prepare(config, tmp_path, tmp_path / "out")
    prepare(config, tmp_path, tmp_path / "out")
    assert summary(tmp_path / "out")["rejected"] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_be_read_later_is_decoded_then(tmp_path, listed):
    victim = tmp_path / "audio" / "b2.wav"
    config = listed()
    victim.chmod(0)
    with complains(DataError, "1 × unreadable"):
        prepare(config, tmp_path, tmp_path / "out")
    victim.chmod(0o600)
    prepare(config, tmp_path, tmp_path / "out")


def test_a_damaged_part_is_decoded_again(tmp_path, caplog):
    out = tmp_path / "out"
    prepare(soundscapes(), tmp_path, out)
    before = content(out)
    victim = sorted((out / "parts").iterdir())[1]
    victim.write_bytes(victim.read_bytes()[:3000])
    prepare(soundscapes(), tmp_path, out)
    assert_names(caplog.text, victim)
    assert content(out) == before


def test_result_does_not_depend_on_its_folder(tmp_path, decoded, monkeypatch):
    prepare(soundscapes(), tmp_path, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    decoded[:] = []
    prepare(soundscapes(), Path("."), Path("out"))
    assert decoded == []


@pytest.fixture(scope="module")
def many(tmp_path_factory, programs):
    """Prepare a dataset of 500 clips. Returns the command and the folder."""
    folder = tmp_path_factory.mktemp("many")
    config = folder / "many.yaml"
    config.write_text("source: soundscapes\nclips: {train: 500, test: 4}\nseconds: [0.3, 0.6]\n")
    command = ["-m", "elasticast", "prepare", "--dataset", config, "--root", folder, "--workers", "2"]
    command = [*map(str, command), "--out", str(folder / "out")]
    subprocess.run([programs / "python", *command], check=True, capture_output=True)
    return [sys.executable, *command], folder / "out"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_parent_that_is_stopped_takes_its_processes_along(many, monkeypatch, number):
    """Otherwise they would keep memory and the pipe to the log."""
    command, out = many
    kept = content(out)
    shutil.rmtree(out / "parts")
    victim = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not any(path.stat().st_size > 100_000 for path in out.glob("parts/.train*")):
        assert victim.poll() is None
        time.sleep(0.005)
    victim.send_signal(number)
    said = victim.communicate(timeout=60)[1]  # returns only when no process has the pipe open
    assert victim.returncode != 0
    assert number == signal.SIGKILL or list((out / "parts").iterdir()) == [], said
    monkeypatch.undo()  # parts as large as the command's
    prepare(soundscapes(clips={"train": 500, "test": 4}), out.parent, out)
    assert content(out) == kept
    assert list(out.glob("parts/.*")) == []


def test_shards_at_the_same_time(tmp_path, programs):
    config = tmp_path / "small.yaml"
    config.write_text("source: soundscapes\nclips: {train: 10, test: 4}\nseconds: [0.3, 0.6]\n")
    command = [programs / "python", "-m", "elasticast", "prepare", "--dataset", config, "--root", tmp_path, "--out"]
    command = [*map(str, command), str(tmp_path / "out")]
    shards = [subprocess.Popen([*command, "--shard", f"{k}/2"], stderr=subprocess.PIPE, text=True) for k in (1, 2)]
    said = [shard.communicate()[1] for shard in shards]
    assert [shard.returncode for shard in shards] == [0, 0], said
    subprocess.run(command, check=True, capture_output=True)
    prepare(soundscapes(), tmp_path, tmp_path / "whole")
    assert summary(tmp_path / "out")["sha256"] == summary(tmp_path / "whole")["sha256"]


def test_a_decoding_process_that_dies_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(parts_module, "_decode_chunk", _die)
    with complains(DataError):
        prepare(soundscapes(), tmp_path, tmp_path / "out", workers=2)


def _die(jobs, options):
    os._exit(9)


# ---------------------------------------------------------------------------------------------
# Disks
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """Mount a small separate file system at ``tmp_path/disk``."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no right to mount a disk here")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True)


@pytest.fixture
def run(tmp_path, programs):
    """Run the command on a dataset of 44 clips."""
    config = tmp_path / "small.yaml"
    config.write_text("source: soundscapes\nclips: {train: 40, test: 4}\nseconds: [4.0, 6.0]\n")
    command = [programs / "python", "-m", "elasticast", "prepare", "--dataset", config, "--root", tmp_path, "--out"]
    return lambda out: subprocess.run([*command, out], capture_output=True, text=True)


def test_a_full_disk_is_one_clear_error_and_more_room_is_enough_to_go_on(tmp_path, run, disk):
    folder = disk("size=8m")
    audio = tmp_path / "elsewhere"
    assert run(audio).returncode == 0  # about 6 MB of audio, 6 MB of parts
    out = folder / "out"
    out.mkdir()
    (out / "audio").symlink_to(audio / "audio")
    (folder / "ballast").write_bytes(b"x" * 5_000_000)
    failed = run(out)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr, failed.stderr
    assert "No space left on device" in failed.stderr
    assert not (out / "summary.json").exists()
    assert list((out / "parts").glob("*.h5")) == []
    (folder / "ballast").unlink()
    assert run(out).returncode == 0
    assert summary(out)["sha256"] == summary(audio)["sha256"]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path, run, disk):
    failed = run(disk("ro") / "out")
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert_names(failed.stderr, tmp_path / "disk" / "out", "Read-only file system")
