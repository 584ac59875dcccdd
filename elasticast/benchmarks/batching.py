"""How the clips of a batch can lie in a model's forward passes, and what each way costs, counted.

The ways compared are lists of passes: one flat sequence, clips filled up to one length, one clip at a time, rows of
several clips. What attention spans in a pass, the *spans* (a clip, a filled up clip, a row, or all tokens under a dense
mask), decides all that is counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from elasticast.config import RunConfig
from elasticast.data.sampler import token_batches
from elasticast.errors import ElasticASTError
from elasticast.evaluation.flops import forward_flops

CLASSES = 100
"""Classes of the models measured; the head costs next to nothing."""
BACKWARD = 2
"""A backward pass costs two forward passes: each matrix product has two gradients."""


@dataclass(frozen=True)
class Layout:
    """The clips of one forward pass.

    Attributes
    ----------
    clips : tuple of int
        Clips, in the order they lie.
    backend : str
        What attends in a flat sequence (see :class:`~elasticast.models.attention.ClipMask`), or ``rows``.
    row_clips : tuple of int
        ``rows``: clips of each row.
    length : int
        ``rows``: tokens of each row, padding included.
    """

    clips: tuple[int, ...]
    backend: str
    row_clips: tuple[int, ...] = ()
    length: int = 0

    def spans(self, tokens: Sequence[int]) -> list[int]:
        """Tokens of each stretch that attention spans, padding included; `tokens` are those of all clips."""
        own = [tokens[i] for i in self.clips]
        return {"rows": [self.length] * len(self.row_clips), "dense": [sum(own)]}.get(self.backend, own)

    def mask_bytes(self, tokens: Sequence[int]) -> int:
        """Booleans of the attention mask: one a key where a row is one clip, one a pair elsewhere, none if packed."""
        if self.backend not in ("rows", "dense"):
            return 0
        only_keys = bool(self.row_clips) and max(self.row_clips) == 1
        return sum(span if only_keys else span**2 for span in self.spans(tokens))


Ways = dict[str, list[Layout]]


def in_rows(rows: Iterable[Sequence[int]], length: int) -> Layout:
    """Clips in rows of `length` tokens."""
    rows = [tuple(row) for row in rows]
    return Layout(tuple(i for row in rows for i in row), "rows", tuple(map(len, rows)), length)


def all_ways(
    tokens: Sequence[int], limit: int, *, backends: Sequence[str], bucket: int, row_tokens: Sequence[int]
) -> tuple[Ways, dict[str, str]]:
    """Every way of taking clips through a model, by name; the first is what all others are compared with.

    Parameters
    ----------
    tokens : sequence of int
        Tokens of each clip.
    limit : int
        Tokens of the longest clip allowed.
    backends : sequence of str
        Of packed batches, the usual one first.
    bucket : int
        Clips of similar length that are filled up to the longest of them.
    row_tokens : sequence of int
        Most tokens a row (L' of the paper). Clips fill rows in the order they come, the next begins where one does
        not fit, and all are filled up to the fullest, as in the released ElasticAST.

    Returns
    -------
    tuple
        The ways, and why others are left out.
    """
    every, longest = range(len(tokens)), max(tokens)
    ways = {f"packed-{backend}": [Layout(tuple(every), backend)] for backend in backends}
    ways["padded-longest"] = [in_rows([[i] for i in every], longest)]
    ways["padded-limit"] = [in_rows([[i] for i in every], limit)]
    ways["one-by-one"] = [Layout((i,), backends[0]) for i in every]
    ordered = sorted(every, key=lambda i: tokens[i])
    buckets = [ordered[first : first + bucket] for first in range(0, len(ordered), bucket)]
    ways["bucketed"] = [in_rows([[i] for i in some], tokens[some[-1]]) for some in buckets]
    left_out = {}
    for length in row_tokens:
        if longest > length:
            left_out[f"rows-{length}"] = f"the longest clip has {longest:,} tokens"
        else:
            rows = list(token_batches(list(every), list(tokens), length))
            ways[f"rows-{length}"] = [in_rows(rows, max(sum(tokens[i] for i in row) for row in rows))]
    return ways, left_out


def chosen(ways: Ways, left_out: dict[str, str], names: Sequence[str]) -> Ways:
    """The ways of these names, all if there are none, and always the first, which the others are compared with.

    Raises
    ------
    ElasticASTError
        If there is no such way.
    """
    for name in names:
        if name not in ways:
            why = f": {left_out[name]}" if name in left_out else ""
            raise ElasticASTError(f"--way {name}: no such way here{why}. There is: {', '.join(ways)}")
    return {name: way for place, (name, way) in enumerate(ways.items()) if not names or not place or name in names}


def counted(way: Sequence[Layout], tokens: Sequence[int], config: RunConfig, measure: str, both: bool) -> dict:
    """What a way costs, without running it.

    ``measure`` is ``attention`` (that of one block) or ``model``; `both` counts the backward pass too. A pooling query
    and the head are counted once a span, see :func:`~elasticast.evaluation.flops.forward_flops`.
    """
    model, spans = config.model, [span for layout in way for span in layout.spans(tokens)]
    blocks, times = (model.depth if measure == "model" else 1), 1 + BACKWARD * both
    attention = times * 4 * blocks * model.dim * sum(span**2 for span in spans)
    whole = times * sum(forward_flops(config, span, CLASSES) for span in spans) if measure == "model" else attention
    used, laid = sum(tokens), sum(spans)
    return {
        "passes": len(way),
        "tokens": used,
        "tokens_computed": laid,
        "padding_share": 1 - used / laid,
        "attention_gflop": attention / 1e9,
        "total_gflop": whole / 1e9,
        "mask_mib": max(layout.mask_bytes(tokens) for layout in way) / 2**20,
    }
