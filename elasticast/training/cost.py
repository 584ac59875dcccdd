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
    frames : bool
        Whether logits of time patches are computed too.
    """

    def __init__(self, settings: ModelSettings, config: RunConfig, classes: int, *, frames: bool = False):
        self.settings, self.config, self.classes, self.frames = settings, config, classes, frames
        self._known: dict[tuple[int, int | None], int] = {}
        self._counting: torch.nn.Module | None = None

    def clip(self, tokens: int, time_patches: int | None = None) -> int:
        """Operations for one clip of `tokens` patch tokens, by default on the smallest grid that has so many."""
        time_patches = (time_patches or -(-tokens // self._rows)) if self.frames else None
        key = tokens, time_patches
        if key not in self._known:
            formula = self.settings.flops(tokens, self.classes)
            head = self.settings.frame_flops(time_patches, self.classes) if self.frames else 0
            self._known[key] = self._counted(tokens) if formula is None else formula + head
        return self._known[key]

    def batch(self, batch: PackedBatch) -> int:
        """Operations for a batch. A model that is given padded batches computes its padding too."""
        padded = self.settings.traits.lengths == "padded"
        tokens = [max(batch.seqlens)] * len(batch) if padded else batch.seqlens
        return sum(map(self.clip, tokens, batch.clip_time_patches))

    @property
    def _rows(self) -> int:
        """Number of frequency patches."""
        return self.config.model.patches(self.config.front_end.mel_bins)

    def _counted(self, tokens: int) -> int:
        columns = -(-tokens // self._rows)
        with torch.random.fork_rng(devices=[]):  # a training must not depend on what is counted
            if self._counting is None:
                model = self.config.model.model_copy(update={"backend": "auto"})
                self._counting = build_model(self.config.model_copy(update={"model": model}), self.classes).eval()
            time_patches = columns if self.frames else None
            return forward_flops(self._counting, self.config, columns * self._rows, self.classes, time_patches)
