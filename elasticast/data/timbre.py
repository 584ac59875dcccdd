"""Training augmentation that changes how loud each mel bin is: mixstyle, frequency warp, filter augmentation.

All change the log-mel of a whole clip, before it is cropped or padded, in the same way at all times: they neither use
padding nor move events.

Shape legend: F mel bins, T frames.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from elasticast.config import FilterAugment, FrontEnd, Train
from elasticast.data.augment import beta, uniform
from elasticast.data.features import SILENCE, STFT_OFFSET

LEAST_VARIANCE = 1e-6
"""Added to the variance of a mel bin, which may be constant."""
ABOVE_SILENCE = 1e-3
"""How far a log-mel is above that of digital silence if there is sound."""


def vary_timbre(
    log_mel: Tensor, train: Train, front_end: FrontEnd, other: Callable[[], Tensor], generator: Generator
) -> Tensor:
    """Apply what `train.mixstyle`, `train.freq_warp` and `train.filter_augment` set, in this order.

    Parameters
    ----------
    log_mel : Tensor
        `[F, T]`, before normalisation; not modified.
    train : Train
        The settings. Without them, nothing is drawn.
    front_end : FrontEnd
        What the log-mel is a logarithm of.
    other : callable
        Draws another clip, and returns its log-mel `[F, T']`.
    generator : Generator
        Random generator.

    Returns
    -------
    Tensor
        `[F, T]`.
    """
    if train.mixstyle is not None and _chosen(train.mixstyle.share, generator):
        share = beta(train.mixstyle.alpha, generator)
        log_mel = mixstyle(log_mel, other(), max(share, 1 - share))
    if train.freq_warp is not None and _chosen(train.freq_warp.share, generator):
        log_mel = freq_warp(log_mel, train.freq_warp.least, generator)
    if train.filter_augment is not None and _chosen(train.filter_augment.share, generator):
        log_mel = filter_augment(log_mel, train.filter_augment, front_end, generator)
    return log_mel


def _chosen(share: float, generator: Generator) -> bool:
    return torch.rand((), generator=generator).item() < share


def mixstyle(log_mel: Tensor, other: Tensor, share: float) -> Tensor:
    """Mix the mean and the standard deviation over time of each mel bin with those of another clip.

    MixStyle (Zhou et al. 2021) with statistics of each frequency, as in Schmid et al. 2024.

    Parameters
    ----------
    log_mel, other : Tensor
        `[F, T]` and `[F, T']`.
    share : float
        Share of the clip's own statistics.

    Returns
    -------
    Tensor
        `[F, T]`.
    """
    (mean, std), (other_mean, other_std) = _statistics(log_mel), _statistics(other)
    return (log_mel - mean) / std * torch.lerp(other_std, std, share) + torch.lerp(other_mean, mean, share)


def _statistics(log_mel: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each mel bin, `[F, 1]`."""
    return log_mel.mean(1, keepdim=True), (log_mel.var(1, correction=0, keepdim=True) + LEAST_VARIANCE).sqrt()


def freq_warp(log_mel: Tensor, least: float, generator: Generator) -> Tensor:
    """Keep some successive mel bins and stretch them over all bins, by bicubic interpolation.

    This is the random resized crop of Niizumi et al. 2021 (BYOL-A) in frequency only, as in Schmid et al. 2024. The
    lowest of the bins becomes the first one, the highest the last one.

    Parameters
    ----------
    log_mel : Tensor
        `[F, T]`.
    least : float
        Smallest share of the bins. The share is drawn evenly from `least` to 1, and the place evenly from those
        possible.
    generator : Generator
        Random generator.

    Returns
    -------
    Tensor
        `[F, T]`.
    """
    bins = len(log_mel)
    share = least + (1 - least) * torch.rand((), generator=generator).item()
    kept = max(1, int(share * bins))
    band = log_mel.narrow(0, uniform(bins - kept + 1, generator), kept)
    stretched = torch.nn.functional.interpolate(band[None, None], log_mel.shape, mode="bicubic", align_corners=True)
    return stretched[0, 0]


def filter_augment(log_mel: Tensor, settings: FilterAugment, front_end: FrontEnd, generator: Generator) -> Tensor:
    """Amplify and attenuate bands of mel bins (FilterAugment, Nam et al. 2022). Digital silence stays what it is.

    Parameters
    ----------
    log_mel : Tensor
        `[F, T]`.
    settings : FilterAugment
        Largest gain, number and smallest width of the bands, and whether gains are linear (in dB) within a band.
    front_end : FrontEnd
        The gain is that of amplitudes: `kaldi` has logarithms of energies, `stft` of magnitudes.
    generator : Generator
        Random generator.

    Returns
    -------
    Tensor
        `[F, T]`.
    """
    fewest, most = settings.bands
    bands = fewest + uniform(most - fewest + 1, generator)
    spare = len(log_mel) - bands * settings.min_bins
    more = sorted(uniform(spare + 1, generator) for _ in range(bands - 1))
    widths = torch.tensor([0, *more, spare]).diff() + settings.min_bins
    decibels = settings.db * (2 * torch.rand(bands + (settings.kind == "linear"), generator=generator) - 1)
    if settings.kind == "linear":
        ends = zip(decibels[:-1].tolist(), decibels[1:].tolist(), widths.tolist(), strict=True)
        decibels = torch.cat([torch.linspace(low, high, width) for low, high, width in ends])
    else:
        decibels = decibels.repeat_interleave(widths)
    kaldi = front_end.kind == "kaldi"
    silence, nepers = (SILENCE, math.log(10) / 10) if kaldi else (math.log(STFT_OFFSET), math.log(10) / 20)
    amplified = (log_mel + nepers * decibels[:, None]).clamp(min=silence)
    return torch.where(log_mel > silence + ABOVE_SILENCE, amplified, log_mel)
