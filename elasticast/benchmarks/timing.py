"""Measure time and memory of steps to compare them."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from elasticast.models.device import PRECISIONS
from elasticast.progress import track

Step = Callable[[], object]


def time_alternately(
    steps: dict[str, Step], rounds: int, device: torch.device, progress: str | None = None
) -> dict[str, np.ndarray]:
    """Time steps alternately, so that other processes on the machine slow down all steps alike.

    Each round runs all steps once; every other round runs them in reverse order.

    Parameters
    ----------
    steps : dict of str to callable
        Name to step.
    rounds : int
        Number of rounds.
    device : torch.device
        Device that the steps compute on.
    progress : str, optional
        What to call the rounds in a report of progress; by default there is none.

    Returns
    -------
    dict of str to ndarray
        Name to `[rounds, 2]`, wall-clock time and processor time of all threads, in seconds. Other processes hardly
        change the processor time.
    """
    seconds = {name: np.empty((rounds, 2)) for name in steps}
    numbers = range(rounds)
    for number in track(numbers, rounds, progress) if progress else numbers:
        for name in list(steps)[:: -1 if number % 2 else 1]:
            wait(device)
            begun = time.perf_counter(), time.process_time()
            steps[name]()
            wait(device)
            seconds[name][number] = time.perf_counter() - begun[0], time.process_time() - begun[1]
    return seconds


def peak_bytes(step: Step, device: torch.device) -> int | None:
    """Peak memory in bytes that a step allocates on a GPU; None on a CPU, where torch does not measure it."""
    if device.type != "cuda":
        step()  # warm up as on a GPU
        return None
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step()
    return torch.cuda.max_memory_allocated(device) - before


def large_product(device: torch.device, precision: str) -> tuple[Step, int]:
    """A large matrix product, whose speed is the machine's peak, and its number of operations ``2 n**3``.

    ``n`` is 8,192 on a GPU, and on a CPU 2,048, or 256 if it computes in 16 bits without instructions for them: no
    larger product is faster per operation then, and one of 2,048 takes some ten seconds.
    """
    size = 8192 if device.type == "cuda" else 2048 if has_instructions(precision) else 256
    a = torch.randn(size, size, device=device, dtype=PRECISIONS[precision])
    product = torch.empty_like(a)
    return lambda: torch.mm(a, a, out=product), 2 * size**3


def has_instructions(precision: str) -> bool:
    """Whether this CPU multiplies matrices in a precision, as oneDNN finds; PyTorch's own loops are slow."""
    if precision == "fp32":
        return True
    return torch.backends.mkldnn.is_available() and getattr(torch.ops.mkldnn, f"_is_mkldnn_{precision}_supported")()


def time_with_peak(
    steps: dict[str, Step], rounds: int, device: torch.device, precision: str, operations: float
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, float]]]:
    """Time steps and a large matrix product alternately.

    Parameters
    ----------
    steps, rounds, device
        See :func:`time_alternately`.
    precision : str
        Type of the matrix product, a key of :data:`~elasticast.models.device.PRECISIONS`.
    operations : float
        Number of operations that each step needs, without those on padding.

    Returns
    -------
    seconds : dict of str to ndarray
        As of :func:`time_alternately`.
    shares : dict of str to dict of str to float
        Name to ``peak_share`` and ``cpu_peak_share``: operations per second (of wall-clock and of processor time)
        divided by those of the matrix product, the median over rounds. The first is the model FLOP utilisation.
    """
    product, size = large_product(device, precision)
    product()  # warm up
    seconds = time_alternately({**steps, "": product}, rounds, device)
    peak, shares = seconds.pop(""), {}
    for name, times in seconds.items():
        wall, cpu = np.median(peak / times, 0) * operations / size
        shares[name] = {"peak_share": wall, "cpu_peak_share": cpu}
    return seconds, shares


def import_seconds(module: str, rounds: int = 3) -> float:
    """Processor time of a Python process that only imports a module, in seconds: the fastest of some processes."""
    times = []
    for _ in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(times)


def saved_bytes(forward: Callable[[], Tensor], known: Iterable[Tensor]) -> int:
    """Bytes that a forward pass keeps for the backward pass; each storage counts once.

    Parameters
    ----------
    forward : callable
        Computes the output.
    known : iterable of Tensor
        Tensors that do not count, such as weights.
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # a tensor with its graph would keep the graph alive

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = forward()
    for tensor in known:
        kept.pop(tensor.untyped_storage().data_ptr(), None)
    del output  # keep the output until here, so that no counted storage is freed and its address reused
    return sum(kept.values())


def wait(device: torch.device) -> None:
    """Wait until the device has computed everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
