"""Attention over packed clips. All code that depends on the attention backend is in this module.

Shapes: N tokens of all clips, B clips, H heads, E channels per head.
"""

import functools
import logging
import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elasticast.data.packing import Lengths, equally_long
from elasticast.errors import ElasticASTError

HALF = (torch.bfloat16, torch.float16)
"""Types that flash attention computes in."""
QUERIES = 1024
"""Number of queries whose weights are in memory at once, where the weights themselves are needed."""
ALIGNMENT = 16
"""Bytes. Fused kernels for CUDA read a bias from a multiple of it."""
LOG_OF_ZERO = -1000.0
"""A score so low that its softmax is 0, and yet far from the limits of 16 bits."""


def resolve_backend(name: str, device: torch.device | str, dtype: torch.dtype = torch.float32) -> str:
    """Resolve ``auto`` to a backend, and check that the device has kernels for the backend.

    On CUDA, ``auto`` is varlen in half precision and xformers in float32. If that one does not work on this machine,
    it is the other one, and else sdpa. On other devices it is sdpa.

    Parameters
    ----------
    name : str
        The setting `model.backend`.
    device : torch.device or str
        Device that the model computes on.
    dtype : torch.dtype
        Type that the model computes in, see :func:`computed_as`.

    Raises
    ------
    ElasticASTError
        If the backend does not work on the device. The message says why.
    """
    device = torch.device(device)
    if name != "auto":
        reason = why_not(name, device.type, dtype)
        if reason is not None:
            raise ElasticASTError(f"model.backend: {name!r}: {reason}; use 'sdpa' or 'auto'")
        return name
    return next((backend for backend in _order(device, dtype) if why_not(backend, device.type, dtype) is None), "sdpa")


def _order(device: torch.device, dtype: torch.dtype) -> list[str]:
    """Backends that ``auto`` tries before sdpa, fastest first."""
    if device.type != "cuda":
        return []
    return ["varlen", "xformers"] if dtype in HALF else ["xformers"]


def explain_backend(name: str, device: torch.device | str, dtype: torch.dtype = torch.float32) -> str:
    """Which backend a model computes with, and why; the parameters are those of :func:`resolve_backend`."""
    device = torch.device(device)
    chosen, computed = resolve_backend(name, device, dtype), f"{str(dtype).removeprefix('torch.')} on {device.type}"
    if name != "auto":
        return f"attention: {chosen}, as model.backend says, in {computed}"
    tried = [f"{b}: {reason}" for b in _order(device, dtype) if (reason := why_not(b, device.type, dtype))]
    reason = "; ".join(tried) or f"the fastest for {computed}"
    return f"attention: {chosen}, chosen by model.backend: auto ({reason})"


def computed_as(weight: Tensor) -> tuple[torch.device, torch.dtype]:
    """Device and type that a model with this weight computes in: the type of autocast, or that of the weight."""
    kind = weight.device.type
    return weight.device, torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


@functools.cache
def why_not(backend: str, device_type: str, dtype: torch.dtype) -> str | None:
    """Why a backend does not work on this machine, or None if it works."""
    if backend not in ("xformers", "varlen"):
        return None
    if device_type != "cuda":
        return f"no kernels on {device_type}"
    if backend == "varlen" and dtype not in HALF:
        return f"no kernels for {str(dtype).removeprefix('torch.')}, only for bf16 and fp16"
    if not torch.cuda.is_available():
        return "torch finds no GPU"
    q = torch.zeros(2, 1, 32, device="cuda", dtype=dtype)
    lengths = Lengths.of([2], q.device)
    logging.getLogger("xformers").setLevel(logging.ERROR)  # the reason is part of the message below
    try:  # the only test that holds for all versions and GPUs
        attend(q, q, q, ClipMask(lengths, lengths, backend), 1.0)
    except (ImportError, NotImplementedError, RuntimeError) as error:
        logging.getLogger("elasticast").debug("%s does not work here", backend, exc_info=True)
        return f"does not work on this machine: {str(error).splitlines()[0]}"
    return None


