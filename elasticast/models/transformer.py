"""The pre-norm ViT trunk that both models share (Dosovitskiy et al. 2021)."""

from collections import deque

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elasticast.config import TransformerSettings
from elasticast.models.attention import AttentionScale, ClipMask, Rotation, received


class SelfAttention(nn.Module):
    """Multi-head self-attention on a flat token sequence `[N, D]`."""

    def __init__(self, dim: int, heads: int, scale: str):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attend = AttentionScale(scale, dim // heads)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: ClipMask, rotation: Rotation | None = None) -> Tensor:
        """`[N, D]` to `[N, D]`."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)
        return self.proj(self.attend(q, k, v, mask, rotation).flatten(1))

    def continued(self, x: Tensor, mask: ClipMask, rotation: Rotation, kept: deque[tuple[Tensor, Tensor]]) -> Tensor:
        """`[N, D]` to `[N, D]`, for tokens that also attend to the keys and values in `kept`. Theirs are added."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)
        kept.append((k, v))
        k, v = (torch.cat(parts) for parts in zip(*kept, strict=True))
        return self.proj(self.attend(q, k, v, mask, rotation).flatten(1))

    def with_keys(self, x: Tensor, mask: ClipMask, rotation: Rotation | None = None) -> tuple[Tensor, Tensor]:
        """The same, and the keys `[N, H, E]` before they are rotated."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)
        return self.proj(self.attend(q, k, v, mask, rotation).flatten(1)), self.attend.k_norm(k)

    def with_received(self, x: Tensor, mask: ClipMask, rotation: Rotation | None = None) -> tuple[Tensor, Tensor]:
        """The same as :meth:`forward`, and the attention that each token receives, `[N]`."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)
        attended = self.proj(self.attend(q, k, v, mask, rotation).flatten(1))
        return attended, received(*self.attend.prepared(q, k, rotation), mask.q, self.attend.scale)


class MLP(nn.Module):
    """Two linear layers with a GELU in between."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, D]` to `[N, D]`."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and MLP, each with a LayerNorm before it and a residual connection around it.

    Attributes
    ----------
    adapters : nn.ModuleDict
        Adapters of the attention (``attn``) and of the MLP (``mlp``), see :mod:`elasticast.models.adapters`.
    """

    def __init__(self, settings: TransformerSettings):
        super().__init__()
        self.norm1 = nn.LayerNorm(settings.dim, eps=settings.norm_eps)
        self.attn = SelfAttention(settings.dim, settings.heads, settings.attention_scale)
        self.norm2 = nn.LayerNorm(settings.dim, eps=settings.norm_eps)
        self.mlp = MLP(settings.dim, round(settings.dim * settings.mlp_ratio))
        self.adapters = nn.ModuleDict()

    def forward(self, x: Tensor, mask: ClipMask, rotation: Rotation | None = None) -> Tensor:
        """`[N, D]` to `[N, D]`, without attention between clips."""
        normed = self.norm1(x)
        x = x + self.adapted("attn", normed, self.attn(normed, mask, rotation), mask)
        return self.feed_forward(x, mask)

    def feed_forward(self, x: Tensor, mask: ClipMask) -> Tensor:
        """The MLP of the block: `[N, D]` to `[N, D]`."""
        normed = self.norm2(x)
        return x + self.adapted("mlp", normed, self.mlp(normed), mask)

    def adapted(self, part: str, x: Tensor, y: Tensor, mask: ClipMask) -> Tensor:
        """The output `y` of a part with input `x`, changed by the adapter of this part, if it has one."""
        return self.adapters[part](x, y, mask) if part in self.adapters else y


class Trunk(nn.Module):
    """`depth` blocks and a final LayerNorm.

    Attributes
    ----------
    prompts : nn.Module or None
        Tokens that are added to each clip, see :class:`elasticast.models.adapters.PromptTokens`.
    """

    def __init__(self, settings: TransformerSettings):
        super().__init__()
        self.prompts = None
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.depth))
        self.norm = nn.LayerNorm(settings.dim, eps=settings.norm_eps)

    def forward(self, x: Tensor, mask: ClipMask, rotation: Rotation | None = None) -> Tensor:
        """`[N, D]` to `[N, D]`, without attention between clips."""
        if self.prompts is not None:
            return self.norm(self.prompts(self.blocks, x, mask, rotation))
        for block in self.blocks:
            x = block(x, mask, rotation)
        return self.norm(x)


def init_weights(module: nn.Module) -> None:
    """Initialise linear layers: Xavier-uniform weights and zero biases, as in the original ViT (big_vision).

    The fixed standard deviation of 0.02 in later ViT code suits a width of 768. It is far too small for the narrow
    models that are trained from scratch on a laptop: with it, they hardly learn.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def init_head(head: nn.Linear, kind: str) -> None:
    """Initialise the linear layer of the head, see `TransformerSettings.head_init`."""
    if kind == "torch":
        head.reset_parameters()
