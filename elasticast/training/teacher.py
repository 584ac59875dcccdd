"""The teacher of a run with `train.distill`."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from elasticast.config import RunConfig
from elasticast.config.run import TEACHER, teacher_loss_error
from elasticast.data.packing import PackedBatch, equally_long
from elasticast.errors import DataError
from elasticast.evaluation.classes import match_classes
from elasticast.models.pretrained import Pretrained, load_model
from elasticast.training.cost import ForwardCost, mean_clip


def load_teacher(source: str, config: RunConfig, classes: list[str], key: str = TEACHER) -> Pretrained:
    """Load a teacher of a run, with its logits in the order of the classes of the run.

    Parameters
    ----------
    source : str
        Its weights, see :func:`~elasticast.models.pretrained.init_source`.
    config : RunConfig
        Settings of the run.
    classes : list of str
        Classes of the run.
    key : str
        The setting that names it, for messages.

    Raises
    ------
    DataError
        If the weights cannot be used, or if their classes, sample rate or loss do not fit the run.
    """
    try:
        teacher = match_classes(load_model(source), classes, source, f"{config.dataset} ({config.task})")
    except DataError as error:
        raise DataError(f"{key}: {error}") from None
    theirs, ours = teacher.config.front_end.sample_rate, config.front_end.sample_rate
    if theirs != ours:
        raise DataError(
            f"{key}: {source}: front_end.sample_rate = {theirs} Hz, but that of the run is {ours} Hz; "
            "use a teacher with the same sample rate"
        )
    if wrong := teacher_loss_error(config, teacher.config):
        raise DataError(f"{key}: {source}: {wrong}")
    return teacher


class Teacher:
    """A trained model that is asked for the scores of the clips of a batch. It does not learn.

    Parameters
    ----------
    pretrained : Pretrained
        The model, with the classes of the run.
    device : torch.device
        Device of the training.
    """

    def __init__(self, pretrained: Pretrained, device: torch.device):
        self.model = pretrained.model.to(device).eval().requires_grad_(False)
        # it may have been trained on a machine with other attention backends than this one
        self.model.settings = self.model.settings.model_copy(update={"backend": "auto"})
        self.config = pretrained.config
        self.one_length = pretrained.config.model.traits.one_length
        self.cost = ForwardCost(self.model.settings, pretrained.config, len(pretrained.classes))

    def mean_flops(self, samples: np.ndarray) -> float:
        """Mean floating-point operations for one clip, over clips of these lengths `[n]`."""
        return mean_clip(self.config, samples, self.cost)

    @torch.no_grad()
    def __call__(self, batch: PackedBatch) -> Tensor:
        """Logits `[B, C]` of clips as :class:`~elasticast.data.teacher.TeacherView` encodes them."""
        if not self.one_length:
            return self.model(batch)
        groups = equally_long(batch.clip_time_patches)
        logits = torch.cat([self.model(batch.only(clips)) for clips in groups])
        order = torch.tensor([clip for clips in groups for clip in clips])
        return logits[order.argsort().to(logits.device)]


def teacher_record(source: str, pretrained: Pretrained, config: RunConfig) -> dict[str, Any]:
    """What `run.json` records of a teacher.

    `kind` is ``self-distillation`` if student and teacher are models of the same kind, otherwise ``cross-model``.
    """
    same = pretrained.config.model.kind == config.model.kind
    return {
        "teacher": source,
        "kind": "self-distillation" if same else "cross-model",
        "found": pretrained.description,
        "notes": pretrained.notes,
        "sha256": pretrained.sha256,
    }
