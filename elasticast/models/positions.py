"""Position embeddings: on the grid of each clip for ElasticAST, a resizable 2-D grid for AST."""

from collections.abc import Callable
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elasticast.config import ElasticASTSettings, PatchSize
from elasticast.data.packing import PackedBatch
from elasticast.models.attention import Rotation

SINUSOIDAL_BASE = 10000.0
"""Longest wavelength of sinusoidal positions, divided by 2 pi, in patches (Vaswani et al. 2017)."""


def clip_positions(settings: ElasticASTSettings, freq_patches: int) -> nn.Module:
    """Build the positions of `model.positions`."""
    match settings.positions:
        case "sinusoidal":
            return SinusoidalPositions(settings.dim)
        case "rotary":
            return RotaryPositions(settings.dim // settings.heads, settings.rotary_base)
        case "grid":
            grid = freq_patches, settings.patches(settings.max_frames)
            return ClipGridPositions(grid, settings.dim, settings.grid_resize)
        case kind:
            return FactorisedPositions(freq_patches, settings.patches(settings.max_frames), settings.dim, kind)


class FactorisedPositions(nn.Module):
    """Sum of a table for frequency and a table for time (NaViT, section 2.1).

    Positions between two rows of the time table are interpolated linearly. Resizing a clip of n time patches to the L
    rows of the table puts the centre of its patch t at row ``(t + 1/2) L / n - 1/2``, which is t if n = L.

    Parameters
    ----------
    freq_patches, time_patches : int
        Number of rows of the two tables.
    dim : int
        Width D.
    kind : {"table", "interpolated", "fractional"}
        ``table``: patch t of a clip is at row t. ``interpolated``: the same, but a clip with more patches than the
        table has rows is resized to the table. ``fractional``: every clip is resized to the table, so that a position
        is a fraction of the clip's length.
    """

    def __init__(self, freq_patches: int, time_patches: int, dim: int, kind: str = "table"):
        super().__init__()
        self.kind = kind
        self.freq = nn.Parameter(torch.randn(freq_patches, dim) / dim**0.5)
        self.time = nn.Parameter(torch.randn(time_patches, dim) / dim**0.5)

    def forward(
        self, freq: Tensor, time: Tensor, lengths: Callable[[], Tensor], patch_size: PatchSize | None = None
    ) -> Tensor:
        """Embed positions.

        Parameters
        ----------
        freq, time : Tensor
            `[N]`, position of each token on the grid of its clip.
        lengths : callable
            Returns `[N]`, the number of time patches of each token's clip.
        patch_size : PatchSize, optional
            Size of the patches. Both tables are resized to it first.

        Returns
        -------
        Tensor
            `[N, D]`.
        """
        freq_table, time_table = self._tables(patch_size)
        if self.kind == "table":
            return _rows(freq_table, freq) + _rows(time_table, time)
        rows, length = len(time_table), lengths()
        row = ((time + 0.5) * rows / length - 0.5).clamp(0, rows - 1)
        if self.kind == "interpolated":
            row = torch.where(length > rows, row, time)
        return _rows(freq_table, freq) + _between_rows(time_table, row)

    def _tables(self, patch_size: PatchSize | None) -> tuple[Tensor, Tensor]:
        if patch_size is None:
            return self.freq, self.time
        freq, time = patch_size.rows(len(self.freq), len(self.time))
        tables = (self.freq, freq), (self.time, time)
        by_size = [resized(table.T[None, :, None], (1, rows))[0, :, 0].T for table, rows in tables]
        return by_size[0], by_size[1]

    @torch.no_grad()
    def refine(self, ratio: float, _coarse: int) -> None:
        """Interpolate the table of time, so that positions keep their place in time when clips get more patches.

        Row t gets the value at row ``(t + 1/2) / ratio - 1/2``. Fractions of a clip (``fractional``) stay what they
        are.

        Parameters
        ----------
        ratio : float
            How many times as many patches a clip has from now on.
        """
        if self.kind == "fractional":
            return
        last = len(self.time) - 1
        row = ((torch.arange(last + 1, device=self.time.device) + 0.5) / ratio - 0.5).clamp(0, last)
        self.time.copy_(_between_rows(self.time, row))


class ClipGridPositions(nn.Module):
    """2-D positions of NaFlexVit (timm): one table, stretched over the grid of each clip.

    A fraction of a clip stays the same place when clips get more patches, so that phases of training change nothing.

    Parameters
    ----------
    grid : tuple of int
        Number of frequency patches and of time patches of the table.
    dim : int
        Width D.
    mode : {"bicubic", "bilinear"}
        How the table is resized, with antialiasing.
    """

    def __init__(self, grid: tuple[int, int], dim: int, mode: str = "bicubic"):
        super().__init__()
        self.mode = mode
        self.table = nn.Parameter(torch.randn(1, dim, *grid) / dim**0.5)

    def forward(self, batch: PackedBatch) -> Tensor:
        """Embed the positions of all tokens, `[N, D]`."""
        freq, time = self.table.shape[2:]
        if batch.patch_size is not None:
            freq, _ = batch.patch_size.rows(freq, time)
        counts = sorted(set(batch.clip_time_patches))
        grids = [resized(self.table, (freq, count), self.mode)[0].flatten(1).T for count in counts]
        first = dict(zip(counts, accumulate((len(grid) for grid in grids), initial=0), strict=False))
        starts = torch.tensor([first[count] for count in batch.clip_time_patches])
        starts = starts.to(batch.freq.device, non_blocking=True).index_select(0, batch.lengths.owners())
        return _rows(torch.cat(grids), starts + batch.freq * batch.grid_lengths() + batch.time)


def resized(table: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """A grid of positions `[1, D, F, T]`, resized to F by T = `size` by interpolation with antialiasing.

    A grid of this size is returned as it is.
    """
    if tuple(table.shape[2:]) == size:
        return table
    return F.interpolate(table, size=size, mode=mode, align_corners=False, antialias=True)


def stored_places(freq: Tensor, time: Tensor, patch_size: PatchSize | None) -> tuple[Tensor, Tensor]:
    """Indices of patches `[N]` of another size, on the grid of stored patches: where the centres of the patches are."""
    if patch_size is None:
        return freq, time
    edges = (freq, patch_size.freq), (time, patch_size.time)
    places = [(index + 0.5) * (edge / patch_size.stored) - 0.5 for index, edge in edges]
    return places[0], places[1]


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows of a table. The backward pass of ``table[index]`` is many times slower, because it sorts the indices."""
    return table.index_select(0, index)


def _between_rows(table: Tensor, row: Tensor) -> Tensor:
    """Interpolate a table `[L, ...]` linearly at `row` `[N]`, in [0, L - 1]; returns `[N, ...]`."""
    low = row.long()
    high = (low + 1).clamp(max=len(table) - 1)
    share = (row - low).view(-1, *[1] * (table.dim() - 1))
    return torch.lerp(_rows(table, low), _rows(table, high), share)


def _angles(positions: Tensor, count: int, base: float) -> Tensor:
    """Angles `[N, count]` of positions `[N]`: ``position / base ** (i / count)``."""
    steps = torch.arange(count, device=positions.device, dtype=torch.float32)
    return positions.float()[:, None] * base ** (-steps / count)


class SinusoidalPositions(nn.Module):
    """Fixed sines and cosines: half of the width for frequency, half for time (as the 2-D embedding of MAE).

    Parameters
    ----------
    dim : int
        Width D, a multiple of 4.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.count = dim // 4

    def forward(
        self, freq: Tensor, time: Tensor, _lengths: Callable[[], Tensor], patch_size: PatchSize | None = None
    ) -> Tensor:
        """Embed the positions `freq`, `time` `[N]` of tokens on the grid of their clips; returns `[N, D]`."""
        places = stored_places(freq, time, patch_size)
        angles = [_angles(positions, self.count, SINUSOIDAL_BASE) for positions in places]
        return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], 1)


