"""Training augmentation: SpecAugment, scaled to the length of the clip, and mixup of waveforms."""

import torch
from torch import Generator, Tensor

from elasticast.config import SpecAugment

TIME_MASK_REFERENCE = 1024
"""Number of frames that `SpecAugment.time_frames` refers to (AST masks up to 192 of 1,024)."""


def _uniform(high: float, generator: Generator) -> int:
    return int(torch.rand((), generator=generator).item() * high)


def spec_augment(log_mel: Tensor, settings: SpecAugment, fill: float, generator: Generator) -> Tensor:
    """Mask one frequency band and one time interval (Park et al. 2019; one mask each, as in AST).

    Parameters
    ----------
    log_mel : Tensor
        `[F, T]`; not modified.
    settings : SpecAugment
        Maximum sizes of the masks.
    fill : float
        Value of masked bins: the training mean, which is 0 after normalisation.
    generator : Generator
        Random generator.

    Returns
    -------
    Tensor
        `[F, T]`.
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
    """Mix two waveforms (Tokozume et al. 2018, as in AST). `b` is repeated or cut to the length of `a`.

    Parameters
    ----------
    a, b : Tensor
        `[S]` and `[S']`.
    share : float
        Weight of `a`.

    Returns
    -------
    Tensor
        `[S]`.
    """
    repeats = -(-a.numel() // b.numel())
    fitted = b.repeat(repeats)[: a.numel()]
    mixed = share * (a - a.mean()) + (1 - share) * (fitted - fitted.mean())
    return mixed - mixed.mean()
