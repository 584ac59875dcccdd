"""What packing gains: the same clips through the same weights, packed, padded, in rows, and one at a time."""

import copy
import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from elasticast.benchmarks.batching import CLASSES, Layout, Ways, counted
from elasticast.benchmarks.rows import RowElasticAST, RowPlaces, row_batch
from elasticast.benchmarks.timing import in_turns, peak_bytes, saved_bytes
from elasticast.config import RunConfig
from elasticast.data.packing import PackedClip, grid_positions, pack
from elasticast.errors import ElasticASTError
from elasticast.models.attention import AttentionScale, ClipMask, attend
from elasticast.progress import track

TOLERANCE = 1e-4
"""Largest difference of what is equal in exact arithmetic, in float32 and as a share of the largest value."""
MIB = 2**20


@dataclass
class Pass:
    """One forward pass, ready to run.

    Attributes
    ----------
    forward : callable
        Makes the output, in the order it lies in.
    picked : Tensor or slice
        Where in the output the results of the clips are.
    place : Tensor
        int64, which of the batch's results they are.
    gradient : Tensor
        What the output's gradient is taken to be; 0 for padding.
    inputs : Tensor, optional
        A tensor whose gradient is wanted; a model's are those of its weights.
    """

    forward: Callable[[], Tensor]
    picked: Tensor | slice
    place: Tensor
    gradient: Tensor
    inputs: Tensor | None = None


def _attend(inputs: Tensor, how: Callable[..., Tensor], **given: object) -> Tensor:
    """Attention `how` of queries, keys and values `[N, 3, H, E]`."""
    return how(*inputs.unbind(1), **given)


class AttentionAlone:
    """The attention of one block, between queries, keys and values at hand and its output; masks are built before."""

    def __init__(self, config: RunConfig, tokens: Sequence[int], device: torch.device, dtype: torch.dtype, seed: int):
        model, generator = config.model, torch.Generator().manual_seed(seed)
        shape = sum(tokens), 3, model.heads, model.dim // model.heads
        self.tokens, self.scale = tokens, AttentionScale(model.attention_scale, shape[-1]).scale
        self.qkv = torch.randn(shape, generator=generator).to(device, dtype)
        self.gradient = torch.randn(shape[0], *shape[2:], generator=generator).to(device, dtype)
        self.weights: list[Tensor] = []

    def prepared(self, layout: Layout) -> Pass:
        """The pass of a layout."""
        own, device = [self.tokens[i] for i in layout.clips], self.qkv.device
        first = np.concatenate([[0], np.cumsum(self.tokens)])
        place = torch.cat([torch.arange(first[i], first[i + 1]) for i in layout.clips]).to(device)
        if layout.backend != "rows":
            inputs, mask = self.qkv[place].requires_grad_(), ClipMask(own, own, layout.backend)
            forward = functools.partial(_attend, inputs, attend, mask=mask, scale=self.scale)
            return Pass(forward, slice(None), place, self.gradient[place], inputs)
        places = RowPlaces.of(layout, own, device)
        laid, rows = places.owner.numel(), places.mask()
        inputs, gradient = (x.new_zeros(laid, *x.shape[1:]) for x in (self.qkv, self.gradient))
        inputs[places.tokens], gradient[places.tokens] = self.qkv[place], self.gradient[place]
        inputs.requires_grad_()
        forward = functools.partial(_attend, inputs, rows.attend, scale=self.scale)
        return Pass(forward, places.tokens, place, gradient, inputs)

    def clear(self, passes: list[Pass]) -> None:
        """Forget gradients."""
        for one in passes:
            one.inputs.grad = None

    def gradients(self, passes: list[Pass]) -> Tensor:
        """Those of queries, keys and values."""
        found = torch.empty_like(self.qkv)
        for one in passes:
            found[one.place] = one.inputs.grad[one.picked]
        return found


