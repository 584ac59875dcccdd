"""How the cost of a training step grows with clips, with length, and with the token budget: `elasticast bench scaling`.

A cost that grows as ``x ** e`` is a straight line of slope e over logarithmic axes; e is fitted by least squares.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from elasticast.benchmarks.batching import BACKWARD, CLASSES, Layout
from elasticast.benchmarks.padding import MIB, run_step
from elasticast.benchmarks.passes import WholeModel
from elasticast.benchmarks.setup import LENGTHS, clip_tokens
from elasticast.benchmarks.timing import Step, saved_bytes, time_alternately
from elasticast.config import RunConfig
from elasticast.errors import ElasticASTError
from elasticast.progress import track

SECONDS = 10.0
"""Length of the clips whose number grows (s)."""
COSTS = ("gflop", "saved_mib", "seconds", "cpu_seconds")
"""Costs whose exponents are fitted."""


def measure_scaling(
    config: RunConfig,
    backend: str,
    *,
    clips: Sequence[int],
    seconds: Sequence[float],
    budgets: Sequence[int],
    device: torch.device,
    precision: str = "fp32",
    rounds: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """Time a training step for growing batches, alternately.

    Parameters
    ----------
    config : RunConfig
        Settings with an ElasticAST with attention pooling.
    backend : str
        Attention, see :class:`~elasticast.models.attention.ClipMask`.
    clips : sequence of int
        Numbers of clips of :data:`SECONDS` in a batch.
    seconds : sequence of float
        Lengths of a single clip (s).
    budgets : sequence of int
        Token budgets; a batch has clips with lengths as in VoxCeleb1 as long as they fit.
    device : torch.device
        Device to compute on.
    precision : {"fp32", "bf16"}
        Precision, by autocast.
    rounds : int
        Number of timings.
    seed : int
        Seed of lengths, weights and inputs.

    Returns
    -------
    DataFrame
        One row per ``axis`` (``clips``, ``length``, ``budget``) and value ``x``: ``clips``, ``tokens``; ``gflop``,
        operations of a step; ``saved_mib``, memory that the forward pass keeps; ``seconds`` and ``cpu_seconds`` (CPU
        only) of a step, medians over rounds; ``tokens_per_s``.

    Raises
    ------
    ElasticASTError
        If a budget is smaller than a clip.
    """
    axes = {
        "clips": {n: clip_tokens(config, [SECONDS] * n) for n in clips},
        "length": {x: clip_tokens(config, [x]) for x in seconds},
        "budget": {n: _within(config, n, seed) for n in budgets},
    }
    batches = {f"{axis} {x}": (axis, x, tokens) for axis, sizes in axes.items() for x, tokens in sizes.items()}
    subject = WholeModel(config, [n for *_, tokens in batches.values() for n in tokens], device, precision, seed)
    saved, steps, first = {}, {}, 0
    for name, (*_, tokens) in track(batches.items(), len(batches), "bench scaling, warm-up"):
        layout = Layout(tuple(range(first, first + len(tokens))), backend)
        saved[name], steps[name] = _step(subject, layout)
        first += len(tokens)
    times = time_alternately(steps, rounds, device, "bench scaling, rounds")
    rows, on_cpu = [], device.type == "cpu"
    for name, (axis, x, tokens) in batches.items():
        wall, cpu = np.median(times[name], 0)
        flop = (1 + BACKWARD) * sum(config.model.flops(n, CLASSES) for n in tokens)
        size = {"axis": axis, "x": x, "clips": len(tokens), "tokens": sum(tokens), "gflop": flop / 1e9}
        cost = {"saved_mib": saved[name] / MIB, "seconds": wall, "cpu_seconds": cpu if on_cpu else math.nan}
        rows.append({**size, **cost, "tokens_per_s": sum(tokens) / wall})
    return pd.DataFrame(rows)


def _step(subject: WholeModel, layout: Layout) -> tuple[int, Step]:
    """Bytes that the forward pass keeps, and the step."""
    passes = [subject.prepare(layout)]
    saved = saved_bytes(passes[0].forward, subject.weights)  # also warms up
    return saved, functools.partial(run_step, subject, passes, "step")


def _within(config: RunConfig, budget: int, seed: int) -> list[int]:
    """Tokens of the first clips of random lengths that fit a budget."""
    rng, tokens = np.random.default_rng(seed), []
    while True:
        (count,) = clip_tokens(config, LENGTHS["voxceleb"](rng, 1))
        if sum(tokens) + count > budget:
            break
        tokens.append(count)
    if not tokens:
        raise ElasticASTError(f"--budget {budget}: less than the {count} tokens of the first clip")
    return tokens


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Fit the exponent of each of :data:`COSTS` over the number of tokens.

    Parameters
    ----------
    table : DataFrame
        From :func:`measure_scaling`.

    Returns
    -------
    DataFrame
        One row per ``axis`` with at least two values, one column per cost.
    """
    rows = []
    for axis, part in table.groupby("axis", sort=False):
        if part["tokens"].nunique() > 1:
            costs = [cost for cost in COSTS if part[cost].notna().all()]
            slopes = {cost: np.polyfit(np.log(part["tokens"]), np.log(part[cost]), 1)[0] for cost in costs}
            rows.append({"axis": axis, **slopes})
    return pd.DataFrame(rows, columns=["axis", *COSTS])
