"""Fixtures of the tests of evaluations: a model that looks trained, and its sweeps."""

import pytest
import torch
import yaml

from elasticast.checksums import FOLDER, folder_of, with_checksum, write_record
from elasticast.data.dataset import Clips
from elasticast.data.manifest import read_data_hash
from elasticast.models import build_model
from elasticast.provenance import job_record
from elasticast.training.checkpoint import save_model

SWEEPS = {"length": {"x_name": "max_frames", "x": [64.0, 256.0]}, "hop": {"x_name": "compression", "x": [1.0, 2.0]}}


@pytest.fixture
def sweeps(tmp_path):
    """Settings of two sweeps, as the workflow writes them."""
    path = tmp_path / "sweeps.yaml"
    path.write_text(with_checksum(yaml.safe_dump({"suite": "s", "evaluations": SWEEPS})))
    return path


@pytest.fixture
def trained(tiny, prepared, norm, tmp_path):
    """Writes the folder of a run of random weights."""

    def write(experiment="run", seed=0, **settings):
        folder = tmp_path / "runs" / experiment / f"seed{seed}"
        config, clips = tiny(experiment=experiment, seed=seed, **settings), Clips(prepared, "test", "events")
        torch.manual_seed(seed + sum(experiment.encode()))
        model = build_model(config, len(clips.classes))
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
        save_model(folder, model, config, norm, clips.classes, clips.kind)
        record = job_record("code", config, read_data_hash(prepared), device="cpu", attention_backend="sdpa", threads=1)
        numbers = ("steps", "seconds", "clips_per_s", "tokens_per_s", "restarts", "parameters", "peak_memory_mib")
        numbers += ("trained_parameters", "training_flops")
        record |= {FOLDER: folder_of(folder / "run.json"), "world_size": 1, **dict.fromkeys(numbers, 1)}
        write_record(folder / "run.json", record, [folder / "model.safetensors", folder / "model.json"])
        return folder

    return write
