"""Seconds and memory of steps that are compared: in turns, so that other work on the machine slows all alike."""

import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

Step = Callable[[], object]


def in_turns(steps: dict[str, Step], rounds: int, device: torch.device) -> dict[str, np.ndarray]:
    """Seconds of each step in each round, `[rounds, 2]`; every other round goes through the steps backwards.

    The second column is processor time, of all threads: other processes on the machine hardly change it.
    """
    seconds = {name: np.empty((rounds, 2)) for name in steps}
    for number in range(rounds):
        for name in list(steps)[:: -1 if number % 2 else 1]:
            _wait(device)
            begun = time.perf_counter(), time.process_time()
            steps[name]()
            _wait(device)
            seconds[name][number] = time.perf_counter() - begun[0], time.process_time() - begun[1]
    return seconds


def peak_bytes(step: Step, device: torch.device) -> int | None:
    """Most that a step allocates on a GPU beyond what lay there before; none on a CPU, where torch does not count."""
    if device.type != "cuda":
        step()  # it warms up all the same
        return None
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step()
    return torch.cuda.max_memory_allocated(device) - before


def saved_bytes(forward: Callable[[], Tensor], known: Iterable[Tensor]) -> int:
    """Bytes that a forward pass keeps for the backward pass, each storage once, without the weights, `known`."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would keep its own graph alive

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = forward()
    for tensor in known:
        kept.pop(tensor.untyped_storage().data_ptr(), None)
    del output  # until here nothing that is kept can have made room for something else
    return sum(kept.values())


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
