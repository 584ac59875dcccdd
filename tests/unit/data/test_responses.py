"""Clips that are convolved with impulse responses."""

import json

import numpy as np
import pytest
import soundfile as sf
import torch

from elasticast.data.dataset import ClipDataset
from elasticast.data.responses import LONGEST_SECONDS, Responses, read_responses
from elasticast.data.sampler import ClipRequest
from elasticast.errors import DataError
from elasticast.training.inputs import read_inputs
from elasticast.training.loop import Trainer
from tests.complaints import complains
from tests.unit.training.conftest import settings
from tests.unit.training.ranks import stop_at


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def write(path, samples, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, samples, rate, subtype="FLOAT")


@pytest.fixture
def folder(tmp_path):
    """Two responses: an echo, and one of another sample rate in a sub-folder."""
    write(tmp_path / "devices/b.wav", np.array([0.0] * 10 + [0.8] + [0.0] * 20 + [0.6]))
    write(tmp_path / "devices/a/c.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 2000), 8000)
    return tmp_path / "devices"


def test_files_are_read_in_order_at_the_rate_of_the_clips(folder):
    found = read_responses(folder, 16000)
    assert [len(wave) for wave in found.waves] == [4000, 32]
    torch.testing.assert_close(torch.stack([wave.norm() for wave in found.waves]), torch.ones(2))
    assert found.waves[1][10].item() == pytest.approx(0.8)
    assert found.sha256 == read_responses(folder, 16000).sha256
    write(folder / "b.wav", np.array([0.5, 0.1]))
    assert found.sha256 != read_responses(folder, 16000).sha256


def test_a_convolution_keeps_the_length_and_where_sounds_are(folder):
    wave = torch.zeros(1000)
    wave[300] = 1.0
    echo = Responses([read_responses(folder, 16000).waves[1]], "")
    expected = 0.8 * wave + 0.6 * wave.roll(21)
    torch.testing.assert_close(echo(wave, generator()), expected, atol=1e-6, rtol=0)
    short = echo(wave[295:305], generator())
    torch.testing.assert_close(short, 0.8 * wave[295:305], atol=1e-6, rtol=0)


def test_what_is_no_response_is_named(folder, tmp_path):
    for samples, reason in (
        (np.zeros(100), "silent"),
        (np.array([0.1, np.nan]), "non-finite"),
        (np.ones(round(16000 * LONGEST_SECONDS) + 1), round(LONGEST_SECONDS)),
    ):
        write(folder / "z.wav", samples)
        with complains(DataError, folder / "z.wav", "train.impulse_responses.folder", reason):
            read_responses(folder, 16000)
    (folder / "z.wav").write_text("no audio")
    with complains(DataError, folder / "z.wav", "train.impulse_responses.folder"):
        read_responses(folder, 16000)
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent"):
        with complains(DataError, tmp_path / name, "train.impulse_responses.folder"):
            read_responses(tmp_path / name, 16000)


def test_clips_are_heard_through_a_response_that_is_drawn(tiny, timed_clips, norm, folder):
    """The same epoch gives the same; labels and the mean teacher are as without."""
    heard = settings(tiny, impulse_responses={"folder": str(folder), "share": 0.5}, mixup=0.5)
    encoded = {}
    for name, config in {"heard": heard, "again": heard, "plain": settings(tiny, mixup=0.5)}.items():
        config = config.model_copy(update={"view": config.view.model_copy(update={"crop": "start"})})
        responses = read_responses(folder, 16000)
        dataset = ClipDataset(timed_clips, config, norm, mean_teacher=True, responses=responses)
        encoded[name] = [dataset[ClipRequest(clip, epoch)] for epoch in range(4) for clip in range(len(timed_clips))]
    changed = 0
    for one, again, plain in zip(*encoded.values(), strict=True):
        assert torch.equal(one.patches, again.patches)
        assert torch.equal(one.frame_target, plain.frame_target)
        assert torch.equal(one.teacher.patches, plain.teacher.patches)
        changed += not torch.equal(one.patches, plain.patches)
    assert 0.3 < changed / len(encoded["heard"]) < 0.7


@pytest.mark.usefixtures("cpu")
def test_a_run_records_its_responses_and_goes_on_with_the_same(tiny, timed, tmp_path, folder):
    """The folder is relative to that of weights. With another response, a checkpoint is not used."""
    config = settings(tiny, impulse_responses={"folder": folder.name, "share": 0.7}, checkpoint_every=2)

    def trainer(name):
        inputs = read_inputs(config, timed, tmp_path / name, norm=timed / "norm.json", weights_root=tmp_path)
        return Trainer(config, inputs, tmp_path / name)

    trainer("whole").fit()
    stopped = trainer("parts")
    stop_at(stopped, 3)
    with pytest.raises(SystemExit):
        stopped.fit()
    resumed = trainer("parts")
    resumed.fit()
    assert (tmp_path / "parts/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()
    record = json.loads((tmp_path / "parts/run.json").read_text())
    sha256 = read_responses(folder, 16000).sha256
    assert record["impulse_responses"] == {"folder": folder.name, "files": 2, "sha256": sha256}
    assert record["restarts"] == 1
    write(folder / "d.wav", np.array([0.5, 0.1]))
    assert trainer("parts").checkpoints.identity != resumed.checkpoints.identity
