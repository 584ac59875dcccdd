"""Pseudo-labels: probabilities of the classes of clips over time, by an ensemble of models.

Shape legend: R time patches of all clips, T frames, C classes, n clips.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from elasticast.data.events import Mixed


@dataclass(frozen=True)
class TimedLogits:
    """Logits of one model for all clips.

    Attributes
    ----------
    first : ndarray
        `[n + 1]` int64. The time patches of clip i are those from ``first[i]`` up to ``first[i + 1]``.
    step, lead : float
        Time from one time patch to the next, and where the first one would begin. [s]
    logits : Tensor
        `[R, C]`.
    """

    first: np.ndarray
    step: float
    lead: float
    logits: Tensor

    def at(self, clip: int, times: Tensor) -> Tensor:
        """Logits `[T, C]` of the time patches of a clip that are nearest to `times` `[T]` (s)."""
        first, end = self.first[clip : clip + 2].tolist()
        rows = ((times - self.lead) / self.step).floor().long().clamp(0, end - first - 1)
        return self.logits[first + rows]


class PseudoLabels:
    """The sigmoids of the mean of the logits of several models.

    Parameters
    ----------
    members : list of TimedLogits
        Logits of each model, for the same clips and classes.
    seconds : ndarray
        `[n]`, length of each clip. [s]
    fill : {"repeat", "zeros"}
        What follows a shorter clip that is mixed with another one, see :func:`~elasticast.data.augment.mixup`.
    """

    def __init__(self, members: list[TimedLogits], seconds: np.ndarray, fill: str):
        self.members, self.seconds, self.fill = members, seconds, fill

    def __call__(self, clip: int, partner: Mixed | None, frames: int, hop: float) -> Tensor:
        """Probabilities in each frame of a clip, `[C, T]`, mixed as the waveforms are.

        Parameters
        ----------
        clip : int
            The clip.
        partner : Mixed or None
            The clip that it is mixed with.
        frames : int
            Number of frames T.
        hop : float
            Length of a frame. [s]
        """
        times = (torch.arange(frames, dtype=torch.float64) + 0.5) * hop
        labels = self._at(clip, times)
        if partner is not None:
            labels = partner.share * labels + (1 - partner.share) * self._other(partner.clip, times)
        return labels.T

    def _at(self, clip: int, times: Tensor) -> Tensor:
        return torch.stack([member.at(clip, times) for member in self.members]).mean(0).sigmoid()

    def _other(self, clip: int, times: Tensor) -> Tensor:
        """Probabilities `[T, C]` of a clip that was repeated, or followed by zeros."""
        end = float(self.seconds[clip])
        if self.fill == "repeat":
            return self._at(clip, times % end)
        return self._at(clip, times) * (times < end)[:, None]
