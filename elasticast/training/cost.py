"""Floating-point operations of a training."""

import torch

from elasticast.config import ModelSettings, RunConfig
from elasticast.data.packing import PackedBatch
from elasticast.evaluation.flops import forward_flops
from elasticast.models import build_model

STEP = 3
"""Cost of a training step, in forward passes: the backward pass costs two (Kaplan et al. 2020, section 2.1)."""


def step_passes(settings: ModelSettings) -> int:
    """Cost of a training step of a model, in forward passes; less than :data:`STEP` if it is adapted."""
    return settings.adaptation.passes if settings.adaptation else STEP


class ForwardCost:
    """Floating-point operations of forward passes, see :func:`~elasticast.evaluation.flops.forward_flops`.

    The operations of a model without a formula are counted once per number of time patches, on the CPU. A clip of which
    tokens are left out then costs as much as the shortest clip with that many tokens.

    Parameters
    ----------
    settings : ModelSettings
        Settings of the model, as the built model has them.
    config : RunConfig
        Settings of the run.
    classes : int
        Number of classes.
    """

    def __init__(self, settings: ModelSettings, config: RunConfig, classes: int):
        self.settings, self.config, self.classes = settings, config, classes
        self._known: dict[int, int] = {}
        self._counting: torch.nn.Module | None = None

    def clip(self, tokens: int) -> int:
        """Operations for one clip of `tokens` patch tokens, and the padding that it has in a batch of its own."""
        tokens = self.settings.traits.row_tokens(tokens)
        if tokens not in self._known:
            formula = self.settings.flops(tokens, self.classes)
            self._known[tokens] = self._counted(tokens) if formula is None else formula
        return self._known[tokens]

    def batch(self, batch: PackedBatch) -> int:
        """Operations for a batch. A model that is given padded batches computes its padding too."""
        pads = self.settings.traits.pads
        return sum(map(self.clip, [max(batch.seqlens)] * len(batch) if pads else batch.seqlens))

    def _counted(self, tokens: int) -> int:
        freq = self.config.model.patches(self.config.front_end.mel_bins)
        whole = -(-tokens // freq) * freq
        with torch.random.fork_rng(devices=[]):  # a training must not depend on what is counted
            if self._counting is None:
                model = self.config.model.model_copy(update={"backend": "auto"})
                self._counting = build_model(self.config.model_copy(update={"model": model}), self.classes).eval()
            return forward_flops(self._counting, self.config, whole, self.classes)
