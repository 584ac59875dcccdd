"""Form batches of a number of clips or of a token budget, and divide each batch among ranks."""

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np
import torch
from torch import Generator

from elasticast.config import Batch, PatchSize
from elasticast.errors import DataError

MULTINOMIAL_CLIPS = 2**24
"""Largest number of clips that `torch.multinomial` takes."""
BUCKET_BATCHES = 50
"""Number of batches whose clips are sorted by length together, for `train.batch.buckets`."""


class ClipRequest(NamedTuple):
    """A request for a training example: the index type of :class:`~elasticast.data.dataset.ClipDataset`.

    Attributes
    ----------
    index : int
        Index of the clip in the dataset.
    epoch : int
        Epoch, from 0.
    draw : int
        How many times this epoch has already drawn the clip. Each draw is augmented differently. Draws are counted over
        the whole epoch, so they do not depend on the batches, the workers, or the step at which a run is resumed.
    fill_to : int
        Number of tokens of the longest clip of the batch if buckets are used, otherwise 0. For a model of one length,
        the clip is padded to it.
    patch_size : PatchSize or None
        Size of the patches of the batch, None for `model.patch`.
    """

    index: int
    epoch: int = 0
    draw: int = 0
    fill_to: int = 0
    patch_size: PatchSize | None = None


class Batches(Sequence[list[ClipRequest]]):
    """The batches of an epoch. Each is created on access, because there may be millions of clips.

    Parameters
    ----------
    epoch : int
        Epoch, from 0.
    order : ndarray
        `[n]` int64, clips of the epoch in the order they are drawn.
    bounds : sequence of int
        Batch b is ``order[bounds[b]:bounds[b + 1]]``.
    repeats : bool
        Whether a clip may be drawn more than once.
    tokens : ndarray, optional
        Number of tokens per clip. If given, `fill_to` of each request is that of the longest clip of the batch.
    """

    def __init__(
        self,
        epoch: int,
        order: np.ndarray,
        bounds: Sequence[int],
        repeats: bool,
        tokens: np.ndarray | None = None,
    ):
        self.epoch, self.order, self.bounds, self.repeats, self.tokens = epoch, order, bounds, repeats, tokens

    @cached_property
    def earlier_draws(self) -> np.ndarray:
        """`[n]` int64: how many times the epoch drew the same clip before, for each element of `order`."""
        by_clip = np.argsort(self.order, kind="stable")
        counts = np.unique(self.order, return_counts=True)[1]
        earlier = np.empty_like(self.order)
        earlier[by_clip] = np.arange(len(by_clip)) - np.repeat(counts.cumsum() - counts, counts)
        return earlier

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @overload
    def __getitem__(self, index: int) -> list[ClipRequest]: ...

    @overload
    def __getitem__(self, index: slice) -> "Batches": ...

    def __getitem__(self, index):
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            assert step == 1
            batches = copy.copy(self)  # keeps the order of the whole epoch, so that earlier draws are still counted
            batches.bounds = self.bounds[start : max(start, stop) + 1]
            return batches
        index = range(len(self))[index]
        part = slice(self.bounds[index], self.bounds[index + 1])
        clips = self.order[part].tolist()
        draws = self.earlier_draws[part].tolist() if self.repeats else [0] * len(clips)
        fill_to = 0 if self.tokens is None else int(self.tokens[clips].max())
        return [ClipRequest(clip, self.epoch, draw, fill_to) for clip, draw in zip(clips, draws, strict=True)]


