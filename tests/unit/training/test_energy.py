"""Energy in run.json: measured, or unknown with the reason; it never stops a training."""

import json
import socket
import sys
from types import SimpleNamespace

import pytest
import torch

from elasticast.training import energy
from elasticast.training.energy import EnergyMeter
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import Trainer

CPU = torch.device("cpu")


class Counter:
    """A part that takes one watt-hour between two readings, and breaks at a reading."""

    def __init__(self, breaks_at: int = 0):
        self.readings, self.breaks_at = 0, breaks_at

    def start(self) -> None:
        self.readings = 0

    def measure_power_and_energy(self, seconds: float):
        assert seconds >= 0
        self.readings += 1
        if self.readings == self.breaks_at:
            raise OSError("counter is gone")
        return None, SimpleNamespace(kWh=0.001)


def test_energy_adds_up_from_the_first_step(monkeypatch):
    monkeypatch.setattr(energy, "_open_cpu", Counter)
    meter = EnergyMeter(CPU)
    meter.start(step=7)
    meter.add()
    meter.add()
    assert meter.record() == {"kwh": {"cpu": pytest.approx(0.002)}, "unknown": {}, "from_step": 7}


def test_a_part_that_breaks_is_unknown_and_the_others_count(monkeypatch):
    monkeypatch.setattr(energy, "_open_cpu", lambda: Counter(breaks_at=2))
    monkeypatch.setattr(energy, "_open_gpus", Counter)
    meter = EnergyMeter(torch.device("cuda"))
    meter.start(0)
    for _ in range(3):
        meter.add()
    record = meter.record()
    assert record["kwh"] == {"gpu": pytest.approx(0.003)}
    assert record["unknown"] == {"cpu": "counter is gone"}


def test_without_the_package_the_reason_names_it(monkeypatch, tiny, train_clips, norm, tmp_path, cpu):
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    Trainer(tiny(train={"steps": 2}), RunInputs(train_clips, norm, "data"), tmp_path / "run").fit()
    record = json.loads((tmp_path / "run" / "run.json").read_text())["energy"]
    assert record["kwh"] == {}
    assert "codecarbon" in record["unknown"]["cpu"]


def test_the_real_package_opens_no_connection_and_writes_no_file(monkeypatch, tmp_path):
    pytest.importorskip("codecarbon")
    opened = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: opened.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: opened.append(address))
    monkeypatch.chdir(tmp_path)
    meter = EnergyMeter(CPU)
    meter.start(0)
    meter.add()
    record = meter.record()
    assert record["kwh"].keys() | record["unknown"].keys() == {"cpu"}
    assert not opened
    assert not list(tmp_path.iterdir())
