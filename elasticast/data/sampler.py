"""Which clips make a batch: a number of clips, or a budget of tokens; and how ranks share it."""

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np
import torch
from torch import Generator

from elasticast.config import Batch
from elasticast.errors import DataError

BUCKET_BATCHES = 50
"""Batches whose clips are sorted by length together, `train.batch.buckets`."""


class ClipRequest(NamedTuple):
    """What a batch asks the dataset for: a clip, and how to present it.

    Attributes
    ----------
    index : int
        Place of the clip in the dataset.
    epoch : int
        Epoch, from 0.
    draw : int
        How often the epoch has drawn this clip before; each draw is presented another way. It is counted within the
        whole epoch, so that it does not depend on batches, workers, or where a run is resumed.
    fill_to : int
        In buckets: tokens of the longest clip of the batch, which this one is filled up to. Else 0.
    """

    index: int
    epoch: int = 0
    draw: int = 0
    fill_to: int = 0


class Batches(Sequence[list[ClipRequest]]):
    """Batches of an epoch, each made when it is taken: there may be millions of clips.

    Parameters
    ----------
    epoch : int
        Epoch, from 0.
    order : ndarray
        `[n]` int64, the epoch's clips as they are drawn.
    bounds : sequence of int
        Batch b is ``order[bounds[b]:bounds[b + 1]]``.
    repeats : bool
        Whether a clip may come more than once.
    tokens : ndarray, optional
        Tokens of each clip; if given, the clips of a batch are filled up to its longest.
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
    def before(self) -> np.ndarray:
        """`[n]` int64, how often the epoch has drawn each draw's clip before."""
        by_clip = np.argsort(self.order, kind="stable")
        counts = np.unique(self.order, return_counts=True)[1]
        before = np.empty_like(self.order)
        before[by_clip] = np.arange(len(by_clip)) - np.repeat(counts.cumsum() - counts, counts)
        return before

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @overload
    def __getitem__(self, place: int) -> list[ClipRequest]: ...

    @overload
    def __getitem__(self, place: slice) -> "Batches": ...

    def __getitem__(self, place):
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            assert step == 1
            some = copy.copy(self)  # of the same epoch: its repetitions are counted from the epoch's begin
            some.bounds = self.bounds[start : max(start, stop) + 1]
            return some
        place = range(len(self))[place]
        part = slice(self.bounds[place], self.bounds[place + 1])
        clips = self.order[part].tolist()
        draws = self.before[part].tolist() if self.repeats else [0] * len(clips)
        fill_to = 0 if self.tokens is None else int(self.tokens[clips].max())
        return [ClipRequest(clip, self.epoch, draw, fill_to) for clip, draw in zip(clips, draws, strict=True)]