class BatchSampler:
    """Shuffle the clips of an epoch and group them into batches. The result depends only on the seed and the epoch.

    Parameters
    ----------
    tokens : sequence of int
        Number of tokens of each clip's largest view, for the budget.
    batch : Batch
        Clips per batch, or the token budget that no batch exceeds. If an incomplete last batch is dropped, its clips
        are random, so every clip is dropped equally often on average.
    seed : int
        Seed of the shuffle.
    weights : ndarray, optional
        Sampling weight of each clip. If given, an epoch draws as many clips as there are, with replacement and with
        probabilities proportional to the weights. By default, an epoch contains every clip once.
    clips : ndarray, optional
        Indices of the clips that are drawn. By default, all are.

    Raises
    ------
    DataError
        If the split is smaller than one batch, or a clip is larger than the budget.
    """

    def __init__(
        self,
        tokens: Sequence[int],
        batch: Batch,
        seed: int,
        weights: np.ndarray | None = None,
        clips: np.ndarray | None = None,
    ):
        self.tokens, self.batch, self.seed, self.weights = np.asarray(tokens), batch, seed, weights
        self.clips = np.arange(len(self.tokens)) if clips is None else clips
        if batch.clips is not None and batch.clips > len(self.clips):
            of = "" if clips is None else "with labels "
            raise DataError(
                f"train.batch.clips = {batch.clips} is more than the {len(self.clips)} clips {of}of the training split"
            )
        if batch.tokens is not None and (longest := self.tokens[self.clips].max()) > batch.tokens:
            raise DataError(f"train.batch.tokens = {batch.tokens} is less than the longest clip's {longest} tokens")

    def count(self, epoch: int) -> int:
        """Number of batches of an epoch. With a fixed number of clips per batch, it is the same for all epochs."""
        if self.batch.clips is None:
            return len(self.epoch(epoch))
        full, left = divmod(len(self.clips), self.batch.clips)
        return full + (left > 0 and self.batch.last == "keep")

    def epoch(self, epoch: int) -> Batches:
        """All batches of an epoch."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        if self.weights is None:
            order = self.clips[torch.randperm(len(self.clips), generator=generator).numpy()]
        else:
            order = self.clips[_drawn(self.weights[self.clips], generator)]
        repeats = self.weights is not None
        if self.batch.clips is not None:  # before sorting, or the longest clips would always be left out
            order = order[: self.count(epoch) * self.batch.clips]
        if self.batch.buckets:
            order, bounds = _bucketed(order, self.tokens, self.batch, generator)
            return Batches(epoch, order, bounds, repeats, self.tokens)
        if self.batch.clips is not None:
            return Batches(epoch, order, [*range(0, len(order), self.batch.clips), len(order)], repeats)
        return Batches(epoch, order, _token_bounds(self.tokens[order], self.batch.tokens), repeats)

    def sizes(self, batch: Sequence[ClipRequest]) -> list[int]:
        """Number of tokens of each clip of a batch."""
        return self.tokens[[request.index for request in batch]].tolist()


def _drawn(weights: np.ndarray, generator: Generator) -> np.ndarray:
    """Draw as many clips as there are `weights` `[n]`, with replacement and proportionally to them; `[n]` int64."""
    if len(weights) <= MULTINOMIAL_CLIPS:
        return torch.multinomial(torch.from_numpy(weights), len(weights), replacement=True, generator=generator).numpy()
    shares = weights.cumsum()
    draws = torch.rand(len(weights), generator=generator, dtype=torch.float64).numpy() * shares[-1]
    # in the order of the shares, the search reads memory from front to back: a random order is slower by far
    draws.sort()
    order = np.searchsorted(shares, draws, "right").clip(max=np.flatnonzero(weights)[-1])
    return order[torch.randperm(len(order), generator=generator).numpy()]


def balanced_weights(clip_of_label: np.ndarray, labels: np.ndarray, clips: int, classes: int) -> np.ndarray:
    """Sampling weights `[clips]` that draw clips of rare classes more often.

    The weight of a clip is the sum of ``1000 / (count + 0.01)`` over its labels, where `count` is the number of clips
    with that label, as in AST's ``gen_weight_file``.

    Parameters
    ----------
    clip_of_label, labels : ndarray
        Clip index and class index of each label.
    clips, classes : int
        Number of clips and of classes.
    """
    counts = np.bincount(labels, minlength=classes)
    return np.bincount(clip_of_label, 1000 / (counts + 0.01)[labels], minlength=clips)


def _token_bounds(tokens: np.ndarray, budget: int) -> list[int]:
    """Bounds of the batches that :func:`token_batches` forms. `tokens` `[n]` must not exceed `budget`."""
    total, bounds = np.concatenate([[0], tokens.cumsum()]), [0]
    while bounds[-1] < len(tokens):
        bounds.append(int(np.searchsorted(total, total[bounds[-1]] + budget, "right")) - 1)
    return bounds


def _bucketed(order: np.ndarray, tokens: np.ndarray, batch: Batch, generator: Generator) -> tuple:
    """Group clips of similar length into batches. Returns their order and the bounds of the batches.

    The clips of about :data:`BUCKET_BATCHES` consecutive batches are sorted by length and cut into batches. All batches
    are then shuffled, so a clip shares its batch with different clips in each epoch. With a token budget, no batch
    exceeds it when padded to its longest clip.
    """
    size = BUCKET_BATCHES * (batch.clips or max(1, batch.tokens // int(tokens[order].mean())))
    batches: list[np.ndarray] = []
    for first in range(0, len(order), size):
        part = order[first : first + size]
        part = part[np.argsort(tokens[part], kind="stable")]
        if batch.clips is not None:
            batches += [part[k : k + batch.clips] for k in range(0, len(part), batch.clips)]
        else:
            batches += np.split(part, _padded_cuts(tokens[part].tolist(), batch.tokens))
    batches = [batches[k] for k in torch.randperm(len(batches), generator=generator).tolist()]
    return np.concatenate(batches), np.cumsum([0, *map(len, batches)]).tolist()


def _padded_cuts(tokens: list[int], budget: int) -> list[int]:
    """Where to cut clips of ascending `tokens` so that batches padded to their longest clip stay within `budget`."""
    cuts, first = [], 0
    for index, longest in enumerate(tokens):
        if (index - first + 1) * longest > budget:
            cuts.append(index)
            first = index
    return cuts


def token_batches(order: list[int], tokens: list[int], budget: int) -> Iterator[list[int]]:
    """Cut `order` into consecutive batches of at most `budget` tokens. A clip with more tokens forms its own batch."""
    current: list[int] = []
    used = 0
    for index in order:
        if current and used + tokens[index] > budget:
            yield current
            current, used = [], 0
        current.append(index)
        used += tokens[index]
    if current:
        yield current


def deal(tokens: Sequence[int], ranks: int) -> list[list[int]]:
    """Divide a batch among ranks so that all ranks get a similar number of tokens.

    Clips are assigned in the order of decreasing length, each to the rank with the fewest tokens so far.

    Parameters
    ----------
    tokens : sequence of int
        Number of tokens of each clip of the batch.
    ranks : int
        Number of ranks.

    Returns
    -------
    list of list of int
        For each rank, the ascending indices of its clips in the batch. Some are empty if there are fewer clips than
        ranks.
    """
    assigned: list[list[int]] = [[] for _ in range(ranks)]
    load = [0] * ranks
    for index in sorted(range(len(tokens)), key=lambda index: -tokens[index]):
        rank = load.index(min(load))
        assigned[rank].append(index)
        load[rank] += tokens[index]
    return [sorted(indices) for indices in assigned]
