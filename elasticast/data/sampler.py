"""Which clips make a batch: a number of clips, or a budget of tokens; and how ranks share it."""

from collections.abc import Iterator

import torch

from elasticast.config import Batch
from elasticast.errors import DataError


class BatchSampler:
    """Shuffled batches of an epoch, the same for the same seed and epoch.

    Parameters
    ----------
    tokens : list of int
        Tokens of each clip (its largest view), for the budget.
    batch : Batch
        Clips a batch (the last, smaller batch of an epoch is dropped), or the token budget no batch exceeds.
    seed : int
        Seed of the shuffle.

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


def deal(batch: list[int], tokens: list[int], ranks: int) -> list[list[int]]:
    """Deal a batch out to ranks, about as many tokens to each: the largest clip first, always to the least loaded.

    Each rank's clips keep the order they have in the batch. With fewer clips than ranks, some get none.
    """
    places: list[list[int]] = [[] for _ in range(ranks)]
    load = [0] * ranks
    for place in sorted(range(len(batch)), key=lambda place: -tokens[batch[place]]):
        rank = load.index(min(load))
        places[rank].append(place)
        load[rank] += tokens[batch[place]]
    return [[batch[place] for place in sorted(own)] for own in places]
