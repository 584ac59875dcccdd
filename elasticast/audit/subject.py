"""An encoder that is audited: its clips and reference answers, time to spend, results so far."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from elasticast.audit.clips import FEWEST, AuditClips
from elasticast.audit.measures import Scorer, Status, compare, typical_distance
from elasticast.encoders.contract import Encoded, Encoder
from elasticast.errors import DataError


class Finding(NamedTuple):
    """One line of the verdict.

    Attributes
    ----------
    check : str
        Group of the finding: consistency, length, needle, sampling, cost.
    what : str
        What was asked.
    status : {"pass", "warn", "fail", "info", "none"}
        Result; "info" has no limit, "none" means not applicable or not tried.
    text : str
        The answer, with numbers.
    """

    check: str
    what: str
    status: Status
    text: str


class Refusal(NamedTuple):
    """Why an encoder gave no answer: type and first line of its error."""

    kind: str
    message: str

    @classmethod
    def of(cls, error: Exception) -> "Refusal":
        """The refusal of an error."""
        lines = str(error).strip().splitlines()
        return cls(type(error).__name__, lines[0][:200] if lines else "")

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" if self.message else self.kind


class Speed:
    """Time of one pass, measured at some lengths, and estimated at others.

    Between lengths the logarithm is interpolated. Beyond the longest one, time grows with the exponent of the two
    longest ones, at most 2.
    """

    def __init__(self):
        self.points: dict[float, float] = {}

    def estimate(self, seconds: float) -> float:
        """Estimated time (s) of a clip of this length (s)."""
        if not self.points:  # nothing was measured
            return seconds
        x, y = (np.log(values) for values in zip(*sorted(self.points.items()), strict=True))
        if seconds <= math.exp(x[-1]) or len(x) < 2:
            return float(np.exp(np.interp(math.log(seconds), x, y)))
        slope = min(max((y[-1] - y[-2]) / (x[-1] - x[-2]), 0.0), 2.0)
        return float(np.exp(y[-1] + slope * (math.log(seconds) - x[-1])))


class Purse:
    """Time that a check may spend (s)."""

    def __init__(self, seconds: float):
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Time left (s)."""
        return self._end - time.monotonic()

    def affords(self, seconds: float) -> bool:
        """Whether work of this estimated time fits."""
        return seconds <= self.left


@dataclass
class Subject:
    """An encoder under audit.

    Attributes
    ----------
    encoder : Encoder
        The encoder.
    clips : AuditClips
        Clips with labels.
    budget : float
        Time to spend (s), a guide: a check that has begun is finished.
    rows : list of dict
        Tidy results, one per measure.
    findings : list of Finding
        Lines of the verdict.
    untried : list of str
        What was left out, and why.
    """

    encoder: Encoder
    clips: AuditClips
    budget: float
    rows: list[dict] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    untried: list[str] = field(default_factory=list)
    speed: Speed = field(default_factory=Speed)

    def __post_init__(self):
        self.rate = self.encoder.card.sample_rate
        self.waves = self.clips.at(self.rate)
        self.reference: Encoded | None = None
        self.scorer: Scorer | None = None

    def refer(self, purse: Purse) -> None:
        """Compute the answers that others are compared with: each clip alone, at its full length."""
        each = [self.speed.estimate(len(wave) / self.rate) for wave in self.waves]
        affordable = int(np.searchsorted(np.cumsum(each), purse.left))
        count = min(max(affordable, 2 * FEWEST), len(self.waves))
        if count < len(self.waves):
            self.untried.append(f"{len(self.waves) - count} of {len(self.waves)} clips (--budget)")
            self.clips, self.waves = self.clips.first(count), self.waves[:count]
        self.reference = self._accepted()
        self.scale = typical_distance(self.reference.embeddings)
        self.scorer = Scorer(self.encoder.card, self.clips, self.reference.embeddings)

    def _accepted(self) -> Encoded:
        """Answers for all clips, which are cut if the encoder refuses their length.

        Raises
        ------
        DataError
            If it refuses all lengths.
        """
        refused = found = self.attempt(self.waves)
        for seconds in (4.0, 2.0, 1.0, 0.5):
            if isinstance(found, Encoded):
                break
            self.waves = [wave[: round(seconds * self.rate)] for wave in self.waves]
            found = self.attempt(self.waves)
            if isinstance(found, Encoded):
                self.untried.append(f"clips longer than {seconds:g} s, which are cut: {refused}")
        if isinstance(found, Refusal):
            raise DataError(f"the encoder refuses all clips: {found}")
        return found

    def alone(self, waves: Sequence[Tensor], compression: float = 1.0) -> Encoded:
        """Encode clips one by one."""
        return joined([self.encoder.encode([wave], compression) for wave in waves])

    def attempt(self, waves: Sequence[Tensor]) -> Encoded | Refusal:
        """Encode clips one by one; the error if the encoder raises one."""
        try:
            return self.alone(waves)
        except Exception as error:  # an encoder of another package may raise any
            return Refusal.of(error)

    def some(self, count: int) -> list[int]:
        """Indices of clips, evenly spaced."""
        count = min(max(count, 1), len(self.waves))
        return np.unique(np.linspace(0, len(self.waves) - 1, count).round().astype(int)).tolist()

    def affordable(self, purse: Purse, seconds: float, most: int, least: int = FEWEST) -> int:
        """Number of clips that a purse affords if one clip takes this estimated time (s)."""
        return max(least, min(most, len(self.waves), int(purse.left / max(seconds, 1e-9))))

    def expected(self, indices: Sequence[int]) -> Encoded:
        """Reference answers of some clips."""
        logits = self.reference.logits
        return Encoded(self.reference.embeddings[list(indices)], None if logits is None else logits[list(indices)])

    def compared(self, found: Encoded, expected: Encoded) -> dict[str, float]:
        """See :func:`~elasticast.audit.measures.compare`."""
        return compare(found, expected, self.scale)

    def add(self, check: str, case: str, values: dict[str, float], n: int, **place: float) -> None:
        """Add rows; `place` is empty, or the name and the value of what varies."""
        x_name, x = next(iter(place.items()), ("", math.nan))
        head = {"check": check, "case": case, "x_name": x_name, "x": x}
        self.rows += [{**head, "metric": metric, "value": value, "n": n} for metric, value in values.items()]

    def find(self, check: str, what: str, status: Status, text: str) -> None:
        """Add a line to the verdict."""
        self.findings.append(Finding(check, what, status, text))


def joined(parts: Sequence[Encoded]) -> Encoded:
    """Join answers to one."""
    logits = None if parts[0].logits is None else torch.cat([part.logits for part in parts])
    return Encoded(torch.cat([part.embeddings for part in parts]), logits)


@contextmanager
def unless_refused(subject: Subject, check: str, what: str) -> Iterator[None]:
    """If an encoder raises an error in a check, the check fails and the audit continues."""
    try:
        yield
    except Exception as error:
        subject.find(check, what, "fail", str(Refusal.of(error)))
