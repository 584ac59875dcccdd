"""Cost of a forward pass: the formula of the model, or counted while it runs."""

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from elasticast.config import RunConfig
from elasticast.data.packing import PackedClip, grid_positions, pack


def forward_flops(model: nn.Module, config: RunConfig, tokens: int, classes: int) -> int:
    """Floating-point operations of the forward pass of one clip; a multiplication and an addition count as two.

    Only matrix products count, as in `torch.utils.flop_counter`. See
    :meth:`~elasticast.config.model.ModelSettings.flops`.

    Parameters
    ----------
    model : nn.Module
        The model.
    config : RunConfig
        Settings of the run.
    tokens : int
        Number of patch tokens.
    classes : int
        Number of classes.
    """
    formula = model.settings.flops(tokens, classes)
    return _counted(model, config, tokens) if formula is None else formula


def _counted(model: nn.Module, config: RunConfig, tokens: int) -> int:
    """The same, counted by PyTorch during a forward pass of random patches."""
    freq = config.model.patches(config.front_end.mel_bins)
    grid = (index[:tokens] for index in grid_positions(freq, -(-tokens // freq)))
    clip = PackedClip(0, torch.randn(tokens, config.model.patch**2), *grid, torch.zeros(1))
    device = next(model.parameters()).device
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(pack([clip]).to(device))
    return counter.get_total_flops()
