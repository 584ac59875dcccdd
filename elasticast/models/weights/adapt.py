"""Adapt weights to a model. Notes list all adaptations."""

from collections.abc import Callable

from torch import Tensor, nn

from elasticast.config import ModelSettings, RunConfig
from elasticast.errors import DataError
from elasticast.models.adapters import is_added
from elasticast.models.ast import AST
from elasticast.models.elasticast import ElasticAST
from elasticast.models.weights.content import Weights
from elasticast.models.weights.layouts import check_names
from elasticast.models.weights.vit import adapt_ast, adapt_elasticast

Adapter = Callable[[nn.Module, Weights, list[str]], dict[str, Tensor]]
"""Tensors of a model but those of its head, by name, from a model and weights; notes are appended to the list."""
ADAPTERS: dict[type[nn.Module], Adapter] = {AST: adapt_ast, ElasticAST: adapt_elasticast}
"""Adapter by module. Other modules are given the tensors of the same names."""


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
        If the model cannot start from weights of this kind, if sizes differ, or if names are missing or unexpected.
    """
    _check_kind(weights.config.model, config.model)
    state, notes = model.state_dict(), []
    tensors = ADAPTERS.get(type(model), _same_names)(model, weights, notes)
    tensors |= _head(state, weights, config.model, keep_head, notes)
    tensors |= {name: value for name, value in state.items() if is_added(name) and name not in tensors}
    check_names(state, tensors, f"{weights.description}: does not fit this model")
    model.load_state_dict(tensors)
    return notes


def _check_kind(theirs: ModelSettings, ours: ModelSettings) -> None:
    kinds = (ours.kind, *ours.traits.starts_from)
    if theirs.kind not in kinds:
        raise DataError(
            f"the weights are of a model of kind {theirs.kind!r}; model.kind = {ours.kind!r} can start from "
            f"{', '.join(map(repr, kinds))}"
        )
    wrong = {name: value for name, value in ours.size.items() if theirs.size.get(name) != value}
    if wrong:
        sizes = "; ".join(f"model.{n} = {value}, the weights have {theirs.size.get(n)}" for n, value in wrong.items())
        raise DataError(f"the weights are of another size: {sizes}")


def _same_names(model: nn.Module, weights: Weights, notes: list[str]) -> dict[str, Tensor]:
    """All tensors but those of the head, under their own names."""
    return {name: value for name, value in weights.tensors.items() if not _in_head(name, model.settings)}


def _in_head(name: str, model: ModelSettings) -> bool:
    # weights may have a frame head that this model does not have
    return name.startswith(tuple(f"{part}." for part in (*model.traits.head, "frame_head")))


def _head(
    state: dict[str, Tensor], weights: Weights, model: ModelSettings, keep: bool, notes: list[str]
) -> dict[str, Tensor]:
    """The head; freshly initialised if the classes differ."""
    fresh = {name: value for name, value in state.items() if _in_head(name, model)}
    given = {name: value for name, value in weights.tensors.items() if name in fresh}
    if getattr(model, "crnn", None) != getattr(weights.config.model, "crnn", None):
        given = {name: value for name, value in given.items() if not name.startswith("frame_head.")}
    if keep and given and all(value.shape == fresh[name].shape for name, value in given.items()):
        if missing := sorted({name.partition(".")[0] for name in fresh.keys() - given.keys()}):
            notes.append(f"freshly initialised: {', '.join(missing)}, which the weights do not have")
        return fresh | given
    ours = _rows(fresh, model)
    other = "" if keep else "other "
    reason = f"the weights have {_rows(given, model)} {other}classes" if given else "the weights have no head"
    notes.append(f"head freshly initialised, number of classes {ours}: {reason}")
    if getattr(model, "head_norm_init", None) == "trunk":
        notes.append("LayerNorm of the head: a copy of the last LayerNorm of the blocks")
        fresh |= {f"head_norm.{kind}": weights.tensors[f"trunk.norm.{kind}"] for kind in ("weight", "bias")}
    return fresh


def _rows(tensors: dict[str, Tensor], model: ModelSettings) -> int:
    """Number of classes of the tensors of a head."""
    return len(next(value for name, value in tensors.items() if name.startswith(f"{model.traits.head[-1]}.")))
