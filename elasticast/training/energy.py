"""Energy that a training takes: counters of the processor (RAPL) and of NVIDIA GPUs (NVML), read with codecarbon.

Only measured energy counts. codecarbon can also estimate it from the processor's name and load; such estimates, its
tracker, and all of its parts that open a network connection or write files are not used.
"""

import contextlib
import logging
import os
import time
from typing import Any

import torch

MISSING = "needs the package codecarbon: pip install 'elasticast[energy]'"


class EnergyMeter:
    """Measure the energy of this machine while a run trains, other processes included.

    A part that cannot be measured is recorded with the reason; it never stops a training.

    Parameters
    ----------
    device : torch.device
        Device of the training. GPUs are measured for CUDA devices: those of the processes on this machine.
    """

    def __init__(self, device: torch.device):
        self.kwh: dict[str, float] = {}
        self.unknown: dict[str, str] = {}
        self.from_step, self._last, self._parts = 0, 0.0, {}
        openers = {"cpu": _open_cpu} | ({"gpu": _open_gpus} if device.type == "cuda" else {})
        for name, opened in openers.items():
            with self._guard(name):
                self._parts[name] = opened()

    def start(self, step: int) -> None:
        """Begin to count, at this step of the training."""
        self.from_step, self._last = step, time.perf_counter()
        for name, part in list(self._parts.items()):
            with self._guard(name):
                part.start()
                self.kwh[name] = 0.0

    def add(self) -> None:
        """Add the energy since the last call. The counters overflow, at full load after some ten minutes."""
        now = time.perf_counter()
        for name, part in list(self._parts.items()):
            with self._guard(name):
                self.kwh[name] += float(part.measure_power_and_energy(now - self._last)[1].kWh)
        self._last = now

    def record(self) -> dict[str, Any]:
        """What `run.json` says: kWh of each part, why others are unknown, and the step from which it was measured."""
        return {"kwh": dict(self.kwh), "unknown": dict(self.unknown), "from_step": self.from_step}

    @contextlib.contextmanager
    def _guard(self, name: str):
        try:
            yield
        except ImportError:
            self._leave_out(name, MISSING)
        except Exception as error:  # drivers and files of the system fail in many ways
            self._leave_out(name, str(error) or type(error).__name__)

    def _leave_out(self, name: str, reason: str) -> None:
        self.unknown[name] = reason
        for parts in (self._parts, self.kwh):
            parts.pop(name, None)


def _quiet(module: str) -> Any:
    """Import a module of codecarbon, whose warnings are about estimates that are not used."""
    from importlib import import_module

    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    return import_module(f"codecarbon.{module}")


def _open_cpu() -> Any:
    hardware, cpu = _quiet("external.hardware"), _quiet("core.cpu")
    if not cpu.is_rapl_available():
        raise OSError("the counters of the processor (RAPL, /sys/class/powercap) do not exist here or are not readable")
    return hardware.CPU.from_utils(os.devnull, "intel_rapl")


def _open_gpus() -> Any:
    hardware, gpu = _quiet("external.hardware"), _quiet("core.gpu")
    if not gpu.is_nvidia_system():
        raise OSError("the counters of the GPU (NVML) are not readable")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    visible = [name.strip() for name in visible if name.strip()] or list(map(str, range(torch.cuda.device_count())))
    return hardware.GPU.from_utils(visible[: int(os.environ.get("LOCAL_WORLD_SIZE", 1))])
