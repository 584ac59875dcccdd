"""A faster way to train a trunk on a GPU: compiled blocks, and if asked for, CUDA graphs for small batches.

A training step of a small batch launches some thousand kernels, which takes longer than to compute them. A CUDA graph
launches all kernels of a pass at once, but only for the sizes that it was recorded with. Batches are therefore padded
to a few sizes by clips of zeros: no clip attends to them, and they have no gradient.
"""

import functools

import torch
from torch import Tensor, nn

from elasticast.data.packing import Lengths
from elasticast.models.attention import ClipMask, Rotation, computed_as
from elasticast.models.transformer import Trunk

SMALL_BATCH = 16_384
"""Largest number of tokens of a batch that is replayed as a graph. For larger batches, launches are a small share."""
TOKEN_STEP = 1024
"""The number of tokens of such a batch is rounded up to a multiple of this."""
CLIP_STEP = 8
"""The number of clips of such a batch is rounded up to a multiple of this."""
MOST_GRAPHS = 24
"""Number of graphs per trunk."""


class FastTrunk:
    """The forward pass of a trunk, faster in training on a GPU, and unchanged elsewhere.

    Parameters
    ----------
    trunk : Trunk
        The trunk.
    most_graphs : int
        Largest number of CUDA graphs. Each keeps the memory of its activations.
    """

    def __init__(self, trunk: Trunk, most_graphs: int):
        self.plain = functools.partial(Trunk.forward, trunk)
        self.compiled = torch.compile(self.plain, dynamic=True)
        self.trunk, self.most_graphs = trunk, most_graphs
        self.graphs: dict[tuple[int, int, int], nn.Module] = {}

    def __call__(self, x: Tensor, mask: ClipMask, rotation: Rotation | None = None) -> Tensor:
        """`[N, D]` to `[N, D]`, see :class:`~elasticast.models.transformer.Trunk`."""
        if mask.backend != "varlen" or mask.rows is not None or not (self.trunk.training and torch.is_grad_enabled()):
            return self.plain(x, mask, rotation)  # compiling for float32 and for evaluation would not pay
        if not self.most_graphs or rotation is not None or len(x) > SMALL_BATCH:
            return self.compiled(x, mask, rotation)
        sizes = padded_sizes(mask.q)
        if sizes not in self.graphs and len(self.graphs) == self.most_graphs:
            return self.compiled(x, mask)
        padding = x.new_zeros(sizes[0] - len(x), x.shape[1])
        inputs = torch.cat([x, padding]), padded_bounds(mask.q, sizes)
        if sizes not in self.graphs:
            self.graphs[sizes] = self._record(sizes, *inputs)
        return self.graphs[sizes](*inputs)[: len(x)]

    def _record(self, sizes: tuple[int, int, int], x: Tensor, bounds: Tensor) -> nn.Module:
        _, dtype = computed_as(x)
        fixed = _FixedSizes(self.trunk, self.compiled, sizes, dtype)
        example = torch.randn_like(x).requires_grad_(), bounds.clone()
        # gradients are added up on the stream of the recording, which is right but warned of
        getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", lambda _: None)(False)
        with torch.autocast(x.device.type, enabled=False):  # it caches, which a recording must not; see _FixedSizes
            return torch.cuda.make_graphed_callables(fixed, example)


class _FixedSizes(nn.Module):
    """A trunk on tensors alone, for batches of one padded size."""

    def __init__(self, trunk: Trunk, forward, sizes: tuple[int, int, int], dtype: torch.dtype):
        super().__init__()
        self.trunk, self.pass_through, self.dtype = trunk, forward, dtype
        _, clips, longest = sizes
        # only the longest count and the bounds matter to the kernel
        self.counts = [longest] + [0] * (clips - 1)

    def forward(self, x: Tensor, bounds: Tensor) -> Tensor:
        lengths = Lengths(self.counts, bounds)
        # the cache of autocast would hold tensors of the recording
        with torch.autocast(x.device.type, self.dtype, cache_enabled=False):
            return self.pass_through(x, ClipMask(lengths, lengths, "varlen"))


def padded_sizes(lengths: Lengths) -> tuple[int, int, int]:
    """Number of tokens, of clips, and of tokens of the longest clip that a batch is padded to."""
    tokens = sum(lengths.counts)
    size = _up(tokens, TOKEN_STEP)
    return size, _up(len(lengths) + 1, CLIP_STEP), _up(max(*lengths.counts, size - tokens, 1), TOKEN_STEP)


def padded_bounds(lengths: Lengths, sizes: tuple[int, int, int]) -> Tensor:
    """Bounds of the clips, one clip of all padding, and empty clips, see :func:`padded_sizes`."""
    size, clips, _ = sizes
    return torch.cat([lengths.bounds, lengths.bounds.new_full((clips - len(lengths),), size)])


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


def speed_up(model: nn.Module, *, graphs: bool) -> bool:
    """Replace the forward pass of all trunks of a model by a :class:`FastTrunk`. Names of weights stay the same.

    Returns
    -------
    bool
        Whether the model has a trunk: CNNs and Audio Mamba have none.
    """
    trunks = [module for module in model.modules() if isinstance(module, Trunk)]
    for trunk in trunks:
        trunk.forward = FastTrunk(trunk, MOST_GRAPHS if graphs else 0)
    return bool(trunks)
