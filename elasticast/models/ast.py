"""Fixed-length AST (Gong, Chung, Glass 2021)."""

import torch
from torch import Tensor, nn

from elasticast.config import ASTSettings
from elasticast.data.packing import PackedBatch
from elasticast.models.attention import ClipMask, resolve_backend
from elasticast.models.positions import GridPositions
from elasticast.models.transformer import LAYER_NORM_EPS, Trunk, init_weights


class AST(nn.Module):
    """Clips of one length in, logits out; other lengths than the trained one by interpolated positions.

    Parameters
    ----------
    settings : ASTSettings
        Width, depth, heads, prefix tokens.
    grid : tuple of int
        Frequency and time patches of the trained length.
    classes : int
        Number of classes C.
    """

    def __init__(self, settings: ASTSettings, *, grid: tuple[int, int], classes: int):
        super().__init__()
        self.settings, self.freq_patches = settings, grid[0]
        self.patch_embed = nn.Linear(settings.patch**2, settings.dim)
        self.positions = GridPositions(grid, settings.dim)
        self.prefix = nn.Parameter(torch.randn(settings.prefix_tokens, settings.dim) / settings.dim**0.5)
        self.prefix_positions = nn.Parameter(torch.randn(settings.prefix_tokens, settings.dim) / settings.dim**0.5)
        self.trunk = Trunk(settings)
        self.head_norm = nn.LayerNorm(settings.dim, eps=LAYER_NORM_EPS)
        self.head = nn.Linear(settings.dim, classes)
        self.apply(init_weights)

    def forward(self, batch: PackedBatch) -> Tensor:
        """Logits `[B, C]`, in the order of the clips.

        Raises
        ------
        ValueError
            If the clips are not all of one length, or tokens are missing from their grid.
        """
        clips, tokens = len(batch), batch.seqlens[0]
        if any(n != tokens for n in batch.seqlens) or tokens % self.freq_patches:
            raise ValueError(f"AST takes whole clips of one length, got {sorted(set(batch.seqlens))} tokens")
        backend = resolve_backend(self.settings.backend, batch.patches.device)
        x = self.patch_embed(batch.patches) + self.positions(tokens // self.freq_patches).repeat(clips, 1)
        prefix = (self.prefix + self.prefix_positions).to(x.dtype).expand(clips, -1, -1)
        x = torch.cat([prefix, x.unflatten(0, (clips, tokens))], dim=1).flatten(0, 1)
        lengths = [tokens + self.settings.prefix_tokens] * clips
        x = self.trunk(x, ClipMask(lengths, lengths, backend)).unflatten(0, (clips, -1))
        return self.head(self.head_norm(x[:, : self.settings.prefix_tokens].mean(1)))
