"""Accuracy, mAP, AUC and d-prime, and the scores by which they rank clips."""

from statistics import NormalDist

import numpy as np
from torch import Tensor

from elasticast.config.base import Scores


def ranking_scores(logits: Tensor, loss: str, kind: Scores = "exact") -> np.ndarray:
    """Turn logits into scores that can be compared between clips.

    mAP, AUC and d' rank the clips by their scores for one class. Cross-entropy does not decide a constant per clip: two
    models whose logits differ by such constants have the same loss and the same probabilities, but rank clips
    differently. For `ce`, the scores are therefore log-probabilities (log-softmax); binary cross-entropy has no such
    constant, and its logits rank clips as their sigmoids do.

    Both are used instead of the probabilities because these are rounded to 0 or 1 for confident models, and clips would
    be tied: in float32, the sigmoid of every logit above 17 is 1.

    Parameters
    ----------
    logits : Tensor
        `[n, C]` float32.
    loss : {"ce", "bce"}
        Loss that the model was trained with.
    kind : {"exact", "released_fp16_sigmoid"}
        The second option computes the scores of the released evaluation: sigmoids in half precision, for both losses.
        From a logit of about 8.3 on, they are exactly 1. Of classes with equal scores, the first one is predicted.

    Returns
    -------
    ndarray
        `[n, C]`, float64 for `ce` with "exact", otherwise float32.
    """
    if kind == "released_fp16_sigmoid":
        return logits.half().sigmoid().float().numpy()
    if loss == "bce":
        return logits.numpy()
    scores = logits.numpy().astype(np.float64)
    rows, best = np.arange(len(scores)), scores.argmax(1)
    scores -= scores[rows, best][:, None]
    others = np.exp(scores)
    others[rows, best] = 0.0
    # the probability of the best class is 1 / (1 + sum of the others); log1p keeps it apart from 1
    return scores - np.log1p(others.sum(1, keepdims=True))


def metrics(scores: np.ndarray, targets: np.ndarray, kind: str) -> dict[str, float]:
    """Compute all metrics of a task.

    Parameters
    ----------
    scores : ndarray
        `[n, C]`, see :func:`ranking_scores`. Only their order matters: within a class for mAP and AUC, within a clip
        for accuracy.
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
    # it takes almost as long to import as torch, and training only needs it to select weights
    from sklearn.metrics import average_precision_score, roc_auc_score

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
