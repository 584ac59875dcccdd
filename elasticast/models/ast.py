"""Fixed-length AST (Gong, Chung, Glass 2021)."""

import torch
from torch import Tensor, nn

from elasticast.config import ASTSettings
from elasticast.data.packing import PackedBatch
from elasticast.models.attention import ClipMask, resolve_backend
from elasticast.models.pooling import AttentionPooling
from elasticast.models.positions import GridPositions
from elasticast.models.transformer import Trunk, init_weights


class AST(nn.Module):
    """Clips of one length in, logits out; other lengths than the trained one by interpolated positions.

    Parameters
    ----------
    settings : ASTSettings
        Width, depth, heads, prefix tokens, pooling.
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
        if settings.pooling == "attention":
            self.pool = AttentionPooling(settings.dim, settings.heads, settings.attention_scale)
        self.head_norm = nn.LayerNorm(settings.dim, eps=settings.head_norm_eps or settings.norm_eps)
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
        return self.head(self.head_norm(self._pooled(x, backend)))

    def _pooled(self, x: Tensor, backend: str) -> Tensor:
        """One vector a clip `[B, D]` of all its tokens `[B, L, D]`, prefix tokens first."""
        prefix, patches = x.tensor_split([self.settings.prefix_tokens], dim=1)
        match self.settings.pooling:
            case "cls":
                return prefix.mean(1)
            case "mean":
                return patches.mean(1)
            case "attention":
                clips, tokens, _ = patches.shape
                return self.pool(patches.flatten(0, 1), ClipMask([1] * clips, [tokens] * clips, backend))
