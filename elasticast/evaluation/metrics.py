"""Accuracy, mAP, AUC and d-prime."""

from statistics import NormalDist

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score


def metrics(scores: np.ndarray, targets: np.ndarray, kind: str) -> dict[str, float]:
    """Compute all metrics of a task.

    Parameters
    ----------
    scores : ndarray
        `[n, C]` logits. Only their order matters: within a class for mAP and AUC, within a clip for accuracy.
    targets : ndarray
        `[n, C]` of 0 and 1.
    kind : {"single", "multi"}
        Whether clips have a single label or several.

    Returns
    -------
    dict
        `accuracy` (only for `kind="single"`), `mAP`, `AUC`, and `d_prime` = sqrt(2) z(AUC) (as in Gemmeke et al. 2017).
        `mAP` and `AUC` are means over the classes that have both positive and negative clips; `mAP`, `AUC` and
        `d_prime` are NaN if there is no such class.
    """
    results: dict[str, float] = {}
    if kind == "single":
        results["accuracy"] = float((scores.argmax(1) == targets.argmax(1)).mean())
    positives = targets.sum(0)
    usable = (positives > 0) & (positives < len(targets))
    if not usable.any():
        return {**results, "mAP": np.nan, "AUC": np.nan, "d_prime": np.nan}
    scores, targets = scores[:, usable], targets[:, usable]
    auc = float(roc_auc_score(targets, scores, average="macro"))
    results["mAP"] = float(average_precision_score(targets, scores, average="macro"))
    return {**results, "AUC": auc, "d_prime": d_prime(auc)}


def d_prime(auc: float) -> float:
    """Sensitivity index of an AUC; infinite at 0 and 1."""
    if auc in (0.0, 1.0):
        return float("inf") if auc else float("-inf")
    return 2**0.5 * NormalDist().inv_cdf(auc)