class RotaryPositions(nn.Module):
    """Axial rotary positions: rotate half of the channel pairs by frequency, half by time.

    The attention score of two tokens then depends on their distances along both axes only.

    Parameters
    ----------
    head_dim : int
        Channels E per head, a multiple of 4.
    base : float
        Longest wavelength, divided by 2 pi, in patches.
    """

    def __init__(self, head_dim: int, base: float):
        super().__init__()
        self.count, self.base = head_dim // 4, base

    def forward(self, freq: Tensor, time: Tensor) -> Rotation:
        """Rotation for tokens at the positions `freq`, `time` `[N]` on the grid of their clips."""
        angles = torch.cat([_angles(positions, self.count, self.base) for positions in (freq, time)], 1)[:, None]
        return Rotation(angles.cos(), angles.sin())


class GridPositions(nn.Module):
    """2-D positions of AST. Bilinear interpolation resizes them to other numbers of patches.

    Parameters
    ----------
    grid : tuple of int
        Number of frequency patches and of time patches in training.
    dim : int
        Width D.
    cut : bool
        For fewer time patches, use the first columns of the table instead of interpolating.
    """

    def __init__(self, grid: tuple[int, int], dim: int, cut: bool = False):
        super().__init__()
        self.cut = cut
        self.table = nn.Parameter(torch.randn(1, dim, *grid) / dim**0.5)

    def forward(self, time_patches: int, patch_size: PatchSize | None = None) -> Tensor:
        """Embeddings `[F * time_patches, D]`, frequency-major, for patches of another size if given."""
        freq, trained = self.table.shape[2:]
        if patch_size is not None:
            freq, trained = patch_size.rows(freq, trained)
        if self.cut and time_patches < trained:
            table = resized(self.table, (freq, trained))[..., :time_patches]
        else:
            table = resized(self.table, (freq, time_patches))
        return table[0].flatten(1).T

    @torch.no_grad()
    def refine(self, ratio: float, coarse: int) -> None:
        """Interpolate the table from that of coarser clips, so that positions keep their place in time.

        Parameters
        ----------
        ratio : float
            How many times as many patches a clip has from now on.
        coarse : int
            Number of time patches of the longest clip until now.
        """
        freq, time = self.table.shape[2:]
        if not self.cut:  # clips of any length are stretched over the whole table
            self.table.copy_(resized(resized(self.table, (freq, coarse)), (freq, time)))
            return
        place = (torch.arange(time, device=self.table.device) + 0.5) / ratio
        # columns that no clip had until now may be untrained: the last ones that clips had do not mix with them
        column = torch.where(place < coarse, (place - 0.5).clamp(0, coarse - 1), place - 0.5).clamp(max=time - 1)
        self.table.copy_(_between_rows(self.table[0].permute(2, 0, 1), column).permute(1, 2, 0)[None])