def faster_in_float32(device_type: str, dtype: torch.dtype) -> bool:
    """Whether attention is computed in float32 although the model is not.

    PyTorch's attention for x86 processors without AMX takes longer in 16 bits than in float32.
    """
    if device_type != "cpu" or dtype not in HALF:
        return False
    return torch.backends.cpu.get_cpu_capability().startswith("AVX") and not torch.cpu._is_amx_tile_supported()


@dataclass
class ClipMask:
    """Mask that lets each query attend to the keys of its clip only. Built once per batch, shared by all layers.

    Parameters
    ----------
    q, kv : Lengths
        Number of queries and of keys of each clip, in order.
    backend : str
        `varlen`, `xformers`, `sdpa`, or `dense`.
    sizes : Tensor, optional
        `[Nkv]` float32, number of tokens that each key stands for after token merging: it counts like as many equal
        keys. No query attends to a key of size 0, which is padding. Default: 1 for all.
    rows : Tensor, optional
        `[Nkv]` int64, the token that each key is of. A token may be a key of several chunks, see :func:`chunk_mask`.
        Default: the tokens in their order.
    """

    q: Lengths
    kv: Lengths
    backend: str
    sizes: Tensor | None = None
    rows: Tensor | None = None
    longest: tuple[int, int] = field(init=False)
    distinct: int = field(init=False)  # pairs of a number of queries and of keys
    bias: Any = field(init=False, default=None)

    def __post_init__(self):
        self.longest = max(self.q.counts), max(self.kv.counts)
        self.distinct = len(set(zip(self.q.counts, self.kv.counts, strict=True)))
        if self.backend == "xformers":
            from xformers.ops.fmha.attn_bias import BlockDiagonalMask

            device = self.kv.bounds.device
            self.bias = BlockDiagonalMask.from_seqlens(self.q.counts, self.kv.counts, device=device)

    @property
    def queries(self) -> int:
        """Number of clips in `q`; of a mask of :func:`pooling_mask`, the number of queries."""
        return len(self.q)

    def dense(self) -> Tensor:
        """Boolean mask `[Nq, N]` of queries and tokens, True where attention is allowed."""
        allowed = self.q.owners()[:, None] == self.kv.owners()[None, :]
        if self.rows is None:
            return allowed
        empty = torch.zeros(len(allowed), sum(self.q.counts), dtype=torch.uint8, device=allowed.device)
        return empty.index_add_(1, self.rows, allowed.to(torch.uint8)).bool()


def pooling_mask(lengths: Lengths, backend: str, sizes: Tensor | None = None) -> ClipMask:
    """Mask of one query per clip, which attends to the tokens of its clip; for `sizes` see :class:`ClipMask`."""
    return ClipMask(Lengths.ones(len(lengths), lengths.bounds.device), lengths, backend, sizes)


