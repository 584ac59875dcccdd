"""Weights made to fit a model: positions, prefix tokens, pooling and head. All that is changed is told.

Shape legend: F, T frequency and time patches, p prefix tokens, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elasticast.config import ASTSettings, ElasticASTSettings, ModelSettings, RunConfig
from elasticast.errors import DataError
from elasticast.models.weights.layouts import check_names
from elasticast.models.weights.sources import Weights

POOL_INIT_DIVISOR = {"mean": 1.0, "released": 6.0}


def fit(model: nn.Module, weights: Weights, config: RunConfig, *, keep_head: bool = True) -> list[str]:
    """Put weights into a model.

    Parameters
    ----------
    model : nn.Module
        Freshly initialised; what the weights lack stays as it is.
    weights : Weights
        Where they come from does not matter.
    config : RunConfig
        The model's run.
    keep_head : bool
        Whether a head of the right size is taken over.

    Returns
    -------
    list of str
        What was adapted, one line each.

    Raises
    ------
    DataError
        If sizes differ, or names are missing or left over.
    """
    _check_size(weights.config.model, config.model)
    own, notes = model.state_dict(), []
    tensors = {k: v for k, v in weights.tensors.items() if k.startswith(("patch_embed.", "trunk."))}
    steps = _positions, _prefix, _pool
    for step in steps:
        tensors |= step(own, weights, config.model, notes)
    tensors |= _head(own, weights, keep_head, notes)
    scale, theirs = config.model.attention_scale, weights.config.model.attention_scale
    if scale != theirs:
        notes.append(f"trained with model.attention_scale: {theirs}, used with {scale}")
    check_names(own, tensors, f"{weights.found}: does not fit this model")
    model.load_state_dict(tensors)
    return notes


def _check_size(theirs: ModelSettings, ours: ModelSettings) -> None:
    names = ("dim", "depth", "heads", "patch", "mlp_ratio")
    wrong = [name for name in names if getattr(theirs, name) != getattr(ours, name)]
    if wrong:
        said = "; ".join(f"model.{n} = {getattr(ours, n)}, the weights have {getattr(theirs, n)}" for n in wrong)
        raise DataError(f"the weights are of another size: {said}")


def _positions(own: dict[str, Tensor], weights: Weights, model: ModelSettings, notes: list[str]) -> dict[str, Tensor]:
    """Positions of the model's own kind and size."""
    there = {name: value for name, value in weights.tensors.items() if name.startswith("positions.")}
    wanted = {name: value for name, value in own.items() if name.startswith("positions.")}
    if not (there and wanted):  # fixed ones on either side, or on both
        if there or wanted:
            notes.append("positions left out" if there else "positions freshly initialised")
        return wanted
    if isinstance(model, ElasticASTSettings):
        theirs = getattr(weights.config.model, "positions", "table")
        whole = model.positions == "fractional"  # a table of fractions of a clip has no end to cut off
        if model.positions != theirs:
            notes.append(f"trained with model.positions: {theirs}, used with {model.positions}")
        freq, time = len(own["positions.freq"]), len(own["positions.time"])
        if "positions.table" in there:
            # with another stride the patches of both span the same mel bins, so rows are stretched and none is cut
            cut = (weights.image or weights.config.model.stride == model.stride) and not whole
            table = resized(there["positions.table"], (freq, time), cut, notes)[0]
            notes.append("positions: frequency and time tables are the grid's means over the other axis")
            return {"positions.freq": table.mean(2).T, "positions.time": table.mean(1).T}
        return {
            "positions.freq": _stretched(there["positions.freq"], freq, "frequency", notes),
            "positions.time": _stretched(there["positions.time"], time, "time", notes, whole),
        }
    table = there.get("positions.table")
    if table is None:
        table = (there["positions.freq"][:, None] + there["positions.time"][None]).permute(2, 0, 1)[None]
        notes.append("positions: the grid is the sum of the frequency and time tables")
    return {"positions.table": resized(table, tuple(own["positions.table"].shape[2:]), weights.image, notes)}


