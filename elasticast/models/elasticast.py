"""ElasticAST (Feng, Erol, Chung, Senocak 2024): one AST for every length and resolution."""

import torch
from torch import Tensor, nn

from elasticast.config import ElasticASTSettings
from elasticast.data.packing import PackedBatch
from elasticast.errors import DataError
from elasticast.models.attention import ClipMask, Rotation, resolve_backend
from elasticast.models.pooling import AttentionPooling, lead, leading, mean_pooling
from elasticast.models.positions import clip_positions
from elasticast.models.transformer import Trunk, init_weights


class ElasticAST(nn.Module):
    """Packed clips in, logits out.

    Parameters
    ----------
    settings : ElasticASTSettings
        Width, depth, heads, positions, longest clip, pooling.
    freq_patches : int
        Patches along frequency.
    classes : int
        Number of classes C.
    """

    def __init__(self, settings: ElasticASTSettings, *, freq_patches: int, classes: int):
        super().__init__()
        self.settings = settings
        self.patch_embed = nn.Linear(settings.patch**2, settings.dim)
        self.positions = clip_positions(settings, freq_patches)
        self.trunk = Trunk(settings)
        if settings.pooling == "attention":
            self.pool = AttentionPooling(settings.dim, settings.heads, settings.attention_scale)
        if settings.pooling == "cls":
            self.cls = nn.Parameter(torch.randn(settings.dim) / settings.dim**0.5)
        self.head_norm = nn.LayerNorm(settings.dim, eps=settings.head_norm_eps or settings.norm_eps)
        self.head = nn.Linear(settings.dim, classes)
        self.apply(init_weights)

    def forward(self, batch: PackedBatch) -> Tensor:
        """Logits `[B, C]`, in the order of the clips.

        Raises
        ------
        DataError
            If a clip is longer than the time position table.
        """
        limit = self.settings.limit
        if limit is not None and batch.time_patches > (rows := self.settings.patches(limit)):
            raise DataError(
                f"a clip of {batch.time_patches} time patches is longer than the position table of {rows}: "
                "lower view.max_frames, or train with a larger model.max_frames"
            )
        backend = resolve_backend(self.settings.backend, batch.patches.device)
        x = self._pooled(*self._embedded(batch), batch.seqlens, backend)
        return self.head(self.head_norm(x))

    def _embedded(self, batch: PackedBatch) -> tuple[Tensor, Rotation | None]:
        """Tokens `[N, D]` that know their places, or are told them by a rotation; each clip's CLS token comes first."""
        clips, seqlens = len(batch), batch.seqlens
        x, freq, time = self.patch_embed(batch.patches), batch.freq, batch.time
        rotary, cls = self.settings.positions == "rotary", self.settings.pooling == "cls"
        # added positions bring autocast's 16 bits back to the 32 of the residual stream
        x = x.to(self.head.weight.dtype) if rotary else x + self.positions(freq, time, batch.grid_lengths)
        if cls:
            x = lead(self.cls.to(x.dtype).expand(clips, 1, -1), x, seqlens)
        if rotary and cls:  # place 0, 0 turns nothing
            freq, time = (lead(places.new_zeros(clips, 1), places, seqlens) for places in (freq, time))
        return x, self.positions(freq, time) if rotary else None

    def _pooled(self, x: Tensor, rotation: Rotation | None, seqlens: list[int], backend: str) -> Tensor:
        """One vector a clip `[B, D]`, after the trunk."""
        lengths = [n + 1 for n in seqlens] if self.settings.pooling == "cls" else seqlens
        x = self.trunk(x, ClipMask(lengths, lengths, backend), rotation)
        match self.settings.pooling:
            case "attention":
                return self.pool(x, ClipMask([1] * len(seqlens), seqlens, backend))
            case "mean":
                return mean_pooling(x, seqlens)
            case "cls":
                return leading(x, seqlens, 1)[0].squeeze(1)
