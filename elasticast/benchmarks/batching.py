"""Ways of arranging the clips of a batch in forward passes, and their costs.

A way is a list of forward passes: all clips in one flat sequence, clips padded to one length, one clip at a time, or
rows of several clips. A *span* is a stretch of tokens that attend to each other: a clip, a padded clip, a row, or all
tokens under a dense mask. The costs follow from the lengths of the spans.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from elasticast.config import RunConfig
from elasticast.data.sampler import token_batches
from elasticast.errors import ElasticASTError

CLASSES = 100
"""Number of classes of the timed models; the head costs next to nothing."""
BACKWARD = 2
"""Cost of a backward pass in forward passes: each matrix product has two gradients."""


@dataclass(frozen=True)
class Layout:
    """Arrangement of clips in one forward pass.

    Attributes
    ----------
    clips : tuple of int
        Indices of the clips, in order.
    backend : str
        ``rows``, or for a flat sequence the attention backend, see :class:`~elasticast.models.attention.ClipMask`.
    row_clips : tuple of int
        Number of clips in each row; only for ``rows``.
    length : int
        Number of tokens per row, including padding; only for ``rows``.
    fast : str
        ``compiled`` if the transformer blocks are compiled, ``graphs`` if small batches are CUDA graphs too.
    """

    clips: tuple[int, ...]
    backend: str
    row_clips: tuple[int, ...] = ()
    length: int = 0
    fast: str = ""

    def spans(self, tokens: Sequence[int]) -> list[int]:
        """Number of tokens of each span, including padding; `tokens` has the number of tokens of each clip."""
        lengths = [tokens[i] for i in self.clips]
        return {"rows": [self.length] * len(self.row_clips), "dense": [sum(lengths)]}.get(self.backend, lengths)

    def mask_bytes(self, tokens: Sequence[int]) -> int:
        """Size of the boolean attention mask in bytes.

        It has one entry per key if each row has one clip, else one per query and key. Packed clips need no mask.
        """
        if self.backend not in ("rows", "dense"):
            return 0
        only_keys = bool(self.row_clips) and max(self.row_clips) == 1
        return sum(span if only_keys else span**2 for span in self.spans(tokens))


Ways = dict[str, list[Layout]]
"""Name of each way to its forward passes."""


def row_layout(rows: Iterable[Sequence[int]], length: int) -> Layout:
    """Layout of clips in rows of `length` tokens."""
    rows = [tuple(row) for row in rows]
    return Layout(tuple(i for row in rows for i in row), "rows", tuple(map(len, rows)), length)


def all_ways(
    tokens: Sequence[int], limit: int, *, backends: Sequence[str], bucket: int, row_tokens: Sequence[int]
) -> tuple[Ways, dict[str, str]]:
    """Arrange clips in all ways. The others are compared with the first one.

    Parameters
    ----------
    tokens : sequence of int
        Number of tokens of each clip.
    limit : int
        Number of tokens of the longest clip that the model supports.
    backends : sequence of str
        Attention backends for packed batches, the default one first.
    bucket : int
        Number of clips of similar length that are padded to the longest of them.
    row_tokens : sequence of int
        Maximum number of tokens per row (L' of the paper), one way for each value. Clips fill rows in order; a clip
        that does not fit starts a new row. All rows are padded to the fullest, as in the released ElasticAST.

    Returns
    -------
    ways : dict of str to list of Layout
        Name of each way to its forward passes.
    left_out : dict of str to str
        Name of each way that is not possible to the reason.
    """
    clips, longest = range(len(tokens)), max(tokens)
    ways = {f"packed-{backend}": [Layout(tuple(clips), backend)] for backend in backends}
    if "varlen" in backends:
        fast = {f"packed-{name}": [Layout(tuple(clips), "varlen", fast=name)] for name in ("compiled", "graphs")}
        ways = fast | ways
    ways["padded-longest"] = [row_layout([[i] for i in clips], longest)]
    ways["padded-limit"] = [row_layout([[i] for i in clips], limit)]
    ways["one-by-one"] = [Layout((i,), backends[0]) for i in clips]
    ordered = sorted(clips, key=lambda i: tokens[i])
    buckets = [ordered[first : first + bucket] for first in range(0, len(ordered), bucket)]
    ways["bucketed"] = [row_layout([[i] for i in members], tokens[members[-1]]) for members in buckets]
    left_out = {}
    for length in row_tokens:
        if longest > length:
            left_out[f"rows-{length}"] = f"the longest clip has {longest:,} tokens"
        else:
            rows = list(token_batches(list(clips), list(tokens), length))
            ways[f"rows-{length}"] = [row_layout(rows, max(sum(tokens[i] for i in row) for row in rows))]
    return ways, left_out


def select_ways(ways: Ways, left_out: dict[str, str], names: Sequence[str]) -> Ways:
    """Select ways by name, and always the first one, which the others are compared with.

    Parameters
    ----------
    ways : dict of str to list of Layout
        All ways, see :func:`all_ways`.
    left_out : dict of str to str
        Reasons why other ways are not possible, for messages.
    names : sequence of str
        Names of the ways; if empty, all ways are selected.

    Raises
    ------
    ElasticASTError
        If a name is not in `ways`.
    """
    for name in names:
        if name not in ways:
            reason = f"not possible, {left_out[name]}" if name in left_out else "unknown way"
            raise ElasticASTError(f"--way {name}: {reason}; expected one of {', '.join(ways)}")
    return {name: way for index, (name, way) in enumerate(ways.items()) if not names or index == 0 or name in names}


def count_costs(way: Sequence[Layout], tokens: Sequence[int], config: RunConfig, measure: str, both: bool) -> dict:
    """Count tokens, operations and the size of the mask of a way, without running it.

    The pooling query and the head are counted once per span, see
    :meth:`~elasticast.config.ModelSettings.flops`.

    Parameters
    ----------
    way : sequence of Layout
        Forward passes of the way.
    tokens : sequence of int
        Number of tokens of each clip.
    config : RunConfig
        Settings with the model.
    measure : {"attention", "model"}
        What to count: the attention of one block, or the whole model.
    both : bool
        Whether to count the backward pass too.

    Returns
    -------
    dict
        ``passes``, ``tokens``, ``tokens_computed`` (including padding), ``padding_share``, ``attention_gflop``,
        ``total_gflop``, and ``mask_mib`` of the largest mask.
    """
    model, spans = config.model, [span for layout in way for span in layout.spans(tokens)]
    blocks, times = (model.depth if measure == "model" else 1), 1 + BACKWARD * both
    attention = times * 4 * blocks * model.dim * sum(span**2 for span in spans)
    total = times * sum(model.flops(span, CLASSES) for span in spans) if measure == "model" else attention
    used, computed = sum(tokens), sum(spans)
    return {
        "passes": len(way),
        "tokens": used,
        "tokens_computed": computed,
        "padding_share": 1 - used / computed,
        "attention_gflop": attention / 1e9,
        "total_gflop": total / 1e9,
        "mask_mib": max(layout.mask_bytes(tokens) for layout in way) / 2**20,
    }
