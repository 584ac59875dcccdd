"""Which training clips are treated as if they had no labels (`train.unlabelled`)."""

import hashlib
from collections.abc import Sequence

import numpy as np

from elasticast.config import RunConfig
from elasticast.errors import DataError


def labelled_clips(config: RunConfig, ids: Sequence[str]) -> np.ndarray | None:
    """Whether the labels of each clip are used, `[n]` bool; None if all are.

    Clips are chosen by a hash of their ids, so that all runs with the same share use the same labels.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    ids : sequence of str
        Ids of the training clips.

    Raises
    ------
    DataError
        If no clip would be left with labels, or none without.
    """
    settings = config.train.unlabelled
    if settings is None:
        return None
    hidden = round(settings.share * len(ids))
    if not 0 < hidden < len(ids):
        raise DataError(
            f"train.unlabelled.share = {settings.share:g}: leaves {len(ids) - hidden} of {len(ids)} training clips of "
            f"{config.dataset} with labels; at least one needs labels, and one needs none"
        )
    order = np.argsort([hashlib.sha256(name.encode()).hexdigest() for name in ids], kind="stable")
    labelled = np.ones(len(ids), bool)
    labelled[order[:hidden]] = False
    return labelled
