"""A full disk, too little memory and a killed process are one message with a remedy, and cost no earlier checkpoint."""

import errno
import os
import resource
import signal
import subprocess
import sys
from multiprocessing import active_children

import pytest
import torch
import yaml

from elasticast.data.dataset import Clips
from elasticast.errors import DataError, ElasticASTError
from elasticast.training.checkpoint import saved_checkpoints
from elasticast.training.faults import explained
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import Trainer
from tests.complaints import assert_names, complains

pytestmark = pytest.mark.usefixtures("cpu", "signal_handlers")


@pytest.mark.parametrize(
    ("limit", "checkpoint_every", "file"),
    [
        (20, 2, "run"),  # history.csv and the TensorBoard events are open files, whose errors have no name
        (1000, 2, "run/checkpoint/.step-2.part/state.pt"),
        (100_000, 2, "run/checkpoint/.step-2.part/state.pt"),
        (5000, 100, "run/model.safetensors"),
    ],
)
def test_a_full_disk(tiny, prepared, tmp_path, limit, checkpoint_every, file):
    """Files of this process can have `limit` bytes."""
    config = tiny(train={"checkpoint_every": checkpoint_every})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = [sys.executable, "-m", "elasticast", "train", "--config", "config.yaml", "--data", str(prepared)]
    done = subprocess.run(
        [*command, "--norm", str(prepared / "norm.json"), "--out", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1
    assert_names(done.stderr, "error: training of tiny", f"{file}: {os.strerror(errno.EFBIG)}")
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "run").rglob("*.part"))


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(tiny, train_clips, norm, tmp_path):
    found = Trainer(tiny(train={"steps": 6}), RunInputs(train_clips, norm, "data"), tmp_path / "run")
    save = found.checkpoints.save

    def full(step, state):
        if step > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "file")
        save(step, state)

    found.checkpoints.save = full
    with complains(ElasticASTError, "file", "tiny"), explained(found.config, tmp_path / "run"):
        found.fit()
    assert [path.name for path in saved_checkpoints(tmp_path / "run" / "checkpoint")] == ["step-2"]


def test_a_killed_data_loader_process(tiny, train_clips, norm, tmp_path):
    found = Trainer(tiny(train={"workers": 2, "steps": 50}), RunInputs(train_clips, norm, "data"), tmp_path / "run")
    update = found._update

    def kill(*args):
        for process in active_children():
            os.kill(process.pid, signal.SIGKILL)
        return update(*args)

    found._update = kill
    with complains(ElasticASTError, "tiny", "train.workers", 2), explained(found.config, tmp_path / "run"):
        found.fit()


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
            ["train.batch.clips", 4, "view.max_frames"],
        ),
        (MemoryError(), ["mem_mb", "train.batch.clips", 4, "view.max_frames", 256]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ["mem_mb", "train.batch.clips"]),
    ],
)
def test_too_little_memory(tiny, tmp_path, error, named):
    with complains(ElasticASTError, "tiny", *named), explained(tiny(), tmp_path):
        raise error


def test_a_budget_of_tokens_is_named(tiny, tmp_path):
    config = tiny(train={"batch": {"clips": None, "tokens": 300}})
    with complains(ElasticASTError, "train.batch.tokens", 300), explained(config, tmp_path):
        raise MemoryError


@pytest.mark.parametrize("error", [ValueError("a bug"), RuntimeError("a bug"), FileNotFoundError(2, "none", "file")])
def test_other_errors_stay_as_they_are(tiny, tmp_path, error):
    with pytest.raises(type(error)) as caught, explained(tiny(), tmp_path):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", [DataError, OSError])
def test_an_error_of_a_data_loader_process_has_no_traceback_in_its_message(
    tiny, prepared, norm, tmp_path, monkeypatch, workers, kind
):
    def damaged(self, index):
        raise kind(f"clip {index} is damaged")

    monkeypatch.setattr(Clips, "waveform", damaged)
    config = tiny(train={"workers": workers})
    with pytest.raises(kind) as caught:
        Trainer(config, RunInputs(Clips(prepared, "train", "events"), norm, "data"), tmp_path / "run").fit()
    assert str(caught.value).startswith("clip ")
    assert "Traceback" not in str(caught.value)
