import hashlib
import io

import numpy as np
import pytest
import soundfile as sf
import torch

from elasticast.config import FrontEnd
from elasticast.config.dataset import Soundscapes
from elasticast.data.dataset import Clips
from elasticast.data.datasets import fsdd
from elasticast.data.norm import read_norm
from elasticast.data.prepare import prepare
from elasticast.data.stats import write_stats
from elasticast.data.store import Store, write_index, writing_part

SPEAKERS = ("ada", "bob")


@pytest.fixture(scope="session")
def published():
    """File name to content of a small dataset of the same naming: 2 speakers, 10 digits, 7 recordings each."""
    rng, files = np.random.default_rng(0), {}
    for speaker in SPEAKERS:
        for digit in range(10):
            for index in range(7):
                buffer = io.BytesIO()
                wave = (rng.standard_normal(round(8000 * rng.uniform(0.15, 0.6))) * 2000).astype(np.int16)
                sf.write(buffer, wave, 8000, format="WAV")
                files[f"{digit}_{speaker}_{index}.wav"] = buffer.getvalue()
    return files


@pytest.fixture
def sums(tmp_path, published, monkeypatch):
    """The small dataset's checksums in place of the committed ones."""
    path = tmp_path / "fsdd.sha256"
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in published.items()]
    path.write_text("".join(lines))
    monkeypatch.setattr(fsdd, "SUMS", path)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """On tensors this small several threads only get in each other's way."""
    torch.set_num_threads(1)


@pytest.fixture
def equal(record_property):
    """Compare two computations of the same values; the largest error is printed at the end of the test run."""
    torch.manual_seed(0)

    def compare(what, found, expected, tolerance=1e-5):
        error = (found - expected).abs().max().item()
        record_property("equality", (what, error, expected.abs().max().item()))
        assert expected.std() > 1e-2  # a constant would say nothing
        assert error <= tolerance

    return compare


@pytest.fixture
def cpu(monkeypatch):
    """Runs on the CPU, where results repeat bit for bit, on a machine with a GPU too."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # for processes a test starts


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A prepared dataset of 12 training and 6 test soundscapes with its statistics in `norm.json`."""
    out = tmp_path_factory.mktemp("prepared") / "soundscapes"
    prepare(Soundscapes(source="soundscapes", clips={"train": 12, "test": 6}, seconds=[0.5, 2.5]), out.parent, out)
    write_stats(out, FrontEnd(), out / "norm.json")
    return out


@pytest.fixture(scope="session")
def norm(prepared):
    return read_norm(prepared / "norm.json")


@pytest.fixture(scope="session")
def train_clips(prepared):
    return Clips(prepared, "train", "events")


@pytest.fixture(scope="session")
def test_clips(prepared):
    return Clips(prepared, "test", "events")


TIMED = {"task": "timed_events", "model": {"frame_head": True}}
"""Settings that turn a tiny run into one of a task of kind ``frames``."""


@pytest.fixture(scope="session")
def timed(tmp_path_factory):
    """As `prepared`, with onset and offset of every event."""
    out = tmp_path_factory.mktemp("timed") / "soundscapes"
    clips = {"train": 12, "test": 6}
    prepare(Soundscapes(source="soundscapes", clips=clips, seconds=[0.5, 2.5], event_times=True), out.parent, out)
    write_stats(out, FrontEnd(), out / "norm.json")
    return out


@pytest.fixture(scope="session")
def timed_clips(timed):
    return Clips(timed, "train", "timed_events")


@pytest.fixture
def write_store():
    """Writes a store of parts, each a dict of id to int16 samples, and opens it."""

    def write(path, parts, rate=16000):
        files = [path.with_name(f"{path.stem}-{number}.h5") for number in range(len(parts))]
        for file, clips in zip(files, parts, strict=True):
            with writing_part(file, rate) as writer:
                for samples in clips.values():
                    writer.append(samples)
                assert not file.exists()
        write_index(path, files, [name for clips in parts for name in clips], rate)
        return Store(path)

    return write
