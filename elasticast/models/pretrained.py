"""Models from weights that exist: own runs, the released ElasticAST, AST, SSAST, Hugging Face AST, timm ViT and DeiT.

What was recognised, assumed and adapted is always told; what does not fit is an error that lists it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from elasticast.config import OF_RUN, ElasticASTSettings, RunConfig
from elasticast.config.base import TaskKind
from elasticast.config.reading import validate
from elasticast.data.features import Norm
from elasticast.errors import DataError
from elasticast.models import build_model
from elasticast.models.weights.adapt import fit
from elasticast.models.weights.sources import TIMM, Weights, read_weights


@dataclass
class Pretrained:
    """A model and all that is needed to use it.

    Attributes
    ----------
    model : nn.Module
        In evaluation mode, on the CPU.
    config : RunConfig
        Front end, view and model.
    norm : Norm
        Normalisation of the log-mel.
    classes : list of str
        Names of the classes, in the order of the logits.
    kind : {'single', 'multi'}
        Whether a clip has one label or several.
    found : str
        What was recognised.
    notes : list of str
        What was assumed or adapted.
    """

    model: nn.Module
    config: RunConfig
    norm: Norm
    classes: list[str]
    kind: TaskKind
    found: str
    notes: list[str]


def load_model(source: str | Path, *, classes: list[str] | None = None, frames: int | None = None) -> Pretrained:
    """Load weights of any known kind as a model.

    Parameters
    ----------
    source : str or Path
        See `elasticast.models.weights.sources.read_weights`.
    classes : list of str, optional
        Names of the classes. If their number is not that of the weights, the head is initialised anew, from torch's
        current random state.
    frames : int, optional
        Another length: the fixed one of an AST, the longest clip of an ElasticAST. Positions are adapted to it.

    Raises
    ------
    DataError
        If the weights are not recognised, do not fit, or have no head and `classes` is not given.
    """
    weights = read_weights(source)
    config = _at_length(weights, frames, str(source))
    notes = list(weights.notes)
    names = classes or weights.classes or _numbered(weights, str(source), notes)
    model = build_model(config, len(names))
    notes += fit(model, weights, config)
    return Pretrained(model.eval(), config, weights.norm, list(names), weights.kind, weights.found, notes)


def init_source(init: str, root: Path, run: Path) -> str:
    """The weights that `model.init` names, as :func:`read_weights` takes them.

    Parameters
    ----------
    init : str
        A path, ``timm:NAME``, or ``run:NAME``: the run of another experiment with the same seed.
    root : Path
        Folder that a relative path is looked up in.
    run : Path
        Folder of the run that starts from the weights, ``runs/EXPERIMENT/seedK``; those of other runs are next to it.
    """
    if init.startswith(TIMM):
        return init
    if init.startswith(OF_RUN):
        return str(run.parent.parent / init.removeprefix(OF_RUN) / run.name)
    return str(root / init)


def start_from(source: str, model: nn.Module, config: RunConfig, classes: list[str]) -> dict[str, Any]:
    """Start a training run from weights.

    Parameters
    ----------
    source : str
        See :func:`init_source`.
    model : nn.Module
        The run's model, freshly initialised; what the weights lack stays as it is.
    config : RunConfig
        The run.
    classes : list of str
        Its classes; a head of other classes is not taken over.

    Returns
    -------
    dict
        What the run records: `found`, `notes`, `sha256`.

    Raises
    ------
    DataError
        If the weights are not recognised or do not fit.
    """
    weights = read_weights(source)
    same = weights.classes is None or weights.classes == classes
    try:
        notes = fit(model, weights, config, keep_head=same)
    except DataError as error:
        raise DataError(f"model.init: {source}: {error}") from None
    return {"found": weights.found, "notes": [*weights.notes, *notes], "sha256": weights.sha256}


def _at_length(weights: Weights, frames: int | None, where: str) -> RunConfig:
    """The weights' settings, at another length if one is asked for."""
    config = weights.config
    if weights.image:  # positions of an image say nothing of audio
        frames = frames or 1024
    if frames is None:
        return config
    value = config.model_dump(mode="json")
    if isinstance(config.model, ElasticASTSettings):
        value["view"]["max_frames"] = frames
        if config.model.limit is not None:  # other positions take any length as they are
            value["model"]["max_frames"] = frames
        if config.view.frames != "native":
            value["view"]["frames"] = min(config.view.frames, frames)
    else:
        value["view"]["max_frames" if config.view.frames == "native" else "frames"] = frames
    if weights.image:
        value["front_end"]["mel_bins"] = 128
    return validate(RunConfig, value, f"{where} at {frames} frames")


def _numbered(weights: Weights, where: str, notes: list[str]) -> list[str]:
    head = weights.tensors.get("head.bias")
    if head is None:
        raise DataError(f"{where}: {weights.found}; give the names of your classes, a new head is made for them")
    names = [f"class_{i:03d}" for i in range(len(head))]
    notes.append(f"names of the classes are not in the file: {names[0]} ... {names[-1]}")
    return names
