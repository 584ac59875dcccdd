"""What a training run reads besides its settings: clips, statistics, and weights to start from."""

from dataclasses import dataclass
from pathlib import Path

from elasticast.config import RunConfig
from elasticast.data.dataset import Clips, norm_of
from elasticast.data.features import Norm
from elasticast.data.manifest import read_data_hash
from elasticast.models.pretrained import init_source


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
        Hash of the prepared data.
    held_out : Clips, optional
        Clips of the split of `train.select`.
    init : str, optional
        Weights to start from, see :func:`~elasticast.models.pretrained.init_source`; needed with `model.init`.
    """

    clips: Clips
    norm: Norm
    data_sha256: str
    held_out: Clips | None = None
    init: str | None = None


def read_inputs(
    config: RunConfig, data: Path, out: Path, *, norm: Path | None = None, weights_root: Path = Path()
) -> RunInputs:
    """Open the inputs of a run.

    Parameters
    ----------
    config : RunConfig
        The run.
    data : Path
        Folder of the prepared dataset.
    out : Path
        Folder of the run.
    norm : Path, optional
        Statistics file, see :func:`~elasticast.data.dataset.norm_of`.
    weights_root : Path
        Folder that a relative `model.init` is looked up in.
    """
    select = config.train.select
    return RunInputs(
        Clips(data, "train", config.task),
        norm_of(config, norm),
        read_data_hash(data),
        Clips(data, select.split, config.task) if select else None,
        init_source(config.model.init, weights_root, out) if config.model.init else None,
    )
