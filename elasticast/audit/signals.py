"""Changes of a waveform that an audit tries: length, position, bandwidth, telephone sound, a longer background."""

import numpy as np
import torch
from torch import Tensor

from elasticast.data.bandwidth import resample
from elasticast.data.synthesis import gain, pink_noise

HAYSTACK_DBFS = -50.0
TELEPHONE_HZ = 8000
MU = 255


def telephone(wave: Tensor, rate: int) -> Tensor:
    """What is left of `[S]` in a telephone file: 8 kHz, 300-3400 Hz, 8-bit mu-law (ITU-T G.711); back at `rate`."""
    low = resample(wave, rate, TELEPHONE_HZ)
    spectrum = torch.fft.rfft(low)
    hertz = torch.fft.rfftfreq(len(low), 1 / TELEPHONE_HZ)
    low = torch.fft.irfft(spectrum * ((hertz >= 300) & (hertz <= 3400)), n=len(low)).clamp(-1, 1)
    companded = low.sign() * torch.log1p(MU * low.abs()) / np.log1p(MU)
    companded = (companded * 127).round() / 127
    low = companded.sign() * torch.expm1(companded.abs() * np.log1p(MU)) / MU
    back = resample(low.float(), TELEPHONE_HZ, rate)
    return torch.nn.functional.pad(back, (0, max(0, len(wave) - len(back))))[: len(wave)]


def to_length(wave: Tensor, samples: int) -> Tensor:
    """Cut `[S]` to its first `samples` samples; a shorter one is repeated."""
    return wave.repeat(-(-samples // len(wave)))[:samples]


def silence(samples: int) -> Tensor:
    """Digital silence."""
    return torch.zeros(samples)


def haystack(samples: int, seed: int) -> Tensor:
    """Quiet pink noise `[S]`."""
    noise = pink_noise(np.random.default_rng([7, seed]), samples)
    return torch.from_numpy((gain(HAYSTACK_DBFS) * noise).astype(np.float32))


def hide(needle: Tensor, hay: Tensor, place: float) -> Tensor:
    """Add a needle to a haystack; `place` in [0, 1] is its position among all possible ones."""
    start = round(place * (len(hay) - len(needle)))
    mixed = hay.clone()
    mixed[start : start + len(needle)] += needle
    return mixed.clamp(-1, 1)