def resized(table: Tensor, size: tuple[int, int], cut: bool, notes: list[str]) -> Tensor:
    """A grid of positions `[1, D, F, T]` at another size.

    Bilinear with antialiasing, so that a grid of the right size is returned as it is.

    Parameters
    ----------
    size : tuple of int
        F and T wanted.
    cut : bool
        Where fewer are wanted, take the middle ones instead of squeezing all (AST, section 2.2, from image models).
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


def _stretched(table: Tensor, size: int, axis: str, notes: list[str], whole: bool = False) -> Tensor:
    """A table `[L, D]` of `size` rows: its first ones (none is left out of a `whole` one), or more by interpolation."""
    if size < len(table) and not whole:
        # indices are absolute: what fits sees the very positions it was trained with
        notes.append(f"positions: first {size} of {len(table)} rows of the {axis} table")
        return table[:size]
    if size != len(table):
        notes.append(f"positions: {axis} table interpolated from {len(table)} to {size} rows")
        return F.interpolate(table.T[None], size=size, mode="linear", align_corners=False)[0].T
    return table


def _prefix(own: dict[str, Tensor], weights: Weights, model: ModelSettings, notes: list[str]) -> dict[str, Tensor]:
    """CLS and distillation tokens with their positions; the model's own where the weights have fewer."""
    if not isinstance(model, ASTSettings):
        return _cls(own, weights, notes)
    given = len(weights.tensors.get("prefix", ()))
    kept = min(given, model.prefix_tokens)
    if given > kept:
        notes.append(f"prefix tokens: first {kept} of {given}")
    if model.prefix_tokens > kept:
        notes.append(f"prefix tokens: {model.prefix_tokens - kept} freshly initialised")
    names = ("prefix", "prefix_positions")
    return {n: torch.cat([weights.tensors.get(n, own[n])[:kept], own[n][kept:]]) for n in names}


def _cls(own: dict[str, Tensor], weights: Weights, notes: list[str]) -> dict[str, Tensor]:
    """ElasticAST's CLS token, which has no position apart from itself."""
    there = weights.tensors
    if "cls" not in own:
        if "prefix" in there or "cls" in there:
            notes.append("CLS and distillation tokens left out")
        return {}
    if "cls" in there:
        return {"cls": there["cls"]}
    if not len(there.get("prefix", ())):
        notes.append("CLS token freshly initialised")
        return {"cls": own["cls"]}
    notes.append("CLS token: the weights' first, its position added")
    return {"cls": there["prefix"][0] + there["prefix_positions"][0]}


def _pool(own: dict[str, Tensor], weights: Weights, model: ModelSettings, notes: list[str]) -> dict[str, Tensor]:
    """Pooling attention: the weights', or from the mean of their blocks' attention."""
    wanted = {name: value for name, value in own.items() if name.startswith("pool.")}
    given = {name: value for name, value in weights.tensors.items() if name.startswith("pool.")}
    if given and not wanted:
        notes.append("pooling attention left out")
    if given or not wanted:
        return given if wanted else {}
    notes.append(f"pooling attention: pool_init {model.pool_init}, its query freshly initialised")
    if model.pool_init != "random":
        for kind in ("weight", "bias"):
            means = {p: _block_mean(weights, model.depth, f"{p}.{kind}") for p in ("qkv", "proj")}
            q, kv = means["qkv"].split([model.dim, 2 * model.dim])
            parts = {"q": q, "kv": kv, "proj": means["proj"]}
            wanted |= {f"pool.{k}.{kind}": v / POOL_INIT_DIVISOR[model.pool_init] for k, v in parts.items()}
    return wanted


def _block_mean(weights: Weights, depth: int, name: str) -> Tensor:
    return torch.stack([weights.tensors[f"trunk.blocks.{i}.attn.{name}"] for i in range(depth)]).mean(0)


def _head(own: dict[str, Tensor], weights: Weights, keep: bool, notes: list[str]) -> dict[str, Tensor]:
    """LayerNorm and linear head, the model's own if the classes are others."""
    fresh = {name: value for name, value in own.items() if name.startswith(("head.", "head_norm."))}
    given = {name: value for name, value in weights.tensors.items() if name in fresh}
    if keep and given and len(given["head.bias"]) == len(fresh["head.bias"]):
        return given
    why = f"the weights' is for {len(given['head.bias'])}{'' if keep else ' others'}" if given else "there was none"
    notes.append(f"head freshly initialised, number of classes {len(fresh['head.bias'])}: {why}")
    return fresh
