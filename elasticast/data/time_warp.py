"""Time warping of log-mel spectrograms: that of SpecAugment, and that of the released EPIC-SOUNDS loader.

Shape legend: F mel bins, T frames.
"""

import torch
from torch import Generator, Tensor

from elasticast.config import TimeWarp

PLACEHOLDER = 1e-7
"""Size of the random numbers that make the released loader's system of equations solvable."""


def time_warp(log_mel: Tensor, settings: TimeWarp, limit: int, generator: Generator) -> Tensor:
    """Move the frames of a spectrogram in time.

    Parameters
    ----------
    log_mel : Tensor
        `[F, T]`; not modified.
    settings : TimeWarp
        Kind of the warp.
    limit : int
        Largest displacement W, in frames. With W = 0, or in clips too short for W, nothing moves.
    generator : Generator
        Random generator.

    Returns
    -------
    Tensor
        `[F, T]`. Between frames, values are interpolated linearly.
    """
    frames = log_mel.shape[1]
    if not limit or frames <= 2 * limit + 2:
        return log_mel
    source = _specaugment if settings.kind == "specaugment" else _released
    return _read(log_mel, source(log_mel, limit, generator))


def _draw(low: int, high: int, generator: Generator) -> int:
    """A whole number from `low` to `high - 1`."""
    return int(torch.randint(low, high, (), generator=generator))


def _specaugment(log_mel: Tensor, limit: int, generator: Generator) -> Tensor:
    """Frame that each frame is read from, `[1, T]` (Park et al. 2019, section 2).

    A frame at least W from both ends moves by up to W frames to the left or right. The first and the last frame stay,
    and the frames between follow linearly.
    """
    last = log_mel.shape[1] - 1
    centre = _draw(limit + 1, last - limit, generator)
    moved = centre + _draw(-limit, limit + 1, generator)
    time = torch.arange(last + 1, dtype=log_mel.dtype)
    after = centre + (time - moved) * (last - centre) / (last - moved)
    return torch.where(time <= moved, time * centre / moved, after)[None]


def _released(log_mel: Tensor, limit: int, generator: Generator) -> Tensor:
    """Frame that each frame is read from, `[F, T]`, as in the released EPIC-SOUNDS loader.

    The loader fits a thin-plate spline to one point, which it means to move by W frames or less: the middle mel band,
    at a frame number that is in fact a log-mel value of that band. One point does not determine a spline, so random
    numbers of size 1e-7 take the place of the missing equations. They cancel in the linear part, which is
    ``d E^-1 p / (p E^-1 p)`` for displacement d, point p (bin, frame, 1) and a random 3 x 3 matrix E. They remain in
    the weight of the spline's kernel ``r log(r) / 2``. Its squared distance r is wrong: the squared norms of all
    places are added up. The displacement is therefore of erratic size, and constant plus linear in bin and frame.
    """
    bins, frames = log_mel.shape
    value = log_mel[bins // 2, _draw(limit, frames - limit, generator)].item()
    shift = _draw(-limit, limit, generator)
    point = torch.tensor([bins // 2, value + shift, 1.0], dtype=torch.float64)
    missing = PLACEHOLDER * torch.randn(3, 3, generator=generator, dtype=torch.float64)
    solved = torch.linalg.solve(missing, point)
    weight = -shift / (point @ solved)
    bin_slope, frame_slope, offset = (-weight * solved).tolist()
    bin_number = torch.arange(bins, dtype=torch.float64)[:, None]
    time = torch.arange(frames, dtype=torch.float64)[None]
    norms = (bin_number**2 + time**2).sum() + (point[:2] ** 2).sum()
    distance = norms - 2 * (bin_number * point[0] + time * point[1])
    moved = weight * distance * distance.log() / 2 + bin_slope * bin_number + frame_slope * time + offset
    return (time - moved).to(log_mel.dtype)


def _read(log_mel: Tensor, source: Tensor) -> Tensor:
    """Values `[F, T]` at the frames `source`, `[F, T]` or `[1, T]`, limited to those of the clip."""
    last = log_mel.shape[1] - 1
    source = source.clamp(0, last).expand_as(log_mel)
    before = source.floor().clamp(max=last - 1)
    share, before = source - before, before.long()
    return torch.lerp(log_mel.gather(1, before), log_mel.gather(1, before + 1), share)
