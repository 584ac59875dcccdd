"""Training augmentation: SpecAugment and mixup of waveforms."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Generator, Tensor

from elasticast.config import SpecAugment
from elasticast.data.norm import Norm
from elasticast.data.time_warp import time_warp

TIME_MASK_REFERENCE = 1024
"""Number of frames that settings in frames refer to with `scale: frames` (AST masks up to 192 of 1,024)."""


def uniform(high: float, generator: Generator) -> int:
    """A whole number from 0 on, below `high`, which may be a fraction."""
    return int(torch.rand((), generator=generator).item() * high)


def mask_value(settings: SpecAugment, norm: Norm) -> float | None:
    """Value of masked bins after normalisation; None stands for the mean of the spectrogram."""
    values = {"mean": 0.0, "raw_zero": norm(torch.zeros(())).item(), "spectrogram_mean": None}
    return values[settings.fill]


def spec_augment(
    log_mel: Tensor, settings: SpecAugment, fill: float | None, generator: Generator, compression: float = 1.0
) -> Tensor:
    """Warp time, then mask frequency bands and time intervals (Park et al. 2019).

    Parameters
    ----------
    log_mel : Tensor
        `[F, T]`, normalised; not modified.
    settings : SpecAugment
        Number and largest width of the masks, and the warp.
    fill : float or None
        Value of masked bins, see :func:`mask_value`.
    generator : Generator
        Random generator.
    compression : float
        Compression of the clip.

    Returns
    -------
    Tensor
        `[F, T]`.
    """
    frames = log_mel.shape[1]
    if settings.warp is not None:
        limit = int(_scaled(settings.warp.frames, settings.warp.scale, frames, compression))
        log_mel = time_warp(log_mel, settings.warp, limit, generator)
    if not (settings.freq_bins or settings.time_frames):
        return log_mel
    masked = log_mel.clone()
    longest = _scaled(settings.time_frames, settings.scale, frames, compression)
    for axis, widest in enumerate((settings.freq_bins, longest)):
        for first, width in _masks(masked.shape[axis], widest, settings, generator):
            value = masked.mean() if fill is None else fill
            masked.narrow(axis, first, width).fill_(value)
    return masked


def warped_labels(labels: Tensor, settings: SpecAugment, generator: Generator, compression: float = 1.0) -> Tensor:
    """Move the labels of frames as :func:`spec_augment` will move the frames.

    Parameters
    ----------
    labels : Tensor
        `[C, T]`.
    settings : SpecAugment
        The warp; not that of the released loader, which moves each mel band differently.
    generator : Generator
        The generator that :func:`spec_augment` is then given; it is left as it is.
    compression : float
        Compression of the clip.

    Returns
    -------
    Tensor
        `[C, T]`.
    """
    if settings.warp is None:
        return labels
    limit = int(_scaled(settings.warp.frames, settings.warp.scale, labels.shape[1], compression))
    same_draws = Generator().set_state(generator.get_state())
    return time_warp(labels, settings.warp, limit, same_draws)


def _scaled(value: int, scale: str, frames: int, compression: float) -> float:
    """A number of frames for a clip; see `SpecAugment.scale`."""
    return value * frames / TIME_MASK_REFERENCE if scale == "frames" else value / compression


def _masks(size: int, widest: float, settings: SpecAugment, generator: Generator) -> Iterator[tuple[int, int]]:
    """Start and width of the masks along an axis of `size` bins or frames; see `SpecAugment.widths`."""
    for _ in range(settings.masks):
        match settings.widths:
            case "inclusive":
                width = uniform(widest + 1, generator)
            case "exclusive":
                width = uniform(int(widest), generator)
            case "nested":
                bound = uniform(int(widest), generator)
                if not bound:
                    return
                width = uniform(bound, generator)
        width = min(size, width)
        yield uniform(size - width + 1, generator), width


def beta(alpha: float, generator: Generator) -> float:
    """A number from Beta(`alpha`, `alpha`), from two gamma variables."""
    gammas = torch._standard_gamma(torch.full((2,), float(alpha)), generator=generator)
    return (gammas[0] / gammas.sum()).item()


def mixup(a: Tensor, b: Tensor, share: float, fill: Literal["repeat", "zeros"] = "repeat") -> Tensor:
    """Mix two waveforms (Tokozume et al. 2018, as in AST). The result is as long as `a`.

    Parameters
    ----------
    a, b : Tensor
        `[S]` and `[S']`. A longer `b` is cut.
    share : float
        Weight of `a`.
    fill : {"repeat", "zeros"}
        Whether a shorter `b` is repeated, or followed by zeros once its mean is removed.

    Returns
    -------
    Tensor
        `[S]`.
    """
    mixed = share * (a - a.mean()) + (1 - share) * fitted(b, a.numel(), fill)
    return mixed - mixed.mean()


def fitted(waveform: Tensor, samples: int, fill: Literal["repeat", "zeros"]) -> Tensor:
    """What :func:`mixup` adds of the second waveform `[S']`, at full level: `[samples]`, without its mean."""
    if fill == "zeros":
        return torch.nn.functional.pad(waveform - waveform.mean(), (0, max(0, samples - waveform.numel())))[:samples]
    repeated = waveform.repeat(-(-samples // waveform.numel()))[:samples]
    return repeated - repeated.mean()