def chunk_mask(lengths: Lengths, chunks: Tensor, past: int | None, backend: str) -> tuple[ClipMask, Tensor]:
    """Mask that lets each token attend to those of its chunk and of some chunks before, in its clip.

    Each chunk is like a clip, with more keys than queries: the keys of the earlier chunks are repeated. So every
    backend can compute it.

    Parameters
    ----------
    lengths : Lengths
        Number of tokens of each clip.
    chunks : Tensor
        `[N]` int64, which chunk of its clip each token belongs to.
    past : int or None
        Number of earlier chunks, None for all.
    backend : str
        See :class:`ClipMask`.

    Returns
    -------
    ClipMask
        Mask of the tokens, chunk by chunk.
    Tensor
        `[N]` int64, the tokens in that order.
    """
    device, most = chunks.device, int(chunks.max()) + 1
    number = (lengths.owners() * most + chunks).cpu()
    order = number.argsort(stable=True)
    number, queries = number[order].unique_consecutive(return_counts=True)
    ends = queries.cumsum(0)
    clip, chunk = number // most, number % most
    oldest = clip * most + (torch.zeros_like(chunk) if past is None else (chunk - past).clamp(min=0))
    first = (ends - queries)[torch.searchsorted(number, oldest)]
    keys = ends - first
    begin = first - (keys.cumsum(0) - keys)
    rows = torch.arange(int(keys.sum())) + begin.repeat_interleave(keys)
    q, kv = (Lengths.of(counts.tolist(), device) for counts in (queries, keys))
    return ClipMask(q, kv, backend, rows=rows.to(device)), order.to(device)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: ClipMask, scale: float) -> Tensor:
    """Softmax attention within each clip.

    Parameters
    ----------
    q, k, v : Tensor
        `[Nq, H, E]`, `[Nkv, H, E]`, `[Nkv, H, E]`. With `mask.rows`, keys and values are those of tokens, `[N, H, E]`.
    mask : ClipMask
        Mask of Nq queries and Nkv keys.
    scale : float
        Factor applied to the scores before the softmax.

    Returns
    -------
    Tensor
        `[Nq, H, E]`.
    """
    if faster_in_float32(q.device.type, q.dtype):
        with torch.autocast(q.device.type, enabled=False):
            return attend(q.float(), k.float(), v.float(), mask, scale).to(q.dtype)
    if mask.rows is not None and mask.backend != "dense":
        k, v = (x.index_select(0, mask.rows) for x in (k, v))
    if mask.sizes is not None:
        return _attend_sizes(q, k, v, mask, scale)
    match mask.backend:
        case "varlen":
            return _varlen(q, k, v, mask, scale)
        case "xformers":
            from xformers.ops import memory_efficient_attention

            return memory_efficient_attention(q[None], k[None], v[None], attn_bias=mask.bias, scale=scale)[0]
        case "dense":
            return _sdpa(q[None], k[None], v[None], scale, mask.dense())[0]
    if mask.q.equal and mask.kv.equal:  # clips of equal length: one batched call
        split = [x.unflatten(0, (len(mask.q), -1)) for x in (q, k, v)]
        return _sdpa(*split, scale).flatten(0, 1)
    parts = zip(q.split(mask.q.counts), k.split(mask.kv.counts), v.split(mask.kv.counts), strict=True)
    if mask.distinct * 2 <= mask.queries:
        return _by_length(list(parts), scale)
    # one call per clip: 2-3 times faster on a CPU than padding to the longest clip, and needs no mask
    return torch.cat([_sdpa(a[None], b[None], c[None], scale)[0] for a, b, c in parts])


def _by_length(parts: list[tuple[Tensor, Tensor, Tensor]], scale: float) -> Tensor:
    """Attention within each part (q, k, v), in one call for all parts of the same lengths.

    The same bits as one call per part. Faster for many short parts, such as chunks; copies make it slower for few.
    """
    attended = [q for q, _, _ in parts]
    for places in equally_long([(len(q), len(k)) for q, k, _ in parts]):
        group = (torch.stack(x) for x in zip(*(parts[place] for place in places), strict=True))
        for place, result in zip(places, _sdpa(*group, scale), strict=True):
            attended[place] = result
    return torch.cat(attended)


def _attend_sizes(q: Tensor, k: Tensor, v: Tensor, mask: ClipMask, scale: float) -> Tensor:
    """Attention that adds the logarithm of the size of each key to its scores (Bolya et al. 2023, equation 1)."""
    if mask.backend in ("varlen", "xformers"):  # these kernels take no such bias
        unsized = replace(mask, sizes=None)
        return attend(*with_size_channels(q, k, v, mask.sizes, scale), unsized, scale)[..., : v.shape[-1]]
    bias = mask.sizes.log().to(q.dtype)
    if mask.backend == "dense":
        allowed = torch.where(mask.dense(), bias, -torch.inf)
        return _sdpa(q[None], k[None], v[None], scale, allowed)[0]
    if mask.q.equal and mask.kv.equal:
        split = [x.unflatten(0, (len(mask.q), -1)) for x in (q, k, v, bias)]
        return _sdpa(*split[:3], scale, split[3][:, None, None]).flatten(0, 1)
    parts = zip(q.split(mask.q.counts), *(x.split(mask.kv.counts) for x in (k, v, bias)), strict=True)
    return torch.cat([_sdpa(a[None], b[None], c[None], scale, d[None])[0] for a, b, c, d in parts])


