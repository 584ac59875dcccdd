"""Normalisation of log-mels: statistics, their file, and which of them a run uses."""

import math
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from elasticast.checksums import read_record
from elasticast.config import RunConfig
from elasticast.data.prepared import STATS_REMEDY
from elasticast.errors import DataError, ElasticASTError


@dataclass(frozen=True)
class Norm:
    """Mean and standard deviation of the log-mel over a training split."""

    mean: float
    std: float

    def __call__(self, log_mel: Tensor) -> Tensor:
        """Normalise as AST does: ``(x - mean) / (2 std)`` (Gong 2021, section 2.2: mean 0, std 0.5)."""
        return (log_mel - self.mean) / (2 * self.std)


def checked_norm(mean: float, std: float, source: object) -> Norm:
    """Normalisation statistics, if they can be used.

    Parameters
    ----------
    mean, std : float
        The statistics.
    source : object
        Where they are from, for the error message.

    Raises
    ------
    DataError
        If one is not finite, or the standard deviation is not above 0.
    """
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
        raise DataError(
            f"{source}: norm: mean = {mean}, std = {std}: expected finite numbers and std above 0. The std of a "
            "training split is 0 or not finite if all its clips are silent"
        )
    return Norm(mean, std)


def read_norm(path: Path, data_sha256: str | None = None) -> Norm:
    """Verify and read normalisation statistics written by `elasticast stats`.

    Parameters
    ----------
    path : Path
        The file.
    data_sha256 : str, optional
        SHA-256 of the prepared data, from which the statistics must have been computed.

    Raises
    ------
    DataError
        If the file was changed, belongs to other data, or its values cannot normalise anything.
    """
    value = read_record(path, STATS_REMEDY)
    if data_sha256 is not None and value["data_sha256"] != data_sha256:
        raise DataError(
            f"{path}: data_sha256 = {value['data_sha256'][:16]}..., but the prepared data have {data_sha256[:16]}...: "
            f"the statistics are those of other data; {STATS_REMEDY}"
        )
    return checked_norm(value["mean"], value["std"], path)


def norm_of(config: RunConfig, file: Path | None, data_sha256: str) -> Norm:
    """Normalisation statistics of a run: those in its settings if given, otherwise those in `file`.

    Parameters
    ----------
    config : RunConfig
        The run.
    file : Path or None
        File of statistics.
    data_sha256 : str
        SHA-256 of the prepared data; the statistics in `file` must be those of these data.

    Raises
    ------
    ElasticASTError
        If neither is given, or if `file` cannot be used, see :func:`read_norm`.
    """
    if config.norm is not None:
        return Norm(config.norm.mean, config.norm.std)
    if file is None:
        raise ElasticASTError(
            "--norm: required unless the run's settings set `norm`; create it with `elasticast stats`"
        )
    return read_norm(file, data_sha256)
