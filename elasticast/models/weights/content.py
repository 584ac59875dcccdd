"""Weights of any source, with the names and settings of this package."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from elasticast.config import RunConfig
from elasticast.config.base import TaskKind
from elasticast.data.norm import Norm


@dataclass
class Weights:
    """Weights of any source, with the names of this package.

    Attributes
    ----------
    description : str
        Kind and size of the weights, for messages.
    tensors : dict of str to Tensor
        State dict of the model that `config` describes; the head may be missing.
    config : RunConfig
        Settings of the model, its front end and its view.
    norm : Norm
        Normalisation of the log-mel.
    kind : {'single', 'multi'}
        Whether a clip has one label or several.
    classes : list of str or None
        Names of the classes, if known.
    image : bool
        Whether the positions are for square images.
    notes : list of str
        Assumptions, and what is left out, one line each.
    sha256 : str
        Hash of the file, or of the tensors if there is no file.
    code : Path or None
        File of the model's class, if it is none of this package. Reading weights never runs it.
    """

    description: str
    tensors: dict[str, Tensor]
    config: RunConfig
    norm: Norm
    kind: TaskKind
    classes: list[str] | None = None
    image: bool = False
    notes: list[str] = field(default_factory=list)
    sha256: str = ""
    code: Path | None = None
