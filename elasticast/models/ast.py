"""Fixed-length AST (Gong, Chung, Glass 2021)."""

import torch
from torch import Tensor, nn

from elasticast.config import ASTSettings
from elasticast.data.packing import PackedBatch
from elasticast.models.attention import ClipMask, computed_as, pooling_mask, resolve_backend
from elasticast.models.crnn import build_frame_head
from elasticast.models.frame_head import FrameLogits, clip_time_means, patch_tokens
from elasticast.models.pooling import AttentionPooling, mean_pooling, prepend_tokens, split_prefix
from elasticast.models.positions import GridPositions
from elasticast.models.token_merging import MergedTokens, merged_trunk
from elasticast.models.transformer import Trunk, init_head, init_weights


class AST(nn.Module):
    """Audio Spectrogram Transformer for batches of clips of one length.

    If this length is not the trained one, the positions are interpolated or cut.

    Parameters
    ----------
    settings : ASTSettings
        Settings of the model.
    grid : tuple of int
        Number of frequency patches and of time patches at the trained length.
    classes : int
        Number of classes C.
    """

    Settings = ASTSettings

    def __init__(self, settings: ASTSettings, *, grid: tuple[int, int], classes: int):
        super().__init__()
        self.settings = settings
        self.patch_embed = nn.Linear(settings.patch**2, settings.dim)
        self.positions = GridPositions(grid, settings.dim, cut=settings.time_offset)
        self.prefix = nn.Parameter(torch.randn(settings.prefix_tokens, settings.dim) / settings.dim**0.5)
        self.prefix_positions = nn.Parameter(torch.randn(settings.prefix_tokens, settings.dim) / settings.dim**0.5)
        self.trunk = Trunk(settings)
        if settings.pooling == "attention":
            self.pool = AttentionPooling(settings)
        self.head_norm = nn.LayerNorm(settings.dim, eps=settings.head_norm_eps or settings.norm_eps)
        self.head = nn.Linear(settings.dim, classes)
        if settings.frame_head:
            self.frame_head = build_frame_head(settings, grid[0], classes)
        self.apply(init_weights)
        init_head(self.head, settings.head_init)

    def forward(self, batch: PackedBatch, *, frames: bool = False) -> Tensor | FrameLogits:
        """Compute logits `[B, C]`, in the order of the clips; with `frames`, also those of every time patch.

        Tokens of the clips may be dropped.

        Raises
        ------
        ValueError
            If the clips have different numbers of time patches, counted before tokens are dropped.
        """
        tokens, backend = self._states(batch)
        logits = self.head(self.head_norm(self._pooled(tokens, backend)))
        if not frames:
            return logits
        return FrameLogits(logits, *self.frame_head(self._patches(tokens, batch), batch))

    def frame_embeddings(self, batch: PackedBatch) -> list[Tensor]:
        """Mean `[time patches, D]` of the last states of each time patch, of each clip; 0 without tokens."""
        return clip_time_means(self._patches(self._states(batch)[0], batch), batch)

    def _states(self, batch: PackedBatch) -> tuple[MergedTokens, str]:
        """Tokens after the last block, and the attention backend."""
        if len(set(batch.clip_time_patches)) > 1:
            raise ValueError(f"AST takes clips of one length, got {sorted(set(batch.clip_time_patches))} time patches")
        backend, lengths = resolve_backend(self.settings.backend, *computed_as(self.patch_embed.weight)), batch.lengths
        x = self.patch_embed(batch.patches) + self._positions(batch)
        prefix = (self.prefix + self.prefix_positions).to(x.dtype).expand(len(batch), -1, -1)
        all_tokens = lengths.plus(self.settings.prefix_tokens)
        x, mask = prepend_tokens(prefix, x, lengths), ClipMask(all_tokens, all_tokens, backend)
        if (merging := self.settings.merge) is None:
            return MergedTokens(self.trunk(x, mask), lengths), backend
        return merged_trunk(self.trunk, x, mask, merging, self.settings.prefix_tokens), backend

    def _patches(self, tokens: MergedTokens, batch: PackedBatch) -> Tensor:
        """Last states `[N, D]` of the patches."""
        return patch_tokens(tokens, batch.lengths, self.settings.prefix_tokens)

    def _positions(self, batch: PackedBatch) -> Tensor:
        """Position embeddings `[N, D]` of the tokens."""
        time_patches = batch.time_patches
        grid = self.positions(time_patches, batch.patch_size)
        if all(n == len(grid) for n in batch.seqlens):
            return grid.repeat(len(batch), 1)
        return grid.index_select(0, batch.freq * time_patches + batch.time)

    def _pooled(self, tokens: MergedTokens, backend: str) -> Tensor:
        """Pool the tokens of each clip to a vector `[B, D]`."""
        lengths, sizes = tokens.lengths, tokens.sizes
        prefix, patches = split_prefix(tokens.x, lengths, self.settings.prefix_tokens)
        if sizes is not None:
            sizes = split_prefix(sizes, lengths, self.settings.prefix_tokens)[1]
        match self.settings.pooling:
            case "cls":
                return prefix.mean(1)
            case "mean":
                return mean_pooling(patches, lengths, sizes)
            case "attention":
                return self.pool(patches, pooling_mask(lengths, backend, sizes))
