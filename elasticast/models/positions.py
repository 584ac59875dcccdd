"""Positions: of each clip's own grid for ElasticAST, a resizable 2-D grid for AST."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elasticast.config import ElasticASTSettings
from elasticast.models.attention import Rotation

SINUSOIDAL_BASE = 10000.0
"""Longest wavelength over 2 pi, in patches (Vaswani et al. 2017)."""
ROTARY_BASE = 100.0
"""The same of rotary positions: grids have few patches where text has many tokens (Heo et al. 2024, axial)."""


def clip_positions(settings: ElasticASTSettings, freq_patches: int) -> nn.Module:
    """What `model.positions` asks for."""
    match settings.positions:
        case "sinusoidal":
            return SinusoidalPositions(settings.dim)
        case "rotary":
            return RotaryPositions(settings.dim // settings.heads)
        case kind:
            return FactorisedPositions(freq_patches, settings.patches(settings.max_frames), settings.dim, kind)


class FactorisedPositions(nn.Module):
    """One table for frequency and one for time, looked up by index and added (NaViT, section 2.1).

    Between two rows of the time table is their linear mixture. A clip of n time patches is stretched over L rows so
    that the middle of its patch t is at row ``(t + 1/2) L / n - 1/2``: place t itself where n = L.

    Parameters
    ----------
    freq_patches, time_patches : int
        Rows of the two tables.
    dim : int
        Width D.
    kind : {"table", "interpolated", "fractional"}
        Patch t of a clip is at row t; at row t unless the clip has more patches than the table rows, when it is
        stretched (squeezed) over them; or always stretched, so that a place says how far into its clip it is.
    """

    def __init__(self, freq_patches: int, time_patches: int, dim: int, kind: str = "table"):
        super().__init__()
        self.kind = kind
        self.freq = nn.Parameter(torch.randn(freq_patches, dim) / dim**0.5)
        self.time = nn.Parameter(torch.randn(time_patches, dim) / dim**0.5)

    def forward(self, freq: Tensor, time: Tensor, lengths: Callable[[], Tensor]) -> Tensor:
        """Embeddings `[N, D]` of tokens at grid places `freq`, `time` `[N]` of clips of `lengths()` `[N]` patches."""
        if self.kind == "table":
            return self.freq[freq] + self.time[time]
        rows, length = len(self.time), lengths()
        place = ((time + 0.5) * rows / length - 0.5).clamp(0, rows - 1)
        if self.kind == "interpolated":
            place = torch.where(length > rows, place, time)
        low = place.long()
        high = (low + 1).clamp(max=rows - 1)
        return self.freq[freq] + torch.lerp(self.time[low], self.time[high], (place - low)[:, None])


def _angles(places: Tensor, count: int, base: float) -> Tensor:
    """Angles `[N, count]` of places `[N]`: ``place / base ** (i / count)``."""
    steps = torch.arange(count, device=places.device, dtype=torch.float32)
    return places.float()[:, None] * base ** (-steps / count)


class SinusoidalPositions(nn.Module):
    """Fixed positions: half of the width for frequency, half for time, each sines and cosines (MAE's 2-D embedding).

    Parameters
    ----------
    dim : int
        Width D, a multiple of 4.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.count = dim // 4

    def forward(self, freq: Tensor, time: Tensor, _lengths: Callable[[], Tensor]) -> Tensor:
        """Embeddings `[N, D]` of tokens at grid places `freq`, `time` `[N]`."""
        angles = [_angles(places, self.count, SINUSOIDAL_BASE) for places in (freq, time)]
        return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], 1)


class RotaryPositions(nn.Module):
    """Axial rotary positions: half of the pairs of channels turn with frequency, half with time.

    A score then depends on the two tokens' distances along both axes only.

    Parameters
    ----------
    head_dim : int
        Channels E of a head, a multiple of 4.
    """

    def __init__(self, head_dim: int):
        super().__init__()
        self.count = head_dim // 4

    def forward(self, freq: Tensor, time: Tensor) -> Rotation:
        """How queries and keys of tokens at grid places `freq`, `time` `[N]` are turned."""
        angles = torch.cat([_angles(places, self.count, ROTARY_BASE) for places in (freq, time)], 1)[:, None]
        return Rotation(angles.cos(), angles.sin())


class GridPositions(nn.Module):
    """AST's 2-D positions, resized to another number of time patches by bilinear interpolation.

    Parameters
    ----------
    grid : tuple of int
        Frequency and time patches the positions are trained for.
    dim : int
        Width D.
    cut : bool
        Fewer time patches take the first ones of the table, as they are.
    """

    def __init__(self, grid: tuple[int, int], dim: int, cut: bool = False):
        super().__init__()
        self.cut = cut
        self.table = nn.Parameter(torch.randn(1, dim, *grid) / dim**0.5)

    def forward(self, time_patches: int) -> Tensor:
        """Embeddings `[F * time_patches, D]`, frequency-major; the table itself at the trained length."""
        freq, trained = self.table.shape[2:]
        table = self.table
        if self.cut and time_patches < trained:
            table = table[..., :time_patches]
        elif time_patches != trained:
            size = (freq, time_patches)
            table = F.interpolate(table, size=size, mode="bilinear", align_corners=False, antialias=True)
        return table[0].flatten(1).T
