"""The device that a model runs on, and the record of it in results."""

from typing import Any

import torch

from elasticast.models.attention import resolve_backend


def default_device() -> torch.device:
    """The GPU if PyTorch can use one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """Name of a GPU, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def compute_record(backend: str, device: torch.device) -> dict[str, Any]:
    """Record how a result was computed: `device`, `attention_backend`, `threads`.

    Parameters
    ----------
    backend : str
        The setting `model.backend`; ``auto`` is recorded as the backend it resolves to.
    device : torch.device
        Device that the model runs on.
    """
    return {
        "device": device_name(device),
        "attention_backend": resolve_backend(backend, device),
        "threads": torch.get_num_threads(),
    }
