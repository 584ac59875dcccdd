"""Keep what was read or computed of clips for later epochs."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from torch import Tensor

Array = TypeVar("Array", Tensor, np.ndarray)

CACHE_BYTES = 512 * 2**20
"""Memory that a training process uses to keep log-mels, or with several compressions waveforms: at each of 16
compressions, log-mels would take 12 times the memory of the waveforms, and most would not be used twice. For the small
models, reading clips and computing log-mels takes a sixth to a third of the time of a training step on a CPU."""


class ClipCache:
    """Arrays of clips that are kept for later epochs.

    Parameters
    ----------
    room : int
        Memory that is left, in bytes.

    Attributes
    ----------
    arrays : dict of int to Tensor or ndarray
        The arrays, by index of the clip.
    """

    def __init__(self, room: int):
        self.arrays: dict[int, Tensor | np.ndarray] = {}
        self.room = room

    def __call__(self, index: int, compute: Callable[[], Array]) -> Array:
        """The array of a clip, kept while there is room."""
        if index in self.arrays:
            return self.arrays[index]
        array = compute()
        if array.nbytes <= self.room:
            self.arrays[index] = array
            self.room -= array.nbytes
        return array