class WholeModel:
    """ElasticAST with fresh weights, between patches of random numbers and logits."""

    def __init__(self, config: RunConfig, tokens: Sequence[int], device: torch.device, precision: str, seed: int):
        torch.manual_seed(seed)
        freq = config.model.patches(config.front_end.mel_bins)
        self.model = RowElasticAST(config.model, freq_patches=freq, classes=CLASSES).to(device)
        grids = [(torch.randn(n, config.model.patch**2), *grid_positions(freq, n // freq)) for n in tokens]
        self.clips = [PackedClip(i, *grid, torch.zeros(CLASSES)) for i, grid in enumerate(grids)]
        self.gradient = torch.randn(len(tokens), CLASSES).to(device)
        self.weights, self.device, self.precision = list(self.model.parameters()), device, precision

    def prepared(self, layout: Layout) -> Pass:
        """The pass of a layout."""
        place = torch.tensor(layout.clips, device=self.device)
        clips, gradient = [self.clips[i] for i in layout.clips], self.gradient[place]
        if layout.backend == "rows":
            batch = row_batch(clips, layout).to(self.device)
            places = RowPlaces.of(layout, [len(clip.patches) for clip in clips], self.device)
            return Pass(self._autocast(lambda: self.model.rows(batch, places)), slice(None), place, gradient)
        model, batch = copy.copy(self.model), pack(clips).to(self.device)  # the same weights
        model.settings = model.settings.model_copy(update={"backend": layout.backend})
        return Pass(self._autocast(lambda: model(batch)), slice(None), place, gradient)

    def _autocast(self, forward: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def run() -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                return forward()

        return run

    def clear(self, _: list[Pass]) -> None:
        """Forget gradients."""
        self.model.zero_grad()

    def gradients(self, _: list[Pass]) -> Tensor:
        """Those of the first layer's weights, which all others lead to."""
        return self.model.patch_embed.weight.grad.clone()


Subject = AttentionAlone | WholeModel


def _subject(measure: str, config: RunConfig, tokens: Sequence[int], device: torch.device, precision: str, seed: int):
    if measure == "model":
        return WholeModel(config, tokens, device, precision, seed)
    return AttentionAlone(config, tokens, device, torch.bfloat16 if precision == "bf16" else torch.float32, seed)


def _step(subject: Subject, passes: list[Pass], both: bool) -> None:
    """All passes of a way, forward or forward and backward."""
    if not both:
        with torch.no_grad():
            for one in passes:
                one.forward()
        return
    subject.clear(passes)
    for one in passes:
        output = one.forward()
        output.backward(one.gradient.to(output.dtype))


def _results(subject: Subject, passes: list[Pass]) -> tuple[Tensor, Tensor]:
    """Outputs in the order of the batch, and gradients."""
    found = torch.empty_like(subject.gradient)
    subject.clear(passes)
    for one in passes:
        output = one.forward()
        found[one.place] = output[one.picked].detach()
        output.backward(one.gradient)
    return found, subject.gradients(passes)


def differences(subject: Subject, ways: Ways) -> dict[str, float]:
    """By how much outputs and gradients of each way differ from those of the first, as a share of the largest value.

    Raises
    ------
    ElasticASTError
        If one differs by more than :data:`TOLERANCE`: then it is no way of computing the same.
    """
    expected, found = None, {}
    for name, way in ways.items():
        results = _results(subject, [subject.prepared(layout) for layout in way])
        expected = expected or results
        errors = [(a - b).abs().max().item() / b.abs().max().item() for a, b in zip(results, expected, strict=True)]
        for what, error in zip(("outputs", "gradients"), errors, strict=True):
            if not error <= TOLERANCE:
                first = next(iter(ways))
                raise ElasticASTError(f"{name}: {what} differ from those of {first} by {error:.1e} of the largest")
        found[name] = max(errors)
    return found


def packing(
    config: RunConfig,
    tokens: Sequence[int],
    ways: Ways,
    *,
    device: torch.device,
    precision: str = "fp32",
    rounds: int = 7,
    seed: int = 0,
) -> pd.DataFrame:
    """Take clips through attention and model in every way: check that all agree in float32, then time them in turns.

    Parameters
    ----------
    config : RunConfig
        An ElasticAST with attention pooling.
    tokens : sequence of int
        Tokens of each clip.
    ways : dict of str to list of Layout
        What is compared, with the first.
    precision : {"fp32", "bf16"}
        Of what is timed, by autocast.
    rounds : int
        Each way is timed so often.

    Returns
    -------
    DataFrame
        One row a measure (``attention`` of one block, ``model``), ``pass`` (``forward``, ``forward+backward``) and way:
        what :func:`~elasticast.benchmarks.batching.counted` says, ``saved_mib`` (kept for the backward pass),
        ``peak_mib`` (GPU only), ``error`` (see :func:`differences`), ``seconds`` (median of the steps), ``seconds_q1``
        and ``seconds_q3`` (quartiles), ``tokens_per_s`` and ``clips_per_s`` (padding does not count), and ``ratio``,
        the median over rounds of its seconds by those of the first way; ``cpu_ratio`` is that of processor time.
    """
    found = []
    combinations = list(itertools.product(("attention", "model"), (False, True)))
    for measure, both in track(combinations, len(combinations), "bench packing"):
        if not both:
            errors = differences(_subject(measure, config, tokens, device, "fp32", seed), ways)
            subject = _subject(measure, config, tokens, device, precision, seed)
        head = {"measure": measure, "pass": "forward+backward" if both else "forward"}
        memory, seconds = _costs(subject, ways, both, rounds, device)
        for name, way in ways.items():
            count = counted(way, tokens, config, measure, both)
            speed = _speed(seconds[name], seconds[next(iter(ways))], tokens)
            found.append(head | {"way": name} | count | memory[name] | {"error": errors[name]} | speed)
    return pd.DataFrame(found)


def _costs(
    subject: Subject, ways: Ways, both: bool, rounds: int, device: torch.device
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Memory of each way, and its seconds in all rounds."""
    passes = {name: [subject.prepared(layout) for layout in way] for name, way in ways.items()}
    memory = {name: _memory(subject, some, both, device) for name, some in passes.items()}  # this warms up, too
    steps = {name: functools.partial(_step, subject, some, both) for name, some in passes.items()}
    return memory, in_turns(steps, rounds, device)


def _memory(subject: Subject, passes: list[Pass], both: bool, device: torch.device) -> dict[str, float]:
    """What the way's largest pass keeps, and what its step takes at most (MiB)."""
    saved = max(saved_bytes(one.forward, subject.weights) for one in passes) if both else 0
    subject.clear(passes)
    peak = peak_bytes(lambda: _step(subject, passes, both), device)
    return {"saved_mib": saved / MIB, "peak_mib": np.nan if peak is None else peak / MIB}


def _speed(seconds: np.ndarray, first: np.ndarray, tokens: Sequence[int]) -> dict[str, float]:
    low, middle, high = np.quantile(seconds[:, 0], [0.25, 0.5, 0.75])
    rates = {"tokens_per_s": sum(tokens) / middle, "clips_per_s": len(tokens) / middle}
    ratio, cpu_ratio = np.median(seconds / first, 0)
    return {"seconds": middle, "seconds_q1": low, "seconds_q3": high, **rates, "ratio": ratio, "cpu_ratio": cpu_ratio}