def with_size_channels(q: Tensor, k: Tensor, v: Tensor, sizes: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Append channels to q, k and v, so that the scores include the logarithm of the sizes of keys.

    Two channels hold the logarithm and what is lost of it in 16 bits. Zeros fill up to a multiple of 8 channels, as
    fused kernels need. The channels appended to v are zeros. For the logarithm of 0 they hold :data:`LOG_OF_ZERO`.
    """
    width = -(-(q.shape[-1] + 2) // 8) * 8
    exact = (sizes.log().clamp(min=LOG_OF_ZERO) / scale)[:, None, None].expand(-1, k.shape[1], 1)
    rounded = exact.to(k.dtype)
    k = torch.cat([k, rounded, (exact - rounded.float()).to(k.dtype)], -1)
    q = torch.cat([q, q.new_ones(*q.shape[:-1], 2)], -1)
    return tuple(F.pad(x, (0, width - x.shape[-1])) for x in (q, k, v))


def _varlen(q: Tensor, k: Tensor, v: Tensor, mask: ClipMask, scale: float) -> Tensor:
    """PyTorch's flash attention over sequences of different lengths."""
    from torch.nn.attention.varlen import varlen_attn

    # torch 2.10 always scales by 1 / sqrt(E)
    factor = scale * math.sqrt(q.shape[-1])
    return varlen_attn(q * factor if factor != 1 else q, k, v, mask.q.bounds, mask.kv.bounds, *mask.longest)


def _sdpa(q: Tensor, k: Tensor, v: Tensor, scale: float, allowed: Tensor | None = None) -> Tensor:
    """PyTorch's attention on `[B, L, H, E]`; `allowed` is a boolean mask or a bias of the scores."""
    if allowed is not None and allowed.storage_offset() * allowed.itemsize % ALIGNMENT:
        allowed = allowed.clone()  # PyTorch 2.10 and 2.11 look at its strides only, and a kernel for CUDA then fails
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, scale=scale).transpose(1, 2)


@torch.no_grad()
def received(q: Tensor, k: Tensor, lengths: Lengths, scale: float) -> Tensor:
    """Attention that each token receives: the mean of its weights over the heads and queries of its clip.

    It is the importance of a token in Learned Token Pruning (Kim et al. 2022), times the number of tokens:
    1 if all tokens are equal.

    Parameters
    ----------
    q, k : Tensor
        `[N, H, E]`.
    lengths : Lengths
        Number of tokens of each clip.
    scale : float
        Factor applied to the scores before the softmax.

    Returns
    -------
    Tensor
        `[N]` float32.
    """
    totals = []
    with torch.autocast(q.device.type, enabled=False):  # 16 bits would make many tokens equal
        for queries, keys in zip(q.float().split(lengths.counts), k.float().split(lengths.counts), strict=True):
            parts = (part.transpose(0, 1) @ keys.permute(1, 2, 0) for part in queries.split(QUERIES))
            totals.append(sum((scale * scores).softmax(-1).sum((0, 1)) for scores in parts) / q.shape[1])
    return torch.cat(totals)


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

    def of(self, rows: Tensor | slice) -> "Rotation":
        """The rotation of some of the tokens."""
        return Rotation(self.cos[rows], self.sin[rows])


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
        """Compute attention within clips on `[N, H, E]` tensors.

        `rotation` is that of the keys. If there are fewer queries, they are the last tokens.
        """
        q, k = self.prepared(q, k, rotation)
        return attend(q.to(v.dtype), k.to(v.dtype), v, mask, self.scale)

    def prepared(self, q: Tensor, k: Tensor, rotation: Rotation | None) -> tuple[Tensor, Tensor]:
        """Queries and keys `[N, H, E]`, normalised and rotated; `rotation` as in :meth:`forward`."""
        q, k = self.q_norm(q), self.k_norm(k)
        return (q, k) if rotation is None else (rotation.of(slice(k.shape[0] - q.shape[0], None))(q), rotation(k))
