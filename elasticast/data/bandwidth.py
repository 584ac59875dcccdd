"""Clips of a lower sample rate: nothing remains above half of it."""

import torchaudio.functional as F
from torch import Tensor

from elasticast.data.audio import ratio

ZERO_CROSSINGS = 64
"""Width of the filter. The default of torchaudio, 6, leaves much above half of the lower rate."""


def resample(wave: Tensor, old: int, new: int) -> Tensor:
    """Resample `[S]` from `old` to `new` (Hz) with a windowed sinc filter."""
    old, new = ratio(old, new)
    return wave if old == new else F.resample(wave, old, new, lowpass_filter_width=ZERO_CROSSINGS)


def band_limited(wave: Tensor, rate: int, low: float) -> Tensor:
    """Resample `[S]` from `rate` to `low` (Hz) and back, if `low` is lower."""
    if low >= rate:
        return wave
    low = int(low)
    return resample(resample(wave, rate, low), low, rate)[: len(wave)]
