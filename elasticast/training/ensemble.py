"""The models of `train.ensemble`, and the pseudo-labels that they make of the training clips."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from elasticast.checksums import read_record, verified, write_record
from elasticast.config import Evaluation, RunConfig
from elasticast.config.run import ENSEMBLE
from elasticast.data.dataset import Clips
from elasticast.data.pseudo_labels import PseudoLabels, TimedLogits
from elasticast.errors import DataError
from elasticast.evaluation.frames import FrameScores
from elasticast.evaluation.sweep import frame_scores, sweep
from elasticast.files import write_atomic
from elasticast.models.pretrained import Pretrained
from elasticast.progress import LOG
from elasticast.training.teacher import load_teacher

NOT_USED = "it is computed again"
"""What happens to logits that cannot be used."""


@dataclass(frozen=True)
class KeptLogits:
    """The logits of an ensemble, kept so that a run that resumes does not compute them again.

    Each model has a file and a record with its checksum and the identity of the run.

    Attributes
    ----------
    folder : Path
        Where they are.
    identity : dict
        Identity of the run, see :func:`~elasticast.training.identity.run_identity`. Logits of another one are not used.
    writes : bool
        Whether this process writes them.
    """

    folder: Path
    identity: dict[str, Any]
    writes: bool

    def read(self, number: int) -> Tensor | None:
        """Logits `[R, C]` of a model, given its place in the ensemble; None if there are none that can be used."""
        file, record = self._files(number)
        if not record.exists():
            return None
        try:
            if read_record(record, NOT_USED)["identity"] != self.identity:
                return None
            return load_file(verified(file, record, NOT_USED))["logits"]
        except DataError as error:
            LOG.warning("damaged logits of %s: %s", ENSEMBLE, error)
            return None

    def write(self, number: int, logits: Tensor) -> None:
        """Keep the logits `[R, C]` of a model."""
        if not self.writes:
            return
        file, record = self._files(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, lambda part: save_file({"logits": logits}, part))
        write_record(record, {"identity": self.identity}, [file])

    def _files(self, number: int) -> tuple[Path, Path]:
        return self.folder / f"{number}.safetensors", self.folder / f"{number}.json"


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
    members: list[Pretrained], clips: Clips, config: RunConfig, device: torch.device, kept: KeptLogits
) -> PseudoLabels:
    """The pseudo-labels of all clips, each clip at its whole length and as in the evaluation of each model.

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
    kept : KeptLogits
        Logits that were computed before the run was interrupted.

    Raises
    ------
    DataError
        If a model cannot be given a clip as a whole.
    """
    logits = []
    for number, (source, member) in enumerate(zip(config.train.ensemble, members, strict=True)):
        x = member.config.default_compression
        view = Evaluation(x_name="compression", x=[x])
        scores = frame_scores(clips, member.config, view, None, torch.empty)
        _check_whole(source, member, scores[x], clips)
        found = kept.read(number)
        if found is None:
            LOG.info("%s: pseudo-labels of %d clips by %s", config.experiment, len(clips), source)
            # it may have been trained on a machine with other attention backends than this one
            member.model.settings = member.model.settings.model_copy(update={"backend": "auto"})
            sweep(member.model.to(device), clips, member.config, member.norm, view, None, frames=scores)
            member.model.to("cpu")
            found = scores[x].logits
            kept.write(number, found)
        layout = scores[x].layout
        logits.append(TimedLogits(layout.first, layout.step, layout.lead, found))
    seconds = np.asarray(clips.samples) / config.front_end.sample_rate
    return PseudoLabels(logits, seconds, config.train.mixup_fill)


def _check_whole(source: str, member: Pretrained, scores: FrameScores, clips: Clips) -> None:
    """Check that a model is given clips as a whole."""
    layout = scores.layout
    seconds = np.asarray(clips.samples) / member.config.front_end.sample_rate
    if (short := seconds - layout.seconds > layout.step).any():
        clip = int(short.argmax())
        raise DataError(
            f"{ENSEMBLE}: {source}: is given {layout.seconds[clip]:.2f} s of a clip (view.max_frames, view.frames), "
            f"but clip {clips.ids[clip]!r} is {seconds[clip]:.2f} s long; use a model for clips of that length"
        )
