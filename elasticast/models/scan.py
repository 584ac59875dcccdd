"""The selective scan of Mamba over packed clips (Gu and Dao 2023, algorithm 2), in PyTorch or by a kernel of mamba_ssm.

Shapes: L tokens of all clips, E channels, S states per channel.
"""

import functools
import importlib
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from elasticast.config.model.aum import SCAN_OPERATIONS

ENDLESS = 1e30
"""Step size after which nothing is left of a state: exp(ENDLESS a) = 0."""
CHUNK_VALUES = {"cpu": 2**18, "cuda": 2**26}
"""Largest number of values (tokens x E x S) of a chunk: what fits the cache of a CPU, and what keeps a GPU busy."""


def selective_scan(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, first: Tensor, *, chunk: int | None = None
) -> Tensor:
    """Scan packed clips with a state that starts at zero in each clip.

    With state h, step size d and input u of channel e at token t::

        h[t, s] = exp(d[t] a[s]) h[t - 1, s] + d[t] u[t] b[t, s]
        y[t] = sum over s of c[t, s] h[t, s]

    The tokens of a chunk are computed in parallel, chunks one after the other. The backward pass computes the states
    again, so that only the inputs and the first state of each chunk are kept.

    Parameters
    ----------
    u, delta : Tensor
        `[L, E]`, inputs, and step sizes > 0.
    a : Tensor
        `[E, S]`, rates < 0.
    b, c : Tensor
        `[L, S]`, how inputs change states, and how states are read.
    first : Tensor
        `[L]` bool, True at the first token of each clip. The state before it is multiplied by 0.
    chunk : int, optional
        Tokens of a chunk. The default depends on the device. It changes rounding only.

    Returns
    -------
    Tensor
        `[L, E]`, in float32, or in float64 if `u` is in float64.
    """
    dtype = torch.float64 if u.dtype == torch.float64 else torch.float32
    chunk = chunk or max(1, CHUNK_VALUES.get(u.device.type, CHUNK_VALUES["cuda"]) // a.numel())
    return _scan(*(x.to(dtype).contiguous() for x in (u, delta, a, b, c)), first.contiguous(), chunk)[0]


@functools.cache
def has_kernel(device: str) -> bool:
    """Whether :func:`kernel_scan` works on a kind of device: on CUDA, if mamba_ssm can be imported."""
    if device != "cuda":
        return False
    try:
        importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    except (ImportError, OSError):  # not installed, or built for another version of PyTorch
        return False
    return True


def kernel_scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, first: Tensor, clips: int) -> Tensor:
    """Compute :func:`selective_scan` with the CUDA kernel of mamba_ssm, in float32.

    The kernel knows no clips. Before each clip is a row of input 0 with the step size :data:`ENDLESS`, which clears the
    state. Such a step at the first token itself would give a wrong gradient of `a`: the kernel computes it as a
    difference of two nearly equal numbers, times the step size.

    Parameters
    ----------
    u, delta, a, b, c, first : Tensor
        See :func:`selective_scan`.
    clips : int
        Number of clips.
    """
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    rows = torch.arange(len(u), device=u.device) + first.cumsum(0)

    def spread(x: Tensor, fill: float = 0.0) -> Tensor:
        """`[L, ...]` to `[1, ..., L + clips]`."""
        return x.new_full((len(x) + clips, x.shape[1]), fill).index_copy(0, rows, x).T[None].contiguous()

    with torch.autocast(u.device.type, enabled=False):
        u, delta, a, b, c = (x.float() for x in (u, delta, a, b, c))
        y = selective_scan_fn(spread(u), spread(delta, ENDLESS), a, spread(b), spread(c))
    return y[0].T.index_select(0, rows)


