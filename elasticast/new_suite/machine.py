"""Measure the machine that a suite is sized for."""

import os
import time
from dataclasses import dataclass

import torch

from elasticast.models.device import default_device, device_name

SECONDS = 0.3
"""How long the speed is measured."""
MOST_WORKERS = 8


@dataclass(frozen=True)
class Machine:
    """The machine that the command runs on.

    Attributes
    ----------
    name : str
        The GPU, or ``cpu``.
    gpu_gib : float
        Memory of the GPU (GiB), 0 without one.
    runs_at_once : int
        Runs that can train at the same time without slowing each other down: one per core, or one on a GPU.
    workers : int
        Processes that load data for a run; 0 without a GPU.
    flops : float
        Floating-point operations per second of matrix products in one run.
    """

    name: str
    gpu_gib: float
    runs_at_once: int
    workers: int
    flops: float

    def __str__(self) -> str:
        runs = "1 core" if self.runs_at_once == 1 else f"{self.runs_at_once} cores"
        return f"{self.name}, {self.gpu_gib:.0f} GiB" if self.gpu_gib else runs


def measure_machine() -> Machine:
    """Measure the speed of matrix products in the form of a model's MLP, with one thread on a CPU."""
    device = default_device()
    on_gpu = device.type == "cuda"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        flops = _speed(device, torch.bfloat16 if on_gpu else torch.float32)
    finally:
        torch.set_num_threads(threads)
    memory = torch.cuda.get_device_properties(device).total_memory / 2**30 if on_gpu else 0.0
    cores = len(os.sched_getaffinity(0))
    workers = min(cores - 1, MOST_WORKERS) if on_gpu else 0
    return Machine(device_name(device), memory, 1 if on_gpu else cores, workers, flops)


def _speed(device: torch.device, kind: torch.dtype) -> float:
    tokens, width = (2048, 96) if device.type == "cpu" else (16384, 384)
    a = torch.randn(tokens, width, device=device, dtype=kind)
    b = torch.randn(width, 4 * width, device=device, dtype=kind)
    # on a CPU, the time of this process: other processes may be gone when the suite is trained
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    products = 0
    torch.mm(a, b)  # the first call loads the library
    begun = clock()
    while clock() - begun < SECONDS:
        result = torch.mm(a, b)
        products += 1
        if device.type == "cuda" and products % 10 == 0:
            torch.cuda.synchronize(device)
    result[0, 0].item()  # waits for the GPU
    return products * 2 * tokens * width * 4 * width / (clock() - begun)
