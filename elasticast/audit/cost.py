"""Cost: operations, time and peak memory of one pass over the length of a clip, and their exponents."""

import contextlib
import ctypes
import time
from pathlib import Path
from statistics import median

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from elasticast.audit.measures import exponent
from elasticast.audit.signals import to_length
from elasticast.audit.subject import Purse, Refusal, Subject
from elasticast.encoders.contract import Encoder

CHECK = "cost"
LENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 600.0)
"""Lengths of clips (s)."""
FITTED_FROM = 2.0
"""Exponents are fitted to lengths (s) from here on: below, constant costs dominate."""
MEMORY_SHARE = 0.5
"""Largest share of the free memory that a length may be expected to need."""
_CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


class _Operations(TorchDispatchMode):
    """Sum the operations of all matrix products, convolutions and attentions, by the formulas of PyTorch.

    `torch.utils.flop_counter.FlopCounterMode` also attributes them to modules, which fails in inference mode and for
    parametrised layers.
    """

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, kind = kwargs or {}, func._overloadpacket
        if kind not in flop_registry and kind is not _CPU_ATTENTION:
            with self:
                if (result := func.decompose(*args, **kwargs)) is not NotImplemented:
                    return result
        result = func(*args, **kwargs)
        if kind is _CPU_ATTENTION:
            self.total += sdpa_flop_count(*(x.shape for x in args[:3]))
        elif kind in flop_registry:
            self.total += flop_registry[kind](*args, **kwargs, out_val=result)
        return result


def check(subject: Subject, purse: Purse) -> None:
    """Measure lengths from short to long while they are affordable."""
    wave, measured = subject.waves[0], {}
    subject.attempt([to_length(wave, subject.rate)])  # the first pass also loads kernels
    for seconds in LENGTHS:
        estimate, memory = subject.speed.estimate(seconds), _expected_bytes(measured, seconds)
        if measured and not purse.affords(3 * estimate):
            subject.untried.append(f"cost from {seconds:g} s: about {estimate:.3g} s a pass (--budget)")
            break
        if memory > MEMORY_SHARE * _free_bytes(subject.encoder.device):
            subject.untried.append(f"cost from {seconds:g} s: about {memory / 2**30:.3g} GiB")
            break
        clip = to_length(wave, round(seconds * subject.rate))
        try:
            measured[seconds] = values = _measure(subject.encoder, clip, purse)
        except Exception as error:
            if seconds >= 1:
                subject.untried.append(f"cost from {seconds:g} s: {Refusal.of(error)}")
                break
            continue
        subject.speed.points[seconds] = values["seconds"]
        subject.add(CHECK, "one clip", values, 1, seconds=seconds)
    _verdicts(subject, measured)


def _measure(encoder: Encoder, clip: torch.Tensor, purse: Purse) -> dict[str, float]:
    peak = peak_bytes(encoder, clip)
    times = []
    while not times or (len(times) < 3 and purse.affords(2 * times[-1])):
        begun = time.perf_counter()
        encoder.encode([clip])  # its result is on the CPU, so a GPU has finished
        times.append(time.perf_counter() - begun)
    seconds = max(median(times), 1e-6)
    values = {"seconds": seconds, "clips_per_s": 1 / seconds, "gflop": flops(encoder, clip) / 1e9}
    return values | ({"peak_mib": peak / 2**20} if peak is not None else {})


def flops(encoder: Encoder, clip: torch.Tensor) -> int:
    """Operations of the matrix products, convolutions and attention of a pass; an addition and a product are two."""
    with _Operations() as operations:
        encoder.encode([clip])
    return operations.total


def peak_bytes(encoder: Encoder, clip: torch.Tensor) -> int | None:
    """Peak memory of a pass beyond what is allocated before it; None where it cannot be measured.

    On a GPU, memory of PyTorch; on Linux, resident memory of the process, whose peak the kernel can reset.
    """
    device = encoder.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        encoder.encode([clip])
        return torch.cuda.max_memory_allocated(device) - before
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # else freed memory would be used again and not be counted
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        encoder.encode([clip])
        return max(_status("VmHWM") - before, 0)
    encoder.encode([clip])
    return None


def _status(key: str) -> int:
    """A size in /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(key)


def _free_bytes(device: torch.device) -> float:
    """Free memory of the device; infinite if it is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return float("inf")


def _expected_bytes(measured: dict[float, dict[str, float]], seconds: float) -> float:
    """Memory that a longer clip is expected to need: as the square of its length at most."""
    known = [(x, values["peak_mib"]) for x, values in measured.items() if values.get("peak_mib", 0) > 1]
    if len(known) < 2:
        return 0.0
    (x0, y0), (x1, y1) = known[-2:]
    slope = min(max(exponent([x0, x1, x1 * x1 / x0], [y0, y1, y1 * y1 / y0]), 0.0), 2.0)
    return y1 * 2**20 * (seconds / x1) ** slope


def _verdicts(subject: Subject, measured: dict[float, dict[str, float]]) -> None:
    if not measured:
        subject.find(CHECK, "cost of a pass", "none", "no length was accepted")
        return
    fitted = [x for x in measured if x >= FITTED_FROM]
    for key, what in (("gflop", "operations"), ("seconds", "time"), ("peak_mib", "peak memory")):
        values = [measured[x].get(key, 0.0) for x in fitted]
        power = exponent(fitted, values)
        if power != power:
            subject.find(CHECK, f"growth of {what}", "none", "too few lengths, or not measured on this machine")
            continue
        span = f"from {fitted[0]:g} to {fitted[-1]:g} s"
        subject.add(CHECK, "exponent", {f"{key}_exponent": power}, len(fitted))
        subject.find(CHECK, f"growth of {what}", "info", f"length to the power of {power:.2f}, {span}")
    near = min(measured, key=lambda x: abs(x - 8))
    values = measured[near]
    memory = f", {values['peak_mib']:.3g} MiB" if "peak_mib" in values else ""
    text = f"{values['gflop']:.3g} GFLOP, {values['clips_per_s']:.3g} clips a second{memory}"
    subject.find(CHECK, f"one clip of {near:g} s", "info", text)
