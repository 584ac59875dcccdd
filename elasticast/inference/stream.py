"""Scores of live audio: windows, or chunks that attend to what is kept of earlier chunks.

No statistic of the whole stream enters: the log-mel of a frame depends on the samples of its window, and the
normalisation is that of the training data. (The front end `kaldi` removes the mean of the samples that it is given,
but then also that of each frame, which removes it again.) So the scores do not depend on how the stream is divided into
blocks, and a chunk has the states that it has in a whole clip under the mask of `model.context`.

The score of a chunk pools over the chunk and the chunks that it attends to. It begins anew with each chunk.
"""

import math
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from elasticast.config import Context, ModelSettings, RunConfig
from elasticast.config.frames import patch_frames
from elasticast.data.encoder import ClipEncoder
from elasticast.data.live import checked
from elasticast.data.packing import pack
from elasticast.data.pieces import Piece, Pieces
from elasticast.data.windows import window_rule
from elasticast.errors import DataError, ElasticASTError
from elasticast.evaluation.frames import nearest_seen
from elasticast.inference.prediction import best_scores, probabilities
from elasticast.inference.stream_events import LiveEvent, LiveEvents, check_events, json_line
from elasticast.models.chunks import ChunkMemory
from elasticast.models.pretrained import Pretrained
from elasticast.text import printable


@dataclass(frozen=True)
class StreamScore:
    """A score of a stream.

    Attributes
    ----------
    start, end : float
        The audio that the score is of: a window, or a chunk and the chunks in its context. Counted from the start of
        the stream (s).
    scores : dict of str to float
        Probability per label, best first.
    computing : float
        Time to compute it (s).
    logits : Tensor
        `[C]` float32, in the order of the classes.
    events : list of LiveEvent
        Events that began or ended in the audio that is new in it; see :mod:`elasticast.inference.stream_events`.
    """

    start: float
    end: float
    scores: dict[str, float]
    computing: float
    logits: Tensor = field(repr=False, compare=False)
    events: list[LiveEvent] = field(default_factory=list, compare=False)


@dataclass(frozen=True)
class StreamPlan:
    """What the scores of a stream are of, and when they come.

    Attributes
    ----------
    pieces : Pieces
        How the stream is cut.
    past : int
        Number of earlier chunks that a chunk attends to; 0 with windows.
    """

    pieces: Pieces
    past: int = 0

    @property
    def length(self) -> float:
        """Length of a window or chunk (s)."""
        return self.pieces.seconds(self.pieces.view.frames)

    @property
    def hop(self) -> float:
        """Time from one score to the next (s)."""
        return self.pieces.seconds(self.pieces.step)

    @property
    def context(self) -> float:
        """How far a chunk attends into the past (s)."""
        return self.past * self.hop

    @property
    def delay(self) -> float:
        """Longest time from a sound to the first score that it is part of (s), without the time to compute it.

        Sounds in the first window or chunk wait until it is complete.
        """
        return self.pieces.delay

    def __str__(self) -> str:
        if not self.pieces.chunks:
            return f"windows of {self.length:g} s every {self.hop:g} s; delay {self.delay:g} s + computing"
        return f"chunks of {self.length:g} s, context {self.context:g} s; delay {self.delay:g} s + computing"


