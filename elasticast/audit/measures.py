"""How far an answer is from another one, and how good answers are; with the limits of the verdicts.

*Drift* is the distance between two embeddings of a clip, divided by the median distance between the embeddings of two
different clips. It does not depend on the scale of the embeddings or on what they have in common: 0 means the same
answer, 1 means as far as another clip. (Cosines of many encoders are above 0.9 for any two clips.)

Shapes: n clips, D width of the embedding, C classes.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from elasticast.audit.clips import AuditClips
from elasticast.encoders.contract import Card, Encoded
from elasticast.evaluation.metrics import metrics

SAME, CLOSE, CHANGED = 1e-3, 0.1, 0.5
"""Largest drift that counts as rounding, as small, and as half way to another clip."""
TEMPERATURE = 0.1
FEWEST_SCORED = 8
"""With fewer clips, a score is left out: it would say little."""
LONG_SECONDS = 60.0
"""A length that has to be tried before an audit says that long input is fine (s)."""
Status = Literal["pass", "warn", "fail", "info", "none"]


def typical_distance(embeddings: Tensor) -> float:
    """Median distance between two different clips of `[n, D]`."""
    return torch.pdist(embeddings.double()).median().item()


def drift(found: Tensor, reference: Tensor, scale: float) -> Tensor:
    """Drift of each clip, `[n]`; `scale` is the :func:`typical_distance`."""
    return (found.double() - reference.double()).norm(dim=1) / max(scale, 1e-30)


def compare(found: Encoded, reference: Encoded, scale: float) -> dict[str, float]:
    """Compare answers for the same clips, name of the measure to value."""
    moved = drift(found.embeddings, reference.embeddings, scale)
    cosine = torch.cosine_similarity(found.embeddings.double(), reference.embeddings.double(), dim=1)
    values = {
        "drift_median": moved.median().item(),
        "drift_max": moved.max().item(),
        "embedding_max_abs": (found.embeddings - reference.embeddings).abs().max().item(),
        "cosine_min": cosine.min().item(),
    }
    if found.logits is not None:
        values["logit_max_abs"] = (found.logits - reference.logits).abs().max().item()
        changed = found.logits.argmax(1) != reference.logits.argmax(1)
        values["top_label_changed"] = changed.double().mean().item()
    return values


def equality(value: float) -> Status:
    """Status of a drift that should be rounding only: batching must not change an answer."""
    return "pass" if value <= SAME else "warn" if value <= CLOSE else "fail"


def stability(value: float) -> Status:
    """Status of a drift that should be small: a change of the clip that leaves its content as it is."""
    return "pass" if value <= CLOSE else "warn" if value <= CHANGED else "fail"


class Scorer:
    """Score answers without training.

    If the encoder has labels of the names of all classes of the clips, its logits are scored. Otherwise the clips vote:
    the score of a class is the share of the other clips of that class, weighted by ``exp(s / 0.1)``, where s is
    the cosine of the standardised embeddings of the answer and of the other clip at its full length. The clip itself
    has no vote.

    Parameters
    ----------
    card : Card
        Facts about the encoder.
    clips : AuditClips
        Clips with labels.
    reference : Tensor
        `[n, D]`, embeddings of the clips at full length.
    """

    def __init__(self, card: Card, clips: AuditClips, reference: Tensor):
        names = {label.casefold(): i for i, label in enumerate(card.labels or ())}
        columns = [names.get(name.casefold()) for name in clips.classes]
        self.columns = None if None in columns else columns
        self.how = "labels" if self.columns else "neighbours"
        self.metric = "accuracy" if clips.kind == "single" else "mAP"
        self._clips = clips
        self._mean, self._std = reference.mean(0), reference.std(0).clamp(min=1e-12)
        self._reference = self._standardised(reference)

    def _standardised(self, embeddings: Tensor) -> Tensor:
        return torch.nn.functional.normalize((embeddings - self._mean) / self._std, dim=1)

    def __call__(self, found: Encoded, indices: list[int]) -> float:
        """Accuracy, or mAP if clips have several labels, of answers for the clips of these indices."""
        scores = found.logits[:, self.columns] if self.columns else self._votes(found.embeddings, indices)
        targets = self._clips.targets[indices].numpy()
        return metrics(scores.numpy(), targets, self._clips.kind)[self.metric]

    def _votes(self, embeddings: Tensor, indices: list[int]) -> Tensor:
        similar = self._standardised(embeddings) @ self._reference.T / TEMPERATURE
        similar[torch.arange(len(indices)), indices] = -torch.inf
        return similar.softmax(1) @ self._clips.targets

    @property
    def chance(self) -> float:
        """Score of an encoder that gives every clip the same answer."""
        shares = self._clips.targets.mean(0)
        present = shares[shares > 0]
        return float(present.max() if self.metric == "accuracy" else present.mean())


def exponent(x: list[float], y: list[float]) -> float:
    """Exponent p of ``y = a x^p``, fitted to logarithms by least squares; NaN for fewer than three points."""
    if len(x) < 3 or min(y) <= 0:
        return float("nan")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
