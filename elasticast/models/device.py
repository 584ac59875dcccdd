"""The device that a model runs on, and what results record of it."""

from typing import Any

import torch

from elasticast.models.attention import resolve_backend


def default_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """Name of a GPU, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def compute_record(backend: str, device: torch.device) -> dict[str, Any]:
    """What a result records of how it was computed: `device`, `attention_backend`, `threads`.

    Parameters
    ----------
    backend : str
        The setting `model.backend`; the record holds the one that runs.
    device : torch.device
        Where the model runs.
    """
    return {
        "device": device_name(device),
        "attention_backend": resolve_backend(backend, device),
        "threads": torch.get_num_threads(),
    }
