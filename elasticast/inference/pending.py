"""A clip that is being classified."""

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
    """A clip that is being classified window by window.

    Attributes
    ----------
    name : str
        Name of the clip in messages.
    path : str or None
        Path of the file, as given. None for a waveform.
    source : AudioSource or None
        The opened audio. None before it is opened.
    windows : Windows or None
        Windows of the clip. None before they are computed.
    logits : Tensor or None
        `[C]`, pooled over the windows added so far. None before the first window.
    window_logits : list of Tensor
        Logits `[C]` of each window, if they are kept for a timeline.
    frame_logits : list of Tensor
        Logits `[time patches, C]` of each window, if events are looked for.
    added : int
        Number of windows added so far.
    low, high : float
        Minimum and maximum sample so far.
    error : str or None
        Reason why the clip is unusable. None if it is usable.
    """

    name: str
    path: str | None
    source: AudioSource | None = None
    windows: Windows | None = None
    logits: Tensor | None = None
    window_logits: list[Tensor] = field(default_factory=list)
    frame_logits: list[Tensor] = field(default_factory=list)
    added: int = 0
    low: float = math.inf
    high: float = -math.inf
    error: str | None = None

    def add(self, logits: Tensor, pooling: str, keep: bool) -> None:
        """Add the logits `[C]` of the next window to the pooled logits; with `keep`, store them too.

        Raises
        ------
        UnusableAudioError
            If a logit is not finite.
        """
        if not logits.isfinite().all():
            raise UnusableAudioError("the model gives NaN or infinite scores")
        if keep:
            self.window_logits.append(logits)
        if pooling == "mean":  # float64, since the sum may be over thousands of windows
            logits = logits.double() * float(self.windows.weights[self.added])
        if self.logits is None:
            self.logits = logits
        else:
            self.logits = self.logits + logits if pooling == "mean" else torch.maximum(self.logits, logits)
        self.added += 1

    def fail(self, error: UnusableAudioError, on_error: str) -> None:
        """Store why the clip is unusable; raise a `DataError` if `on_error` is "raise"."""
        self.error = str(error)
        if on_error == "raise":
            raise DataError(f"{self.name}: {error}") from None
