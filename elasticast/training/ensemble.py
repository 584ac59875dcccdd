"""The models of `train.ensemble`, and the pseudo-labels that they make of the training clips."""

import numpy as np
import torch

from elasticast.config import Evaluation, RunConfig
from elasticast.config.run import ENSEMBLE
from elasticast.data.dataset import Clips
from elasticast.data.pseudo_labels import PseudoLabels, TimedLogits
from elasticast.errors import DataError
from elasticast.evaluation.sweep import frame_scores, sweep
from elasticast.models.pretrained import Pretrained
from elasticast.progress import LOG
from elasticast.training.teacher import load_teacher


def load_member(source: str, config: RunConfig, classes: list[str]) -> Pretrained:
    """Load a model of an ensemble, with its logits in the order of the classes of the run.

    Parameters
    ----------
    source : str
        Its weights, see :func:`~elasticast.models.pretrained.init_source`.
    config : RunConfig
        Settings of the run.
    classes : list of str
        Classes of the run.

    Raises
    ------
    DataError
        If the weights cannot be used, have no frame head, or do not fit the run.
    """
    member = load_teacher(source, config, classes, key=ENSEMBLE)
    if not member.config.model.traits.frames:
        raise DataError(
            f"{ENSEMBLE}: {source}: model.frame_head = false: it says what is in a clip, not when; use a model that "
            "was trained on a task of kind 'frames'"
        )
    return member


def pseudo_labels(
    members: list[Pretrained], clips: Clips, config: RunConfig, device: torch.device
) -> PseudoLabels | None:
    """Compute the pseudo-labels of all clips, each clip at its whole length and as in the evaluation of each model.

    None without `train.ensemble`.

    Parameters
    ----------
    members : list of Pretrained
        The models, with the classes of the run.
    clips : Clips
        The training clips.
    config : RunConfig
        Settings of the run.
    device : torch.device
        Device that computes them.

    Raises
    ------
    DataError
        If a model cannot be given a clip as a whole.
    """
    if config.train.ensemble is None:
        return None
    logits = []
    for source, member in zip(config.train.ensemble, members, strict=True):
        LOG.info("%s: pseudo-labels of %d clips by %s", config.experiment, len(clips), source)
        logits.append(_timed_logits(source, member, clips, device))
    seconds = np.asarray(clips.samples) / config.front_end.sample_rate
    return PseudoLabels(logits, seconds, config.train.mixup_fill)


def _timed_logits(source: str, member: Pretrained, clips: Clips, device: torch.device) -> TimedLogits:
    x = member.config.default_compression
    view = Evaluation(x_name="compression", x=[x])
    frames = frame_scores(clips, member.config, view, None, torch.empty)
    layout = frames[x].layout
    seconds = np.asarray(clips.samples) / member.config.front_end.sample_rate
    if (short := seconds - layout.seconds > layout.step).any():
        clip = int(short.argmax())
        raise DataError(
            f"{ENSEMBLE}: {source}: is given {layout.seconds[clip]:.2f} s of a clip (view.max_frames, view.frames), "
            f"but clip {clips.ids[clip]!r} is {seconds[clip]:.2f} s long; use a model for clips of that length"
        )
    # it may have been trained on a machine with other attention backends than this one
    member.model.settings = member.model.settings.model_copy(update={"backend": "auto"})
    sweep(member.model.to(device), clips, member.config, member.norm, view, None, frames=frames)
    member.model.to("cpu")
    return TimedLogits(layout.first, layout.step, layout.lead, frames[x].logits)
