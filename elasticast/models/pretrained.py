"""Load models from trained weights of this package or published ones.

Published weights are the released ElasticAST, AST, SSAST, AST of Hugging Face, and ViT and DeiT of timm. The notes of a
loaded model list all assumptions and adaptations. Weights that do not fit raise an error that lists the differences.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from elasticast.config import OF_RUN, RunConfig
from elasticast.config.base import TaskKind
from elasticast.config.model.own_code import allow, is_allowed
from elasticast.config.reading import validate
from elasticast.data.norm import Norm
from elasticast.errors import DataError
from elasticast.models import build_model
from elasticast.models.weights.adapt import load_weights
from elasticast.models.weights.adapted import start_model
from elasticast.models.weights.content import Weights
from elasticast.models.weights.hub import HF
from elasticast.models.weights.sources import TIMM, read_weights


@dataclass
class Pretrained:
    """A model and everything needed to use it.

    Attributes
    ----------
    model : nn.Module
        The model, in evaluation mode and on the CPU.
    config : RunConfig
        Settings of the front end, the view and the model.
    norm : Norm
        Normalisation of the log-mel.
    classes : list of str
        Names of the classes, in the order of the logits.
    kind : {'single', 'multi'}
        Whether a clip has one label or several.
    description : str
        Kind and size of the weights, for messages.
    notes : list of str
        Assumptions and adaptations, one line each.
    sha256 : str
        Hash of the weights, see :class:`~elasticast.models.weights.sources.Weights`.
    classes_known : bool
        Whether the names of the classes are known. If not, they are placeholders.
    """

    model: nn.Module
    config: RunConfig
    norm: Norm
    classes: list[str]
    kind: TaskKind
    description: str
    notes: list[str]
    sha256: str
    classes_known: bool


def load_model(
    source: str | Path,
    *,
    classes: list[str] | None = None,
    frames: int | None = None,
    trust_code: bool = False,
) -> Pretrained:
    """Load a model from weights of any known kind.

    Parameters
    ----------
    source : str or Path
        The weights, see :func:`~elasticast.models.weights.sources.read_weights`.
    classes : list of str, optional
        Names of the classes. If their number differs from that of the weights, a new head is initialised from torch's
        global random state.
    frames : int, optional
        Length to adapt the positions to: the fixed length of an AST, the longest clip of an ElasticAST.
    trust_code : bool
        Whether to run the code of a model that brings its own (`model_code.py`). Files that were allowed before, see
        :func:`elasticast.config.model.own_code.allow`, run without it.

    Raises
    ------
    DataError
        If the weights are not recognised, if they do not fit, if they have no head and `classes` is not given, or if
        the model brings code that is not trusted.
    """
    weights = read_weights(source)
    _check_code(weights, source, trust_code)
    config = _config_at_length(weights, frames, str(source))
    notes = list(weights.notes)
    names = classes or weights.classes or _placeholder_classes(weights, str(source), notes)
    model = build_model(config, len(names))
    notes += load_weights(model, weights, config)
    about = {"kind": weights.kind, "description": weights.description, "sha256": weights.sha256, "notes": notes}
    known = bool(classes or weights.classes)
    return Pretrained(model.eval(), config, weights.norm, list(names), classes_known=known, **about)


def _check_code(weights: Weights, source: str | Path, trust_code: bool) -> None:
    """Refuse code that neither the user's suite nor an option allows."""
    if weights.code is None or is_allowed(weights.config.model):
        return
    if not trust_code:
        raise DataError(
            f"{source}: model.kind = {weights.config.model.kind!r}: brings its own code, {weights.code}, which can do "
            "anything that you can. Read it, and if you trust it, use --trust-code (in Python: trust_code=True)"
        )
    allow(weights.code)


def init_source(init: str, root: Path, run: Path) -> str:
    """Resolve `model.init` to a source for :func:`~elasticast.models.weights.sources.read_weights`.

    Parameters
    ----------
    init : str
        A path, ``hf:OWNER/NAME``, ``timm:NAME``, or ``run:NAME``, the run of experiment NAME with the same seed.
    root : Path
        Folder that a relative path refers to.
    run : Path
        Folder of the run that starts from the weights, ``runs/EXPERIMENT/seedK``. The folders of other experiments are
        in the same ``runs``.
    """
    if init.startswith((HF, TIMM)):
        return init
    if init.startswith(OF_RUN):
        return str(run.parent.parent / init.removeprefix(OF_RUN) / run.name)
    return str(root / init)


def start_from(source: str, model: nn.Module, config: RunConfig, classes: list[str]) -> dict[str, Any]:
    """Load initial weights into the model of a training run.

    Parameters
    ----------
    source : str
        The weights, see :func:`init_source`.
    model : nn.Module
        Initialised model of the run. Parameters that the weights lack are not changed.
    config : RunConfig
        Settings of the run.
    classes : list of str
        Classes of the run. The head of the weights is used only if it has the same classes.

    Returns
    -------
    dict
        Record of the weights for `run.json`: `found` (their description), `notes`, `sha256`.

    Raises
    ------
    DataError
        If the weights are not recognised or do not fit.
    """
    weights = read_weights(source)
    same_classes = weights.classes is None or weights.classes == classes
    try:
        notes = start_model(model, weights, config, keep_head=same_classes)
    except DataError as error:
        raise DataError(f"model.init: {source}: {error}") from None
    return {"found": weights.description, "notes": [*weights.notes, *notes], "sha256": weights.sha256}


def _config_at_length(weights: Weights, frames: int | None, where: str) -> RunConfig:
    """Settings of the weights, changed to a length of `frames` if given."""
    config = weights.config
    if weights.image:  # the positions of an image have no length of audio
        frames = frames or 1024
    if frames is None:
        return config
    value, native = config.model_dump(mode="json"), config.view.frames == "native"
    value["model"] |= config.model.lengthened(frames)
    if not config.model.traits.one_length:
        value["view"]["max_frames"] = frames
        value["view"]["frames"] = "native" if native else min(config.view.frames, frames)
    else:
        value["view"]["max_frames" if native else "frames"] = frames
    if weights.image:
        value["front_end"]["mel_bins"] = 128
    return validate(RunConfig, value, f"{where} at {frames} frames")


def _placeholder_classes(weights: Weights, where: str, notes: list[str]) -> list[str]:
    """Names for classes of a head whose names are not known."""
    head = weights.tensors.get("head.bias")
    if head is None:
        raise DataError(f"{where}: {weights.description}; give the names of your classes to create a new head")
    names = [f"class_{i:03d}" for i in range(len(head))]
    notes.append(f"names of the classes are not in the file, using {names[0]} ... {names[-1]}")
    return names
