"""Cost of a forward pass: the formula of the model, or counted while it runs."""

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from elasticast.config import RunConfig
from elasticast.data.packing import PackedBatch, PackedClip, grid_positions, pack


def forward_flops(
    model: nn.Module, config: RunConfig, tokens: int, classes: int, time_patches: int | None = None
) -> int:
    """Floating-point operations of the forward pass of one clip; a multiplication and an addition count as two.

    Only matrix products count, as in `torch.utils.flop_counter`. See
    :meth:`~elasticast.config.ModelSettings.flops`.

    Parameters
    ----------
    model : nn.Module
        The model.
    config : RunConfig
        Settings of the run.
    tokens : int
        Number of patch tokens. A model that is given padded batches computes its padding too.
    classes : int
        Number of classes.
    time_patches : int, optional
        Number of time patches of which a frame head computes logits. None if they are not computed.
    """
    formula = model.settings.flops(model.settings.traits.row_tokens(tokens), classes)
    if formula is not None:
        return formula + (0 if time_patches is None else model.settings.frame_flops(time_patches, classes))
    freq = config.model.patches(config.front_end.mel_bins)
    grid = (index[:tokens] for index in grid_positions(freq, -(-tokens // freq)))
    clip = PackedClip(0, torch.randn(tokens, config.model.patch**2), *grid, torch.zeros(1), time_patches or 0)
    batch = pack([clip]).to(next(model.parameters()).device)
    return count_flops(model, batch, frames=time_patches is not None)


def count_flops(model: nn.Module, batch: PackedBatch, *, frames: bool = False) -> int:
    """Count the floating-point operations of a forward pass while it runs; with `frames`, also of a frame head."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # it knows no other kernel on the CPU
        model(batch, **({"frames": True} if frames else {}))
    return counter.get_total_flops()
