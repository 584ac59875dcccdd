"""A clip between its file and its prediction."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from elasticast.data.recordings import UnusableAudioError
from elasticast.data.stream import AudioSource
from elasticast.data.windows import Windows
from elasticast.errors import DataError


@dataclass
class PendingClip:
    """A clip whose windows go through the model one after another.

    Attributes
    ----------
    name : str
        Name in messages.
    path : str or None
        File, as given; None for a waveform.
    source : AudioSource or None
        The audio, once it is open.
    windows : Windows or None
        Its windows, once they are known.
    logits : Tensor or None
        `[C]`, pooled over the windows so far.
    rows : list of Tensor
        Logits `[C]` of each window, for a timeline.
    seen : int
        Number of windows so far.
    low, high : float
        Least and greatest sample so far.
    error : str or None
        Why the clip cannot be used.
    """

    name: str
    path: str | None
    source: AudioSource | None = None
    windows: Windows | None = None
    logits: Tensor | None = None
    rows: list[Tensor] = field(default_factory=list)
    seen: int = 0
    low: float = math.inf
    high: float = -math.inf
    error: str | None = None

    def add(self, logits: Tensor, pooling: str, keep: bool) -> None:
        """Pool the logits `[C]` of the next window."""
        if keep:
            self.rows.append(logits)
        if pooling == "mean":  # thousands of windows are summed: in float64
            logits = logits.double() * float(self.windows.weights[self.seen])
        if self.logits is None:
            self.logits = logits
        else:
            self.logits = self.logits + logits if pooling == "mean" else torch.maximum(self.logits, logits)
        self.seen += 1

    def fail(self, error: UnusableAudioError, on_error: str) -> None:
        """Keep why the clip cannot be used, or raise it if `on_error` is "raise"."""
        self.error = str(error)
        if on_error == "raise":
            raise DataError(f"{self.name}: {error}") from None
