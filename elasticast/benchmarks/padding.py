"""Compare packing with padding: the same clips and weights, packed, padded, in rows, and one clip at a time."""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from elasticast.benchmarks.batching import Layout, Ways, count_costs
from elasticast.benchmarks.passes import AttentionAlone, Pass, Subject, WholeModel
from elasticast.benchmarks.timing import Step, peak_bytes, saved_bytes, time_with_peak
from elasticast.config import RunConfig
from elasticast.errors import ElasticASTError
from elasticast.progress import track

TOLERANCE = 1e-4
"""Maximum difference between ways in float32, relative to the largest value. In exact arithmetic they are equal."""
HALF_FACTOR = 2
"""Maximum error of a way in bf16, as a multiple of the error of attention clip by clip in bf16."""
PASSES = ("forward", "forward+backward", "step")
"""What is timed. A step adds clipping the gradient and AdamW."""
MIB = 2**20


def _subject(measure: str, config: RunConfig, tokens: Sequence[int], device: torch.device, seed: int, precision: str):
    if measure == "model":
        return WholeModel(config, tokens, device, precision, seed)
    return AttentionAlone(config, tokens, device, torch.bfloat16 if precision == "bf16" else torch.float32, seed)


def run_step(subject: Subject, passes: list[Pass], what: str) -> None:
    """Run all passes of a way, one of :data:`PASSES`."""
    if what == "forward":
        with torch.no_grad():
            for forward_pass in passes:
                forward_pass.forward()
        return
    subject.clear(passes)
    for forward_pass in passes:
        output = forward_pass.forward()
        output.backward(forward_pass.gradient.to(output.dtype))
    if what == "step":
        subject.update()


def _results(subject: Subject, passes: list[Pass]) -> tuple[Tensor, Tensor]:
    """Outputs and gradients, both in the order of the batch."""
    outputs = torch.empty_like(subject.gradient)
    subject.clear(passes)
    for forward_pass in passes:
        output = forward_pass.forward()
        outputs[forward_pass.target] = output[forward_pass.source].detach().to(outputs.dtype)
        output.backward(forward_pass.gradient.to(output.dtype))
    return outputs, subject.gradients(passes)


def differences(subject: Subject, ways: Ways) -> dict[str, float]:
    """Difference of each way from the first one: maximum over outputs and gradients, relative to the largest value.

    Raises
    ------
    ElasticASTError
        If a difference exceeds :data:`TOLERANCE`: the ways do not compute the same function then.
    """
    expected, largest = None, {}
    for name, way in ways.items():
        results = _results(subject, [subject.prepare(layout) for layout in way])
        expected = expected or results
        errors = [(a - b).abs().max().item() / b.abs().max().item() for a, b in zip(results, expected, strict=True)]
        _refuse(name, next(iter(ways)), errors, (TOLERANCE, TOLERANCE))
        largest[name] = max(errors)
    return largest


def half_differences(exact: Subject, half: Subject, ways: Ways, clips: int) -> dict[str, float]:
    """Difference of ways that compute in bf16 from attention in float32, as the norm of the error relative to the norm.

    Rounding to bf16 alone causes a difference, which depends on the model. Attention clip by clip in bf16 measures it.

    Raises
    ------
    ElasticASTError
        If a difference is more than :data:`HALF_FACTOR` times that of attention clip by clip.
    """
    reference = _packed(clips)
    expected = _results(exact, [exact.prepare(reference)])

    def errors(layouts: Sequence[Layout]) -> list[float]:
        results = _results(half, [half.prepare(layout) for layout in layouts])
        return [((a - b).norm() / b.norm()).item() for a, b in zip(results, expected, strict=True)]

    rounding, largest = errors([reference]), {}
    for name, way in ways.items():
        found = errors(way)
        _refuse(name, "attention in float32", found, [HALF_FACTOR * error + TOLERANCE for error in rounding])
        largest[name] = max(found)
    return largest


def _packed(clips: int) -> Layout:
    """All clips without padding, each with an attention call of its own."""
    return Layout(tuple(range(clips)), "sdpa")


def _refuse(name: str, other: str, errors: Sequence[float], limits: Sequence[float]) -> None:
    for what, error, limit in zip(("outputs", "gradients"), errors, limits, strict=True):
        if not error <= limit:
            raise ElasticASTError(f"{name}: {what} differ from those of {other} by {error:.1e}, more than {limit:.0e}")