@torch.library.custom_op("elasticast::selective_scan", mutates_args=())
def _scan(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, first: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Outputs `[L, E]`, and the state before each chunk `[chunks, E, S]`."""
    y, state, before = torch.empty_like(u), torch.zeros_like(a), []
    with torch.autocast(u.device.type, enabled=False):
        for part in _chunks(len(u), chunk):
            before.append(state)
            _, h = _states(u[part], delta[part], a, b[part], first[part], state)
            y[part] = _read(h, c[part])
            state = h[-1].clone()
    return y, torch.stack(before)


@_scan.register_fake
def _(u, delta, a, b, c, first, chunk):
    return torch.empty_like(u), a.new_empty(-(-len(u) // chunk), *a.shape)


@register_flop_formula(torch.ops.elasticast.selective_scan)
def _operations(u_shape, delta_shape, a_shape, *_args, **_kwargs) -> int:
    return SCAN_OPERATIONS * u_shape[0] * a_shape[0] * a_shape[1]


def _keep(ctx, inputs, output) -> None:
    *tensors, ctx.chunk = inputs
    ctx.save_for_backward(*tensors, output[1])
    ctx.mark_non_differentiable(output[1])


def _gradients(ctx, gy: Tensor, _) -> tuple[Tensor | None, ...]:
    u, delta, a, b, c, first, before = ctx.saved_tensors
    gu, gdelta, ga, gb, gc = (torch.empty_like(x) for x in (u, delta, a, b, c))
    ga.zero_()
    later = torch.zeros_like(a)  # gradient of the last state of a chunk that comes from later chunks
    parts = list(_chunks(len(u), ctx.chunk))
    with torch.autocast(u.device.type, enabled=False):
        for part, state in reversed(list(zip(parts, before, strict=True))):
            inputs = u[part], delta[part], a, b[part]
            decay, h = _states(*inputs, first[part], state)
            gc[part] = _over_channels(h, gy[part])
            g = gy[part][:, :, None] * c[part][:, None, :]
            g[-1] += later
            g = _linear_scan_backwards(decay, g)
            later = decay[0] * g[0]
            gu[part], gdelta[part], gb[part] = _input_gradients(*inputs, decay, h, g, state, ga)
    return gu, gdelta, ga, gb, gc, None, None


_scan.register_autograd(_gradients, setup_context=_keep)


def _input_gradients(u, delta, a, b, decay, h, g, state, ga) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `u`, `delta` and `b` of a chunk, from those of its states `g`; adds that of `a` to `ga`."""
    gb = _over_channels(g, delta * u)
    driven = _read(g, b)
    rates = g.mul_(decay)  # of the exponents delta * a
    rates[0] *= state
    rates[1:] *= h[:-1]
    gdelta = driven * u + (rates * a).sum(-1)
    ga += rates.mul_(delta[:, :, None]).sum(0)
    return driven * delta, gdelta, gb


def _chunks(tokens: int, chunk: int) -> Iterator[slice]:
    return (slice(start, min(start + chunk, tokens)) for start in range(0, tokens, chunk))


def _states(u, delta, a, b, first, state) -> tuple[Tensor, Tensor]:
    """Decay and state `[T, E, S]` at each of the T tokens of a chunk, after `state`."""
    decay = torch.exp_(delta.masked_fill(first[:, None], ENDLESS)[:, :, None] * a)
    h = (delta * u)[:, :, None] * b[:, None, :]
    h[0] += decay[0] * state
    return decay, _linear_scan(decay, h)


def _read(h: Tensor, weights: Tensor) -> Tensor:
    """Sum over states: `[T, E, S]` and `[T, S]` to `[T, E]`."""
    return torch.bmm(h, weights[:, :, None])[:, :, 0]


def _over_channels(h: Tensor, weights: Tensor) -> Tensor:
    """Sum over channels: `[T, E, S]` and `[T, E]` to `[T, S]`."""
    return torch.bmm(weights[:, None, :], h)[:, 0]


def _linear_scan(decay: Tensor, x: Tensor) -> Tensor:
    """h[t] = decay[t] h[t - 1] + x[t] for t = 1, 2, ..., and h[0] = x[0]. Overwrites `x`.

    The T tokens are rows of about the square root of T tokens. All rows are scanned at once, step by step, then the
    last state of each row is carried into the next. Products of decays only ever shrink, so nothing overflows.
    """
    row = int(len(x) ** 0.5)
    rows = len(x) // row * row
    h, product = x[:rows].unflatten(0, (-1, row)), decay[:rows].unflatten(0, (-1, row)).clone()
    for i in range(1, row):
        h[:, i].addcmul_(product[:, i], h[:, i - 1])
        product[:, i] *= product[:, i - 1]
    for i in range(1, len(h)):
        h[i].addcmul_(product[i], h[i - 1, -1])
    for i in range(rows, len(x)):
        x[i].addcmul_(decay[i], x[i - 1])
    return x


def _linear_scan_backwards(decay: Tensor, x: Tensor) -> Tensor:
    """g[t] = x[t] + decay[t + 1] g[t + 1]: the same from the last token to the first. Overwrites `x`."""
    row = int(len(x) ** 0.5)
    rows = len(x) // row * row
    for i in range(len(x) - 2, rows - 2, -1):
        x[i].addcmul_(decay[i + 1], x[i + 1])
    g, next_decay = x[:rows].unflatten(0, (-1, row)), decay[:rows].unflatten(0, (-1, row))
    product = torch.empty_like(g)
    product[:-1, -1] = next_decay[1:, 0]
    for i in range(row - 2, -1, -1):
        g[:, i].addcmul_(next_decay[:, i + 1], g[:, i + 1])
        torch.mul(next_decay[:-1, i + 1], product[:-1, i + 1], out=product[:-1, i])
    for i in range(len(g) - 2, -1, -1):
        g[i].addcmul_(product[i], g[i + 1, 0])
    return x