class BatchSampler:
    """Shuffled batches of an epoch, the same for the same seed and epoch.

    Parameters
    ----------
    tokens : sequence of int
        Tokens of each clip (its largest view), for the budget.
    batch : Batch
        Clips per batch, or the token budget no batch exceeds. With a number of clips, the clips left over at the end
        of an epoch are dropped; they are drawn at random, so that no clip is left out more often than others.
    seed : int
        Seed of the shuffle.
    weights : ndarray, optional
        Of each clip: an epoch is as many draws, with replacement, as there are clips, each with a probability
        proportional to its weight. Without, an epoch is every clip once.

    Raises
    ------
    DataError
        If the split is smaller than one batch, or a clip is larger than the budget.
    """

    def __init__(self, tokens: Sequence[int], batch: Batch, seed: int, weights: np.ndarray | None = None):
        self.tokens, self.batch, self.seed, self.weights = np.asarray(tokens), batch, seed, weights
        if batch.clips is not None and batch.clips > len(tokens):
            raise DataError(
                f"train.batch.clips = {batch.clips} is more than the {len(tokens)} clips of the training split"
            )
        if batch.tokens is not None and self.tokens.max() > batch.tokens:
            raise DataError(
                f"train.batch.tokens = {batch.tokens} is less than the longest clip's {self.tokens.max()} tokens"
            )

    def count(self, epoch: int) -> int:
        """Batches of an epoch; with a number of clips a batch all epochs have as many, and none has to be drawn."""
        return len(self.epoch(epoch)) if self.batch.clips is None else len(self.tokens) // self.batch.clips

    def epoch(self, epoch: int) -> Batches:
        """All batches of an epoch."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        if self.weights is None:
            order = torch.randperm(len(self.tokens), generator=generator).numpy()
        else:
            weights = torch.from_numpy(self.weights)
            order = torch.multinomial(weights, len(weights), replacement=True, generator=generator).numpy()
        repeats = self.weights is not None
        if self.batch.clips is not None:  # before buckets sort by length: the longest would be left over
            order = order[: self.count(epoch) * self.batch.clips]
        if self.batch.buckets:
            order, bounds = _bucketed(order, self.tokens, self.batch, generator)
            return Batches(epoch, order, bounds, repeats, self.tokens)
        if self.batch.clips is not None:
            return Batches(epoch, order, range(0, len(order) + 1, self.batch.clips), repeats)
        return Batches(epoch, order, _token_bounds(self.tokens[order], self.batch.tokens), repeats)

    def sizes(self, batch: Sequence[ClipRequest]) -> list[int]:
        """Tokens of each clip of a batch."""
        return self.tokens[[request.index for request in batch]].tolist()


def balanced_weights(owners: np.ndarray, labels: np.ndarray, clips: int, classes: int) -> np.ndarray:
    """Weight `[clips]` of each clip: the sum of ``1000 / (count + 0.01)`` over its labels (AST's ``gen_weight_file``).

    Parameters
    ----------
    owners, labels : ndarray
        Clip and class of each label; `count` is how many clips have the class.
    clips, classes : int
        How many there are.
    """
    counts = np.bincount(labels, minlength=classes)
    return np.bincount(owners, 1000 / (counts + 0.01)[labels], minlength=clips)


def _token_bounds(tokens: np.ndarray, budget: int) -> list[int]:
    """Bounds of the batches that :func:`token_batches` cuts clips of `tokens` `[n]` into, none beyond the budget."""
    spent, bounds = np.concatenate([[0], tokens.cumsum()]), [0]
    while bounds[-1] < len(tokens):
        bounds.append(int(np.searchsorted(spent, spent[bounds[-1]] + budget, "right")) - 1)
    return bounds


def _bucketed(order: np.ndarray, tokens: np.ndarray, batch: Batch, generator: Generator) -> tuple:
    """Order and bounds of batches of clips of similar length, none beyond the budget once filled up to its longest.

    The clips of some :data:`BUCKET_BATCHES` batches are sorted by length and cut into batches, which are shuffled; so
    a clip meets others from one epoch to the next. With a number of clips per batch, `order` is a multiple of it.
    """
    size = BUCKET_BATCHES * (batch.clips or max(1, batch.tokens // int(tokens[order].mean())))
    found: list[np.ndarray] = []
    for first in range(0, len(order), size):
        part = order[first : first + size]
        part = part[np.argsort(tokens[part], kind="stable")]
        if batch.clips is not None:
            found += [part[k : k + batch.clips] for k in range(0, len(part), batch.clips)]
        else:
            found += np.split(part, _padded_cuts(tokens[part].tolist(), batch.tokens))
    found = [found[k] for k in torch.randperm(len(found), generator=generator).tolist()]
    return np.concatenate(found), np.cumsum([0, *map(len, found)]).tolist()


def _padded_cuts(tokens: list[int], budget: int) -> list[int]:
    """Where to cut clips of ascending `tokens`, so that no part's length times its longest clip is beyond `budget`."""
    cuts, first = [], 0
    for place, longest in enumerate(tokens):
        if (place - first + 1) * longest > budget:
            cuts.append(place)
            first = place
    return cuts


def token_batches(order: list[int], tokens: list[int], budget: int) -> Iterator[list[int]]:
    """Cut `order` into consecutive batches of at most `budget` tokens (a clip beyond it stands alone)."""
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
    """Deal a batch out to ranks, about as many tokens to each: the largest clip first, always to the least loaded.

    Parameters
    ----------
    tokens : sequence of int
        Tokens of each clip of the batch.
    ranks : int
        Number of ranks.

    Returns
    -------
    list of list of int
        Places in the batch of each rank's clips, ascending. With fewer clips than ranks, some ranks get none.
    """
    places: list[list[int]] = [[] for _ in range(ranks)]
    load = [0] * ranks
    for place in sorted(range(len(tokens)), key=lambda place: -tokens[place]):
        rank = load.index(min(load))
        places[rank].append(place)
        load[rank] += tokens[place]
    return [sorted(own) for own in places]
