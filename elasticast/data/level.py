"""One check of the samples of a clip, for `prepare` and `predict`.

Full scale is 1. Decoders of MP3 and Vorbis and float files of loud recordings exceed it a little; such samples are
clipped. A clip whose samples were never scaled to [-1, 1] would become a square wave and is refused.
"""

import math

import numpy as np

from elasticast.data.containers.extent import UnusableAudioError

INT16_STEP = 1 / 32768  # quantisation step of 16-bit samples whose full scale is 1
MIN_INT32 = 1 << 23
"""Peak below which 32-bit integers may be 16- or 24-bit samples that were never scaled to 32 bit."""
MAX_PEAK = 4.0
"""Largest sample (12 dB above full scale) that can still be due to a loud recording."""
OVERSHOOT = 1.5
"""Samples up to this value (3.5 dB above full scale) are the overshoot of a decoder."""
MAX_CLIPPED = 0.01
"""Largest share of samples beyond `OVERSHOOT`."""


class Level:
    """Statistics of the samples of a clip, added block by block.

    Attributes
    ----------
    low, high : float
        Smallest and largest sample; NaN if a sample is NaN.
    samples, clipped : int
        Number of samples, and of those beyond `OVERSHOOT`.
    """

    def __init__(self):
        self.low, self.high, self.samples, self.clipped = math.inf, -math.inf, 0, 0

    def add(self, mono: np.ndarray) -> None:
        """Add a block ``[samples]``, float32 with full scale 1.

        Raises
        ------
        UnusableAudioError
            If a sample is not finite, or beyond `MAX_PEAK`.
        """
        if not len(mono):
            return
        low, high = float(mono.min()), float(mono.max())  # NaN if any sample is NaN
        if not (math.isfinite(low) and math.isfinite(high)):
            raise UnusableAudioError("non-finite samples")
        self.low, self.high, self.samples = min(self.low, low), max(self.high, high), self.samples + len(mono)
        if self.peak > MAX_PEAK:
            raise UnusableAudioError(f"samples not scaled to [-1, 1] (peak {self.peak:.4g})")
        if max(-low, high) > OVERSHOOT:
            self.clipped += int(np.count_nonzero(np.abs(mono) > OVERSHOOT))

    @property
    def peak(self) -> float:
        """Largest absolute value."""
        return max(-self.low, self.high)

    @property
    def silent(self) -> bool:
        """Whether no sample differs from another by a step of 16 bit."""
        return self.high - self.low < INT16_STEP

    def check(self) -> None:
        """Refuse the clip if too many samples are beyond full scale; call it after the last block."""
        if self.clipped > MAX_CLIPPED * self.samples:
            share = f"{self.clipped / self.samples:.0%} of the samples beyond {OVERSHOOT}"
            raise UnusableAudioError(f"samples not scaled to [-1, 1] ({share}, peak {self.peak:.4g})")
