"""Training augmentation: SpecAugment scaled to the clip's length, and mixup of waveforms."""

import torch
from torch import Generator, Tensor

from elasticast.config import SpecAugment

TIME_MASK_REFERENCE = 1024
"""Frames for which `SpecAugment.time_frames` is stated (AST: 192 of 1,024)."""


def _uniform(high: float, generator: Generator) -> int:
    return int(torch.rand((), generator=generator).item() * high)


def spec_augment(log_mel: Tensor, settings: SpecAugment, fill: float, generator: Generator) -> Tensor:
    """Mask one band of frequencies and one stretch of time with `fill` (Park et al. 2019, one mask each, as AST).

    Parameters
    ----------
    log_mel : Tensor
        `[F, T]`; not changed.
    fill : float
        Value under the mask, the training mean (0 after normalisation).
    """
    bins, frames = log_mel.shape
    if not (settings.freq_bins or settings.time_frames):
        return log_mel
    masked = log_mel.clone()
    width = min(bins, _uniform(settings.freq_bins + 1, generator))
    first = _uniform(bins - width + 1, generator)
    masked[first : first + width] = fill
    widest = settings.time_frames * frames / TIME_MASK_REFERENCE
    width = min(frames, _uniform(widest + 1, generator))
    first = _uniform(frames - width + 1, generator)
    masked[:, first : first + width] = fill
    return masked


def mixup(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Mix waveform `b` into `a` (Tokozume et al. 2018, as in AST); `b` is repeated or cut to the length of `a`.

    Parameters
    ----------
    a, b : Tensor
        `[S]` and `[S']`.
    share : float
        Weight of `a`.
    """
    repeats = -(-a.numel() // b.numel())
    other = b.repeat(repeats)[: a.numel()]
    mixed = share * (a - a.mean()) + (1 - share) * (other - other.mean())
    return mixed - mixed.mean()
