"""Position embeddings: factorised for ElasticAST, a resizable 2-D grid for AST."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FactorisedPositions(nn.Module):
    """One table for frequency and one for time, looked up by index and added (NaViT, section 2.1).

    Parameters
    ----------
    freq_patches, time_patches : int
        Rows of the two tables.
    dim : int
        Width D.
    """

    def __init__(self, freq_patches: int, time_patches: int, dim: int):
        super().__init__()
        self.freq = nn.Parameter(torch.randn(freq_patches, dim) / dim**0.5)
        self.time = nn.Parameter(torch.randn(time_patches, dim) / dim**0.5)

    def forward(self, freq: Tensor, time: Tensor) -> Tensor:
        """Embeddings `[N, D]` of tokens at grid places `freq`, `time` `[N]`."""
        return self.freq[freq] + self.time[time]


class GridPositions(nn.Module):
    """AST's 2-D positions, resized to another number of time patches by bilinear interpolation.

    Parameters
    ----------
    grid : tuple of int
        Frequency and time patches the positions are trained for.
    dim : int
        Width D.
    """

    def __init__(self, grid: tuple[int, int], dim: int):
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, dim, *grid) / dim**0.5)

    def forward(self, time_patches: int) -> Tensor:
        """Embeddings `[F * time_patches, D]`, frequency-major; the table itself at the trained length."""
        freq, trained = self.table.shape[2:]
        table = self.table
        if time_patches != trained:
            size = (freq, time_patches)
            table = F.interpolate(table, size=size, mode="bilinear", align_corners=False, antialias=True)
        return table[0].flatten(1).T
