"""Adapt weights to a model: positions, prefix tokens, pooling and head. Notes list all adaptations.

Shapes: F frequency patches, T time patches, p prefix tokens, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elasticast.config import ASTSettings, ElasticASTSettings, ModelSettings, RunConfig
from elasticast.errors import DataError
from elasticast.models.weights.layouts import check_names
from elasticast.models.weights.sources import Weights

POOL_INIT_DIVISOR = {"mean": 1.0, "released": 6.0}


def load_weights(model: nn.Module, weights: Weights, config: RunConfig, *, keep_head: bool = True) -> list[str]:
    """Load weights of any source into a model.

    Parameters
    ----------
    model : nn.Module
        Initialised model. Parameters that the weights lack are not changed.
    weights : Weights
        The weights.
    config : RunConfig
        Settings of the model.
    keep_head : bool
        Whether to load the head if it has the right size.

    Returns
    -------
    list of str
        Notes on what was adapted, one line each.

    Raises
    ------
    DataError
        If sizes differ, or if names are missing or unexpected.
    """
    _check_size(weights.config.model, config.model)
    state, notes = model.state_dict(), []
    tensors = {k: v for k, v in weights.tensors.items() if k.startswith(("patch_embed.", "trunk."))}
    for adapt in (_positions, _prefix, _pool):
        tensors |= adapt(state, weights, config.model, notes)
    tensors |= _head(state, weights, config.model, keep_head, notes)
    scale, theirs = config.model.attention_scale, weights.config.model.attention_scale
    if scale != theirs:
        notes.append(f"trained with model.attention_scale: {theirs}, used with {scale}")
    check_names(state, tensors, f"{weights.description}: does not fit this model")
    model.load_state_dict(tensors)
    return notes


def _check_size(theirs: ModelSettings, ours: ModelSettings) -> None:
    names = ("dim", "depth", "heads", "patch", "mlp_ratio")
    wrong = [name for name in names if getattr(theirs, name) != getattr(ours, name)]
    if wrong:
        sizes = "; ".join(f"model.{n} = {getattr(ours, n)}, the weights have {getattr(theirs, n)}" for n in wrong)
        raise DataError(f"the weights are of another size: {sizes}")


def _positions(state: dict[str, Tensor], weights: Weights, model: ModelSettings, notes: list[str]) -> dict[str, Tensor]:
    """Convert the positions to the kind and size that the model has."""
    given = {name: value for name, value in weights.tensors.items() if name.startswith("positions.")}
    wanted = {name: value for name, value in state.items() if name.startswith("positions.")}
    if not (given and wanted):  # the weights, the model or both have fixed positions without parameters
        if given or wanted:
            notes.append("positions left out" if given else "positions freshly initialised")
        return wanted
    if isinstance(model, ElasticASTSettings):
        theirs = getattr(weights.config.model, "positions", "table")
        whole = model.positions == "fractional"  # rows are fractions of a clip: resize, never cut
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
            "positions.freq": _resize_table(given["positions.freq"], freq, "frequency", notes),
            "positions.time": _resize_table(given["positions.time"], time, "time", notes, whole),
        }
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


def _prefix(state: dict[str, Tensor], weights: Weights, model: ModelSettings, notes: list[str]) -> dict[str, Tensor]:
    """CLS and distillation tokens with their positions; tokens that the weights lack are freshly initialised."""
    if not isinstance(model, ASTSettings):
        return _cls(state, weights, notes)
    given = len(weights.tensors.get("prefix", ()))
    kept = min(given, model.prefix_tokens)
    if given > kept:
        notes.append(f"prefix tokens: first {kept} of {given}")
    if model.prefix_tokens > kept:
        notes.append(f"prefix tokens: {model.prefix_tokens - kept} freshly initialised")
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


def _pool(state: dict[str, Tensor], weights: Weights, model: ModelSettings, notes: list[str]) -> dict[str, Tensor]:
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


def _head(
    state: dict[str, Tensor], weights: Weights, model: ModelSettings, keep: bool, notes: list[str]
) -> dict[str, Tensor]:
    """LayerNorm and linear layer of the head; freshly initialised if the classes differ."""
    fresh = {name: value for name, value in state.items() if name.startswith(("head.", "head_norm."))}
    given = {name: value for name, value in weights.tensors.items() if name in fresh}
    if keep and given and len(given["head.bias"]) == len(fresh["head.bias"]):
        return given
    other = "" if keep else "other "
    reason = f"the weights have {len(given['head.bias'])} {other}classes" if given else "the weights have no head"
    notes.append(f"head freshly initialised, number of classes {len(fresh['head.bias'])}: {reason}")
    if model.head_norm_init == "trunk":
        notes.append("LayerNorm of the head: a copy of the last LayerNorm of the blocks")
        fresh |= {f"head_norm.{kind}": weights.tensors[f"trunk.norm.{kind}"] for kind in ("weight", "bias")}
    return fresh
