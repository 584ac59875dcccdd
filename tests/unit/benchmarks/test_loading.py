"""`elasticast bench loader`: which batches are loaded, what counts as waiting."""

import time

import numpy as np
import pytest
import soundfile as sf
import torch

from elasticast.benchmarks import loading
from elasticast.benchmarks.loading import measure_loading
from elasticast.errors import ElasticASTError
from tests.complaints import complains

pytestmark = pytest.mark.usefixtures("cpu")
CPU = torch.device("cpu")


def measure(tiny, prepared, **options):
    options = {"clips": 3, "batches": 2, "workers": [0, 1], "rounds": 2} | options
    return measure_loading(tiny(view={"max_frames": 128}), prepared, device=CPU, **options)


def test_each_number_of_processes_is_a_row(tiny, prepared):
    table = measure(tiny, prepared)
    assert table["workers"].tolist() == [0, 1]
    assert (table[["loader_clips_per_s", "clips_per_s", "step_ms"]] > 0).all(axis=None)
    assert table["wait_share"].between(0, 1).all()
    assert (table["wait_share_q1"] <= table["wait_share_q3"]).all()


def test_impulse_responses_are_read(tiny, prepared, tmp_path):
    sf.write(tmp_path / "room.wav", np.array([0.0, 1.0, 0.5]), 16000)
    heard = {"impulse_responses": {"folder": str(tmp_path), "share": 1.0}}
    options = {"clips": 3, "batches": 2, "workers": [0], "rounds": 1}
    table = measure_loading(tiny(view={"max_frames": 128}, train=heard), prepared, device=CPU, **options)
    assert table["workers"].tolist() == [0]


def test_the_time_until_a_batch_arrives_is_waiting_and_that_of_the_step_is_not(monkeypatch):
    clock = iter([0, 0, 2, 7, 9, 14])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert loading._timed(iter(range(3)), 2, None, CPU) == (7, 2)


def test_too_few_clips_are_one_clear_error(tiny, prepared):
    with complains(ElasticASTError, "--clips", 3, "--batches", 4, prepared, 12, 15):
        measure(tiny, prepared, batches=4)
