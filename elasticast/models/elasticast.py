"""ElasticAST (Feng, Erol, Chung, Senocak 2024): one AST for all lengths and resolutions."""

import torch
from torch import Tensor, nn

from elasticast.config import ElasticASTSettings
from elasticast.data.packing import Lengths, PackedBatch
from elasticast.data.padding import PaddedBatch
from elasticast.errors import DataError
from elasticast.models.attention import ClipMask, Rotation, chunk_mask, computed_as, pooling_mask, resolve_backend
from elasticast.models.chunks import ChunkMemory
from elasticast.models.crnn import build_frame_head
from elasticast.models.frame_head import FrameLogits, clip_time_means, patch_tokens
from elasticast.models.pooling import AttentionPooling, mean_pooling, prepend_tokens, split_prefix
from elasticast.models.positions import clip_positions, stored_places
from elasticast.models.token_merging import MergedTokens, merged_trunk
from elasticast.models.transformer import Trunk, init_head, init_weights


class ElasticAST(nn.Module):
    """Audio Spectrogram Transformer for packed or padded batches of clips of different lengths.

    The logits of padded clips are those of packed ones: no token attends to padding, and pooling leaves it out.

    Parameters
    ----------
    settings : ElasticASTSettings
        Settings of the model.
    grid : tuple of int
        Number of frequency patches, and of time patches of the longest view, which is not used.
    classes : int
        Number of classes C.
    """

    Settings = ElasticASTSettings

    def __init__(self, settings: ElasticASTSettings, *, grid: tuple[int, int], classes: int):
        super().__init__()
        self.settings = settings
        self.patch_embed = nn.Linear(settings.patch**2, settings.dim)
        self.positions = clip_positions(settings, grid[0])
        self.trunk = Trunk(settings)
        if settings.pooling == "attention":
            self.pool = AttentionPooling(settings)
        if settings.pooling == "cls":
            self.cls = nn.Parameter(torch.randn(settings.dim) / settings.dim**0.5)
        self.head_norm = nn.LayerNorm(settings.dim, eps=settings.head_norm_eps or settings.norm_eps)
        self.head = nn.Linear(settings.dim, classes)
        if settings.frame_head:
            self.frame_head = build_frame_head(settings, grid[0], classes)
        self.apply(init_weights)
        init_head(self.head, settings.head_init)

    def forward(self, batch: PackedBatch | PaddedBatch, *, frames: bool = False) -> Tensor | FrameLogits:
        """Compute logits `[B, C]`, in the order of the clips; with `frames`, also those of every time patch.

        Raises
        ------
        DataError
            If a clip has more time patches than the table of time positions has rows.
        """
        present = None
        if isinstance(batch, PaddedBatch):
            batch, present = batch.rows(), batch.mask.flatten()
        tokens, backend = self._states(batch, present)
        logits = self.head(self.head_norm(self._pooled(tokens, backend)))
        if not frames:
            return logits
        return FrameLogits(logits, *self.frame_head(self._patches(tokens, batch), batch))

    def frame_embeddings(self, batch: PackedBatch) -> list[Tensor]:
        """Mean `[time patches, D]` of the last states of each time patch, of each clip; 0 without tokens."""
        return clip_time_means(self._patches(self._states(batch)[0], batch), batch)

    def _states(self, batch: PackedBatch, present: Tensor | None = None) -> tuple[MergedTokens, str]:
        """Tokens after the last block, and the attention backend; `present` `[N]` is False for padding."""
        limit, size = self.settings.limit, batch.patch_size
        rows = limit and (self.settings.patches(limit) if size is None else size.count(limit, size.time))
        if rows and batch.time_patches > rows:
            raise DataError(
                f"a clip has {batch.time_patches} time patches, but the table of time positions has {rows} rows: "
                "lower view.max_frames, or train with a larger model.max_frames"
            )
        backend = resolve_backend(self.settings.backend, *computed_as(self.patch_embed.weight))
        return self._tokens(*self._embedded(batch), batch, backend, present), backend

    def _patches(self, tokens: MergedTokens, batch: PackedBatch) -> Tensor:
        """Last states `[N, D]` of the patches."""
        return patch_tokens(tokens, batch.lengths, int(self.settings.pooling == "cls"))

    def _embedded(self, batch: PackedBatch) -> tuple[Tensor, Rotation | None]:
        """Embed patches and positions.

        Returns
        -------
        Tensor
            Tokens `[N, D]`; the CLS token of each clip, if any, comes first.
        Rotation or None
            Rotation of queries and keys, with rotary positions.
        """
        clips, lengths = len(batch), batch.lengths
        x, freq, time = self.patch_embed(batch.patches), batch.freq, batch.time
        rotary, cls = self.settings.positions == "rotary", self.settings.pooling == "cls"
        # the residual stream is float32: adding positions converts autocast's 16-bit tokens, rotary ones need .to
        if rotary:
            x, (freq, time) = x.to(self.head.weight.dtype), stored_places(freq, time, batch.patch_size)
        elif self.settings.positions == "grid":
            x = x + self.positions(batch)
        else:
            x = x + self.positions(freq, time, batch.grid_lengths, batch.patch_size)
        if cls:
            x = prepend_tokens(self.cls.to(x.dtype).expand(clips, 1, -1), x, lengths)
        if rotary and cls:  # CLS tokens are at position (0, 0), which is not rotated
            freq, time = (prepend_tokens(index.new_zeros(clips, 1), index, lengths) for index in (freq, time))
        return x, self.positions(freq, time) if rotary else None

    def next_chunk(self, batch: PackedBatch, memory: ChunkMemory, *, frames: bool = False) -> Tensor | FrameLogits:
        """Logits `[1, C]` of a stream after its next chunk, pooled over this chunk and those in memory.

        With `frames`, also those of the time patches of this chunk.

        Parameters
        ----------
        batch : PackedBatch
            The chunk, as a single clip.
        memory : ChunkMemory
            What is kept of the chunks before; the chunk is added to it.
        """
        backend = resolve_backend(self.settings.backend, *computed_as(self.patch_embed.weight))
        x = self.patch_embed(batch.patches).to(self.head.weight.dtype)
        states = memory.add(self.trunk, x, self.positions(*memory.places(batch.freq, batch.time)), backend)
        tokens = MergedTokens(states, Lengths.of([len(states)], states.device))
        logits = self.head(self.head_norm(self._pooled(tokens, backend)))
        return FrameLogits(logits, *self.frame_head(states[-len(x) :], batch)) if frames else logits

    def _tokens(
        self, x: Tensor, rotation: Rotation | None, batch: PackedBatch, backend: str, present: Tensor | None = None
    ) -> MergedTokens:
        """Run the trunk; `present` `[N]` is False for padding."""
        lengths, context = batch.lengths, self.settings.context
        if context is not None:
            mask, order = chunk_mask(lengths, batch.time // context.chunk, context.past_chunks, backend)
            x = self.trunk(x.index_select(0, order), mask, rotation.of(order))
            return MergedTokens(x.index_select(0, order.argsort()), lengths)
        merging, cls = self.settings.merge, int(self.settings.pooling == "cls")
        all_tokens, sizes = lengths.plus(1) if cls else lengths, None
        if present is not None:
            sizes = present.float()
            sizes = prepend_tokens(sizes.new_ones(len(lengths), 1), sizes, lengths) if cls else sizes
        mask = ClipMask(all_tokens, all_tokens, backend, sizes)
        if merging is None:
            return MergedTokens(self.trunk(x, mask, rotation), lengths, sizes)
        return merged_trunk(self.trunk, x, mask, merging, cls, rotation)

    def _pooled(self, tokens: MergedTokens, backend: str) -> Tensor:
        """Pool the tokens of each clip to a vector `[B, D]`."""
        x, lengths, sizes = tokens.x, tokens.lengths, tokens.sizes
        match self.settings.pooling:
            case "attention":
                return self.pool(x, pooling_mask(lengths, backend, sizes))
            case "mean":
                return mean_pooling(x, lengths, sizes)
            case "cls":
                return split_prefix(x, lengths, 1)[0].squeeze(1)
