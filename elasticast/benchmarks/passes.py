"""What `elasticast bench packing` runs for a layout of clips: the attention of one block, or a whole model."""

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from elasticast.benchmarks.batching import CLASSES, Layout
from elasticast.benchmarks.rows import RowElasticAST, RowIndices, row_batch
from elasticast.config import RunConfig
from elasticast.data.packing import Lengths, PackedClip, grid_positions, pack
from elasticast.models.attention import AttentionScale, ClipMask, attend
from elasticast.models.fast_trunk import speed_up


@dataclass
class Pass:
    """One forward pass, ready to run.

    Attributes
    ----------
    forward : callable
        Computes the output.
    source : Tensor or slice
        Indices of the clips' results in the output, without those of padding.
    target : Tensor
        int64, indices of these results in the batch.
    gradient : Tensor
        Gradient of the output for the backward pass; 0 for padding.
    inputs : Tensor, optional
        Input tensor whose gradient is compared; None for a model, where the gradients of weights are compared.
    """

    forward: Callable[[], Tensor]
    source: Tensor | slice
    target: Tensor
    gradient: Tensor
    inputs: Tensor | None = None


def _attend(inputs: Tensor, attention: Callable[..., Tensor], **options: object) -> Tensor:
    """Apply an attention function to queries, keys and values `[N, 3, H, E]`."""
    return attention(*inputs.unbind(1), **options)


class AttentionAlone:
    """The attention of one block without its linear layers; masks are built beforehand.

    Parameters
    ----------
    config : RunConfig
        Settings with the model.
    tokens : sequence of int
        Number of tokens of each clip.
    device : torch.device
        Device to compute on.
    dtype : torch.dtype
        Type of the queries, keys and values.
    seed : int
        Seed of the random inputs.
    """

    def __init__(self, config: RunConfig, tokens: Sequence[int], device: torch.device, dtype: torch.dtype, seed: int):
        model, generator = config.model, torch.Generator().manual_seed(seed)
        shape = sum(tokens), 3, model.heads, model.dim // model.heads
        self.tokens, self.scale = tokens, AttentionScale(model.attention_scale, shape[-1]).scale
        self.qkv = torch.randn(shape, generator=generator).to(device, dtype)
        self.gradient = torch.randn(shape[0], *shape[2:], generator=generator).to(device, dtype)
        self.weights: list[Tensor] = []

    def prepare(self, layout: Layout) -> Pass:
        """Prepare the pass of a layout."""
        lengths, device = [self.tokens[i] for i in layout.clips], self.qkv.device
        first = np.concatenate([[0], np.cumsum(self.tokens)])
        target = torch.cat([torch.arange(first[i], first[i + 1]) for i in layout.clips]).to(device)
        if layout.backend != "rows":
            inputs, spans = self.qkv[target].requires_grad_(), Lengths.of(lengths, device)
            mask = ClipMask(spans, spans, layout.backend)
            forward = functools.partial(_attend, inputs, attend, mask=mask, scale=self.scale)
            return Pass(forward, slice(None), target, self.gradient[target], inputs)
        indices = RowIndices.from_layout(layout, lengths, device)
        size, mask = indices.owner.numel(), indices.mask()
        inputs, gradient = (x.new_zeros(size, *x.shape[1:]) for x in (self.qkv, self.gradient))
        inputs[indices.tokens], gradient[indices.tokens] = self.qkv[target], self.gradient[target]
        inputs.requires_grad_()
        forward = functools.partial(_attend, inputs, mask.attend, scale=self.scale)
        return Pass(forward, indices.tokens, target, gradient, inputs)

    def clear(self, passes: list[Pass]) -> None:
        """Delete the gradients of earlier steps."""
        for forward_pass in passes:
            forward_pass.inputs.grad = None

    def gradients(self, passes: list[Pass]) -> Tensor:
        """Gradients of queries, keys and values, in the order of the batch."""
        gradients = torch.empty_like(self.qkv)
        for forward_pass in passes:
            gradients[forward_pass.target] = forward_pass.inputs.grad[forward_pass.source]
        return gradients


class Trained:
    """A model and its optimiser, for steps in which the weights change."""

    model: nn.Module

    def _make_trainable(self, precision: str, device: torch.device) -> None:
        self.weights, self.device, self.precision = list(self.model.parameters()), device, precision
        self.optimizer = torch.optim.AdamW(self.weights, 1e-6, fused=device.type == "cuda" or None)

    def _autocast(self, forward: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def run() -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                return forward()

        return run

    def clear(self, _: list[Pass]) -> None:
        """Delete the gradients of earlier steps."""
        self.optimizer.zero_grad(set_to_none=True)

    def update(self) -> None:
        """Clip the gradient and change the weights."""
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()


class WholeModel(Trained):
    """An ElasticAST with random weights, from random patches to logits.

    Parameters
    ----------
    config : RunConfig
        Settings with the model.
    tokens : sequence of int
        Number of tokens of each clip.
    device : torch.device
        Device to compute on.
    precision : {"fp32", "bf16"}
        Precision of autocast.
    seed : int
        Seed of weights and inputs.
    """

    def __init__(self, config: RunConfig, tokens: Sequence[int], device: torch.device, precision: str, seed: int):
        torch.manual_seed(seed)
        freq = config.model.patches(config.front_end.mel_bins)
        self.model = RowElasticAST(config.model, grid=(freq, 0), classes=CLASSES).to(device)
        grids = [(torch.randn(n, config.model.patch**2), *grid_positions(freq, n // freq)) for n in tokens]
        self.clips = [PackedClip(i, *grid, torch.zeros(CLASSES)) for i, grid in enumerate(grids)]
        self._make_trainable(precision, device)
        self.gradient = torch.randn(len(tokens), CLASSES).to(device)

    def prepare(self, layout: Layout) -> Pass:
        """Prepare the pass of a layout."""
        target = torch.tensor(layout.clips, device=self.device)
        clips, gradient = [self.clips[i] for i in layout.clips], self.gradient[target]
        if layout.backend == "rows":
            batch = row_batch(clips, layout).to(self.device)
            indices = RowIndices.from_layout(layout, [len(clip.patches) for clip in clips], self.device)
            return Pass(self._autocast(lambda: self.model.rows(batch, indices)), slice(None), target, gradient)
        model, batch = copy.copy(self.model), pack(clips).to(self.device)  # a shallow copy shares the weights
        model.settings = model.settings.model_copy(update={"backend": layout.backend})
        if layout.fast:
            model._modules = {**model._modules, "trunk": copy.copy(model.trunk)}
            speed_up(model, graphs=layout.fast == "graphs")
        return Pass(self._autocast(lambda: model(batch)), slice(None), target, gradient)

    def gradients(self, _: list[Pass]) -> Tensor:
        """Gradient of the weights of the first layer, which depends on the gradients of all other layers."""
        return self.model.patch_embed.weight.grad.clone()


Subject = AttentionAlone | WholeModel
"""What is timed."""
