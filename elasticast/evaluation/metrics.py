"""Accuracy, mAP, AUC and d-prime."""

from statistics import NormalDist

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score


def metrics(scores: np.ndarray, targets: np.ndarray, kind: str) -> dict[str, float]:
    """All metrics that make sense for a task.

    Parameters
    ----------
    scores : ndarray
        `[n, C]` logits; only their order within a class (mAP, AUC) or a clip (accuracy) counts.
    targets : ndarray
        `[n, C]` of 0 and 1.
    kind : {"single", "multi"}
        One label a clip (accuracy as well) or a set of labels.

    Returns
    -------
    dict
        `accuracy` (single only), `mAP` and `AUC`, means over the classes that have both positive and
        negative clips, and `d_prime` = sqrt(2) z(AUC) (as in Gemmeke et al. 2017). NaN where no class has.
    """
    found: dict[str, float] = {}
    if kind == "single":
        found["accuracy"] = float((scores.argmax(1) == targets.argmax(1)).mean())
    positives = targets.sum(0)
    usable = (positives > 0) & (positives < len(targets))
    if not usable.any():
        return {**found, "mAP": np.nan, "AUC": np.nan, "d_prime": np.nan}
    scores, targets = scores[:, usable], targets[:, usable]
    auc = float(roc_auc_score(targets, scores, average="macro"))
    found["mAP"] = float(average_precision_score(targets, scores, average="macro"))
    return {**found, "AUC": auc, "d_prime": d_prime(auc)}


def d_prime(auc: float) -> float:
    """Sensitivity index of an AUC; infinite at 0 and 1."""
    if auc in (0.0, 1.0):
        return float("inf") if auc else float("-inf")
    return 2**0.5 * NormalDist().inv_cdf(auc)
