"""Which labels of training clips are used: clips may have classes without times, or no labels at all.

Clips lack labels in the data, or they are treated so (`train.unlabelled`).
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from elasticast.config import RunConfig
from elasticast.data.manifest import Known
from elasticast.errors import DataError


def known_labels(config: RunConfig, ids: Sequence[str], known: np.ndarray | None = None) -> np.ndarray | None:
    """Which labels of each clip are used, `[n]` int64 of :class:`~elasticast.data.manifest.Known`; None if all are.

    Clips whose labels are not used are chosen by a hash of their ids, so that all runs with the same share use the same
    labels.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    ids : sequence of str
        Ids of the training clips.
    known : ndarray, optional
        `[n]`, which labels they have; by default all.

    Raises
    ------
    DataError
        If no clip would be left with labels, or none without.
    """
    settings = config.train.unlabelled
    if settings is None:
        return known
    known = np.full(len(ids), Known.ALL) if known is None else known.copy()
    labelled = np.flatnonzero(known)
    hidden = round(settings.share * len(labelled))
    if hidden == len(labelled) or not hidden + len(ids) - len(labelled):
        raise DataError(
            f"train.unlabelled.share = {settings.share:g}: leaves {len(labelled) - hidden} of {len(ids)} training "
            f"clips of {config.dataset} with labels; at least one needs labels, and one needs none"
        )
    order = np.argsort([hashlib.sha256(ids[clip].encode()).hexdigest() for clip in labelled], kind="stable")
    known[labelled[order[:hidden]]] = Known.NOTHING
    return known
