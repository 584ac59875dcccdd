"""Settings of token merging and pruning: how many tokens of a clip are left after each block."""

import functools
from fractions import Fraction
from typing import Literal

from pydantic import Field, model_validator

from elasticast.config.base import NaturalInt, Settings, Share
from elasticast.errors import Problem, SettingsError


class TokenMerging(Settings):
    """Token merging (Bolya et al. 2023): each block merges the most similar tokens of a clip in pairs, or prunes."""

    share: Share | None = Field(
        None,
        description="Share of the patch tokens of each clip that all blocks together merge into others. Set either "
        "this or `tokens`.",
    )
    tokens: NaturalInt | None = Field(
        None,
        description="Number of tokens of each clip that a block merges into others (on average, if the `schedule` "
        "falls), as published. [tokens]",
    )
    method: Literal["merge", "prune"] = Field(
        "merge",
        description="`merge`: the most similar tokens become one. `prune`: the tokens that get the least attention are "
        "left out.",
    )
    schedule: Literal["constant", "falling"] = Field(
        "constant",
        description="`constant`: the same number in every block. `falling`: linearly from twice this number in the "
        "first block to 0 in the last.",
    )

    @model_validator(mode="after")
    def _one_amount(self):
        if self.share is None and self.tokens is None:
            raise ValueError("set `share` (such as 0.5) or `tokens` (such as 8)")
        message = None
        if self.share is not None and self.tokens is not None:
            message = f"is set, and so is tokens = {self.tokens}: set one of them (null removes an inherited one)"
        elif self.share is not None and self.share >= 1:
            message = "expected a share below 1: at least one token must remain"
        if message:
            raise SettingsError([Problem("", ("share",), message, self.share)])
        return self

    def counts(self, tokens: int, depth: int) -> list[int]:
        """Number of tokens that are left after each block.

        A block merges or prunes at most half of the tokens, since they merge in pairs. What one block cannot do is left
        to those after it.

        Parameters
        ----------
        tokens : int
            Number of patch tokens of the clip, without prefix tokens.
        depth : int
            Number of blocks.

        Returns
        -------
        list of int
            One number per block, each at least 1.
        """
        return list(_counts(self, tokens, depth))


@functools.lru_cache(maxsize=4096)
def _counts(merging: TokenMerging, tokens: int, depth: int) -> tuple[int, ...]:
    left, counts = tokens, []
    total = merging.tokens * depth if merging.share is None else Fraction(str(merging.share)) * tokens
    for block in range(1, depth + 1):
        left = max(tokens - round(total * _progress(merging.schedule, block, depth)), -(-left // 2))
        counts.append(left)
    return tuple(counts)


def _progress(schedule: str, block: int, depth: int) -> Fraction:
    """Share of all merges that the first `block` of `depth` blocks do."""
    if schedule == "constant" or depth == 1:
        return Fraction(block, depth)
    # the sum over j < block of 2 / depth * (1 - j / (depth - 1))
    return Fraction(block * (2 * depth - 1 - block), depth * (depth - 1))
