"""ElasticAST (Feng, Erol, Chung, Senocak 2024): one AST for every length and resolution."""

from torch import Tensor, nn

from elasticast.config import ElasticASTSettings
from elasticast.data.packing import PackedBatch
from elasticast.errors import DataError
from elasticast.models.attention import ClipMask, resolve_backend
from elasticast.models.pooling import AttentionPooling
from elasticast.models.positions import clip_positions
from elasticast.models.transformer import Trunk, init_weights


class ElasticAST(nn.Module):
    """Packed clips in, logits out.

    Parameters
    ----------
    settings : ElasticASTSettings
        Width, depth, heads, positions, longest clip.
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
        self.pool = AttentionPooling(settings.dim, settings.heads, settings.attention_scale)
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
        x, rotation = self.patch_embed(batch.patches), None
        if self.settings.positions == "rotary":
            rotation = self.positions(batch.freq, batch.time)
        else:
            x = x + self.positions(batch.freq, batch.time, batch.grid_lengths)
        x = self.trunk(x, ClipMask(batch.seqlens, batch.seqlens, backend), rotation)
        x = self.pool(x, ClipMask([1] * len(batch), batch.seqlens, backend))
        return self.head(self.head_norm(x))