def plan_stream(
    config: RunConfig,
    sample_rate: int,
    *,
    window: float | None = None,
    hop: float | None = None,
    chunk: float | None = None,
    context: float | None = None,
) -> StreamPlan:
    """Plan a stream, see :meth:`elasticast.inference.classifier.AudioClassifier.stream` for the parameters.

    Raises
    ------
    ElasticASTError
        If an argument is invalid, or not possible with the model.
    """
    for name, seconds in {"window": window, "hop": hop, "chunk": chunk}.items():
        if seconds is not None and not (isinstance(seconds, Real) and 0 < seconds < math.inf):
            raise ElasticASTError(f"{name} = {seconds} s: expected a length above 0")
    if context is not None and not (isinstance(context, Real) and context >= 0):
        raise ElasticASTError(f"context = {context} s: expected 0, a length above 0, or inf")
    if sample_rate != config.front_end.sample_rate:
        raise ElasticASTError(
            f"sample_rate = {sample_rate} Hz: expected {config.front_end.sample_rate} Hz, as in training; resample "
            f"the stream before (ffmpeg: -ar {config.front_end.sample_rate})"
        )
    chunks = {name: value for name, value in {"chunk": chunk, "context": context}.items() if value is not None}
    windows = {name: value for name, value in {"window": window, "hop": hop}.items() if value is not None}
    if chunks and windows:
        (one, seconds), (other, _) = next(iter(chunks.items())), next(iter(windows.items()))
        raise ElasticASTError(f"{one} = {seconds} s: excludes {other}: give chunk and context, or window and hop")
    if chunks or (not windows and _trained_context(config)):
        return _plan_chunks(config, chunk, context)
    return _plan_windows(config, window, hop)


def _trained_context(config: RunConfig) -> Context | None:
    return getattr(config.model, "context", None)  # a model of the user may have no such setting


