"""Runs in stages: what several files of tests need."""

import pytest
import torch

from elasticast.data.norm import Norm
from elasticast.models import build_model
from elasticast.training.checkpoint import save_model
from elasticast.training.ensemble import load_member
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import Trainer

CRNN = {"channels": [3, 4], "width": 5, "dropout": 0.2}
MODEL = {"depth": 1, "dim": 16, "frame_head": True}
UNLABELLED = {"share": 0.5, "clips": 3}
BUSY = {
    "token_dropout": 0.2,
    "mixup": 0.5,
    "mixstyle": {},
    "freq_warp": {},
    "filter_augment": {},
    "spec_augment": {"freq_bins": 24, "time_frames": 96},
}
STAGES = [
    {"share": 0.5, "frozen": True, "consistency": 2.0, "lr": 0.01},
    {"share": 0.5, "consistency": 20.0, "ramp_steps": 2, "transformer_lr": 1.0e-4, "warmup_steps": 1},
]


def settings(tiny, stages=None, model=None, **train):
    """Settings of a run of 6 steps; 3 clips with labels in a batch."""
    train = {"steps": 6, "batch": {"clips": 3}, "stages": stages, **train}
    return tiny(task="timed_events", model={**MODEL, **(model or {})}, train=train)


@pytest.fixture
def write(tiny, timed_clips, tmp_path):
    """Writes a model that was not trained, and returns its folder."""

    def run(name, seed=7, classes=None, **model):
        config = settings(tiny, model=model)
        torch.manual_seed(seed)
        found = build_model(config, len(timed_clips.classes))
        for parameter in found.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        names = classes or timed_clips.classes
        save_model(tmp_path / name, found, config, Norm(-4.0, 3.0), names, timed_clips.kind)
        return str(tmp_path / name)

    return run


@pytest.fixture
def staged(tiny, timed_clips, norm, tmp_path, write):
    """A trainer into a folder of `tmp_path`, from the weights `start`."""
    start = write("start")

    def build(folder, stages=None, clips=timed_clips, **train):
        config = settings(tiny, stages, {"init": start, "crnn": CRNN}, **train)
        members = [load_member(name, config, clips.classes) for name in config.train.ensemble or []]
        return Trainer(config, RunInputs(clips, norm, "data", init=start, ensemble=members), tmp_path / folder)

    return build
