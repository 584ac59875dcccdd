"""Events of live audio: onset and offset, while the stream goes on.

Shapes: T frames that are new, C classes.
"""

import json
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from elasticast.config import RunConfig
from elasticast.data.pieces import Piece, Pieces
from elasticast.errors import ElasticASTError
from elasticast.inference.events import check_frames
from elasticast.text import printable


class LiveEvent(NamedTuple):
    """An event in a stream. It is reported when it begins, without offset and score, and when it has ended.

    One that begins and ends within one window or chunk is reported once, when it has ended.

    Attributes
    ----------
    onset : float
        Counted from the start of the stream. [s]
    offset : float or None
        None if the event goes on. [s]
    label : str
        Its class.
    score : float or None
        Mean of the scores within it; None if it goes on.
    """

    onset: float
    offset: float | None
    label: str
    score: float | None


class LiveEvents:
    """The events of one stream: runs of frames with scores above a threshold.

    A frame has the scores of the first window or chunk that contains it, so that events come as early as possible.
    Memory does not grow with the length of the stream.

    Parameters
    ----------
    pieces : Pieces
        How the stream is cut.
    config : RunConfig
        Settings of the model.
    classes : list of str
        Names of the classes.
    threshold : float
        Score above which a class is active.
    """

    def __init__(self, pieces: Pieces, config: RunConfig, classes: list[str], threshold: float):
        self.pieces, self.model, self.classes, self.threshold = pieces, config.model, classes, threshold
        self._frames = 0  # that have scores
        self._active = np.zeros(len(classes), np.int8)
        self._onset, self._total, self._count = (np.zeros(len(classes)) for _ in range(3))

    def add(self, piece: Piece, logits: Tensor) -> list[LiveEvent]:
        """What begins and ends in the next piece, by time, from the logits of its time patches `[time patches, C]`."""
        lead, start = (self.model.patch - self.model.stride) // 2, piece.first // self.pieces.hop
        chance = logits.double().sigmoid().numpy().repeat(self.model.stride, 0)
        gap = max(0, start - self._frames)  # frames between pieces, which no patch covers, are like the first one after
        chance = np.concatenate([chance[:1].repeat(lead + gap, 0), chance])[self._frames - start + gap :]
        end = self.pieces.times(piece)[1]
        # the last piece may be padded: frames that begin after the stream has ended are left out
        return self._follow(chance[: max(0, int(np.ceil(end / self.pieces.seconds(1) - 1e-9)) - self._frames)])

    def _follow(self, chance: np.ndarray) -> list[LiveEvent]:
        """Continue with the scores `[T, C]` of the next frames."""
        active = (chance > self.threshold).astype(np.int8)
        change = np.diff(active, axis=0, prepend=self._active[None])
        sums, first, found = np.concatenate([np.zeros((1, len(self.classes))), chance.cumsum(0)]), {}, []
        for frame, label in zip(*(places.tolist() for places in np.nonzero(change)), strict=True):
            if change[frame, label] > 0:
                self._onset[label] = self.pieces.seconds(self._frames + frame)
                self._total[label], self._count[label], first[label] = -sums[frame, label], -frame, frame
            else:
                self._total[label] += sums[frame, label]
                self._count[label] += frame
                found.append(self._ended(label, self.pieces.seconds(self._frames + frame)))
                first.pop(label, None)
        self._active = active[-1] if len(active) else self._active
        going_on = np.flatnonzero(self._active)
        self._total[going_on] += sums[-1, going_on]
        self._count[going_on] += len(chance)
        self._frames += len(chance)
        found += [LiveEvent(float(self._onset[label]), None, self.classes[label], None) for label in first]
        return sorted(found, key=lambda event: (event.onset if event.offset is None else event.offset, event.label))

    def end(self, seconds: float) -> list[LiveEvent]:
        """The events that go on when the stream ends, after `seconds` s."""
        labels, self._active = np.flatnonzero(self._active), np.zeros_like(self._active)
        return [self._ended(label, seconds) for label in labels.tolist()]

    def _ended(self, label: int, offset: float) -> LiveEvent:
        score = float(self._total[label] / self._count[label])
        return LiveEvent(float(self._onset[label]), offset, self.classes[label], score)


def check_events(config: RunConfig, description: str, threshold: float, past: int) -> None:
    """Check that a model can find events in a stream whose chunks attend to `past` earlier chunks.

    Raises
    ------
    ElasticASTError
        If it cannot, or if the threshold is none.
    """
    check_frames(config, description)
    if not 0 <= threshold <= 1:
        raise ElasticASTError(f"events = {threshold}: expected a threshold of scores, from 0 to 1")
    if past and getattr(config.model, "crnn", None) is not None:
        raise ElasticASTError(
            f"{description}: model.crnn: its recurrent layer keeps nothing of earlier chunks; use context = 0, or "
            "windows"
        )


def event_line(event: LiveEvent, *, as_json: bool) -> str:
    """An event on one line: onset, offset if it has ended (s), label, and mean score; or a JSON object."""
    if as_json:
        values = {"onset": round(event.onset, 4), "label": event.label}
        ended = event.offset is not None
        return json_line(values | ({"offset": round(event.offset, 4), "score": event.score} if ended else {}))
    offset, score = ("", "") if event.offset is None else (f"{event.offset:.2f}", f" {event.score:.2f}")
    return f"{event.onset:9.2f} {offset:>9}  {printable(event.label)}{score}"


def json_line(values: dict[str, Any]) -> str:
    """A JSON object on one line."""
    return json.dumps(values, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace").decode()
