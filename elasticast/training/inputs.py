"""Inputs of a training run: clips, normalisation statistics, initial weights, and teachers."""

from dataclasses import dataclass, field
from pathlib import Path

from elasticast.config import RunConfig
from elasticast.data.dataset import Clips
from elasticast.data.manifest import read_data_hash
from elasticast.data.norm import Norm, norm_of
from elasticast.data.responses import Responses, responses_of
from elasticast.models.pretrained import Pretrained, init_source
from elasticast.training.ensemble import load_member
from elasticast.training.teacher import load_teacher


@dataclass(frozen=True)
class RunInputs:
    """Inputs of one training run.

    Attributes
    ----------
    clips : Clips
        Training clips.
    norm : Norm
        Normalisation statistics.
    data_sha256 : str
        SHA-256 hash of the prepared data.
    held_out : Clips, optional
        Clips of the split `train.select.split`.
    init : str, optional
        Initial weights, see :func:`~elasticast.models.pretrained.init_source`; required if `model.init` is set.
    teacher : Pretrained, optional
        The teacher; required if `train.distill` is set.
    ensemble : list of Pretrained
        The models of `train.ensemble`.
    responses : Responses, optional
        Impulse responses; required if `train.impulse_responses` is set.
    """

    clips: Clips
    norm: Norm
    data_sha256: str
    held_out: Clips | None = None
    init: str | None = None
    teacher: Pretrained | None = None
    ensemble: list[Pretrained] = field(default_factory=list)
    responses: Responses | None = None


def read_inputs(
    config: RunConfig, data: Path, out: Path, *, norm: Path | None = None, weights_root: Path = Path()
) -> RunInputs:
    """Open the inputs of a run.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    data : Path
        Folder of the prepared dataset.
    out : Path
        Folder of the run.
    norm : Path, optional
        File of normalisation statistics, see :func:`~elasticast.data.norm.norm_of`.
    weights_root : Path
        Folder that relative paths in `model.init`, `train.distill.teacher`, `train.ensemble` and
        `train.impulse_responses` refer to.
    """
    train, data_sha256 = config.train, read_data_hash(data)
    select, distill = train.select, train.distill
    clips = Clips(data, "train", config.task)
    teacher = distill and load_teacher(init_source(distill.teacher, weights_root, out), config, clips.classes)
    return RunInputs(
        clips,
        norm_of(config, norm, data_sha256),
        data_sha256,
        Clips(data, select.split, config.task) if select else None,
        init_source(config.model.init, weights_root, out) if config.model.init else None,
        teacher,
        [load_member(init_source(name, weights_root, out), config, clips.classes) for name in train.ensemble or []],
        responses_of(config, weights_root),
    )
