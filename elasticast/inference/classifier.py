"""Inference: a trained model on anyone's audio, of any rate, channels and length.

A clip that fits into the model's view is shown in one pass, exactly as in evaluation: ElasticAST sees its native
length, AST its fixed length (a shorter clip is padded). A longer one is shown in overlapping windows, see
`elasticast.data.windows`, and read as a stream, so that memory does not grow with its length.

The logits of a clip are the mean over its windows, each weighted by the frames it speaks for, so that every moment
counts the same; or the maximum. Scores are their sigmoid where a clip can have several labels, else their softmax.
"""

import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from elasticast.config import ASTSettings
from elasticast.data.audio import UnusableAudioError
from elasticast.data.encoder import ClipEncoder
from elasticast.data.packing import PackedClip, pack
from elasticast.data.sampler import token_batches
from elasticast.data.stream import Audio, open_source, spans
from elasticast.data.views import ViewRule, view_tokens
from elasticast.data.windows import OVERLAP, Windows, cut_windows
from elasticast.errors import ElasticASTError
from elasticast.inference.pending import PendingClip
from elasticast.inference.prediction import Prediction, Timeline
from elasticast.models.device import default_device
from elasticast.models.pretrained import Pretrained, load_model
from elasticast.progress import LOG, Progress

TOKEN_BUDGET = 4096
"""Tokens of one forward pass."""
LONG_SECONDS = 600.0
"""Audio (s) from which on progress is reported."""
SILENT = 1 / 32768
"""Peak-to-peak amplitude below which a clip is flagged; `elasticast prepare` rejects such clips."""

Pooling = Literal["mean", "max"]


