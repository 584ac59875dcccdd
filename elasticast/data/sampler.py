"""Which clips make a batch: a number of clips, or a budget of tokens."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch

from elasticast.config import Batch
from elasticast.errors import DataError


class Draw(int):
    """Index of a clip that its epoch has drawn `before` times before; of the first draw a plain number is one.

    The dataset shows the clip another way each time. Counted within the whole epoch, so that it does not depend on
    batches, workers, or where a run is resumed.
    """

    before: int = 0

    def __new__(cls, index: int, before: int = 0) -> "Draw":
        draw = super().__new__(cls, index)
        draw.before = before
        return draw


class Batches(Sequence[list[int]]):
    """Batches of an epoch, lists of clip indices; made as they are taken, for an epoch can have millions of clips.

    Parameters
    ----------
    order : ndarray
        `[n]`, clips as they are drawn.
    bounds : sequence of int
        Batch b is ``order[bounds[b]:bounds[b + 1]]``.
    """

    def __init__(self, order: np.ndarray, bounds: Sequence[int]):
        self.order, self.bounds = order, bounds

    @cached_property
    def before(self) -> np.ndarray:
        """`[n]`, how often each draw's clip was drawn before."""
        by_clip = np.argsort(self.order, kind="stable")
        sizes = np.unique(self.order, return_counts=True)[1]
        before = np.empty_like(self.order)
        before[by_clip] = np.arange(len(by_clip)) - np.repeat(sizes.cumsum() - sizes, sizes)
        return before

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, place: int | slice) -> "list[int] | list[list[int]]":
        if isinstance(place, slice):
            return _Rest(self, range(len(self))[place])
        place = range(len(self))[place]
        part = slice(self.bounds[place], self.bounds[place + 1])
        return [Draw(i, n) if n else i for i, n in zip(self.order[part].tolist(), self.before[part].tolist(), strict=True)]


class BatchSampler:
    """Shuffled batches of an epoch, the same for the same seed and epoch.

    Parameters
    ----------
    tokens : sequence of int
        Tokens of each clip (its largest view), for the budget.
    batch : Batch
        Clips a batch (the last, smaller batch of an epoch is dropped), or the token budget no batch exceeds.
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

    def __init__(self, tokens: list[int], batch: Batch, seed: int):
        self.tokens, self.batch, self.seed = tokens, batch, seed
        if batch.clips is not None and batch.clips > len(tokens):
            raise DataError(
                f"train.batch.clips = {batch.clips} is more than the {len(tokens)} clips of the training split"
            )
        if batch.tokens is not None and max(tokens) > batch.tokens:
            raise DataError(f"train.batch.tokens = {batch.tokens} is less than the longest clip's {max(tokens)} tokens")

    def epoch(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch, as lists of clip indices."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.tokens), generator=generator).tolist()
        if self.batch.clips is not None:
            size = self.batch.clips
            return [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
        return list(token_batches(order, self.tokens, self.batch.tokens))


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