def _plan_windows(config: RunConfig, window: float | None, hop: float | None) -> StreamPlan:
    compression = config.default_compression
    rule = window_rule(config, window, compression)
    pieces = Pieces(rule, compression, rule.at(sys.maxsize, compression), step=1, chunks=False)
    frames = pieces.view.frames
    step = max(1, frames // 2 if hop is None else round(hop / pieces.seconds(1)))
    if step > frames:
        raise ElasticASTError(
            f"hop = {hop} s: longer than the window of {pieces.seconds(frames):g} s: expected at most that"
        )
    return StreamPlan(replace(pieces, step=step))


def _plan_chunks(config: RunConfig, chunk: float | None, context: float | None) -> StreamPlan:
    trained, model, compression = _trained_context(config), config.model, config.default_compression
    if chunk is None and trained is None:
        raise ElasticASTError(f"context = {context} s: needs chunk, the length of a chunk in s")
    rule = window_rule(config, chunk, compression, "chunk")
    view = rule.at(sys.maxsize, compression)
    patches = trained.chunk if chunk is None else model.patches(view.frames)
    view = replace(view, frames=patch_frames(patches, model.patch, model.stride))
    pieces = Pieces(rule, compression, view, step=patches * model.stride, chunks=True)
    longest = model.patches(config.most_frames(compression))
    if patches > longest:
        most = pieces.seconds(patch_frames(longest, model.patch, model.stride))
        raise ElasticASTError(
            f"chunk = {chunk} s: longer than the longest clip of the training: expected at most {most:g} s"
        )
    if context is None:
        past = 0 if trained is None else longest if trained.past is None else trained.past
    else:  # a length above 0 is at least one chunk
        past = longest if context == math.inf else context and max(patches, context / pieces.seconds(model.stride))
    return StreamPlan(pieces, _past_chunks(model, past / patches, context))


def _past_chunks(model: ModelSettings, chunks: float, context: float | None) -> int:
    """Number of chunks that are kept: `chunks`, rounded; the model must be able to."""
    if chunks and not model.traits.chunks:
        reason = getattr(model, "no_chunks", None) or "it lacks the trait `chunks`"
        raise ElasticASTError(
            f"context = {context} s: not possible with {model.described}: {reason}; use context = 0, or windows"
        )
    return math.ceil(chunks) if context in (None, math.inf) else round(chunks)


class ScoreStream(Iterator[StreamScore]):
    """The scores of one stream, computed when they are asked for.

    Parameters
    ----------
    pretrained : Pretrained
        Model, settings and labels.
    encoder : ClipEncoder
        Encodes windows and chunks.
    plan : StreamPlan
        What the scores are of.
    blocks : iterable
        The stream, see :func:`elasticast.data.live.checked`.
    top_k : int or None
        Number of labels per score, None for all.
    longest_silence : float
        A stream that is silent for longer (s) is an error.
    events : float, optional
        Score above which a class is an event, if events are looked for.

    Raises
    ------
    ElasticASTError
        If `longest_silence` is negative or NaN, or the model cannot find events.

    Attributes
    ----------
    computing : float
        Time spent on computing so far (s), without waiting for blocks.
    seconds : float
        Length of the audio that has a score so far (s).
    """

    def __init__(
        self,
        pretrained: Pretrained,
        encoder: ClipEncoder,
        plan: StreamPlan,
        blocks: Iterable[np.ndarray | Tensor],
        top_k: int | None = None,
        longest_silence: float = math.inf,
        events: float | None = None,
    ):
        if not longest_silence >= 0:
            raise ElasticASTError(f"longest_silence = {longest_silence} s: expected 0, a length above 0, or inf")
        self.pretrained, self.encoder, self.plan, self.top_k = pretrained, encoder, plan, top_k
        self.computing = self.seconds = 0.0
        by_chunk = plan.pieces.chunks and pretrained.config.model.traits.chunks
        self._memory = ChunkMemory(plan.past) if by_chunk else None
        self._events = None
        if events is not None:
            check_events(pretrained.config, pretrained.description, events, plan.past)
            self._events = LiveEvents(plan.pieces, pretrained.config, pretrained.classes, events)
        self._scores = map(
            self._score, plan.pieces.cut(checked(blocks, plan.pieces.rule.front_end.sample_rate, longest_silence))
        )

    def __next__(self) -> StreamScore:
        return next(self._scores)

    @property
    def real_time_factor(self) -> float:
        """Time to compute a second of audio (s), so far; NaN before the first score."""
        return self.computing / self.seconds if self.seconds else math.nan

    def end_events(self) -> list[LiveEvent]:
        """The events that go on when the stream has ended."""
        return [] if self._events is None else self._events.end(self.seconds)

    def _score(self, piece: Piece) -> StreamScore:
        begun, config = time.perf_counter(), self.pretrained.config
        logits, patches = self._logits(piece)
        start, end = self.plan.pieces.times(piece, self.plan.past)
        if not logits.isfinite().all():
            raise DataError(f"stream, at {end:.2f} s: the model gives NaN or infinite scores")
        scores = best_scores(probabilities(logits, config.train.loss), self.pretrained.classes, self.top_k)
        events = [] if self._events is None else self._events.add(piece, patches)
        needed = time.perf_counter() - begun
        self.computing, self.seconds = self.computing + needed, end
        return StreamScore(start, end, scores, needed, logits, events)

    @torch.inference_mode()
    def _logits(self, piece: Piece) -> tuple[Tensor, Tensor | None]:
        """Logits `[C]` after the next piece, and if events are looked for, those of its time patches."""
        model = self.pretrained.model
        log_mel = self.encoder.spectrogram(piece.wave, self.plan.pieces.compression, whole=piece.whole)
        batch = pack([self.encoder.encode(log_mel, piece.view)]).to(next(model.parameters()).device)
        options = {} if self._events is None else {"frames": True}
        logits = model(batch, **options) if self._memory is None else model.next_chunk(batch, self._memory, **options)
        if self._events is None:
            return logits[0].float().cpu(), None
        return logits.clips[0].float().cpu(), nearest_seen(logits.frames, logits.seen).float().cpu()


def score_line(score: StreamScore, *, as_json: bool) -> str:
    """A score on one line: start, end (s), and labels with their probabilities; or a JSON object."""
    if as_json:
        return json_line({"start": round(score.start, 4), "end": round(score.end, 4), "scores": score.scores})
    labels = "  ".join(f"{printable(label)} {value:.2f}" for label, value in score.scores.items())
    return f"{score.start:9.2f} {score.end:9.2f}  {labels}"


def summary(stream: ScoreStream) -> str:
    """How long a stream was, and what it took to compute its scores."""
    if not stream.seconds:
        return "no scores: the stream ended before the first one"
    return (
        f"{stream.seconds:.1f} s of audio in {stream.computing:.1f} s: real-time factor {stream.real_time_factor:.3f}"
    )