class AudioClassifier:
    """A model with its front end and labels, for audio of any kind; :func:`load_pretrained` makes one.

    Parameters
    ----------
    pretrained : Pretrained
        Model, settings, normalisation, labels.

    Attributes
    ----------
    classes : list of str
        Labels, in the order of the logits.
    kind : {"single", "multi"}
        One label a clip (softmax), or any number (sigmoid).
    """

    def __init__(self, pretrained: Pretrained):
        self.pretrained = pretrained
        self.model, self.config = pretrained.model.eval(), pretrained.config
        self.encoder = ClipEncoder(pretrained.config, pretrained.norm)
        self.classes, self.kind = list(pretrained.classes), pretrained.kind
        self.compression = self.config.own_compression

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
        on_error: Literal["raise", "keep"] = "raise",
        token_budget: int = TOKEN_BUDGET,
    ) -> list[Prediction]:
        """Classify audio files and waveforms.

        Parameters
        ----------
        audio : path, array, tensor, or an iterable of them
            Files, or waveforms `[S]` or `[channels, S]`: floats with full scale 1, or integers. Channels are averaged.
        sample_rate : int
            Of the waveforms (Hz); a file knows its own.
        top_k : int, optional
            Scores a clip; none: all.
        window : float, optional
            Longest clip shown in one pass, and length of the windows of a longer one (s, rounded to whole patches);
            none: the length the model was trained at.
        overlap : float
            Share of a window that the next one covers again, in [0, 1).
        pooling : {"mean", "max"}
            Over windows: mean of the logits, weighted by the frames each window speaks for, or their maximum.
        timeline : bool
            Keep the scores of each window.
        on_error : {"raise", "keep"}
            What unusable audio does: raise, or say why in `Prediction.error` and go on.
        token_budget : int
            Tokens of one forward pass.

        Returns
        -------
        list of Prediction
            One a clip, in the order given.

        Raises
        ------
        DataError
            If audio is unusable, with its name and the reason.
        ElasticASTError
            If an argument is impossible.
        """
        _check(sample_rate=sample_rate, top_k=top_k, overlap=overlap, pooling=pooling, on_error=on_error)
        rule = self._rule(window)
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
        self._run([job for job in jobs if job.error is None], pooling, timeline, on_error, token_budget)
        return [self._prediction(job, rule, top_k, timeline) for job in jobs]

    def _rule(self, window: float | None) -> ViewRule:
        """How much of a clip is shown at once."""
        if window is None:
            return ViewRule(self.config, compression=self.compression)
        if not 0 < window < math.inf:
            raise ElasticASTError(f"window = {window} s: expected a length above 0")
        view, model, hop_ms = self.config.view, self.config.model, self.config.front_end.hop_ms
        # a fixed view counts frames at its own hop, a native one at compression 1
        frames = 1000 * window / hop_ms / (view.compression[0] if view.frames != "native" else 1.0)
        frames = max(1, round(frames / model.patch)) * model.patch
        rule = ViewRule(self.config, max_frames=frames, compression=self.compression)
        shown = rule.at(sys.maxsize, self.compression).frames
        if model.limit is not None and shown > model.limit:
            most = model.limit * hop_ms * self.compression / 1000
            raise ElasticASTError(
                f"window = {window} s is {shown} frames; the position table holds {model.limit} ({most:g} s)"
            )
        return rule

    def _run(self, jobs: list[PendingClip], pooling: str, timeline: bool, on_error: str, budget: int) -> None:
        """Show all windows of all clips to the model, in batches of at most `budget` tokens."""
        device, held = next(self.model.parameters()).device, {}
        units = [job for job in jobs for _ in range(len(job.windows))]
        tokens = [view_tokens(self.config, job.windows.view) for job in units]
        # a clip is decoded when its turn comes, so that no more than one batch is in memory
        turns = self._decoded(jobs, held, on_error)
        long = sum(job.source.seconds for job in jobs) > LONG_SECONDS
        with Progress("predict", len(units)) if long else nullcontext() as progress:
            for batch in token_batches(turns, tokens, budget):
                for alike in self._of_one_grid(batch, held):
                    with torch.inference_mode():
                        logits = self.model(pack([held.pop(i) for i in alike]).to(device)).float().cpu()
                    for index, row in zip(alike, logits, strict=True):
                        units[index].add(row, pooling, timeline)
                if progress:
                    progress.update(batch[-1] + 1)

    def _of_one_grid(self, batch: list[int], held: dict[int, PackedClip]) -> list[list[int]]:
        """A batch in parts that the model takes at once: AST takes one length at a time."""
        if not isinstance(self.config.model, ASTSettings):
            return [batch]
        alike: dict[int, list[int]] = {}
        for index in batch:
            alike.setdefault(held[index].time_patches, []).append(index)
        return list(alike.values())

    def _decoded(self, jobs: list[PendingClip], held: dict[int, PackedClip], on_error: str) -> Iterator[int]:
        """Numbers of the windows, in order, each put into `held` when its turn comes; a broken file's are left out."""
        first, rate = 0, self.config.front_end.sample_rate
        for job in jobs:
            try:
                blocks = job.windows.stream(job.source.blocks(rate))
                waves = spans(blocks, job.windows.starts.tolist(), job.windows.span)
                for index, wave in enumerate(waves, start=first):
                    job.low, job.high = min(job.low, wave.min().item()), max(job.high, wave.max().item())
                    held[index] = self._encoded(index, wave, job.windows)
                    yield index
            except UnusableAudioError as error:
                job.fail(error, on_error)
            first += len(job.windows)

    def _encoded(self, index: int, wave: Tensor, windows: Windows) -> PackedClip:
        """Tokens of one window."""
        log_mel = self.encoder.spectrogram(wave, windows.view.compression, whole=not any(windows.margins))
        return self.encoder.encode(log_mel, windows.view, index=index)

    def _prediction(self, job: PendingClip, rule: ViewRule, top_k: int | None, timeline: bool) -> Prediction:
        seconds = job.source.seconds if job.source else 0.0
        if job.error is not None:
            return Prediction(job.path, seconds, error=job.error)
        logits = job.logits.float()
        best = self._scores(logits).sort(descending=True, stable=True)
        scores = {self.classes[i]: best.values[k].item() for k, i in enumerate(best.indices[:top_k].tolist())}
        windows = self._timeline(job) if timeline else None
        known = (job.path, seconds, scores, len(job.windows), self._flags(job, rule))
        return Prediction(*known, logits=logits, timeline=windows)

    def _scores(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.kind == "multi" else logits.softmax(-1)

    def _timeline(self, job: PendingClip) -> Timeline:
        rate = self.config.front_end.sample_rate
        start = torch.from_numpy(job.windows.starts).double() / rate
        end = start + (job.windows.span - sum(job.windows.margins)) / rate
        return Timeline(start, end, self._scores(torch.stack(job.rows)))

    def _flags(self, job: PendingClip, rule: ViewRule) -> tuple[str, ...]:
        frames, shown, patch = job.windows.frames, job.windows.view.frames, self.config.model.patch
        filled = rule.fixed and rule.view.fill != "mask"
        short = patch <= frames < shown and (filled or shown - frames >= patch)  # up to a patch is as it should be
        flags = {
            f"padded: shorter than one patch of {patch} frames": frames < patch,
            f"padded: shorter than the model's {shown} frames": short,
            "windowed": len(job.windows) > 1,
            "silent": job.high - job.low < SILENT,
        }
        return tuple(flag for flag, raised in flags.items() if raised)


def _check(**given: Any) -> None:
    """Refuse impossible arguments, with the value and what would be right."""
    for name, allowed in {"pooling": get_args(Pooling), "on_error": ("raise", "keep")}.items():
        if given[name] not in allowed:
            raise ElasticASTError(f"Unknown {name}: {given[name]!r}. Allowed: {', '.join(allowed)}")
    for name in ("sample_rate", "top_k"):
        if given[name] is not None and (given[name] != int(given[name]) or given[name] < 1):
            raise ElasticASTError(f"{name} = {given[name]!r}: expected a whole number above 0")
    if not 0 <= given["overlap"] < 1:
        raise ElasticASTError(f"overlap = {given['overlap']}: expected a share of the window, from 0 to below 1")


def load_pretrained(
    source: str | Path,
    *,
    classes: list[str] | None = None,
    frames: int | None = None,
    device: torch.device | str | None = None,
) -> AudioClassifier:
    """Load a trained model, ready to use.

    Parameters
    ----------
    source : str or Path
        Folder of a trained run, or any weights that `elasticast.models.pretrained.load_model` knows.
    classes : list of str, optional
        Names of the classes; a head of another number of classes is replaced by a new, untrained one.
    frames : int, optional
        Another length (frames) than the model's own; positions are adapted.
    device : device, optional
        Where the model runs; none: on the GPU if there is one.

    Raises
    ------
    DataError
        If the weights cannot be loaded, with the reason.
    """
    pretrained = load_model(source, classes=classes, frames=frames)
    LOG.info("%s: %s", source, pretrained.description)
    for note in pretrained.notes:  # a warning shows without a set-up of logging: a new head, say, knows nothing
        LOG.warning("%s: %s", source, note)
    pretrained.model.to(device or default_device())
    return AudioClassifier(pretrained)
