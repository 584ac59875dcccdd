"""The device that a model runs on, and the record of it in results."""

from typing import Any

import torch

from elasticast.models.attention import resolve_backend

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Types of `train.precision`."""


def default_device() -> torch.device:
    """The GPU if PyTorch can use one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """Name of a GPU, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def compute_record(backend: str, device: torch.device, precision: str = "fp32") -> dict[str, Any]:
    """Record how a result was computed: `device`, `attention_backend`, `threads`.

    Parameters
    ----------
    backend : str
        The setting `model.backend`; ``auto`` is recorded as the backend it resolves to.
    device : torch.device
        Device that the model runs on.
    precision : {"fp32", "bf16", "fp16"}
        Precision of autocast.
    """
    return {
        "device": device_name(device),
        "attention_backend": resolve_backend(backend, device, PRECISIONS[precision]),
        "threads": torch.get_num_threads(),
    }
