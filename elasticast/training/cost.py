"""Floating-point operations of a training."""

import numpy as np
import torch

from elasticast.config import ModelSettings, PatchSize, RunConfig
from elasticast.config.stages import StageSettings
from elasticast.data.dataset import ClipDataset
from elasticast.data.packing import PackedBatch, kept_count
from elasticast.data.sampler import Batches, BatchSampler
from elasticast.data.views import ViewRule
from elasticast.evaluation.flops import forward_flops
from elasticast.models import build_model

STEP = 3
"""Cost of a training step, in forward passes: the backward pass costs two (Kaplan et al. 2020, section 2.1)."""


def step_passes(settings: ModelSettings, stage: StageSettings | None = None) -> int:
    """Cost of a training step of a model, in forward passes; less than :data:`STEP` if only some parameters train."""
    if stage is not None and stage.frozen:
        return 1
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
        """Operations for one clip of `tokens` patch tokens, by default on the smallest grid that has so many.

        A model that is given padded batches computes the padding of a batch with this clip alone.
        """
        tokens = self.settings.traits.row_tokens(tokens)
        time_patches = (time_patches or -(-tokens // self._rows)) if self.frames else None
        key = tokens, time_patches
        if key not in self._known:
            formula = self.settings.flops(tokens, self.classes)
            head = self.settings.frame_flops(time_patches, self.classes) if self.frames else 0
            self._known[key] = self._counted(tokens) if formula is None else formula + head
        return self._known[key]

    def batch(self, batch: PackedBatch) -> int:
        """Operations for a batch. A model that is given padded batches computes its padding too."""
        pads = self.settings.traits.pads
        tokens = [max(batch.seqlens)] * len(batch) if pads else batch.seqlens
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


def mean_step(dataset: ClipDataset, sampler: BatchSampler, cost: ForwardCost, teacher: float = 0.0) -> float:
    """Expected floating-point operations of a training step, from the batches of the first epoch.

    Clips count with their largest lengths and with the mean token dropout. All sizes of patches count equally, and
    compressions are drawn once.

    Parameters
    ----------
    dataset : ClipDataset
        Clips and settings of the training.
    sampler : BatchSampler
        Its batches.
    cost : ForwardCost
        Cost of a forward pass.
    teacher : float
        Mean operations of the teacher for one clip.
    """
    model, batches = dataset.config.model, sampler.epoch(0)
    sizes = model.patch_sizes
    drawn = [None] if sizes is None else [sizes.at(size, model.patch) for size in sizes.sizes]
    of_sizes = [_operations(_computed(dataset, batches, size), cost) for size in drawn]
    student = step_passes(model) * sum(of_sizes) / len(of_sizes)
    return (student + teacher * len(batches.order)) / len(batches)


def _computed(dataset: ClipDataset, batches: Batches, size: PatchSize | None) -> np.ndarray:
    """Number of tokens `[n]` that a model computes of each clip of an epoch, padding included."""
    config, samples = dataset.config, dataset.clips.samples
    train, traits, compressions = config.train, config.model.traits, config.view.compression
    tokens = np.stack([_tokens(config, samples, compression, size) for compression in compressions])
    draws = np.random.default_rng(config.seed).integers(len(compressions), size=len(batches.order))
    seen = tokens[draws, batches.order]
    if traits.one_length and train.batch.buckets:
        seen = _longest(seen, batches)
    counts, places = np.unique(seen, return_inverse=True)
    share = sum(train.dropout_range) / 2
    kept = np.array([kept_count(int(n), share, train.token_rounding) for n in counts])[places]
    return _longest(kept, batches) if traits.pads else kept


def _longest(tokens: np.ndarray, batches: Batches) -> np.ndarray:
    """The largest of the `tokens` `[n]` of each batch, for each of its clips."""
    return np.repeat(np.maximum.reduceat(tokens, batches.bounds[:-1]), np.diff(batches.bounds))


def _tokens(config: RunConfig, samples: np.ndarray, compression: float, size: PatchSize | None = None) -> np.ndarray:
    """Number of tokens of the largest views of clips of these lengths, `[n]` int64."""
    model, bins = config.model, config.front_end.mel_bins
    frames = ViewRule(config, compression=compression).most_frames(samples)
    if size is None:
        return model.patches(frames) * model.patches(bins)
    rows, columns = size.grid(bins, frames)
    return rows * columns


def _operations(tokens: np.ndarray, cost: ForwardCost) -> int:
    """Operations of a forward pass for each of these numbers of tokens `[n]`, in total."""
    counted = zip(*(values.tolist() for values in np.unique(tokens, return_counts=True)), strict=True)
    return sum(clips * cost.clip(n) for n, clips in counted)


def mean_clip(config: RunConfig, samples: np.ndarray, cost: ForwardCost) -> float:
    """Mean operations of a forward pass in evaluation, over clips of these lengths `[n]`."""
    return _operations(_tokens(config, samples, config.default_compression), cost) / len(samples)
