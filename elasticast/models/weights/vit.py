"""Adapt weights to AST and ElasticAST: patches, positions, prefix tokens, pooling. Notes list all adaptations.

Shapes: F frequency patches, T time patches, p prefix tokens, D width.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from elasticast.config import ElasticASTSettings, TransformerSettings
from elasticast.data.patch_sizes import resized_kernel
from elasticast.models.ast import AST
from elasticast.models.elasticast import ElasticAST
from elasticast.models.weights.content import Weights

POOL_INIT_DIVISOR = {"mean": 1.0, "released": 6.0}


def adapt_elasticast(model: ElasticAST, weights: Weights, notes: list[str]) -> dict[str, Tensor]:
    """All tensors of an ElasticAST but those of its head, from the weights of an ElasticAST or AST."""
    return _adapt(model, weights, notes, _grid if model.settings.positions == "grid" else _tables, _cls)


def adapt_ast(model: AST, weights: Weights, notes: list[str]) -> dict[str, Tensor]:
    """All tensors of an AST but those of its head, from the weights of an ElasticAST or AST."""
    return _adapt(model, weights, notes, _grid, _prefix)


def _adapt(
    model: AST | ElasticAST, weights: Weights, notes: list[str], resize: Callable, prefix: Callable
) -> dict[str, Tensor]:
    state, settings = model.state_dict(), model.settings
    tensors = _named("patch_embed.", weights.tensors) | _named("trunk.", weights.tensors)
    if settings.patch != (edge := weights.config.model.patch):
        tensors["patch_embed.weight"] = resized_kernel(tensors["patch_embed.weight"], edge, settings.patch)
        notes.append(f"patch embedding: resized from {edge} x {edge} to {settings.patch} x {settings.patch}")
    given, wanted = _named("positions.", weights.tensors), _named("positions.", state)
    if given and wanted:
        tensors |= resize(given, state, weights, settings, notes)
    else:  # the weights, the model or both have fixed positions without parameters
        tensors |= wanted
        if given or wanted:
            notes.append("positions left out" if given else "positions freshly initialised")
    tensors |= prefix(state, weights, notes) | _pool(state, weights, settings, notes)
    scale, theirs = settings.attention_scale, weights.config.model.attention_scale
    if scale != theirs:
        notes.append(f"trained with model.attention_scale: {theirs}, used with {scale}")
    return tensors


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if name.startswith(prefix)}


def _tables(
    given: dict[str, Tensor],
    state: dict[str, Tensor],
    weights: Weights,
    model: ElasticASTSettings,
    notes: list[str],
) -> dict[str, Tensor]:
    """Positions of an ElasticAST: a table for frequency and one for time."""
    theirs = getattr(weights.config.model, "positions", "table")
    # rows that are fractions of a clip, or places of other patches, are resized, never cut
    whole = model.positions == "fractional" or weights.config.model.patch != model.patch
    if model.positions != theirs:
        notes.append(f"trained with model.positions: {theirs}, used with {model.positions}")
    freq, time = len(state["positions.freq"]), len(state["positions.time"])
    if "positions.table" in given:
        # with another stride, the patches of both models cover the same mel bins: resize, do not cut
        cut = (weights.image or weights.config.model.stride == model.stride) and not whole
        table = resize_grid(given["positions.table"], (freq, time), cut, notes)[0]
        notes.append("positions: the frequency and time tables are means of the grid over the other axis")
        return {"positions.freq": table.mean(2).T, "positions.time": table.mean(1).T}
    return {
        "positions.freq": _resize_table(given["positions.freq"], freq, "frequency", notes, whole),
        "positions.time": _resize_table(given["positions.time"], time, "time", notes, whole),
    }


def _grid(
    given: dict[str, Tensor], state: dict[str, Tensor], weights: Weights, _: TransformerSettings, notes: list[str]
) -> dict[str, Tensor]:
    """Positions of an AST, or of an ElasticAST with `positions: grid`: a grid of frequency and time."""
    table = given.get("positions.table")
    if table is None:
        table = (given["positions.freq"][:, None] + given["positions.time"][None]).permute(2, 0, 1)[None]
        notes.append("positions: the grid is the sum of the frequency and time tables")
    return {"positions.table": resize_grid(table, tuple(state["positions.table"].shape[2:]), weights.image, notes)}


def resize_grid(table: Tensor, size: tuple[int, int], cut: bool, notes: list[str]) -> Tensor:
    """Resize a grid of positions by bilinear interpolation with antialiasing.

    Parameters
    ----------
    table : Tensor
        `[1, D, F, T]`. It is returned unchanged if it has the right size.
    size : tuple of int
        F and T of the result.
    cut : bool
        Along axes that get smaller, take the middle part instead of interpolating (as AST, section 2.2, does with
        positions of images).
    notes : list of str
        A note is appended if the size changes.

    Returns
    -------
    Tensor
        `[1, D, F, T]`.
    """
    given = tuple(table.shape[2:])
    if given == size:
        return table
    if cut:
        for axis, wanted in enumerate(size, start=2):
            surplus = max(0, table.shape[axis] // 2 - wanted // 2) if wanted < table.shape[axis] else 0
            table = table.narrow(axis, surplus, min(wanted, table.shape[axis]))
    how = "cut" if tuple(table.shape[2:]) == size else "cut and interpolated" if cut else "interpolated"
    if tuple(table.shape[2:]) != size:
        how = "interpolated" if tuple(table.shape[2:]) == given else how
        table = F.interpolate(table, size=size, mode="bilinear", align_corners=False, antialias=True)
    notes.append(f"positions: {how} from {given[0]} x {given[1]} to {size[0]} x {size[1]} (frequency x time)")
    return table


def _resize_table(table: Tensor, size: int, axis: str, notes: list[str], whole: bool = False) -> Tensor:
    """Resize a table `[L, D]` to `size` rows.

    For a smaller `size`, take the first rows, or with `whole` interpolate. For a larger one, always interpolate.
    """
    if size < len(table) and not whole:
        # rows are absolute positions: clips that fit keep the positions of training
        notes.append(f"positions: first {size} of {len(table)} rows of the {axis} table")
        return table[:size]
    if size != len(table):
        notes.append(f"positions: {axis} table interpolated from {len(table)} to {size} rows")
        return F.interpolate(table.T[None], size=size, mode="linear", align_corners=False)[0].T
    return table


def _prefix(state: dict[str, Tensor], weights: Weights, notes: list[str]) -> dict[str, Tensor]:
    """CLS and distillation tokens with their positions; tokens that the weights lack are freshly initialised."""
    given, wanted = len(weights.tensors.get("prefix", ())), len(state["prefix"])
    kept = min(given, wanted)
    if given > kept:
        notes.append(f"prefix tokens: first {kept} of {given}")
    if wanted > kept:
        notes.append(f"prefix tokens: {wanted - kept} freshly initialised")
    names = ("prefix", "prefix_positions")
    return {n: torch.cat([weights.tensors.get(n, state[n])[:kept], state[n][kept:]]) for n in names}


def _cls(state: dict[str, Tensor], weights: Weights, notes: list[str]) -> dict[str, Tensor]:
    """CLS token of an ElasticAST, which includes its position."""
    tensors = weights.tensors
    if "cls" not in state:
        if "prefix" in tensors or "cls" in tensors:
            notes.append("CLS and distillation tokens left out")
        return {}
    if "cls" in tensors:
        return {"cls": tensors["cls"]}
    if not len(tensors.get("prefix", ())):
        notes.append("CLS token freshly initialised")
        return {"cls": state["cls"]}
    notes.append("CLS token: the first prefix token of the weights plus its position")
    return {"cls": tensors["prefix"][0] + tensors["prefix_positions"][0]}


def _pool(
    state: dict[str, Tensor], weights: Weights, model: TransformerSettings, notes: list[str]
) -> dict[str, Tensor]:
    """Pooling attention of the weights; if they lack it, initialised from the mean of their attention layers."""
    wanted = {name: value for name, value in state.items() if name.startswith("pool.")}
    given = {name: value for name, value in weights.tensors.items() if name.startswith("pool.")}
    if given and not wanted:
        notes.append("pooling attention left out")
    if given or not wanted:
        return given if wanted else {}
    notes.append(f"pooling attention: pool_init {model.pool_init}, query freshly initialised")
    if model.pool_init != "random":
        for kind in ("weight", "bias"):
            means = {p: _block_mean(weights, model.depth, f"{p}.{kind}") for p in ("qkv", "proj")}
            q, kv = means["qkv"].split([model.dim, 2 * model.dim])
            parts = {"q": q, "kv": kv, "proj": means["proj"]}
            wanted |= {f"pool.{k}.{kind}": v / POOL_INIT_DIVISOR[model.pool_init] for k, v in parts.items()}
    return wanted


def _block_mean(weights: Weights, depth: int, name: str) -> Tensor:
    return torch.stack([weights.tensors[f"trunk.blocks.{i}.attn.{name}"] for i in range(depth)]).mean(0)
