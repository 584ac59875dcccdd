"""Attention over packed clips. All code that depends on the attention backend is in this module.

Shapes: N tokens of all clips, B clips, H heads, E channels per head.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elasticast.errors import ElasticASTError


def resolve_backend(name: str, device: torch.device | str) -> str:
    """Resolve ``auto`` to a backend: xformers on CUDA, sdpa on other devices.

    Raises
    ------
    ElasticASTError
        If `name` is xformers and the device is not a CUDA device.
    """
    on_cuda = torch.device(device).type == "cuda"
    if name == "auto":
        return "xformers" if on_cuda else "sdpa"
    if name == "xformers" and not on_cuda:
        raise ElasticASTError(f"model.backend: 'xformers' has no kernels on {device}; use 'sdpa' or 'auto'")
    return name


@dataclass
class ClipMask:
    """Mask that lets each query attend to the keys of its clip only. Built once per batch, shared by all layers.

    Parameters
    ----------
    q_lens, kv_lens : list of int
        Number of queries and of keys of each clip, in order.
    backend : str
        `xformers`, `sdpa`, or `dense`.
    """

    q_lens: list[int]
    kv_lens: list[int]
    backend: str
    bias: Any = field(init=False, default=None)

    def __post_init__(self):
        if self.backend == "xformers":
            from xformers.ops.fmha.attn_bias import BlockDiagonalMask

            self.bias = BlockDiagonalMask.from_seqlens(self.q_lens, self.kv_lens)

    def dense(self, device: torch.device | str = "cpu") -> Tensor:
        """Boolean mask `[Nq, Nkv]`, True where attention is allowed."""
        clips = torch.arange(len(self.q_lens), device=device)
        q = clips.repeat_interleave(torch.tensor(self.q_lens, device=device))
        kv = clips.repeat_interleave(torch.tensor(self.kv_lens, device=device))
        return q[:, None] == kv[None, :]


def attend(q: Tensor, k: Tensor, v: Tensor, mask: ClipMask, scale: float) -> Tensor:
    """Softmax attention within each clip.

    Parameters
    ----------
    q, k, v : Tensor
        `[Nq, H, E]`, `[Nkv, H, E]`, `[Nkv, H, E]`.
    mask : ClipMask
        Mask of Nq queries and Nkv keys.
    scale : float
        Factor applied to the scores before the softmax.

    Returns
    -------
    Tensor
        `[Nq, H, E]`.
    """
    if mask.backend == "xformers":
        from xformers.ops import memory_efficient_attention

        return memory_efficient_attention(q[None], k[None], v[None], attn_bias=mask.bias, scale=scale)[0]
    if mask.backend == "dense":
        return _sdpa(q[None], k[None], v[None], scale, mask.dense(q.device))[0]
    if len(set(mask.q_lens)) == len(set(mask.kv_lens)) == 1:  # clips of equal length: one batched call
        clips = len(mask.q_lens)
        split = [x.unflatten(0, (clips, -1)) for x in (q, k, v)]
        return _sdpa(*split, scale).flatten(0, 1)
    # one call per clip: 2-3 times faster on a CPU than padding to the longest clip, and needs no mask
    parts = zip(q.split(mask.q_lens), k.split(mask.kv_lens), v.split(mask.kv_lens), strict=True)
    return torch.cat([_sdpa(a[None], b[None], c[None], scale)[0] for a, b, c in parts])


def _sdpa(q: Tensor, k: Tensor, v: Tensor, scale: float, allowed: Tensor | None = None) -> Tensor:
    """PyTorch's attention on `[B, L, H, E]`; `allowed` is a boolean mask."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, scale=scale).transpose(1, 2)


@dataclass
class Rotation:
    """Rotary position embedding: rotates the query and the key of each token (Su et al. 2021).

    Parameters
    ----------
    cos, sin : Tensor
        `[N, 1, E/2]` float32, cosine and sine of the angle of each pair of channels i and i + E/2.
    """

    cos: Tensor
    sin: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Rotate queries or keys `[N, H, E]`; returns float32."""
        a, b = x.chunk(2, -1)
        return torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin], -1)


class AttentionScale(nn.Module):
    """Attention within clips, with a choice of scaling.

    Parameters
    ----------
    kind : {"none", "sqrt", "qk_norm"}
        ``none`` scales the scores by 1, as in the released ElasticAST weights; ``sqrt`` by 1/sqrt(E) (Vaswani et al.
        2017); ``qk_norm`` applies LayerNorm to q and k over E, then scales by 1/sqrt(E) (Dehghani et al. 2023,
        ViT-22B).
    head_dim : int
        Channels E per head.
    """

    def __init__(self, kind: str, head_dim: int):
        super().__init__()
        self.scale = 1.0 if kind == "none" else 1 / math.sqrt(head_dim)
        norm = (lambda: nn.LayerNorm(head_dim, eps=1e-6)) if kind == "qk_norm" else nn.Identity
        self.q_norm, self.k_norm = norm(), norm()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: ClipMask, rotation: Rotation | None = None) -> Tensor:
        """Compute attention within clips on `[N, H, E]` tensors."""
        q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotation(q), rotation(k)
        return attend(q.to(v.dtype), k.to(v.dtype), v, mask, self.scale)


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
