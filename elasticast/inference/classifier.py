"""Classify audio of any sample rate, number of channels and length with a trained model.

A clip that fits into the model's view takes one forward pass, exactly as in evaluation: ElasticAST processes its native
length, AST its fixed length (a shorter clip is padded). A longer clip is split into overlapping windows, see
`elasticast.data.windows`. It is read as a stream, so that memory does not grow with its length.

The logits of a clip are pooled over its windows. The mean weights each window by the frames that the window accounts
for, so that all parts of the clip count equally. The alternative is the maximum. Scores are the probabilities of the
loss that the model was trained with: for binary cross-entropy the sigmoid of the logits, for cross-entropy their
softmax.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from elasticast.config.evaluation import Detection
from elasticast.data.audio import UnusableAudioError
from elasticast.data.encoder import ClipEncoder
from elasticast.data.level import INT16_STEP
from elasticast.data.packing import PackedBatch, PackedClip, equally_long, pack
from elasticast.data.sampler import token_batches
from elasticast.data.stream import Audio, open_source, spans
from elasticast.data.views import ViewRule, view_tokens
from elasticast.data.windows import OVERLAP, Windows, cut_windows, window_rule
from elasticast.errors import ElasticASTError
from elasticast.evaluation.frames import check_classes, nearest_seen
from elasticast.inference.events import check_frames, find_events
from elasticast.inference.pending import PendingClip
from elasticast.inference.prediction import Prediction, Timeline, best_scores, probabilities
from elasticast.inference.stream import ScoreStream, plan_stream
from elasticast.models.device import default_device
from elasticast.models.frame_head import split_clips
from elasticast.models.pretrained import Pretrained, load_model
from elasticast.progress import LOG, Progress
from elasticast.text import printable

TOKEN_BUDGET = 4096
"""Maximum number of tokens per forward pass."""
LONG_SECONDS = 600.0
"""Progress is reported if the total length of the audio (s) is above this."""

Pooling = Literal["mean", "max"]


class AudioClassifier:
    """A model with its front end and labels, which classifies audio; :func:`load_pretrained` returns one.

    Parameters
    ----------
    pretrained : Pretrained
        Model, settings, normalisation statistics and labels.

    Attributes
    ----------
    classes : list of str
        Labels, in the order of the logits.
    kind : {"single", "multi", "frames"}
        One label per clip, any number of labels, or events with onset and offset.
    loss : {"ce", "bce"}
        Loss that the model was trained with; scores are its probabilities: softmax for `ce`, sigmoid for `bce`.
    """

    def __init__(self, pretrained: Pretrained):
        self.pretrained = pretrained
        self.model, self.config = pretrained.model.eval(), pretrained.config
        self.encoder = ClipEncoder(pretrained.config, pretrained.norm)
        self.classes, self.kind, self.loss = list(pretrained.classes), pretrained.kind, self.config.train.loss
        self.compression = self.config.default_compression

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.model.parameters())
        view, hop_ms = self.config.view, self.config.front_end.hop_ms
        seconds = view.span() * hop_ms / 1000
        length = f"any length up to {seconds:g} s" if view.frames == "native" else f"{seconds:g} s"
        return (
            f"AudioClassifier({self.pretrained.description}; {len(self.classes)} classes, {_labels(self.classes)}; "
            f"{length} per pass; {parameters / 1e6:.2f} M parameters)"
        )

    def predict(
        self,
        audio: Audio | Iterable[Audio],
        *,
        sample_rate: int | None = None,
        top_k: int | None = None,
        window: float | None = None,
        overlap: float = OVERLAP,
        pooling: Pooling = "mean",
        timeline: bool = False,
        events: Detection | None = None,
        on_error: Literal["raise", "keep"] = "raise",
        token_budget: int = TOKEN_BUDGET,
    ) -> list[Prediction]:
        """Classify audio files and waveforms.

        Parameters
        ----------
        audio : path, array, tensor, or an iterable of them
            Files, or waveforms `[S]` or `[channels, S]`: floats with full scale 1, or integers. Channels are averaged.
        sample_rate : int, optional
            Sample rate of the waveforms (Hz). Not used for files.
        top_k : int, optional
            Number of scores per clip. None for all.
        window : float, optional
            Length of a window (s), rounded to whole patches. Longer clips are split into windows of this length. None
            for the length that the model was trained at.
        overlap : float
            Overlap of successive windows as a fraction of a window, in [0, 1).
        pooling : {"mean", "max"}
            How to pool the logits over windows: mean, weighted by the frames that each window accounts for, or maximum.
        timeline : bool
            Whether to keep the scores of each window.
        events : Detection, optional
            How to find events with onset and offset; the model must have a frame head. None does not look for events.
        on_error : {"raise", "keep"}
            What to do with unusable audio: raise an error, or store the reason in `Prediction.error` and continue.
        token_budget : int
            Maximum number of tokens per forward pass.

        Returns
        -------
        list of Prediction
            One prediction per clip, in the given order.

        Raises
        ------
        DataError
            If audio is unusable; the message names the clip and the reason.
        ElasticASTError
            If an argument is invalid.
        """
        _check(sample_rate=sample_rate, top_k=top_k, overlap=overlap, pooling=pooling, on_error=on_error)
        if events is not None:
            check_frames(self.config, self.pretrained.description)
            check_classes(events, self.classes, "", "events")
        rule = window_rule(self.config, window, self.compression)
        items = [audio] if isinstance(audio, Audio) else audio
        jobs = []
        for index, item in enumerate(items):
            path = str(item) if isinstance(item, str | Path) else None
            job = PendingClip(path or f"waveform {index}", path)
            jobs.append(job)
            try:
                job.source = open_source(item, sample_rate)
                samples = job.source.samples(self.config.front_end.sample_rate)
                job.windows = cut_windows(samples, rule, self.compression, overlap)
            except UnusableAudioError as error:
                job.fail(error, on_error)
        usable, frames = [job for job in jobs if job.error is None], events is not None
        self._run(usable, pooling, timeline, on_error, token_budget, frames=frames)
        predictions = [self._prediction(job, rule, top_k, timeline) for job in jobs]
        return predictions if events is None else list(map(partial(self._with_events, events), jobs, predictions))

    def stream(
        self,
        blocks: Iterable[np.ndarray | Tensor],
        *,
        sample_rate: int,
        window: float | None = None,
        hop: float | None = None,
        chunk: float | None = None,
        context: float | None = None,
        top_k: int | None = None,
        longest_silence: float = math.inf,
        events: float | None = None,
    ) -> ScoreStream:
        """Classify live audio while it comes in, with a delay that is known before.

        There are three ways. *Windows* (the default, or `window` and `hop`) are clips that may overlap. *Chunks*
        (`chunk`) follow each other, and each attends to those of the last `context` seconds, whose keys and values are
        kept. With a `context` of 0, chunks are clips.

        Parameters
        ----------
        blocks : iterable of array or tensor
            Blocks `[S]` or `[channels, S]` of any lengths, int16 or floats with full scale 1. Channels are averaged.
            They are read one by one, when the next score needs them, and not kept.
        sample_rate : int
            Sample rate of the blocks (Hz), which must be that of the model.
        window : float, optional
            Length of a window (s), rounded to whole patches. Default: the length that the model was trained at.
        hop : float, optional
            Time from one window to the next (s). Default: half a window.
        chunk : float, optional
            Length of a chunk (s), rounded to whole patches. Default: `model.context.chunk`, if the model has it.
        context : float, optional
            How far a chunk attends into the past (s), rounded to whole chunks; `math.inf` for the length of the longest
            training clip. Default: `model.context.past` if the model has it, else 0. Models without the trait `chunks`
            only take 0.
        top_k : int, optional
            Number of scores. None for all.
        longest_silence : float
            A stream whose samples are all equal for longer than this (s) ends with an error. By default, any silence is
            allowed.
        events : float, optional
            Find events with onset and offset: the score above which a class is active, such as 0.5. The model must have
            a frame head.

        Returns
        -------
        ScoreStream
            An iterator over :class:`~elasticast.inference.stream.StreamScore`. Its attribute `plan` says what each
            score is of, and its delay. Memory does not grow with the length of the stream.

        Raises
        ------
        ElasticASTError
            If an argument is invalid, or not possible with the model; before any block is read.
        DataError
            If blocks are no audio, or silent; while blocks are read.
        """
        _check(sample_rate=sample_rate, top_k=top_k)
        plan = plan_stream(self.config, sample_rate, window=window, hop=hop, chunk=chunk, context=context)
        return ScoreStream(self.pretrained, self.encoder, plan, blocks, top_k, longest_silence, events)

    def _run(
        self, jobs: list[PendingClip], pooling: str, timeline: bool, on_error: str, budget: int, *, frames: bool
    ) -> None:
        """Run the model on all windows of all clips, in batches of at most `budget` tokens."""
        device, encoded = next(self.model.parameters()).device, {}
        clips = [job for job in jobs for _ in range(len(job.windows))]  # the clip of each window
        tokens = [view_tokens(self.config, job.windows.view) for job in clips]
        # windows are decoded one by one as batches need them, so that no more than one batch is in memory
        indices = self._encode_windows(jobs, encoded, on_error)
        long = sum(job.source.seconds for job in jobs) > LONG_SECONDS
        with Progress("predict", len(clips)) if long else nullcontext() as progress:
            for batch in token_batches(indices, tokens, budget):
                for group in self._groups_of_one_length(batch, encoded):
                    batched = pack([encoded.pop(i) for i in group]).to(device)
                    for index, (row, *over_time) in zip(group, self._logits(batched, frames=frames), strict=True):
                        try:
                            clips[index].add(row, pooling, timeline)
                            clips[index].frame_logits += over_time
                        except UnusableAudioError as error:
                            clips[index].fail(error, on_error)
                if progress:
                    progress.update(batch[-1] + 1)

    @torch.inference_mode()
    def _logits(self, batch: PackedBatch, *, frames: bool) -> list[tuple[Tensor, ...]]:
        """Logits `[C]` of each window; with `frames`, also those of its time patches."""
        if not frames:
            return [(row,) for row in self.model(batch).float().cpu()]
        clips = split_clips(self.model(batch, frames=True), batch.clip_time_patches)
        return [(row, nearest_seen(over_time, seen)) for row, over_time, seen in clips]

    def _with_events(self, detection: Detection, job: PendingClip, prediction: Prediction) -> Prediction:
        if job.error is not None:
            return prediction
        found = job.windows, job.frame_logits, prediction.seconds
        return replace(prediction, events=find_events(*found, self.config, self.classes, detection))

    def _groups_of_one_length(self, batch: list[int], encoded: dict[int, PackedClip]) -> list[list[int]]:
        """Split a batch into groups for one forward pass each; a model of one length needs windows of that."""
        if not self.config.model.traits.one_length:
            return [batch]
        groups = equally_long([encoded[index].time_patches for index in batch])
        return [[batch[i] for i in group] for group in groups]

    def _encode_windows(self, jobs: list[PendingClip], encoded: dict[int, PackedClip], on_error: str) -> Iterator[int]:
        """Decode windows in order: put each into `encoded`, then yield its index; skip the rest of a damaged file."""
        first, rate = 0, self.config.front_end.sample_rate
        for job in jobs:
            try:
                blocks = job.windows.stream(job.source.blocks(rate))
                waves = spans(blocks, job.windows.starts.tolist(), job.windows.span)
                for index, wave in enumerate(waves, start=first):
                    job.low, job.high = min(job.low, wave.min().item()), max(job.high, wave.max().item())
                    encoded[index] = self._encode(index, wave, job.windows)
                    yield index
            except UnusableAudioError as error:
                job.fail(error, on_error)
            first += len(job.windows)

    def _encode(self, index: int, wave: Tensor, windows: Windows) -> PackedClip:
        """Tokens of one window."""
        log_mel = self.encoder.spectrogram(wave, windows.view.compression, whole=not any(windows.margins))
        return self.encoder.encode(log_mel, windows.view, index=index)

    def _prediction(self, job: PendingClip, rule: ViewRule, top_k: int | None, timeline: bool) -> Prediction:
        seconds = job.source.seconds if job.source else 0.0
        if job.error is not None:
            return Prediction(job.path, seconds, error=job.error)
        logits = job.logits.float()
        scores = best_scores(probabilities(logits, self.loss), self.classes, top_k)
        flags = self._flags(job, rule)
        over_time = self._timeline(job) if timeline else None
        return Prediction(job.path, seconds, scores, len(job.windows), flags, logits=logits, timeline=over_time)

    def _timeline(self, job: PendingClip) -> Timeline:
        rate = self.config.front_end.sample_rate
        start = torch.from_numpy(job.windows.starts).double() / rate
        end = start + (job.windows.span - sum(job.windows.margins)) / rate
        return Timeline(start, end, probabilities(torch.stack(job.window_logits), self.loss))

    def _flags(self, job: PendingClip, rule: ViewRule) -> tuple[str, ...]:
        frames, view_frames, patch = job.windows.frames, job.windows.view.frames, self.config.model.patch
        filled = rule.fixed and rule.view.fill != "mask"
        # otherwise, padding to a whole patch is usual
        short = patch <= frames < view_frames and (filled or view_frames - frames >= patch)
        flags = {
            f"padded: shorter than one patch of {patch} frames": frames < patch,
            f"padded: shorter than the model's {view_frames} frames": short,
            "windowed": len(job.windows) > 1,
            "silent": job.high - job.low < INT16_STEP,  # `elasticast prepare` rejects such clips
        }
        return tuple(flag for flag, raised in flags.items() if raised)


def _labels(labels: list[str], shown: int = 3) -> str:
    """The first labels, and dots if there are more."""
    return ", ".join(map(printable, labels[:shown])) + (", ..." if len(labels) > shown else "")


def _check(**arguments: Any) -> None:
    """Raise an error for an invalid argument, with its value and what is valid."""
    for name, allowed in {"pooling": get_args(Pooling), "on_error": ("raise", "keep")}.items():
        if name in arguments and arguments[name] not in allowed:
            raise ElasticASTError(f"Unknown {name}: {arguments[name]!r}. Allowed: {', '.join(allowed)}")
    for name in ("sample_rate", "top_k"):
        value = arguments[name]
        if value is not None and not (isinstance(value, Real) and 1 <= value < math.inf and value == int(value)):
            raise ElasticASTError(f"{name} = {value!r}: expected a whole number above 0")
    if not 0 <= arguments.get("overlap", 0) < 1:
        raise ElasticASTError(f"overlap = {arguments['overlap']}: expected a fraction of a window, at least 0, below 1")


def load_pretrained(
    source: str | Path,
    *,
    classes: list[str] | None = None,
    frames: int | None = None,
    device: torch.device | str | None = None,
    trust_code: bool = False,
) -> AudioClassifier:
    """Load a trained model for inference.

    Parameters
    ----------
    source : str or Path
        Folder of a trained run, or any weights that `elasticast.models.pretrained.load_model` accepts.
    classes : list of str, optional
        Names of the classes. If the head has another number of classes, a new, untrained head replaces it.
    frames : int, optional
        Length of the view (frames), if it differs from that of the model; positions are adapted.
    device : device, optional
        Device of the model. None for the GPU if there is one, else the CPU.
    trust_code : bool
        Whether to run the code of a model that brings its own, see :func:`elasticast.models.pretrained.load_model`.

    Raises
    ------
    DataError
        If the weights cannot be loaded; the message gives the reason.
    """
    pretrained = load_model(source, classes=classes, frames=frames, trust_code=trust_code)
    LOG.info("%s: %s", source, pretrained.description)
    for note in pretrained.notes:  # warnings are visible even if logging is not configured; a new head is untrained
        LOG.warning("%s: %s", source, note)
    pretrained.model.to(device or default_device())
    return AudioClassifier(pretrained)
