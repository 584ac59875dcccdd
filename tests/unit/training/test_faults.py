"""Faults of the machine during training: one message with a remedy, and no earlier checkpoint is lost."""

import errno
import os
import resource
import signal
import subprocess
from multiprocessing import active_children

import pytest
import torch
import yaml

from elasticast.data.dataset import Clips
from elasticast.data.store import Store
from elasticast.errors import DataError
from elasticast.faults import message_of
from elasticast.training.checkpoint import saved_checkpoints
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import Trainer
from tests.complaints import assert_names

pytestmark = pytest.mark.usefixtures("cpu")
STAGE = "elasticast train"


@pytest.mark.parametrize(
    ("limit", "checkpoint_every", "file"),
    [
        (20, 2, "run/history/history.csv"),
        (150, 2, "run/history/history.csv"),
        (1000, 2, "run/checkpoint/.step-2.part/state.pt"),
        (100_000, 2, "run/checkpoint/.step-2.part/state.pt"),
        (5000, 100, "run/model.safetensors"),
    ],
)
def test_a_full_disk(tiny, prepared, programs, tmp_path, limit, checkpoint_every, file):
    """Files of this process can have `limit` bytes."""
    config = tiny(train={"checkpoint_every": checkpoint_every})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = [programs / "python", "-m", "elasticast", "train", "--config", "config.yaml", "--data", str(prepared)]
    done = subprocess.run(
        [*command, "--norm", str(prepared / "norm.json"), "--out", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1
    assert_names(done.stderr, "error", STAGE, f"{file}: {os.strerror(errno.EFBIG)}")
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "run").rglob("*.part"))


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(tiny, train_clips, norm, tmp_path, monkeypatch):
    found = Trainer(tiny(train={"steps": 6}), RunInputs(train_clips, norm, "data"), tmp_path / "run")
    save = torch.save

    def full(state, file):
        if state["step"] > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(state, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space") as caught:
        found.fit()
    assert_names(message_of(caught.value, STAGE), "state.pt", STAGE)
    assert [path.name for path in saved_checkpoints(tmp_path / "run" / "checkpoint")] == ["step-2"]


def test_a_killed_data_loader_process(tiny, train_clips, norm, tmp_path):
    found = Trainer(tiny(train={"workers": 2, "steps": 50}), RunInputs(train_clips, norm, "data"), tmp_path / "run")
    update = found._update

    def kill(*args):
        for process in active_children():
            os.kill(process.pid, signal.SIGKILL)
        return update(*args)

    found._update = kill
    with pytest.raises(RuntimeError) as caught:
        found.fit()
    assert_names(message_of(caught.value, STAGE), STAGE, "train.workers", "mem_mb")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", [DataError, OSError])
def test_an_error_of_a_data_loader_process_has_no_traceback_in_its_message(
    tiny, prepared, norm, tmp_path, monkeypatch, workers, kind
):
    def damaged(self, index):
        raise kind(f"clip {index} is damaged")

    monkeypatch.setattr(Store, "__getitem__", damaged)
    config = tiny(train={"workers": workers})
    with pytest.raises(kind) as caught:
        Trainer(config, RunInputs(Clips(prepared, "train", "events"), norm, "data"), tmp_path / "run").fit()
    assert str(caught.value).startswith("clip ")
    assert "Traceback" not in str(caught.value)