def _checked(make: Callable[[str], Subject], ways: Ways, clips: int) -> dict[str, float]:
    """Differences of all ways, in bf16 for those that have no other kernels."""
    half = {name: way for name, way in ways.items() if any(layout.backend == "varlen" for layout in way)}
    rest = {name: way for name, way in ways.items() if name not in half}
    errors = differences(make("fp32"), rest) if rest else {}
    return errors | (half_differences(make("fp32"), make("bf16"), half, clips) if half else {})


def measure_packing(
    config: RunConfig,
    tokens: Sequence[int],
    ways: Ways,
    *,
    device: torch.device,
    precision: str = "fp32",
    rounds: int = 7,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare all ways of running clips through attention and through a model.

    Check first that all ways compute the same in float32, then time them alternately.

    Parameters
    ----------
    config : RunConfig
        Settings with an ElasticAST with attention pooling.
    tokens : sequence of int
        Number of tokens of each clip.
    ways : dict of str to list of Layout
        The ways; the others are compared with the first one.
    device : torch.device
        Device to compute on.
    precision : {"fp32", "bf16"}
        Precision of the timed passes, by autocast.
    rounds : int
        Number of times that each way is timed.
    seed : int
        Seed of weights and inputs.

    Returns
    -------
    DataFrame
        One row per ``measure`` (``attention`` of one block, ``model``), ``pass`` (see :data:`PASSES`; a step of the
        model only) and ``way``. Other columns: those of :func:`~elasticast.benchmarks.batching.count_costs`,
        ``saved_mib`` (kept for the backward pass), ``peak_mib`` (GPU only), ``error`` (see :func:`differences`),
        ``seconds`` (median over rounds), ``seconds_q1`` and ``seconds_q3`` (quartiles), ``tokens_per_s`` and
        ``clips_per_s`` (without padding), ``ratio`` (median over rounds of the seconds divided by those of the first
        way), ``cpu_ratio`` (the same for processor time), and those of
        :func:`~elasticast.benchmarks.timing.time_with_peak`.
    """
    rows = []
    combinations = [(m, p) for m in ("attention", "model") for p in PASSES if (m, p) != ("attention", "step")]
    for measure, what in track(combinations, len(combinations), "bench packing"):
        if what == "forward":
            make = functools.partial(_subject, measure, config, tokens, device, seed)
            errors, subject = _checked(make, ways, len(tokens)), make(precision)
        both = what != "forward"
        useful = 1e9 * count_costs([_packed(len(tokens))], tokens, config, measure, both)["total_gflop"]
        memory, steps = _prepare(subject, ways, what, device)
        seconds, shares = time_with_peak(steps, rounds, device, precision, useful)
        for name, way in ways.items():
            count = count_costs(way, tokens, config, measure, both)
            rate = speed(seconds[name], seconds[next(iter(ways))], tokens)
            head = {"measure": measure, "pass": what, "way": name}
            rows.append(head | count | memory[name] | {"error": errors[name]} | rate | shares[name])
    return pd.DataFrame(rows)


def _prepare(
    subject: Subject, ways: Ways, what: str, device: torch.device
) -> tuple[dict[str, dict[str, float]], dict[str, Step]]:
    """Memory of each way, and its step, which has run once."""
    passes = {name: [subject.prepare(layout) for layout in way] for name, way in ways.items()}
    memory = {name: _memory(subject, of_way, what, device) for name, of_way in passes.items()}
    return memory, {name: functools.partial(run_step, subject, of_way, what) for name, of_way in passes.items()}


def _memory(subject: Subject, passes: list[Pass], what: str, device: torch.device) -> dict[str, float]:
    """Memory that the largest pass keeps for the backward pass, and peak memory of a step, in MiB."""
    saved = (
        max(saved_bytes(forward_pass.forward, subject.weights) for forward_pass in passes) if what != "forward" else 0
    )
    subject.clear(passes)
    peak = peak_bytes(lambda: run_step(subject, passes, what), device)
    return {"saved_mib": saved / MIB, "peak_mib": np.nan if peak is None else peak / MIB}


def speed(seconds: np.ndarray, first: np.ndarray, tokens: Sequence[int]) -> dict[str, float]:
    """Speed of a way from its times and those of the first way, both `[rounds, 2]`."""
    low, middle, high = np.quantile(seconds[:, 0], [0.25, 0.5, 0.75])
    rates = {"tokens_per_s": sum(tokens) / middle, "clips_per_s": len(tokens) / middle}
    ratio, cpu_ratio = np.median(seconds / first, 0)
    return {"seconds": middle, "seconds_q1": low, "seconds_q3": high, **rates, "ratio": ratio, "cpu_ratio": cpu_ratio}
